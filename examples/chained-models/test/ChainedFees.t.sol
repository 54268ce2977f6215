// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {TensorCodec} from "@foreblock/contracts/src/libraries/TensorCodec.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";
import {InferenceTest} from "@foreblock/contracts/src/testing/InferenceTest.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {ChainedFees} from "../src/ChainedFees.sol";

contract ChainedFeesTest is InferenceTest {
    bytes32 private constant VOLATILITY = keccak256("volatility");
    bytes32 private constant FEE = keccak256("fee");
    ChainedFees private fees = new ChainedFees(address(this), VOLATILITY, FEE);

    function test_the_second_model_gets_the_first_ones_answer() public {
        givesScore(VOLATILITY, 0.02e18);
        _givesFees(0.02e18, 0.5e18, 0.004e18, 0.0051e18);
        _noteDays(17, 0.5e18);
        _expectFees(0.004e18, 0.0051e18);
    }

    function test_returns_are_asked_oldest_first_and_are_logarithms() public {
        givesScore(VOLATILITY, 0.02e18);
        _givesFees(0.02e18, 0, 1, 2);
        for (uint256 day = 0; day < 18; ++day) {
            vm.warp(block.timestamp + 1 days);
            // The last move alone is one of 10 %, the one before of nothing.
            fees.note(day < 17 ? 100e18 : 110e18, 0);
        }
        int256[] memory features = new int256[](16);
        features[15] = 0.09531017980432486e18; // ln 1.1
        features[15] = _nearest(features[15]);
        expectRun(VOLATILITY, features);
        fees.ask(0);
    }

    function test_fees_stay_where_a_model_fails() public {
        givesScore(VOLATILITY, 0.02e18);
        fails(FEE, 5, "not finite");
        _noteDays(17, 0);
        _expectFees(0.003e18, 0.003e18);
    }

    function test_fees_stay_on_a_chain_without_models() public {
        removeInference();
        _noteDays(17, 0);
        _expectFees(0.003e18, 0.003e18);
    }

    function test_no_question_before_there_are_16_returns() public {
        _noteDays(16, 0); // nothing is scripted: a question would revert
        _expectFees(0.003e18, 0.003e18);
    }

    function test_bad_notes_are_refused() public {
        vm.warp(1_000_000);
        fees.note(1, 0);
        vm.expectRevert(abi.encodeWithSelector(ChainedFees.TooEarly.selector, 1_000_000 + 1 days));
        fees.note(1, 0);
        vm.warp(1_000_000 + 1 days);
        vm.expectRevert(ChainedFees.InvalidPrice.selector);
        fees.note(0, 0);
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(ChainedFees.OnlyPool.selector, address(1)));
        fees.note(1, 0);
    }

    function _noteDays(uint256 count, int256 inventory) private {
        for (uint256 day = 0; day < count; ++day) {
            vm.warp(block.timestamp + 1 days);
            fees.note(100e18 + day * 1e17, inventory);
        }
    }

    function _givesFees(int256 volatility, int256 inventory, int256 buy, int256 sell) private {
        Tensor[] memory inputs = new Tensor[](2);
        inputs[0] = TensorLib.reshape(TensorLib.wads(row(volatility)), TensorLib.shape(1, 1));
        inputs[1] = TensorLib.reshape(TensorLib.wads(row(inventory)), TensorLib.shape(1, 1));
        inference.answer(FEE, abi.encode(inputs), TensorCodec.encodeRow(row(buy, sell)));
    }

    function _expectFees(int256 buy, int256 sell) private view {
        vm.assertEq(fees.buyFee(), buy, "the fee for buying");
        vm.assertEq(fees.sellFee(), sell, "the fee for selling");
    }

    /// @dev The contract's series in the same fixed point, for a move of 10 %.
    function _nearest(int256 expected) private pure returns (int256 sum) {
        (int256 z, int256 power) = (int256(10e18) * 1e18 / 210e18, int256(10e18) * 1e18 / 210e18);
        for (int256 n = 1; n < 18; n += 2) {
            sum += 2 * power / n;
            power = power * z / 1e18 * z / 1e18;
        }
        int256 distance = sum > expected ? sum - expected : expected - sum;
        vm.assertTrue(distance < 1e9, "the logarithm to nine digits");
    }
}
