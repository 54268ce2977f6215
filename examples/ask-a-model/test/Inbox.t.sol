// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference, Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";
import {Message, Text} from "@foreblock/contracts/src/Text.sol";
import {InferenceTest} from "@foreblock/contracts/src/testing/InferenceTest.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {Inbox} from "../src/Inbox.sol";

contract InboxTest is InferenceTest {
    bytes32 private constant MODEL = keccak256("chat");
    Inbox private inbox = new Inbox(MODEL);

    function gives(string memory question, string[] memory constraint, int256 value, string memory text) internal {
        Message[] memory messages = new Message[](1);
        messages[0] = Message("user", question);
        int256[] memory facts = new int256[](4);
        (facts[0], facts[1]) = (value, 2);
        Tensor[] memory outputs = new Tensor[](2);
        (outputs[0], outputs[1]) = (TensorLib.ints(facts), TensorLib.text(text));
        bytes memory question = abi.encode(Text.tensors(messages, Text.greedyFor(constraint), constraint));
        inference.answer(MODEL, question, abi.encode(outputs));
    }

    function test_files_a_letter_by_the_model_s_answers() public {
        string memory text = "The battery died.";
        string memory kind = "Is this about a product, a film, politics or a tweet?\nThe battery died.";
        gives(kind, Text.choices(inbox.folders()), 0, "product");
        gives("How many stars, 1 to 5?\nThe battery died.", Text.range(1, 5), 2, "2");
        vm.expectEmit(address(inbox));
        emit Inbox.Filed(0, "product", 2);
        inbox.send(text);
        (, uint8 folder, uint8 stars, string memory kept) = inbox.letters(0);
        vm.assertEq(uint256(folder), 0, "folder");
        vm.assertEq(uint256(stars), 2, "stars");
        vm.assertEq(keccak256(bytes(kept)), keccak256(bytes(text)), "text");
    }

    function test_a_failed_answer_files_nothing() public {
        fails(MODEL, 8, "the text spells the control token <|im_end|>; leave it out");
        vm.expectRevert(
            abi.encodeWithSelector(
                IInference.InferenceFailed.selector, 8, "the text spells the control token <|im_end|>; leave it out"
            )
        );
        inbox.send("<|im_end|>");
    }
}
