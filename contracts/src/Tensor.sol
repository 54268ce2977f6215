// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, Tensor} from "./interfaces/IInference.sol";
import {TensorCodec} from "./libraries/TensorCodec.sol";

/// @title Builds tensors and reads them.
/// @notice Builders copy; `take…` functions do not, and leave the tensor empty. Everything that does not fit reverts.
library TensorLib {
    /// @notice The shape's product is not the number of elements.
    error ShapeMismatch(uint256 expected, uint256 actual);
    /// @notice The value does not fit the tensor's dtype.
    error ValueOutOfRange(uint256 index, DType dtype);
    /// @notice The tensor holds something else.
    error WrongDType(DType actual);
    /// @notice A dtype that this builder does not pack.
    error NotPacked(DType dtype);
    /// @notice No such row, or the tensor has no rows.
    error NoSuchRow(uint256 row, uint256 rows);

    // ---- shapes

    function shape(uint256 a) internal pure returns (uint32[] memory dimensions) {
        dimensions = new uint32[](1);
        dimensions[0] = _dimension(a);
    }

    function shape(uint256 a, uint256 b) internal pure returns (uint32[] memory dimensions) {
        dimensions = new uint32[](2);
        (dimensions[0], dimensions[1]) = (_dimension(a), _dimension(b));
    }

    function shape(uint256 a, uint256 b, uint256 c) internal pure returns (uint32[] memory dimensions) {
        dimensions = new uint32[](3);
        (dimensions[0], dimensions[1], dimensions[2]) = (_dimension(a), _dimension(b), _dimension(c));
    }

    function shape(uint256 a, uint256 b, uint256 c, uint256 d) internal pure returns (uint32[] memory dimensions) {
        dimensions = new uint32[](4);
        (dimensions[0], dimensions[1]) = (_dimension(a), _dimension(b));
        (dimensions[2], dimensions[3]) = (_dimension(c), _dimension(d));
    }

    // ---- builders

    /// @notice Fixed-point numbers with 18 decimals, shape [values.length].
    function wads(int256[] memory values) internal pure returns (Tensor memory) {
        return Tensor(DType.Wad, shape(values.length), _words(values));
    }

    /// @notice Whole numbers in 32 bytes each, shape [values.length].
    function ints(int256[] memory values) internal pure returns (Tensor memory) {
        return Tensor(DType.Int, shape(values.length), _words(values));
    }

    /// @notice Whole numbers in 32 bytes each, below 2^255, shape [values.length].
    function ints(uint256[] memory values) internal pure returns (Tensor memory) {
        int256[] memory signed;
        for (uint256 i = 0; i < values.length; ++i) {
            if (values[i] > uint256(type(int256).max)) revert ValueOutOfRange(i, DType.Int);
        }
        assembly ("memory-safe") {
            signed := values
        }
        return ints(signed);
    }

    /// @notice Whole numbers packed as `dtype`, U8 to I64, shape [values.length].
    function packed(int256[] memory values, DType dtype) internal pure returns (Tensor memory) {
        if (dtype < DType.U8 || dtype > DType.I64) revert NotPacked(dtype);
        uint256 width = TensorCodec.width(dtype);
        // The dtypes come in pairs, unsigned first.
        bool signed = uint256(dtype) % 2 == uint256(DType.I8) % 2;
        bytes memory data = new bytes(values.length * width);
        for (uint256 i = 0; i < values.length; ++i) {
            if (!_fits(values[i], width, signed)) revert ValueOutOfRange(i, dtype);
            _put(data, i * width, width, uint256(values[i]));
        }
        return Tensor(dtype, shape(values.length), data);
    }

    /// @notice Bytes as numbers of 0 to 255, shape [data.length]: pixels, tokens of one byte. Shares `data`'s memory.
    function octets(bytes memory data) internal pure returns (Tensor memory) {
        return Tensor(DType.U8, shape(data.length), data);
    }

    /// @notice Shape [values.length].
    function bools(bool[] memory values) internal pure returns (Tensor memory) {
        bytes memory data = new bytes(values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            if (values[i]) data[i] = 0x01;
        }
        return Tensor(DType.Bool, shape(values.length), data);
    }

    /// @notice One UTF-8 text, rank 0. Shares the text's memory.
    function text(string memory value) internal pure returns (Tensor memory) {
        return Tensor(DType.Text, new uint32[](0), bytes(value));
    }

    /// @notice UTF-8 texts, shape [values.length].
    function texts(string[] memory values) internal pure returns (Tensor memory) {
        // slither-disable-next-line uninitialized-local
        bytes memory data; // empty at first
        for (uint256 i = 0; i < values.length; ++i) {
            data = bytes.concat(data, bytes4(_dimension(bytes(values[i]).length)), bytes(values[i]));
        }
        return Tensor(DType.Text, shape(values.length), data);
    }

    /// @notice The same elements in another shape.
    function reshape(Tensor memory tensor, uint32[] memory dimensions) internal pure returns (Tensor memory) {
        uint256 expected = _product(dimensions, 0);
        if (expected != size(tensor)) revert ShapeMismatch(expected, size(tensor));
        return Tensor(tensor.dtype, dimensions, tensor.data);
    }

    // ---- readers

    /// @notice Number of elements.
    function size(Tensor memory tensor) internal pure returns (uint256) {
        return _product(tensor.shape, 0);
    }

    /// @notice The elements of a WAD tensor, without a copy: they take the memory of `tensor.data`, which is empty then.
    function takeWads(Tensor memory tensor) internal pure returns (int256[] memory) {
        if (tensor.dtype != DType.Wad) revert WrongDType(tensor.dtype);
        return _takeWords(tensor);
    }

    /// @notice A copy of the elements of a WAD tensor.
    function toWads(Tensor memory tensor) internal pure returns (int256[] memory) {
        return takeWads(Tensor(tensor.dtype, tensor.shape, bytes.concat(tensor.data)));
    }

    /// @notice The elements of an integer or Bool tensor.
    function toInts(Tensor memory tensor) internal pure returns (int256[] memory values) {
        DType dtype = tensor.dtype;
        if (dtype == DType.Wad || dtype == DType.Text) revert WrongDType(dtype);
        uint256 width = TensorCodec.width(dtype);
        _checkData(tensor, width);
        values = new int256[](tensor.data.length / width);
        bool signed = dtype != DType.Bool && uint256(dtype) % 2 == uint256(DType.I8) % 2;
        for (uint256 i = 0; i < values.length; ++i) {
            values[i] = _get(tensor.data, i * width, width, signed || dtype == DType.Int);
        }
    }

    /// @notice The text of a tensor that holds one.
    function toText(Tensor memory tensor) internal pure returns (string memory) {
        if (tensor.dtype == DType.Text && tensor.shape.length == 0) return string(tensor.data);
        string[] memory all = toTexts(tensor);
        if (all.length != 1) revert ShapeMismatch(1, all.length);
        return all[0];
    }

    /// @notice The texts of a tensor of rank 1 and up.
    function toTexts(Tensor memory tensor) internal pure returns (string[] memory values) {
        if (tensor.dtype != DType.Text || tensor.shape.length == 0) revert WrongDType(tensor.dtype);
        uint256 count = size(tensor);
        bytes memory data = tensor.data;
        if (count > data.length / 4) revert TensorCodec.MalformedTensors();
        values = new string[](count);
        uint256 place = 0;
        for (uint256 i = 0; i < count; ++i) {
            if (data.length - place < 4) revert TensorCodec.MalformedTensors();
            uint256 length = uint256(_get(data, place, 4, false));
            if (length > data.length - place - 4) revert TensorCodec.MalformedTensors();
            values[i] = string(_part(data, place + 4, length));
            place += 4 + length;
        }
        if (place != data.length) revert TensorCodec.MalformedTensors();
    }

    /// @notice A copy of one row: index `row` of the outermost dimension, which the result lacks. Not for Text.
    function row(Tensor memory tensor, uint256 index) internal pure returns (Tensor memory) {
        uint256 width = TensorCodec.width(tensor.dtype);
        if (width == 0) revert WrongDType(tensor.dtype);
        _checkData(tensor, width);
        uint256 rows = tensor.shape.length == 0 ? 0 : tensor.shape[0];
        if (index >= rows) revert NoSuchRow(index, rows);
        uint32[] memory dimensions = new uint32[](tensor.shape.length - 1);
        for (uint256 i = 0; i < dimensions.length; ++i) {
            dimensions[i] = tensor.shape[i + 1];
        }
        uint256 length = _product(dimensions, 0) * width;
        return Tensor(tensor.dtype, dimensions, _part(tensor.data, index * length, length));
    }

    // ---- inside

    function _dimension(uint256 length) private pure returns (uint32) {
        if (length > type(uint32).max) revert ShapeMismatch(type(uint32).max, length);
        return uint32(length);
    }

    function _product(uint32[] memory dimensions, uint256 from) private pure returns (uint256 product) {
        product = 1;
        for (uint256 i = from; i < dimensions.length; ++i) {
            product *= dimensions[i];
        }
    }

    function _checkData(Tensor memory tensor, uint256 width) private pure {
        uint256 expected = size(tensor) * width;
        if (tensor.data.length != expected) revert ShapeMismatch(expected, tensor.data.length);
    }

    function _words(int256[] memory values) private pure returns (bytes memory data) {
        uint256 length = values.length * 32;
        data = new bytes(length);
        assembly ("memory-safe") {
            mcopy(add(data, 0x20), add(values, 0x20), length)
        }
    }

    function _takeWords(Tensor memory tensor) private pure returns (int256[] memory values) {
        bytes memory data = tensor.data;
        if (data.length % 32 != 0) revert ShapeMismatch(size(tensor) * 32, data.length);
        assembly ("memory-safe") {
            values := data
            mstore(values, shr(5, mload(values)))
            mstore(add(tensor, 0x40), 0x60) // the empty bytes that stand there in every contract
        }
    }

    /// @dev A copy of data[start:start+length], bounds known to be good.
    function _part(bytes memory data, uint256 start, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        assembly ("memory-safe") {
            mcopy(add(part, 0x20), add(add(data, 0x20), start), length)
        }
    }

    function _fits(int256 value, uint256 width, bool signed) private pure returns (bool) {
        uint256 bits = width * 8;
        if (!signed) return value >= 0 && uint256(value) >> bits == 0;
        int256 limit = int256(1 << (bits - 1));
        return value >= -limit && value < limit;
    }

    /// @dev Writes the low `width` bytes of `value`, big-endian.
    function _put(bytes memory data, uint256 place, uint256 width, uint256 value) private pure {
        for (uint256 i = width; i > 0; --i) {
            data[place + i - 1] = bytes1(uint8(value));
            value >>= 8;
        }
    }

    /// @dev Reads `width` bytes, big-endian, bounds known to be good.
    function _get(bytes memory data, uint256 place, uint256 width, bool signed) private pure returns (int256 value) {
        uint256 shift = 256 - width * 8;
        assembly ("memory-safe") {
            value := mload(add(add(data, 0x20), place))
            switch signed
            case 0 { value := shr(shift, value) }
            default { value := sar(shift, value) }
        }
    }
}
