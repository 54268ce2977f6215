// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {Feed} from "../src/Feed.sol";

/// @notice Deploys the feed, opens a channel and posts. `POST=… forge script …` posts something else.
contract Post is UsesDevnet {
    function run() external returns (Feed feed, int256 likeness, int256 valence) {
        useDevnet();
        string memory post =
            vm.envOr("POST", string("The DAO should spend 50,000 USDC on a security audit of the new vault."));
        bytes32 model = devnetModel("text");
        vm.startBroadcast(vm.envOr("PRIVATE_KEY", DEVNET_KEY));
        feed = new Feed(model);
        uint256 channel = feed.open("Proposal: reduce the swap fee from 30 to 5 basis points.", 0.3e18, -1e18);
        feed.post(channel, post);
        vm.stopBroadcast();
        (likeness, valence) = feed.judge(channel, post);
    }
}
