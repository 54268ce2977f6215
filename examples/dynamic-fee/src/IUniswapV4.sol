// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

// What a hook needs to know of Uniswap v4: the ABI of its core contracts, with plain types in place of theirs. A project that has
// `@uniswap/v4-core` imports it instead.

/// @notice Names a pool. Currencies are addresses, in ascending order; zero is ether.
struct PoolKey {
    address currency0;
    address currency1;
    uint24 fee;
    int24 tickSpacing;
    address hooks;
}

struct SwapParams {
    bool zeroForOne;
    int256 amountSpecified;
    uint160 sqrtPriceLimitX96;
}

interface IPoolManager {
    function initialize(PoolKey memory key, uint160 sqrtPriceX96) external returns (int24 tick);
    function extsload(bytes32 slot) external view returns (bytes32 value);
}

library UniswapV4 {
    /// @notice The fee of a pool whose hook says what it is.
    uint24 internal constant DYNAMIC_FEE = 0x800000;
    /// @notice Beside the fee that `beforeSwap` returns: take it for this swap.
    uint24 internal constant OVERRIDE_FEE = 0x400000;
    /// @notice The last bits of a hook's address say which calls it wants.
    uint160 internal constant HOOK_BITS = (1 << 14) - 1;
    uint160 internal constant AFTER_INITIALIZE = 1 << 12;
    uint160 internal constant BEFORE_SWAP = 1 << 7;

    /// @dev The storage slot of the mapping of pools.
    uint256 private constant POOLS = 6;

    function id(PoolKey memory key) internal pure returns (bytes32) {
        return keccak256(abi.encode(key));
    }

    /// @notice The pool's tick: the logarithm of its price to base 1.0001.
    function tick(IPoolManager manager, bytes32 poolId) internal view returns (int24) {
        // Price in 160 bits, the tick in the next 24.
        uint256 slot0 = uint256(manager.extsload(keccak256(abi.encode(poolId, POOLS))));
        return int24(uint24(slot0 >> 160));
    }
}
