// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, Tensor} from "../../src/interfaces/IInference.sol";
import "../../src/compat/IOpenGradient.sol";
import {ModelNames} from "../../src/compat/ModelNames.sol";
import {OpenGradientAdapter} from "../../src/compat/OpenGradientAdapter.sol";
import {TensorLib} from "../../src/Tensor.sol";
import {InferenceTest} from "../../src/testing/InferenceTest.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

/// @notice A contract as one writes it for OpenGradient's chain.
contract OpenGradientClient {
    IOpenGradient private constant OG = IOpenGradient(0x00000000000000000000000000000000000000F4);
    Number public result;

    function ask(string calldata cid) external {
        ModelInput memory input = ModelInput(new MultiDimensionalNumberTensor[](1), new StringTensor[](0));
        input.numbers[0] = MultiDimensionalNumberTensor("input", new Number[](2), new uint32[](1));
        input.numbers[0].values[0] = Number(7286679744720459, 17);
        input.numbers[0].values[1] = Number(15, 1);
        input.numbers[0].shape[0] = 2;
        ModelOutput memory output = OG.runModelInference(ModelInferenceRequest(0, cid, input));
        require(!output.is_simulation_result, "never a simulation");
        result = output.numbers[0].values[0];
    }
}

contract OpenGradientAdapterTest is InferenceTest, Check {
    IOpenGradient private constant OG = IOpenGradient(0x00000000000000000000000000000000000000F4);
    bytes32 private constant MODEL = keccak256("model");
    string private constant CID = "QmbUqS93oc4JTLMHwpVxsE39mhNxy6hpf6Py3r9oANr8aZ";

    function setUp() public {
        vm.etch(address(OG), type(OpenGradientAdapter).runtimeCode);
        ModelNames(address(OG)).nameModel(bytes(CID), MODEL);
    }

    function test_an_unmodified_client_stores_the_answer() public {
        Tensor[] memory input = new Tensor[](1);
        input[0] = TensorLib.wads(row(0.07286679744720459e18, 1.5e18));
        Tensor[] memory output = new Tensor[](1);
        output[0] = TensorLib.wads(row(0.25e18));
        inference.answer(MODEL, abi.encode(input), abi.encode(output));
        OpenGradientClient client = new OpenGradientClient();
        client.ask(CID);
        (int128 value, int128 decimals) = client.result();
        assertEq(value, 0.25e18);
        assertEq(decimals, 18);
    }

    function test_whole_numbers_travel_as_integers_and_strings_after_them() public {
        ModelInput memory input = ModelInput(new MultiDimensionalNumberTensor[](1), new StringTensor[](1));
        input.numbers[0] = MultiDimensionalNumberTensor("n", new Number[](2), new uint32[](2));
        input.numbers[0].values[1] = Number(-5, 0);
        (input.numbers[0].shape[0], input.numbers[0].shape[1]) = (2, 1);
        input.strings[0] = StringTensor("s", new string[](1));
        input.strings[0].values[0] = "hello";

        Tensor[] memory expected = new Tensor[](2);
        expected[0] = TensorLib.reshape(TensorLib.packed(row(0, -5), DType.I64), TensorLib.shape(2, 1));
        expected[1] = TensorLib.texts(input.strings[0].values);
        Tensor[] memory answer = new Tensor[](3);
        answer[0] = TensorLib.text("yes");
        answer[1] = TensorLib.ints(row(3));
        answer[2] = TensorLib.wads(row(4e18));
        inference.answer(MODEL, abi.encode(expected), abi.encode(answer));

        ModelOutput memory output = OG.runModelInference(ModelInferenceRequest(1, CID, input));
        assertEq(output.numbers.length, 2);
        assertEq(output.numbers[0].values[0].value, 3);
        assertEq(output.numbers[0].values[0].decimals, 0);
        assertEq(output.numbers[1].values[0].value, 4e18);
        assertEq(output.strings[0].values[0], "yes");
        assertEq(output.jsons.length, 0);
    }

    function test_numbers_beyond_128_bits_lose_decimals() public {
        givesVector(MODEL, row(1e45, -1e50));
        ModelInput memory input = ModelInput(new MultiDimensionalNumberTensor[](0), new StringTensor[](0));
        ModelOutput memory output = OG.runModelInference(ModelInferenceRequest(0, CID, input));
        assertEq(output.numbers[0].values[0].value, 1e38);
        assertEq(output.numbers[0].values[0].decimals, 11);
        assertEq(output.numbers[0].values[1].value, -1e38);
        assertEq(output.numbers[0].values[1].decimals, 6);
    }

    function test_completion_and_chat() public {
        givesText(MODEL, "2+2?", "4");
        string[] memory none = new string[](0);
        assertEq(OG.runLLMCompletion(LLMCompletionRequest(0, CID, "2+2?", 10, none, 0)).answer, "4");

        givesText(MODEL, "system: be short\nuser: 2+2?\nassistant:", "four");
        LLMChatRequest memory chat;
        chat.modelCID = CID;
        chat.messages = new ChatMessage[](2);
        (chat.messages[0].role, chat.messages[0].content) = ("system", "be short");
        (chat.messages[1].role, chat.messages[1].content) = ("user", "2+2?");
        LLMChatResponse memory response = OG.runLLMChat(chat);
        assertEq(response.message.content, "four");
        assertEq(response.message.role, "assistant");
        assertEq(response.finish_reason, "stop");
    }

    function test_the_selectors_are_those_of_the_published_abi() public pure {
        string memory tensors = "((string,(int128,int128)[],uint32[])[],(string,string[])[])";
        bytes memory inference = bytes(string.concat("runModelInference((uint8,string,", tensors, "))"));
        assertTrue(IOpenGradient.runModelInference.selector == bytes4(keccak256(inference)), "inference");
        bytes memory completion = "runLLMCompletion((uint8,string,string,uint32,string[],uint32))";
        assertTrue(IOpenGradient.runLLMCompletion.selector == bytes4(keccak256(completion)), "completion");
        bytes memory chat = "runLLMChat((uint8,string,(string,string,string,string,(string,string,string)[])[],"
            "(string,string,string)[],string,uint32,string[],uint32))";
        assertTrue(IOpenGradient.runLLMChat.selector == bytes4(keccak256(chat)), "chat");
    }

    function test_tools_are_refused() public {
        LLMChatRequest memory chat;
        chat.modelCID = CID;
        chat.tools = new ToolDefinition[](1);
        vm.expectRevert(abi.encodeWithSelector(OpenGradientAdapter.Unsupported.selector, "tools"));
        OG.runLLMChat(chat);
    }

    function test_a_shape_that_does_not_fit_reverts() public {
        ModelInput memory input = ModelInput(new MultiDimensionalNumberTensor[](1), new StringTensor[](0));
        input.numbers[0] = MultiDimensionalNumberTensor("n", new Number[](2), new uint32[](1));
        input.numbers[0].shape[0] = 3;
        vm.expectRevert(abi.encodeWithSelector(TensorLib.ShapeMismatch.selector, 3, 2));
        OG.runModelInference(ModelInferenceRequest(0, CID, input));
    }
}
