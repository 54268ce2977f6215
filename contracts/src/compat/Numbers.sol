// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title Numbers of other systems to and from WAD, `int256` with 18 decimals.
library Numbers {
    /// @notice The number has no WAD form, or the WAD no form of the kind that was asked for.
    error Unrepresentable();
    /// @notice No such way to round.
    error UnknownRounding(uint8 rounding);

    uint8 internal constant HALF_EVEN = 1;
    uint8 internal constant TRUNCATE = 2;
    uint8 internal constant FLOOR = 3;
    uint8 internal constant CEIL = 4;
    uint256 private constant ONE = 1e18;

    /// @notice `value` with `decimals` decimals as WAD; decimals beyond 18 are rounded, ties to even.
    function fromDecimal(int256 value, int256 decimals) internal pure returns (int256) {
        if (decimals <= 18) {
            if (decimals < -58) revert Unrepresentable();
            return value * int256(10 ** uint256(18 - decimals));
        }
        if (decimals > 95) return 0;
        return divide(value, 10 ** uint256(decimals - 18), HALF_EVEN);
    }

    /// @notice A WAD with `decimals` decimals.
    function toDecimal(int256 wad, uint256 decimals, uint8 rounding) internal pure returns (int256) {
        if (decimals <= 18) return divide(wad, 10 ** (18 - decimals), rounding);
        if (decimals > 76) revert Unrepresentable();
        return wad * int256(10 ** (decimals - 18));
    }

    /// @notice The IEEE 754 number with these bits, rounded to WAD, ties to even. Not NaN, not infinite.
    function fromBits(uint256 bits, uint256 mantissaBits, uint256 exponentBits) internal pure returns (int256) {
        uint256 mantissa = bits & ((1 << mantissaBits) - 1);
        uint256 exponent = (bits >> mantissaBits) & ((1 << exponentBits) - 1);
        bool negative = (bits >> (mantissaBits + exponentBits)) & 1 == 1;
        if (exponent == (1 << exponentBits) - 1) revert Unrepresentable();
        if (exponent == 0) exponent = 1; // subnormal
        else mantissa |= 1 << mantissaBits;
        int256 shift = int256(exponent) - int256((1 << (exponentBits - 1)) - 1) - int256(mantissaBits);
        int256 wad = _scaled(mantissa * ONE, shift);
        return negative ? -wad : wad;
    }

    /// @notice Bits of the single-precision number nearest to a WAD, ties to even.
    function toFloat32(int256 wad) internal pure returns (uint32) {
        if (wad == 0) return 0;
        uint256 value = _magnitude(wad);
        // value / 1e18 = q * 2^-shift with 2^23 <= q < 2^24. The finer of the two scales that it may be comes first: on the
        // coarser one, a mantissa of all ones rounds up to what looks like enough bits.
        int256 shift = 24 - (int256(_log2(value)) - 59);
        uint256 q = _ratio(value, shift);
        if (q > 1 << 24) q = _ratio(value, --shift);
        if (q == 1 << 24) (q, shift) = (1 << 23, shift - 1); // rounded up to the next power of two
        uint256 exponent = uint256(150 - shift); // bias 127, and 23 bits behind the point
        return uint32((wad < 0 ? 1 << 31 : 0) | exponent << 23 | (q & 0x7fffff));
    }

    /// @notice `value / divisor`, rounded as told.
    function divide(int256 value, uint256 divisor, uint8 rounding) internal pure returns (int256 quotient) {
        uint256 magnitude = _magnitude(value);
        bool negative = value < 0;
        uint256 whole = magnitude / divisor;
        uint256 rest = magnitude % divisor;
        if (rest != 0 && _awayFromZero(whole, rest, divisor, negative, rounding)) ++whole;
        quotient = negative ? -int256(whole) : int256(whole);
    }

    function _awayFromZero(uint256 whole, uint256 rest, uint256 divisor, bool negative, uint8 rounding)
        private
        pure
        returns (bool)
    {
        if (rounding == HALF_EVEN) return rest > divisor - rest || (rest == divisor - rest && whole % 2 == 1);
        if (rounding == TRUNCATE) return false;
        if (rounding == FLOOR) return negative;
        if (rounding == CEIL) return !negative;
        revert UnknownRounding(rounding);
    }

    /// @dev value * 2^shift, rounded to even.
    function _scaled(uint256 value, int256 shift) private pure returns (int256) {
        if (shift >= 0) {
            if (shift > 255 || value > uint256(type(int256).max) >> uint256(shift)) revert Unrepresentable();
            return int256(value << uint256(shift));
        }
        // A WAD of a double's mantissa has 113 bits: beyond that nothing is left.
        if (shift < -200) return 0;
        return divide(int256(value), 1 << uint256(-shift), HALF_EVEN);
    }

    /// @dev value / 1e18 * 2^shift, rounded to even. The shift leaves 24 bits, so that nothing overflows.
    function _ratio(uint256 value, int256 shift) private pure returns (uint256) {
        if (shift >= 0) return uint256(divide(int256(value << uint256(shift)), ONE, HALF_EVEN));
        return uint256(divide(int256(value), ONE << uint256(-shift), HALF_EVEN));
    }

    function _magnitude(int256 value) private pure returns (uint256) {
        if (value == type(int256).min) revert Unrepresentable();
        return uint256(value < 0 ? -value : value);
    }

    function _log2(uint256 value) private pure returns (uint256 bits) {
        for (uint256 step = 128; step > 0; step >>= 1) {
            if (value >> (bits + step) > 0) bits += step;
        }
    }
}
