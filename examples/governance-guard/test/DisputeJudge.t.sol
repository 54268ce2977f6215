// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";
import {Message, Text} from "@foreblock/contracts/src/Text.sol";
import {InferenceTest} from "@foreblock/contracts/src/testing/InferenceTest.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {DisputeJudge} from "../src/DisputeJudge.sol";

contract DisputeJudgeTest is InferenceTest {
    bytes32 private constant MODEL = keccak256("chat");
    address private constant BUYER = address(0xb);
    address private constant SELLER = address(0xc);
    DisputeJudge private judge = new DisputeJudge(MODEL, address(this));

    function setUp() public {
        vm.deal(BUYER, 7 ether);
        vm.warp(1_000_000);
    }

    function test_the_ruling_shares_the_money_after_the_time_to_appeal() public {
        _ruled(0, "It arrived late.", 1);
        vm.expectRevert(abi.encodeWithSelector(DisputeJudge.TooEarly.selector, 1_000_000 + 3 days));
        judge.enforce(0);
        vm.warp(1_000_001 + 3 days);
        judge.enforce(0);
        _expectPaid(1 ether + 1, 1 ether);
    }

    function test_each_ruling_gives_the_whole_price_to_the_two() public {
        for (uint256 ruling = 0; ruling < 3; ++ruling) {
            _ruled(ruling, "So it goes.", int256(ruling));
            vm.warp(block.timestamp + 3 days + 1);
            judge.enforce(ruling);
        }
        vm.assertEq(judge.owed(SELLER), 3 ether + 1, "nothing, half and all");
        vm.assertEq(judge.owed(BUYER), 3 ether + 2, "all, half and nothing");
    }

    function test_a_silent_seller_is_ruled_on_without_an_answer() public {
        _disputed();
        _says("No answer.", 0);
        vm.expectRevert(abi.encodeWithSelector(DisputeJudge.NotYours.selector, address(this)));
        judge.answer(0, "I am not the seller.");
        vm.warp(block.timestamp + 2 days + 1);
        judge.answer(0, "I am not the seller.");
        vm.warp(block.timestamp + 3 days + 1);
        judge.enforce(0);
        _expectPaid(2 ether + 1, 0);
    }

    function test_an_appeal_in_time_takes_the_ruling_to_the_arbiter() public {
        _ruled(0, "Never.", 2);
        vm.expectPartialRevert(DisputeJudge.NotYours.selector);
        judge.appeal(0);
        vm.warp(1_000_001 + 3 days);
        vm.prank(BUYER);
        vm.expectRevert(abi.encodeWithSelector(DisputeJudge.TooLate.selector, 1_000_000 + 3 days));
        judge.appeal(0);
        vm.warp(1_000_000 + 3 days);
        vm.prank(BUYER);
        judge.appeal(0);
        vm.expectPartialRevert(DisputeJudge.WrongStage.selector);
        judge.enforce(0);
        vm.prank(SELLER);
        vm.expectPartialRevert(DisputeJudge.NotYours.selector);
        judge.decide(0, DisputeJudge.Ruling.Refund);
        judge.decide(0, DisputeJudge.Ruling.Refund);
        _expectPaid(2 ether + 1, 0);
    }

    function test_where_the_model_has_no_answer_the_arbiter_decides() public {
        _disputed();
        fails(MODEL, 14, "too long");
        vm.prank(SELLER);
        judge.answer(0, "Never.");
        judge.decide(0, DisputeJudge.Ruling.Pay);
        _expectPaid(0, 2 ether + 1);
    }

    function test_too_little_gas_does_not_take_it_to_the_arbiter() public {
        _disputed();
        _says("Never.", 2);
        bytes memory data = abi.encodeCall(DisputeJudge.answer, (0, "Never."));
        for (uint256 gas = 40_000; gas < 600_000; gas += 5_000) {
            vm.prank(SELLER);
            (bool ok,) = address(judge).call{gas: gas}(data);
            if (!ok) continue;
            (,,, DisputeJudge.Stage stage,,,,) = judge.sales(0);
            vm.assertTrue(stage == DisputeJudge.Stage.Ruled, "the model's ruling");
            return;
        }
        vm.assertTrue(false, "it succeeds with enough");
    }

    function test_without_a_complaint_the_seller_gets_it_and_bad_texts_are_refused() public {
        vm.expectRevert(abi.encodeWithSelector(DisputeJudge.TextSize.selector, 0, 200));
        judge.buy(SELLER, "");
        vm.prank(BUYER);
        judge.buy{value: 2 ether + 1}(SELLER, "A red bicycle.");
        vm.prank(BUYER);
        vm.expectRevert(abi.encodeWithSelector(DisputeJudge.TextSize.selector, 201, 200));
        judge.complain(0, string(new bytes(201)));
        vm.prank(BUYER);
        judge.release(0);
        _expectPaid(0, 2 ether + 1);
    }

    function _disputed() private {
        vm.prank(BUYER);
        uint256 id = judge.buy{value: 2 ether + 1}(SELLER, "A red bicycle.");
        vm.prank(BUYER);
        judge.complain(id, "It is blue.");
    }

    function _ruled(uint256 id, string memory reply, int256 ruling) private {
        _disputed();
        _says(reply, ruling);
        vm.prank(SELLER);
        judge.answer(id, reply);
    }

    function _says(string memory reply, int256 ruling) private {
        string[] memory rulings = new string[](3);
        (rulings[0], rulings[1], rulings[2]) = ("refund", "half", "pay");
        Message[] memory messages = new Message[](4);
        messages[0] = Message("system", judge.TASK());
        (messages[1], messages[2]) = (Message("user", "A red bicycle."), Message("user", "It is blue."));
        messages[3] = Message("user", reply);
        Tensor[] memory outputs = new Tensor[](2);
        outputs[0] = TensorLib.ints(row(ruling, 2, 90, 3));
        outputs[1] = TensorLib.text(rulings[uint256(ruling)]);
        inference.answer(
            MODEL,
            abi.encode(Text.tensors(messages, Text.greedyFor(Text.choices(rulings)), Text.choices(rulings))),
            abi.encode(outputs)
        );
    }

    function _expectPaid(uint256 buyer, uint256 seller) private {
        uint256 before = BUYER.balance;
        vm.prank(BUYER);
        judge.withdraw();
        vm.prank(SELLER);
        judge.withdraw();
        vm.assertEq(BUYER.balance - before, buyer, "the buyer");
        vm.assertEq(SELLER.balance, seller, "the seller");
        vm.assertEq(address(judge).balance, 0, "nothing is left");
    }
}
