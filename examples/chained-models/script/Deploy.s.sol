// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {ChainedFees} from "../src/ChainedFees.sol";

/// @notice Deploys the fees with an account in the pool's place, and notes the first day's price.
contract Deploy is UsesDevnet {
    function run() external returns (ChainedFees fees) {
        useDevnet();
        uint256 key = vm.envOr("PRIVATE_KEY", DEVNET_KEY);
        (bytes32 volatility, bytes32 fee) = (devnetModel("volatility"), devnetModel("fee"));
        vm.startBroadcast(key);
        fees = new ChainedFees(vm.addr(key), volatility, fee);
        fees.note(100e18, 0);
        vm.stopBroadcast();
    }
}
