// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title What contracts do with a model's vectors.
/// @notice Elements are WAD: `int256` with 18 decimals. Results are rounded to nearest, ties to even. What does not fit
/// an `int256` on the way reverts with Panic 0x11.
library WadVector {
    /// @notice The vector has no elements.
    error EmptyVector();
    /// @notice Two vectors of different lengths.
    error LengthMismatch(uint256 a, uint256 b);
    /// @notice All elements are zero, so there is no direction to compare.
    error ZeroVector();
    /// @notice The bounds do not lie in order within the vector.
    error OutOfBounds(uint256 start, uint256 end, uint256 length);

    int256 internal constant ONE = 1e18;

    /// @notice Index of the greatest element, the first of several.
    function argmax(int256[] memory values) internal pure returns (uint256 index) {
        if (values.length == 0) revert EmptyVector();
        assembly ("memory-safe") {
            let first := add(values, 0x20)
            let end := add(first, shl(5, mload(values)))
            let best := mload(first)
            let best_place := first
            for { let place := add(first, 0x20) } lt(place, end) { place := add(place, 0x20) } {
                let value := mload(place)
                if sgt(value, best) {
                    best := value
                    best_place := place
                }
            }
            index := shr(5, sub(best_place, first))
        }
    }

    /// @notice A copy of `values[start:end]`.
    function slice(int256[] memory values, uint256 start, uint256 end) internal pure returns (int256[] memory part) {
        if (start > end || end > values.length) revert OutOfBounds(start, end, values.length);
        part = new int256[](end - start);
        assembly ("memory-safe") {
            mcopy(add(part, 0x20), add(add(values, 0x20), shl(5, start)), shl(5, sub(end, start)))
        }
    }

    /// @notice Sum of the products, rounded once.
    function dot(int256[] memory a, int256[] memory b) internal pure returns (int256) {
        return _divideRounded(_dot(a, b), ONE);
    }

    /// @notice Euclidean length, rounded down.
    function norm(int256[] memory values) internal pure returns (int256) {
        return int256(_sqrt(uint256(_dot(values, values))));
    }

    /// @notice Cosine of the angle between two vectors, -1e18 to 1e18.
    function cosine(int256[] memory a, int256[] memory b) internal pure returns (int256) {
        int256 scale = norm(a) * norm(b);
        if (scale == 0) revert ZeroVector();
        int256 result = _divideRounded(_dot(a, b) * ONE, scale);
        // The norms are rounded down, so that parallel vectors may come out a little beyond one.
        return result > ONE ? ONE : result < -ONE ? -ONE : result;
    }

    /// @dev With 36 decimals. Elements below 2^96 can't overflow the sum of 2^32 products, so that one test at the end
    /// is enough for them; others are summed again with a test at each step.
    function _dot(int256[] memory a, int256[] memory b) private pure returns (int256 sum) {
        if (a.length != b.length) revert LengthMismatch(a.length, b.length);
        uint256 magnitudes;
        assembly ("memory-safe") {
            let end := add(add(a, 0x20), shl(5, mload(a)))
            let distance := sub(b, a)
            for { let place := add(a, 0x20) } lt(place, end) { place := add(place, 0x20) } {
                let x := mload(place)
                let y := mload(add(place, distance))
                magnitudes := or(magnitudes, or(xor(x, sar(255, x)), xor(y, sar(255, y))))
                sum := add(sum, mul(x, y))
            }
        }
        if (magnitudes >> 96 != 0) return _dotChecked(a, b);
    }

    function _dotChecked(int256[] memory a, int256[] memory b) private pure returns (int256 sum) {
        for (uint256 i = 0; i < a.length; ++i) {
            sum += a[i] * b[i];
        }
    }

    function _divideRounded(int256 value, int256 divisor) private pure returns (int256 quotient) {
        quotient = value / divisor;
        uint256 rest = _magnitude(value % divisor);
        uint256 other = uint256(divisor) - rest;
        if (rest > other || (rest == other && quotient % 2 != 0)) quotient += value < 0 ? -1 : int256(1);
    }

    function _magnitude(int256 value) private pure returns (uint256) {
        return uint256(value < 0 ? -value : value);
    }

    /// @dev Newton's method from a power of two above the root: it falls until it is the floor.
    function _sqrt(uint256 value) private pure returns (uint256 root) {
        if (value == 0) return 0;
        uint256 bits = 0;
        for (uint256 step = 128; step > 0; step >>= 1) {
            if (value >> (bits + step) > 0) bits += step;
        }
        root = 1 << (bits / 2 + 1);
        while (true) {
            uint256 next = (root + value / root) / 2;
            if (next >= root) return root;
            root = next;
        }
    }
}
