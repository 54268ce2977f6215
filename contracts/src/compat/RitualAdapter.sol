// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, Tensor} from "../interfaces/IInference.sol";
import {Inference} from "../Inference.sol";
import {TensorLib} from "../Tensor.sol";
import {ModelNames} from "./ModelNames.sol";
import {Numbers} from "./Numbers.sol";

/// @title Lets contracts written for Ritual's ONNX precompile at 0x0800 run unmodified.
/// @notice Its calls have no selector: calldata is `abi.encode(bytes mlModelId, bytes tensorData, uint8 inputArithmetic, uint8
/// inputFixedPointScale, uint8 outputArithmetic, uint8 outputFixedPointScale, uint8 rounding)`, the answer `abi.encode(bytes
/// tensor, uint8 arithmetic, uint8 scale, uint8 rounding)`, a tensor `abi.encode(uint8 dtype, uint16[] shape, int32[] values)`.
/// What maps and what cannot stands in the package's README.
/// @dev Values of every width take one word each in the ABI, so one decoder serves all.
contract RitualAdapter is ModelNames {
    /// @notice Neither 1, fixed point, nor 2, IEEE 754.
    error UnknownArithmetic(uint8 arithmetic);
    /// @notice No such dtype.
    error UnknownDType(uint8 dtype);
    /// @notice The model's first output is text, or has a dimension above 65,535.
    error UnsupportedOutput();

    uint8 private constant FIXED_POINT = 1;
    uint8 private constant IEEE_754 = 2;
    uint8 private constant BOOL = 1;
    uint8 private constant FLOAT16 = 4;
    uint8 private constant FLOAT32 = 5;
    uint8 private constant FLOAT64 = 6;
    uint8 private constant INT8 = 9;
    uint8 private constant INT64 = 12;
    uint8 private constant UINT8 = 13;
    uint8 private constant UINT64 = 16;

    struct Call {
        bytes model;
        bytes tensor;
        uint8 inputArithmetic;
        uint8 inputScale;
        uint8 outputArithmetic;
        uint8 outputScale;
        uint8 rounding;
    }

    fallback(bytes calldata data) external returns (bytes memory) {
        // slither-disable-next-line uninitialized-local
        Call memory call; // filled by the next statement
        (
            call.model,
            call.tensor,
            call.inputArithmetic,
            call.inputScale,
            call.outputArithmetic,
            call.outputScale,
            call.rounding
        ) = abi.decode(data, (bytes, bytes, uint8, uint8, uint8, uint8, uint8));
        _checkArithmetic(call.inputArithmetic);
        _checkArithmetic(call.outputArithmetic);
        Tensor memory input = _input(call.tensor, call.inputArithmetic, call.inputScale);
        Tensor[] memory outputs = Inference.run(modelOf(call.model), input);
        bytes memory output = _output(outputs[0], call.outputArithmetic, call.outputScale, call.rounding);
        return abi.encode(output, call.outputArithmetic, call.outputScale, call.rounding);
    }

    function _checkArithmetic(uint8 arithmetic) private pure {
        if (arithmetic != FIXED_POINT && arithmetic != IEEE_754) revert UnknownArithmetic(arithmetic);
    }

    function _input(bytes memory encoded, uint8 arithmetic, uint8 scale) private pure returns (Tensor memory) {
        (uint8 dtype, uint16[] memory shape, int256[] memory values) = abi.decode(encoded, (uint8, uint16[], int256[]));
        return TensorLib.reshape(_typed(dtype, values, arithmetic, scale), _widened(shape));
    }

    function _typed(uint8 dtype, int256[] memory values, uint8 arithmetic, uint8 scale)
        private
        pure
        returns (Tensor memory)
    {
        if (dtype == BOOL) return TensorLib.packed(values, DType.U8);
        if (dtype >= INT8 && dtype <= INT64) {
            return TensorLib.packed(values, DType(uint8(DType.I8) + 2 * (dtype - INT8)));
        }
        if (dtype >= UINT8 && dtype <= UINT64) {
            return TensorLib.packed(values, DType(uint8(DType.U8) + 2 * (dtype - UINT8)));
        }
        if (dtype < FLOAT16 || dtype > FLOAT64) revert UnknownDType(dtype);
        for (uint256 i = 0; i < values.length; ++i) {
            values[i] = arithmetic == FIXED_POINT
                ? Numbers.fromDecimal(values[i], int256(uint256(scale)))
                : _fromBits(dtype, uint256(values[i]));
        }
        return TensorLib.wads(values);
    }

    function _fromBits(uint8 dtype, uint256 bits) private pure returns (int256) {
        if (dtype == FLOAT16) return Numbers.fromBits(bits, 10, 5);
        if (dtype == FLOAT32) return Numbers.fromBits(bits, 23, 8);
        return Numbers.fromBits(bits, 52, 11);
    }

    function _output(Tensor memory tensor, uint8 arithmetic, uint8 scale, uint8 rounding)
        private
        pure
        returns (bytes memory)
    {
        uint16[] memory shape = _narrowed(tensor.shape);
        if (tensor.dtype == DType.Text) revert UnsupportedOutput();
        if (tensor.dtype != DType.Wad) return abi.encode(INT64, shape, _within(TensorLib.toInts(tensor), 63));
        int256[] memory values = TensorLib.takeWads(tensor);
        for (uint256 i = 0; i < values.length; ++i) {
            values[i] = arithmetic == FIXED_POINT
                ? Numbers.toDecimal(values[i], scale, rounding)
                : int256(int32(Numbers.toFloat32(values[i])));
        }
        return abi.encode(FLOAT32, shape, _within(values, 31));
    }

    /// @dev Reverts where a value does not fit a signed type of so many bits beside the sign.
    function _within(int256[] memory values, uint256 bits) private pure returns (int256[] memory) {
        int256 limit = int256(1 << bits);
        for (uint256 i = 0; i < values.length; ++i) {
            if (values[i] < -limit || values[i] >= limit) revert Numbers.Unrepresentable();
        }
        return values;
    }

    function _widened(uint16[] memory shape) private pure returns (uint32[] memory dimensions) {
        dimensions = new uint32[](shape.length);
        for (uint256 i = 0; i < shape.length; ++i) {
            dimensions[i] = shape[i];
        }
    }

    function _narrowed(uint32[] memory dimensions) private pure returns (uint16[] memory shape) {
        shape = new uint16[](dimensions.length);
        for (uint256 i = 0; i < shape.length; ++i) {
            if (dimensions[i] > type(uint16).max) revert UnsupportedOutput();
            shape[i] = uint16(dimensions[i]);
        }
    }
}
