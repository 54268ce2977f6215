// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference, Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";
import {InferenceTest} from "@foreblock/contracts/src/testing/InferenceTest.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {CreditLine} from "../src/CreditLine.sol";

contract CreditLineTest is InferenceTest {
    bytes32 private constant MODEL = keccak256("risk");
    uint128 private constant PRINCIPAL = 1 ether;
    CreditLine private line;
    int256[9] private features;

    function setUp() public {
        vm.deal(address(this), 100 ether);
        line = new CreditLine{value: 10 ether}(MODEL, address(this), 0.001 ether);
        for (uint256 i = 0; i < 9; ++i) {
            features[i] = int256(i) * 1e18;
        }
        features[7] = 1_000e18; // the amount: 1,000 units of 0.001 ether
        line.attest(address(this), keccak256(abi.encode(features)));
        _givesRisk(0.2e18);
    }

    receive() external payable {}

    function test_collateral_follows_the_risk() public {
        uint256 balance = address(this).balance;
        line.borrow{value: 0.7 ether}(features, PRINCIPAL);
        vm.assertEq(address(this).balance, balance - 0.7 ether + 1 ether, "the loan was paid out");
        line.repay{value: 1 ether}();
        vm.assertEq(address(this).balance, balance, "and the collateral back");
    }

    function test_a_wei_too_little_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(CreditLine.CollateralTooLow.selector, 0.7 ether - 1, 0.7 ether));
        line.borrow{value: 0.7 ether - 1}(features, PRINCIPAL);
    }

    function test_an_application_that_nobody_vouched_for_is_refused() public {
        features[0] = 40e18; // more years in the job than were attested
        vm.expectRevert(abi.encodeWithSelector(CreditLine.OnlyAttester.selector, address(this)));
        line.borrow{value: 2 ether}(features, PRINCIPAL);
    }

    function test_another_amount_than_attested_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(CreditLine.AmountMismatch.selector, 1 ether, 2 ether));
        line.borrow{value: 5 ether}(features, 2 ether);
    }

    function test_without_an_answer_there_is_no_loan() public {
        fails(MODEL, 4, "out of range");
        vm.expectRevert(abi.encodeWithSelector(IInference.InferenceFailed.selector, 4, "out of range"));
        line.borrow{value: 2 ether}(features, PRINCIPAL);
    }

    function test_one_attestation_is_good_for_one_loan() public {
        line.borrow{value: 0.7 ether}(features, PRINCIPAL);
        vm.expectRevert(abi.encodeWithSelector(CreditLine.LoanOpen.selector, address(this)));
        line.borrow{value: 0.7 ether}(features, PRINCIPAL);
        line.repay{value: 1 ether}();
        vm.expectRevert(abi.encodeWithSelector(CreditLine.OnlyAttester.selector, address(this)));
        line.borrow{value: 0.7 ether}(features, PRINCIPAL);
    }

    function test_only_the_attester_attests_and_only_the_debt_is_repaid() public {
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(CreditLine.OnlyAttester.selector, address(1)));
        line.attest(address(1), 0);
        vm.expectRevert(abi.encodeWithSelector(CreditLine.NoLoan.selector, address(this)));
        line.repay();
        line.borrow{value: 0.7 ether}(features, PRINCIPAL);
        vm.expectRevert(abi.encodeWithSelector(CreditLine.WrongRepayment.selector, 1, 1 ether));
        line.repay{value: 1}();
    }

    function testFuzz_collateral_lies_between_half_and_one_and_a_half(int256 risk) public view {
        uint256 ratio = line.collateralRatio(risk);
        vm.assertTrue(ratio >= 0.5e18 && ratio <= 1.5e18, "bounded whatever the model says");
    }

    /// @dev As the model answers: a label, then the probabilities of going well and badly.
    function _givesRisk(int256 risk) private {
        Tensor[] memory outputs = new Tensor[](2);
        outputs[0] = TensorLib.ints(row(risk > 0.5e18 ? int256(1) : int256(0)));
        outputs[1] = TensorLib.reshape(TensorLib.wads(row(1e18 - risk, risk)), TensorLib.shape(1, 2));
        inference.answerAll(MODEL, abi.encode(outputs));
    }
}
