// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title The price of inference gas, in execution gas.
/// @notice A second base fee, moving as EIP-4844's does: it rises while blocks run more inference than the target, by at
/// most an eighth a block, and falls back to its floor, one, while they run less. Inference never costs less than execution (the
/// reason of EIP-7918's floor), and a transaction still has one `maxFeePerGas`, since the price is charged as gas.
/// @dev The same numbers stand in the Rust crate `foreblock-precompile`; vectors under tests/vectors hold both to it.
library InferencePrice {
    /// @dev Inference gas a block that leaves the price as it is: about three seconds of one core.
    uint256 internal constant TARGET = 30_000_000;
    /// @dev What a block counts at most: one block moves the excess by at most TARGET.
    uint256 internal constant COUNTED_MAX = 2 * TARGET;
    /// @dev TARGET / ln(1.125), rounded up, so that a full block raises the price by at most an eighth.
    uint256 internal constant UPDATE_FRACTION = 254_710_000;
    /// @dev Twenty times UPDATE_FRACTION: at e^20 nobody buys, and the sums below cannot overflow.
    uint256 internal constant EXCESS_MAX = 20 * UPDATE_FRACTION;
    /// @dev The price's unit: a millionth of an execution gas for one inference gas.
    uint256 internal constant ONE = 1_000_000;

    /// @notice The excess after a block that ran `inferenceGas`.
    function nextExcess(uint256 excess, uint256 inferenceGas) internal pure returns (uint256) {
        uint256 counted = inferenceGas < COUNTED_MAX ? inferenceGas : COUNTED_MAX;
        uint256 sum = excess + counted;
        if (sum < TARGET) return 0;
        return sum - TARGET < EXCESS_MAX ? sum - TARGET : EXCESS_MAX;
    }

    /// @notice Millionths of an execution gas for one inference gas: `ONE * e^(excess / UPDATE_FRACTION)`, by EIP-4844's
    /// `fake_exponential`.
    function price(uint256 excess) internal pure returns (uint256 output) {
        unchecked {
            uint256 term = ONE * UPDATE_FRACTION;
            for (uint256 i = 1; term > 0; ++i) {
                output += term;
                term = (term * excess) / (UPDATE_FRACTION * i);
            }
            output /= UPDATE_FRACTION;
        }
    }
}
