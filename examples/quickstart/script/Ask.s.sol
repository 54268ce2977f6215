// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {Forecast} from "../src/Forecast.sol";

/// @notice Deploys `Forecast` and asks once.
contract Ask is UsesDevnet {
    function run() external returns (Forecast forecast, int256 volatility) {
        useDevnet();
        bytes32 model = devnetModel("volatility");
        vm.startBroadcast(vm.envOr("PRIVATE_KEY", DEVNET_KEY));
        forecast = new Forecast(model);
        forecast.ask(_returns());
        vm.stopBroadcast();
        volatility = forecast.volatility();
    }

    /// @dev Sixteen days of crude oil, in WAD.
    function _returns() private pure returns (int256[16] memory) {
        return [
            int256(-0.0133e18),
            0.0424e18,
            0.0043e18,
            -0.0108e18,
            -0.0211e18,
            0.0234e18,
            -0.0326e18,
            0.0113e18,
            -0.0119e18,
            0.0318e18,
            0.0051e18,
            -0.0072e18,
            0.0163e18,
            -0.0049e18,
            0.0021e18,
            -0.0187e18
        ];
    }
}
