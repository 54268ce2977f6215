// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";
import {InferenceTest} from "@foreblock/contracts/src/testing/InferenceTest.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {ProposalGuard} from "../src/ProposalGuard.sol";

contract ProposalGuardTest is InferenceTest {
    bytes32 private constant MODEL = keccak256("text");
    address private constant TO = address(0xbeef);
    ProposalGuard private guard;
    uint256 public calls;

    function setUp() public {
        ProposalGuard.Kind[] memory kinds = new ProposalGuard.Kind[](3);
        kinds[0] = ProposalGuard.Kind("pay", 1 days, true);
        kinds[1] = ProposalGuard.Kind("set", 2 days, false);
        kinds[2] = ProposalGuard.Kind("upgrade", 7 days, false);
        guard = new ProposalGuard(address(this), MODEL, kinds);
        vm.deal(address(guard), 10 ether);
        vm.warp(1_000_000);
        _reads("pay", row(1e18, 0, 0));
        _reads("set", row(0, 1e18, 0));
        _reads("upgrade", row(0, 0, 1e18));
    }

    function test_a_payment_that_reads_as_one_waits_a_day() public {
        _reads("a grant", row(0.9e18, 0.2e18, 0.1e18));
        _expectDelay(1 ether, "a grant", 1 days);
        vm.warp(block.timestamp + 1 days);
        guard.execute(TO, 1 ether, "");
        vm.assertEq(TO.balance, 1 ether, "paid");
    }

    function test_a_payment_that_reads_as_a_setting_waits_longest() public {
        _reads("a small fee", row(0.1e18, 0.9e18, 0));
        _expectDelay(1 ether, "a small fee", 7 days);
        _expectDelay(0, "a small fee", 2 days);
    }

    function test_words_that_are_like_nothing_wait_longest() public {
        _reads("coffee", row(0.39e18, 0, 0));
        _expectDelay(1 ether, "coffee", 7 days);
    }

    function test_words_between_two_kinds_wait_longest() public {
        _reads("pay and set", row(0.7e18, 0.61e18, 0));
        _expectDelay(1 ether, "pay and set", 7 days);
    }

    function test_without_an_answer_the_proposal_waits_longest() public {
        fails(MODEL, 4, "out of range");
        _expectDelay(1 ether, "anything", 7 days);
    }

    function test_without_models_governance_goes_on() public {
        removeInference();
        _expectDelay(0, "anything", 7 days);
    }

    function test_too_little_gas_does_not_choose_the_longest_wait() public {
        bytes memory data = abi.encodeCall(ProposalGuard.propose, (TO, 0, "", "set"));
        for (uint256 gas = 60_000; gas < 400_000; gas += 3_000) {
            (bool ok,) = address(guard).call{gas: gas}(data);
            if (!ok) continue;
            vm.assertEq(guard.readyAt(keccak256(abi.encode(TO, 0, ""))), block.timestamp + 2 days, "the answer's wait");
            return;
        }
        vm.assertTrue(false, "it succeeds with enough");
    }

    function test_before_its_time_nothing_is_executed_and_afterwards_once() public {
        bytes memory data = abi.encodeCall(this.count, ());
        guard.propose(address(this), 0, data, "upgrade");
        vm.expectRevert(abi.encodeWithSelector(ProposalGuard.TooEarly.selector, 1_000_000 + 7 days));
        guard.execute(address(this), 0, data);
        vm.warp(1_000_000 + 7 days);
        guard.execute(address(this), 0, data);
        vm.assertEq(calls, 1, "called");
        vm.expectPartialRevert(ProposalGuard.NotProposed.selector);
        guard.execute(address(this), 0, data);
    }

    function test_bad_proposals_are_refused() public {
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(ProposalGuard.OnlyGovernor.selector, address(1)));
        guard.propose(TO, 0, "", "set");
        vm.expectRevert(abi.encodeWithSelector(ProposalGuard.TextSize.selector, 0, 1_000));
        guard.propose(TO, 0, "", "");
        vm.expectRevert(abi.encodeWithSelector(ProposalGuard.TextSize.selector, 1_001, 1_000));
        guard.propose(TO, 0, "", string(new bytes(1_001)));
        guard.propose(TO, 0, "", "set");
        vm.expectPartialRevert(ProposalGuard.AlreadyProposed.selector);
        guard.propose(TO, 0, "", "upgrade"); // a second description can't shorten or lengthen the wait
        vm.expectRevert(abi.encodeWithSelector(ProposalGuard.BadKinds.selector, 0));
        new ProposalGuard(address(this), MODEL, new ProposalGuard.Kind[](0));
    }

    function count() external {
        ++calls;
    }

    function _expectDelay(uint256 value, string memory description, uint256 delay) private {
        bytes32 action = guard.propose(TO, value, "", description);
        vm.assertEq(guard.readyAt(action), block.timestamp + delay, description);
    }

    function _reads(string memory text, int256[] memory embedding) private {
        Tensor[] memory input = new Tensor[](1);
        input[0] = TensorLib.reshape(TensorLib.octets(bytes(text)), TensorLib.shape(1, bytes(text).length));
        Tensor[] memory outputs = new Tensor[](2);
        outputs[0] = TensorLib.reshape(TensorLib.wads(embedding), TensorLib.shape(1, embedding.length));
        outputs[1] = TensorLib.reshape(TensorLib.wads(row(0)), TensorLib.shape(1, 1));
        inference.answer(MODEL, abi.encode(input), abi.encode(outputs));
    }
}
