// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {InferenceTest} from "@foreblock/contracts/src/testing/InferenceTest.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {PoolKey, SwapParams, UniswapV4} from "../src/IUniswapV4.sol";
import {IPoolManager, VolatilityHook} from "../src/VolatilityHook.sol";

/// @dev Stands in the pool manager's place: it has a tick, and calls the hook as the manager does.
contract VolatilityHookTest is InferenceTest {
    bytes32 private constant MODEL = keccak256("volatility");
    int256 private constant TICK = 99_995_000_333_308;
    VolatilityHook private hook;
    PoolKey private key;
    int24 private tick;

    function setUp() public {
        vm.warp(1_700_000_000);
        bytes memory code = abi.encodePacked(type(VolatilityHook).creationCode, abi.encode(this, MODEL));
        hook = new VolatilityHook{salt: _salt(keccak256(code))}(IPoolManager(address(this)), MODEL);
        key = PoolKey(address(1), address(2), UniswapV4.DYNAMIC_FEE, 60, address(hook));
        hook.afterInitialize(address(this), key, 0, 0);
    }

    /// @dev The manager's storage, as far as the hook looks.
    function extsload(bytes32 slot) external view returns (bytes32) {
        vm.assertEq(slot, keccak256(abi.encode(UniswapV4.id(key), 6)), "the pool's first slot");
        return bytes32(uint256(uint24(tick)) << 160);
    }

    function test_the_fee_is_the_default_until_16_returns_are_there() public {
        for (uint256 day = 0; day < 16; ++day) {
            vm.assertEq(_swapNextDay(0), uint256(3_000), "nothing is scripted: a question would revert");
        }
    }

    function test_the_fee_follows_the_model() public {
        givesScore(MODEL, 0.02e18);
        for (uint256 day = 0; day < 16; ++day) {
            _swapNextDay(0);
        }
        vm.expectEmit(address(hook));
        emit VolatilityHook.FeeChanged(UniswapV4.id(key), 0.02e18, 2_500);
        vm.assertEq(_swapNextDay(0), uint256(2_500), "0.05 % and a tenth of 2 %");
        givesScore(MODEL, 0.05e18);
        vm.assertEq(_swap(), uint256(2_500), "asked once a day");
        vm.assertEq(_swapNextDay(0), uint256(5_500), "and again the next");
    }

    function test_the_model_gets_the_days_time_weighted_returns_oldest_first() public {
        givesScore(MODEL, 0.02e18);
        for (uint256 day = 0; day < 15; ++day) {
            _swapNextDay(0);
        }
        // Half of a day at 0, half at 200: the day's average is 100. Then a whole day at 200.
        vm.warp(block.timestamp + 12 hours);
        _swap();
        tick = 200;
        vm.warp(block.timestamp + 12 hours);
        _swap();
        int256[] memory features = new int256[](16);
        (features[14], features[15]) = (100 * TICK, 100 * TICK);
        expectRun(MODEL, features);
        _swapNextDay(200);
    }

    function test_a_price_that_lasts_for_no_time_counts_for_nothing() public {
        _swapNextDay(0);
        tick = 50_000;
        _swap(); // in the same second
        tick = 0;
        _swapNextDay(0);
        vm.assertEq(hook.returnsOf(UniswapV4.id(key))[15], int256(0), "the day's average");
    }

    function test_the_fee_stays_where_the_model_fails_and_where_there_is_none() public {
        fails(MODEL, 5, "not finite");
        for (uint256 day = 0; day < 17; ++day) {
            vm.assertEq(_swapNextDay(0), uint256(3_000), "failed");
        }
        removeInference();
        vm.assertEq(_swapNextDay(0), uint256(3_000), "a chain without models");
    }

    function test_fees_have_bounds() public view {
        vm.assertEq(uint256(hook.feeFor(0)), 500, "at least");
        vm.assertEq(uint256(hook.feeFor(-1e18)), 500, "never below");
        vm.assertEq(uint256(hook.feeFor(0.195e18)), 20_000, "at most");
        vm.assertEq(uint256(hook.feeFor(10e18)), 20_000, "never above");
    }

    function test_only_the_manager_calls_and_only_dynamic_pools_are_taken() public {
        vm.expectRevert(abi.encodeWithSelector(VolatilityHook.FeeNotDynamic.selector, 3_000));
        hook.afterInitialize(address(this), PoolKey(address(1), address(2), 3_000, 60, address(hook)), 0, 0);
        vm.prank(address(7));
        vm.expectRevert(abi.encodeWithSelector(VolatilityHook.OnlyPoolManager.selector, address(7)));
        hook.beforeSwap(address(this), key, SwapParams(true, -1, 0), "");
        vm.expectPartialRevert(VolatilityHook.WrongAddress.selector);
        new VolatilityHook(IPoolManager(address(this)), MODEL);
    }

    /// @dev A day at a tick, and the swap that ends it.
    function _swapNextDay(int24 there) private returns (uint256) {
        tick = there;
        vm.warp(block.timestamp + 1 days);
        return _swap();
    }

    function _swap() private returns (uint256) {
        (bytes4 selector, int256 delta, uint24 fee) = hook.beforeSwap(address(this), key, SwapParams(true, -1, 0), "");
        vm.assertTrue(selector == VolatilityHook.beforeSwap.selector && delta == 0, "as the manager expects it");
        vm.assertTrue(fee & UniswapV4.OVERRIDE_FEE != 0, "for this swap");
        return fee & ~UniswapV4.OVERRIDE_FEE;
    }

    function _salt(bytes32 codeHash) private view returns (bytes32 salt) {
        for (uint256 i = 0;; ++i) {
            salt = bytes32(i);
            uint256 hash = uint256(keccak256(abi.encodePacked(hex"ff", address(this), salt, codeHash)));
            if (uint160(hash) & UniswapV4.HOOK_BITS == UniswapV4.AFTER_INITIALIZE | UniswapV4.BEFORE_SWAP) return salt;
        }
    }
}
