// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title Decimal numbers in text, such as `-12.5`, as WAD.
library Decimal {
    uint256 private constant DECIMALS = 18;
    /// @dev Digits before the point: 10^(58 + 18) is below 2^255.
    uint256 private constant DIGITS_MAX = 58;

    /// @notice The number that `text` is, exactly, or false: a sign at most, digits, and 18 digits at most behind a point.
    function parse(bytes memory text) internal pure returns (bool ok, int256 wad) {
        uint256 place = text.length > 0 && text[0] == "-" ? 1 : 0;
        bool negative = place == 1;
        uint256 value = 0;
        uint256 whole = 0;
        for (; place < text.length && text[place] != "."; ++place) {
            if (!_isDigit(text[place]) || ++whole > DIGITS_MAX) return (false, 0);
            value = value * 10 + uint8(text[place]) - 48;
        }
        uint256 fraction = 0;
        if (place < text.length) {
            for (++place; place < text.length; ++place) {
                if (!_isDigit(text[place]) || ++fraction > DECIMALS) return (false, 0);
                value = value * 10 + uint8(text[place]) - 48;
            }
            if (fraction == 0) return (false, 0);
        }
        if (whole == 0) return (false, 0);
        wad = int256(value * 10 ** (DECIMALS - fraction));
        return (true, negative ? -wad : wad);
    }

    function _isDigit(bytes1 character) private pure returns (bool) {
        return character >= "0" && character <= "9";
    }
}
