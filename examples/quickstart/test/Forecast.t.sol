// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {InferenceTest} from "@foreblock/contracts/src/testing/InferenceTest.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {Forecast} from "../src/Forecast.sol";

contract ForecastTest is InferenceTest {
    bytes32 private constant MODEL = keccak256("volatility");
    Forecast private forecast = new Forecast(MODEL);
    int256[16] private calm;

    function test_stores_the_answer() public {
        givesScore(MODEL, 0.0123e18);
        vm.expectEmit(address(forecast));
        emit Forecast.Forecasted(0.0123e18);
        forecast.ask(calm);
        vm.assertEq(forecast.volatility(), 0.0123e18, "the model's answer");
    }

    function test_asks_with_the_returns_in_order() public {
        int256[] memory features = new int256[](16);
        for (uint256 i = 0; i < 16; ++i) {
            calm[i] = features[i] = int256(i) * 0.001e18;
        }
        givesScore(MODEL, features, 1);
        expectRun(MODEL, features);
        forecast.ask(calm);
    }

    function test_a_failed_inference_changes_nothing() public {
        givesScore(MODEL, 1);
        forecast.ask(calm);
        fails(MODEL, 5, "not finite");
        vm.expectRevert(abi.encodeWithSelector(IInference.InferenceFailed.selector, 5, "not finite"));
        forecast.ask(calm);
        vm.assertEq(forecast.volatility(), 1, "as before");
    }
}
