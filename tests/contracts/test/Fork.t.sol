// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {Chained} from "../src/Chained.sol";

/// @notice Run with `forge test --fork-url`: $DEPLOYED is a `Chained` on that chain, $FIRST what it stored, $MODEL its model.
contract ForkTest is UsesDevnet {
    Chained private deployed = Chained(vm.envAddress("DEPLOYED"));

    function test_forked_state_is_the_nodes() public view {
        vm.assertEq(block.chainid, 31_337, "chain id");
        vm.assertEq(deployed.first(), first(), "stored answer");
    }

    function test_a_forked_contract_can_ask_the_node() public {
        useDevnet();
        int256[16] memory returns_;
        returns_[15] = 0.05e18;
        deployed.ask(vm.envBytes32("MODEL"), returns_);
        vm.assertTrue(deployed.first() != first(), "another question, another answer");
    }

    function first() private view returns (int256) {
        return int256(uint256(vm.envBytes32("FIRST")));
    }
}
