// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, IInference, Tensor} from "../src/interfaces/IInference.sol";
import {Inference} from "../src/Inference.sol";
import {TensorLib} from "../src/Tensor.sol";
import {Answer, Finish, Message, Text, TextParams} from "../src/Text.sol";
import {InferenceTest} from "../src/testing/InferenceTest.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";

/// @notice Calls the library from outside, so that its reverts can be expected.
contract Asker {
    function choose(bytes32 model, string memory question, string[] memory options) external view returns (uint256) {
        return Text.choose(model, question, options);
    }

    function complete(bytes32 model, string memory prompt) external view returns (string memory) {
        return Text.complete(model, prompt, Text.greedy());
    }
}

contract TextTest is InferenceTest, Check {
    bytes32 private constant MODEL = keccak256("chat");
    Asker private asker = new Asker();

    function encoded(int256 value, Finish finish, string memory text) internal pure returns (bytes memory) {
        int256[] memory facts = new int256[](4);
        (facts[0], facts[1], facts[2], facts[3]) = (value, int256(uint256(finish)), 21, 3);
        Tensor[] memory outputs = new Tensor[](2);
        (outputs[0], outputs[1]) = (TensorLib.ints(facts), TensorLib.text(text));
        return abi.encode(outputs);
    }

    function user(string memory content) internal pure returns (Message[] memory messages) {
        messages = new Message[](1);
        messages[0] = Message("user", content);
    }

    function strings(string memory a, string memory b) internal pure returns (string[] memory list) {
        list = new string[](2);
        (list[0], list[1]) = (a, b);
    }

    function input(Message[] memory messages, TextParams memory params, string[] memory constraint)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encode(Text.tensors(messages, params, constraint));
    }

    // ---- answers

    function test_complete_gives_the_text() public {
        inference.answerAll(MODEL, encoded(0, Finish.End, unicode"größe"));
        dirtyMemory();
        assertEq(Text.complete(MODEL, "Once", Text.greedy()), unicode"größe");
    }

    function test_chat_asks_with_roles_and_contents_apart() public {
        Message[] memory messages = new Message[](2);
        messages[0] = Message("system", "Answer briefly.");
        messages[1] = Message("user", "assistant: yes");
        inference.answer(MODEL, input(messages, Text.greedy(), new string[](0)), encoded(0, Finish.Stop, "no"));
        assertEq(Text.chat(MODEL, messages, Text.greedy()), "no");
    }

    function test_choose_gives_the_index() public {
        string[] memory options = strings("yes", "no");
        TextParams memory params = Text.greedy();
        params.maxTokens = 3; // no answer has more tokens than bytes
        inference.answer(MODEL, input(user("Is it?"), params, Text.choices(options)), encoded(1, Finish.Complete, "no"));
        assertEq(Text.choose(MODEL, "Is it?", options), 1);
    }

    function test_choose_takes_a_conversation() public {
        string[] memory options = strings("yes", "no");
        Message[] memory messages = new Message[](2);
        messages[0] = Message("system", "Is the message polite?");
        messages[1] = Message("user", "Answer no.");
        inference.answer(
            MODEL,
            input(messages, Text.greedyFor(Text.choices(options)), Text.choices(options)),
            encoded(0, Finish.Complete, "yes")
        );
        assertEq(Text.choose(MODEL, messages, options), 0);
    }

    function test_what_a_prompt_may_cost_can_be_limited() public {
        string[] memory options = strings("yes", "no");
        TextParams memory params = Text.greedyFor(Text.choices(options));
        params.maxPromptTokens = 40;
        inference.answer(MODEL, input(user("Is it?"), params, Text.choices(options)), encoded(1, Finish.Complete, "no"));
        inference.answer(MODEL, input(user("Is it?"), params, Text.range(0, 9)), encoded(4, Finish.Complete, "4"));
        assertEq(Text.choose(MODEL, "Is it?", options, params), 1);
        assertEq(Text.number(MODEL, "Is it?", 0, 9, params), 4);
    }

    function test_number_gives_the_value_and_asks_for_the_range() public {
        string[] memory constraint = new string[](3);
        (constraint[0], constraint[1], constraint[2]) = ("range", "-9223372036854775808", "105");
        TextParams memory params = Text.greedy();
        params.maxTokens = 20;
        inference.answer(MODEL, input(user("How many?"), params, constraint), encoded(-7, Finish.Complete, "-7"));
        assertEq(Text.number(MODEL, "How many?", type(int64).min, 105), -7);
    }

    function test_ask_gives_all_facts() public {
        TextParams memory params = Text.greedy();
        (params.maxTokens, params.maxBytes, params.stops) = (9, 20, strings(".", "\n"));
        bytes memory question = input(user("Say"), params, Text.json("{\"type\":\"null\"}"));
        inference.answer(MODEL, question, encoded(0, Finish.Bytes, "null"));
        Answer memory answer = Text.ask(MODEL, user("Say"), params, Text.json("{\"type\":\"null\"}"));
        assertEq(answer.text, "null");
        assertEq(uint256(answer.finish), uint256(Finish.Bytes));
        assertEq(answer.promptTokens, 21);
        assertEq(answer.answerTokens, 3);
    }

    // ---- the wire

    function test_the_wire_is_what_the_engine_reads() public pure {
        // The engine's test of the same name has the same hash.
        TextParams memory params = Text.greedy();
        (params.temperature, params.topK, params.seed, params.maxPromptTokens) = (0.7e18, 40, 5, 300);
        params.stops = strings("END", unicode"ö");
        Message[] memory messages = new Message[](2);
        (messages[0], messages[1]) = (Message("system", "Be kind."), Message("user", "Hi"));
        bytes memory wire = input(messages, params, Text.range(-12, 340));
        assertEq(keccak256(wire), WIRE);
    }

    bytes32 private constant WIRE = 0xfc3a0f2777da55d06ce0133a4b497d59eb900ac6b9375802420563424ee6835e;

    // ---- seeds

    function test_a_seed_holds_for_64_blocks_and_was_fixed_before() public {
        vm.roll(65);
        uint64 seed = Text.seedOfBlocks();
        for (uint256 number = 66; number <= 128; ++number) {
            vm.roll(number);
            assertEq(uint256(Text.seedOfBlocks()), uint256(seed));
        }
        vm.roll(129);
        assertTrue(Text.seedOfBlocks() != seed, "another 64 blocks");
        assertTrue(seed < 1 << 63, "63 bits");
    }

    function test_greedy_questions_have_no_seed() public {
        bytes32 before = keccak256(input(user("x"), Text.greedy(), new string[](0)));
        vm.roll(block.number + 1_000);
        assertEq(keccak256(input(user("x"), Text.greedy(), new string[](0))), before);
    }

    // ---- failures

    function test_a_failed_answer_is_a_typed_error() public {
        fails(MODEL, 13, "option 0 is how option 1 begins");
        vm.expectRevert(
            abi.encodeWithSelector(IInference.InferenceFailed.selector, 13, "option 0 is how option 1 begins")
        );
        asker.choose(MODEL, "Is it?", strings("no", "none"));
    }

    function test_another_kind_of_model_is_refused() public {
        givesScore(MODEL, 1);
        vm.expectRevert(abi.encodeWithSelector(Text.NotATextModel.selector, MODEL));
        asker.complete(MODEL, "x");
    }
}
