// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, Tensor} from "../interfaces/IInference.sol";

/// @title Tensors to and from the bytes that the precompile takes and gives.
/// @notice `abi.encode` and `abi.decode` do the same; what stands here costs less and checks more.
/// @dev The encoding of a `Tensor[]` is, word for word, what Solidity keeps in memory for one, only with offsets where
/// memory has pointers. So the decoder turns each offset into a pointer, and copies nothing.
library TensorCodec {
    /// @notice These bytes are not the canonical `abi.encode(Tensor[])`, or a tensor's data does not fit its shape.
    error MalformedTensors();

    uint256 private constant DTYPE_MAX = 11;
    uint256 private constant RANK_MAX = 8;
    /// @dev Bytes of one element, one byte a dtype in the order of the enumeration.
    bytes32 private constant WIDTHS = 0x2020010102020404080801000000000000000000000000000000000000000000;

    /// @notice `abi.encode` of one WAD tensor of shape [1, values.length].
    function encodeRow(int256[] memory values) internal pure returns (bytes memory encoded) {
        uint256 size = rowSize(values);
        uint256 place;
        assembly ("memory-safe") {
            encoded := mload(0x40)
            mstore(encoded, size)
            place := add(encoded, 0x20)
            mstore(0x40, add(place, size))
        }
        writeRow(place, values);
    }

    /// @notice Length in bytes of `encodeRow(values)`.
    function rowSize(int256[] memory values) internal pure returns (uint256) {
        unchecked {
            return 0x140 + 32 * values.length;
        }
    }

    /// @notice Writes the content of `encodeRow(values)` to memory at `place`.
    function writeRow(uint256 place, int256[] memory values) internal pure {
        assembly ("memory-safe") {
            let count := mload(values)
            let size := shl(5, count)
            mstore(place, 0x20) // offset of the array
            mstore(add(place, 0x20), 1) // tensors
            mstore(add(place, 0x40), 0x20) // offset of the tensor
            mstore(add(place, 0x60), 0) // DType.Wad
            mstore(add(place, 0x80), 0x60) // offset of the shape
            mstore(add(place, 0xa0), 0xc0) // offset of the data
            mstore(add(place, 0xc0), 2) // rank
            mstore(add(place, 0xe0), 1)
            mstore(add(place, 0x100), count)
            mstore(add(place, 0x120), size)
            mcopy(add(place, 0x140), add(values, 0x20), size)
        }
    }

    /// @notice `abi.encode` of one tensor.
    function encode(Tensor memory tensor) internal pure returns (bytes memory) {
        Tensor[] memory tensors = new Tensor[](1);
        tensors[0] = tensor;
        return abi.encode(tensors);
    }

    /// @notice The tensors in a copy of `encoded`.
    function decode(bytes memory encoded) internal pure returns (Tensor[] memory) {
        return decodeInPlace(bytes.concat(encoded));
    }

    /// @notice The tensors in `encoded`, which is empty afterwards: its memory is theirs.
    function decodeInPlace(bytes memory encoded) internal pure returns (Tensor[] memory tensors) {
        uint256 heads;
        uint256 cursor;
        uint256 end;
        uint256 bad;
        assembly ("memory-safe") {
            let length := mload(encoded)
            tensors := add(encoded, 0x40)
            heads := add(encoded, 0x60)
            end := add(add(encoded, 0x20), length)
            bad := or(lt(length, 0x40), xor(mload(add(encoded, 0x20)), 0x20))
            let count := mload(tensors)
            bad := or(bad, gt(count, shr(5, length)))
            cursor := add(heads, shl(5, count))
            bad := or(bad, gt(cursor, end))
            mstore(encoded, 0)
        }
        if (bad != 0) revert MalformedTensors();

        uint256 first = cursor;
        for (uint256 head = heads; head < first;) {
            uint256 next = _adopt(cursor, end);
            assembly ("memory-safe") {
                bad := or(bad, xor(mload(head), sub(cursor, heads)))
                mstore(head, cursor)
                head := add(head, 0x20)
                cursor := next
            }
        }
        if (bad != 0 || cursor != end) revert MalformedTensors();
    }

    /// @notice The elements of the only tensor in `encoded`, where that is a WAD tensor; else `found` is false, and
    /// `encoded` as it was. The same as `decodeInPlace` at a third of the cost, for what most models answer.
    function takeOnlyWads(bytes memory encoded) internal pure returns (bool found, int256[] memory values) {
        assembly ("memory-safe") {
            let place := add(encoded, 0x20)
            let rank := mload(add(place, 0xc0))
            let offset := add(0x80, shl(5, rank))
            // array at 0x20 with 1 tensor at 0x20: Wad, shape at 0x60, data behind the shape
            // (`xor` compares here; slither takes it for a mistaken power.)
            // slither-disable-next-line incorrect-exp
            let other := or(xor(mload(place), 0x20), xor(mload(add(place, 0x20)), 1))
            other := or(other, or(xor(mload(add(place, 0x40)), 0x20), mload(add(place, 0x60))))
            other := or(other, or(xor(mload(add(place, 0x80)), 0x60), xor(mload(add(place, 0xa0)), offset)))
            other := or(other, gt(rank, RANK_MAX))
            if iszero(or(other, lt(mload(encoded), add(offset, 0x80)))) {
                let elements := 1
                let dimensions := add(place, 0xe0)
                values := add(add(place, 0x60), offset)
                for {} lt(dimensions, values) { dimensions := add(dimensions, 0x20) } {
                    let dimension := mload(dimensions)
                    elements := mul(elements, dimension)
                    other := or(other, or(shr(32, dimension), shr(64, elements)))
                }
                // 0x80 around what `offset` counts, then the elements, and nothing behind
                other := or(other, xor(mload(encoded), add(add(offset, 0x80), shl(5, elements))))
                found := iszero(or(other, xor(mload(values), shl(5, elements))))
            }
            switch found
            case 0 { values := 0x60 }
            default {
                mstore(values, shr(5, mload(values)))
                mstore(encoded, 0)
            }
        }
    }

    /// @notice Bytes of one element; 0 for text, which has no fixed width.
    function width(DType dtype) internal pure returns (uint256 size) {
        assembly ("memory-safe") {
            size := byte(dtype, WIDTHS)
        }
    }

    /// @dev Checks the tensor at `place` and turns its offsets into pointers. Returns where the next one begins. Words
    /// beyond `end` may be read before the test that refuses them.
    function _adopt(uint256 place, uint256 end) private pure returns (uint256 next) {
        uint256 bad;
        uint256 data;
        assembly ("memory-safe") {
            let rank := mload(add(place, 0x60))
            let offset := add(0x80, shl(5, rank))
            data := add(place, offset)
            bad := or(gt(mload(place), DTYPE_MAX), gt(rank, RANK_MAX))
            bad := or(bad, xor(mload(add(place, 0x20)), 0x60))
            bad := or(bad, xor(mload(add(place, 0x40)), offset))
            bad := or(bad, lt(sub(end, place), add(offset, 0x20)))
        }
        if (bad != 0) revert MalformedTensors();

        assembly ("memory-safe") {
            // The product of the dimensions; each fits 32 bits and the product 64.
            let elements := 1
            let dimensions := add(place, 0x80)
            for {} lt(dimensions, data) { dimensions := add(dimensions, 0x20) } {
                let dimension := mload(dimensions)
                elements := mul(elements, dimension)
                bad := or(bad, or(shr(32, dimension), shr(64, elements)))
            }
            let length := mload(data)
            next := add(add(data, 0x20), and(add(length, 31), not(31)))
            bad := or(bad, or(gt(length, sub(end, data)), gt(next, end)))
            let size := byte(mload(place), WIDTHS)
            switch size
            case 0 {
                // Text: of rank 0 any, else at least the lengths.
                bad := or(bad, and(gt(data, add(place, 0x80)), lt(length, shl(2, elements))))
            }
            default { bad := or(bad, xor(length, mul(elements, size))) }
            mstore(add(place, 0x20), add(place, 0x60))
            mstore(add(place, 0x40), data)
        }
        if (bad != 0) revert MalformedTensors();
    }
}
