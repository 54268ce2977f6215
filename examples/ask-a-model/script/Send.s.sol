// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {Inbox} from "../src/Inbox.sol";

/// @notice Deploys the inbox and sends it a letter.
contract Send is UsesDevnet {
    function run() external returns (Inbox inbox) {
        useDevnet();
        bytes32 model = devnetModel("tiny-chat");
        vm.startBroadcast(vm.envOr("PRIVATE_KEY", DEVNET_KEY));
        inbox = new Inbox(model);
        inbox.send("The battery died after a week.");
        vm.stopBroadcast();
    }
}
