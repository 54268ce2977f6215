// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {DisputeJudge} from "../src/DisputeJudge.sol";

/// @notice A sale between the devnet's first two accounts, a complaint, an answer, and the model's ruling.
contract Judge is UsesDevnet {
    /// @dev The devnet's second key, known to everybody.
    uint256 private constant SECOND_KEY = 0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d;

    function run() external returns (DisputeJudge judge) {
        useDevnet();
        (uint256 buyer, uint256 seller) = (vm.envOr("PRIVATE_KEY", DEVNET_KEY), vm.envOr("SELLER_KEY", SECOND_KEY));
        bytes32 model = devnetModel("tiny-chat");
        vm.startBroadcast(buyer);
        judge = new DisputeJudge(model, vm.addr(buyer));
        judge.buy{value: 1 ether}(vm.addr(seller), "A camera whose battery lasts for two days.");
        judge.complain(0, "The battery died after an hour. It is a terrible camera.");
        vm.stopBroadcast();
        vm.startBroadcast(seller);
        judge.answer(0, "I am sorry. Keep it for half of the money.");
        vm.stopBroadcast();
    }
}
