// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title A reader of CBOR (RFC 8949), for what Chainlink's Functions requests are made of.
/// @notice Strings, byte strings, arrays of either kind, integers, tags and simple values; no maps.
library Cbor {
    /// @notice No CBOR of the kind expected begins at this byte.
    error MalformedCbor(uint256 position);

    struct Reader {
        bytes data;
        uint256 position;
    }

    uint256 private constant BYTES = 2;
    uint256 private constant TEXT = 3;
    uint256 private constant ARRAY = 4;
    uint256 private constant TAG = 6;
    uint256 private constant INDEFINITE = type(uint256).max;
    bytes1 private constant BREAK = 0xff;

    function atEnd(Reader memory reader) internal pure returns (bool) {
        return reader.position >= reader.data.length;
    }

    /// @notice The content of a text or byte string of definite length.
    function readString(Reader memory reader) internal pure returns (bytes memory content) {
        uint256 start = reader.position;
        (uint256 major, uint256 length) = _head(reader);
        uint256 rest = reader.data.length - reader.position;
        if ((major != BYTES && major != TEXT) || length > rest) revert MalformedCbor(start);
        content = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            content[i] = reader.data[reader.position + i];
        }
        reader.position += length;
    }

    /// @notice The strings of an array of strings.
    function readStrings(Reader memory reader) internal pure returns (bytes[] memory items) {
        uint256 start = reader.position;
        (uint256 major, uint256 count) = _head(reader);
        if (major != ARRAY) revert MalformedCbor(start);
        // Each takes a byte at least, so the data bounds how many there are.
        items = new bytes[](reader.data.length - reader.position);
        uint256 found = 0;
        while (found < count && !_takesBreak(reader, count)) {
            if (found == items.length) revert MalformedCbor(reader.position);
            items[found++] = readString(reader);
        }
        assembly ("memory-safe") {
            mstore(items, found)
        }
    }

    /// @notice Passes over one item, whatever it is.
    function skip(Reader memory reader) internal pure {
        uint256 start = reader.position;
        (uint256 major, uint256 value) = _head(reader);
        if (major == BYTES || major == TEXT) {
            reader.position = start;
            readString(reader);
        } else if (major == ARRAY) {
            for (uint256 i = 0; i < value && !_takesBreak(reader, value); ++i) {
                skip(reader);
            }
        } else if (major == TAG) {
            skip(reader);
        } else if (major != 0 && major != 1 && major != 7) {
            revert MalformedCbor(start);
        }
    }

    /// @dev Whether an array of indefinite length ends here.
    function _takesBreak(Reader memory reader, uint256 count) private pure returns (bool ends) {
        if (count != INDEFINITE) return false;
        if (atEnd(reader)) revert MalformedCbor(reader.position);
        ends = reader.data[reader.position] == BREAK;
        if (ends) ++reader.position;
    }

    function _head(Reader memory reader) private pure returns (uint256 major, uint256 value) {
        uint256 start = reader.position;
        if (atEnd(reader)) revert MalformedCbor(start);
        uint8 first = uint8(reader.data[reader.position++]);
        (major, value) = (first >> 5, first & 0x1f);
        if (value < 24) return (major, value);
        if (value == 31 && major == ARRAY) return (major, INDEFINITE);
        if (value > 27) revert MalformedCbor(start);
        uint256 size = 1 << (value - 24);
        if (size > reader.data.length - reader.position) revert MalformedCbor(start);
        value = 0;
        for (uint256 i = 0; i < size; ++i) {
            value = value << 8 | uint8(reader.data[reader.position++]);
        }
    }
}
