// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {CreditLine} from "../src/CreditLine.sol";

/// @notice Deploys a credit line, attests to an application and borrows against exactly the collateral that the model's answer
/// makes necessary.
contract Borrow is UsesDevnet {
    function run() external returns (CreditLine line, int256 risk, uint256 collateral) {
        useDevnet();
        uint256 key = vm.envOr("PRIVATE_KEY", DEVNET_KEY);
        bytes32 model = devnetModel("risk");
        vm.startBroadcast(key);
        line = new CreditLine{value: 10 ether}(model, vm.addr(key), 0.001 ether);
        line.attest(vm.addr(key), keccak256(abi.encode(_application())));
        risk = line.riskOf(_application());
        collateral = line.collateralRatio(risk) * 1 ether / 1e18;
        line.borrow{value: collateral}(_application(), 1 ether);
        vm.stopBroadcast();
    }

    /// @dev Nine years in the job, 60 months, no records, expenses 73, income 129, no assets, no debt, 1,000 for a good of 1,200.
    function _application() private pure returns (int256[9] memory) {
        return [int256(9e18), 60e18, 0, 73e18, 129e18, 0, 0, 1_000e18, 1_200e18];
    }
}
