// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {InferencePrice} from "../../src/libraries/InferencePrice.sol";
import {IModelRegistry} from "../../src/interfaces/IModelRegistry.sol";
import {ModelRegistry} from "../../src/ModelRegistry.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

contract InferencePriceTest is Check {
    address private constant SYSTEM = 0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE;

    function test_floor_is_one() public pure {
        assertEq(InferencePrice.price(0), 1_000_000);
        assertEq(InferencePrice.nextExcess(0, InferencePrice.TARGET), 0);
        assertEq(InferencePrice.nextExcess(10, 0), 0);
    }

    function test_a_full_block_raises_by_at_most_an_eighth() public pure {
        uint256 excess = InferencePrice.nextExcess(0, type(uint64).max);
        assertEq(excess, InferencePrice.TARGET);
        assertEq(InferencePrice.price(excess), 1_124_997);
    }

    function testFuzz_moves_by_at_most_an_eighth(uint256 excess, uint256 used) public pure {
        excess = excess % (InferencePrice.EXCESS_MAX + 1);
        used = used % (1 << 64);
        uint256 beforeBlock = InferencePrice.price(excess);
        uint256 afterBlock = InferencePrice.price(InferencePrice.nextExcess(excess, used));
        // One millionth of slack for the series' rounding.
        assertTrue(afterBlock * 1000 <= beforeBlock * 1125 + 1000, "by more than an eighth");
        assertTrue(afterBlock >= InferencePrice.ONE, "below the floor");
    }

    function test_the_excess_is_bounded() public pure {
        uint256 max = InferencePrice.EXCESS_MAX;
        assertEq(InferencePrice.nextExcess(max, type(uint64).max), max);
        assertEq(InferencePrice.price(max) / 1e6, 485_165_195);
    }

    function test_only_the_system_address_starts_a_block() public {
        ModelRegistry registry = new ModelRegistry();
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.OnlySystem.selector));
        registry.startBlock(1);
        vm.prank(SYSTEM);
        registry.startBlock(InferencePrice.TARGET + 7);
        assertEq(registry.excess(), 7);
        assertEq(uint256(vm.load(address(registry), bytes32(uint256(1)))), 7);
    }
}
