// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, IInference} from "../../src/interfaces/IInference.sol";
import {ModelNames} from "../../src/compat/ModelNames.sol";
import {Numbers} from "../../src/compat/Numbers.sol";
import {RitualAdapter} from "../../src/compat/RitualAdapter.sol";
import {TensorCodec} from "../../src/libraries/TensorCodec.sol";
import {TensorLib} from "../../src/Tensor.sol";
import {InferenceTest} from "../../src/testing/InferenceTest.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

/// @notice A contract as one writes it for Ritual's chain.
contract RitualClient {
    function classify(bytes memory model, int32[] memory bits) external view returns (int32[] memory values) {
        uint16[] memory shape = new uint16[](2);
        (shape[0], shape[1]) = (1, uint16(bits.length));
        bytes memory output = _run(model, abi.encode(uint8(5), shape, bits));
        uint8 dtype;
        (dtype, shape, values) = abi.decode(output, (uint8, uint16[], int32[]));
        require(dtype == 5 && shape.length == 2, "a matrix of floats");
    }

    function _run(bytes memory model, bytes memory tensor) private view returns (bytes memory output) {
        (bool ok, bytes memory answer) = address(0x0800).staticcall(_request(model, tensor));
        require(ok, "inference failed");
        (output,,,) = abi.decode(answer, (bytes, uint8, uint8, uint8));
    }

    function _request(bytes memory model, bytes memory tensor) private pure returns (bytes memory) {
        return abi.encode(model, tensor, uint8(2), uint8(0), uint8(2), uint8(0), uint8(1));
    }
}

contract RitualAdapterTest is InferenceTest, Check {
    address private constant ONNX = address(0x0800);
    bytes32 private constant MODEL = keccak256("model");
    bytes private constant NAME = "hf/owner/repo/model.onnx@0123456789012345678901234567890123456789";

    function setUp() public {
        vm.etch(ONNX, type(RitualAdapter).runtimeCode);
        ModelNames(ONNX).nameModel(NAME, MODEL);
    }

    function test_an_unmodified_client_gets_floats_for_floats() public {
        givesVector(MODEL, row(1.5e18, -2e18), row(0.1e18, -2.5e18));
        int32[] memory bits = new int32[](2);
        (bits[0], bits[1]) = (0x3fc00000, int32(uint32(0xc0000000)));
        int32[] memory values = new RitualClient().classify(NAME, bits);
        assertEq(values.length, 2);
        assertEq(uint32(values[0]), 0x3dcccccd);
        assertEq(uint32(values[1]), 0xc0200000);
    }

    function test_a_model_goes_by_its_id_too() public {
        givesVector(MODEL, row(1));
        assertEq(new RitualClient().classify(bytes.concat(MODEL), new int32[](2)).length, 1);
    }

    function test_fixed_point_in_and_out() public {
        givesVector(MODEL, row(1.25e18), row(0.12345e18));
        bytes memory tensor = abi.encode(uint8(5), _shape(1, 1), _one(125));
        (bool ok, bytes memory answer) = _call(tensor, 1, 2, 1, 4, 1);
        assertTrue(ok, "answered");
        (bytes memory output, uint8 arithmetic, uint8 scale, uint8 rounding) =
            abi.decode(answer, (bytes, uint8, uint8, uint8));
        assertEq(abi.encode(arithmetic, scale, rounding), abi.encode(1, 4, 1));
        assertEq(output, abi.encode(uint8(5), _shape(1, 1), _one(1_234))); // 0.12345 -> 0.1234, even
        (, answer) = _call(tensor, 1, 2, 1, 4, 4);
        (output,,,) = abi.decode(answer, (bytes, uint8, uint8, uint8));
        assertEq(output, abi.encode(uint8(5), _shape(1, 1), _one(1_235)));
    }

    function test_each_integer_dtype_travels_packed() public {
        DType[8] memory types = [DType.I8, DType.I16, DType.I32, DType.I64, DType.U8, DType.U16, DType.U32, DType.U64];
        for (uint8 i = 0; i < 8; ++i) {
            bytes memory expected =
                TensorCodec.encode(TensorLib.reshape(TensorLib.packed(row(7), types[i]), TensorLib.shape(1, 1)));
            inference.answer(MODEL, expected, TensorCodec.encode(TensorLib.ints(row(int256(uint256(i))))));
            (bool ok, bytes memory answer) = _call(abi.encode(9 + i, _shape(1, 1), _one(7)), 2, 0, 2, 0, 1);
            assertTrue(ok, "answered");
            (bytes memory output,,,) = abi.decode(answer, (bytes, uint8, uint8, uint8));
            (uint8 dtype,, int64[] memory values) = abi.decode(output, (uint8, uint16[], int64[]));
            assertEq(dtype, 12);
            assertEq(values[0], int64(uint64(i)));
        }
    }

    function test_bad_calls_revert_typed() public {
        givesVector(MODEL, row(1));
        bytes memory tensor = abi.encode(uint8(5), _shape(1, 1), _one(0));
        _expect(tensor, 3, 2, abi.encodeWithSelector(RitualAdapter.UnknownArithmetic.selector, 3));
        _expect(tensor, 2, 0, abi.encodeWithSelector(RitualAdapter.UnknownArithmetic.selector, 0));
        bytes memory unknown = abi.encode(uint8(2), _shape(1, 1), _one(0));
        _expect(unknown, 2, 2, abi.encodeWithSelector(RitualAdapter.UnknownDType.selector, 2));
        bytes memory nan = abi.encode(uint8(5), _shape(1, 1), _one(0x7fc00000));
        _expect(nan, 2, 2, abi.encodeWithSelector(Numbers.Unrepresentable.selector));
        bytes memory short = abi.encode(uint8(5), _shape(1, 2), _one(0));
        _expect(short, 2, 2, abi.encodeWithSelector(TensorLib.ShapeMismatch.selector, 2, 1));
    }

    function test_an_output_beyond_32_bits_reverts() public {
        givesVector(MODEL, row(3e9 * 1e18));
        bytes memory tensor = abi.encode(uint8(5), _shape(1, 1), _one(0));
        (bool ok, bytes memory answer) = _call(tensor, 1, 0, 1, 0, 1);
        assertTrue(!ok, "too great");
        assertEq(answer, abi.encodeWithSelector(Numbers.Unrepresentable.selector));
    }

    function test_unknown_name_and_failure_pass_through() public {
        bytes memory tensor = abi.encode(uint8(5), _shape(1, 1), _one(0));
        bytes memory call = abi.encode("hf/x", tensor, uint8(2), uint8(0), uint8(2), uint8(0), uint8(1));
        (bool ok, bytes memory answer) = ONNX.call(call);
        assertTrue(!ok, "unknown");
        assertEq(answer, abi.encodeWithSelector(ModelNames.UnknownName.selector, bytes("hf/x")));
        fails(MODEL, 5, "NaN");
        (ok, answer) = _call(tensor, 2, 0, 2, 0, 1);
        assertEq(answer, abi.encodeWithSelector(IInference.InferenceFailed.selector, 5, "NaN"));
    }

    function test_a_name_is_given_once() public {
        vm.expectRevert(abi.encodeWithSelector(ModelNames.AlreadyNamed.selector, NAME));
        ModelNames(ONNX).nameModel(NAME, bytes32(uint256(1)));
    }

    function _expect(bytes memory tensor, uint8 inArithmetic, uint8 outArithmetic, bytes memory reason) private {
        (bool ok, bytes memory answer) = _call(tensor, inArithmetic, 0, outArithmetic, 0, 1);
        assertTrue(!ok, "refused");
        assertEq(answer, reason);
    }

    function _call(bytes memory tensor, uint8 a, uint8 aScale, uint8 b, uint8 bScale, uint8 rounding)
        private
        returns (bool, bytes memory)
    {
        // The same words as abi.encode(NAME, tensor, …): two offsets, five numbers, two byte strings.
        bytes memory numbers = abi.encode(a, aScale, b, bScale, rounding);
        bytes memory name = _tail(NAME);
        return ONNX.call(bytes.concat(abi.encode(0xe0, 0xe0 + name.length), numbers, name, _tail(tensor)));
    }

    function _tail(bytes memory data) private pure returns (bytes memory) {
        return bytes.concat(abi.encode(data.length), data, new bytes((32 - data.length % 32) % 32));
    }

    function _shape(uint16 a, uint16 b) private pure returns (uint16[] memory shape) {
        shape = new uint16[](2);
        (shape[0], shape[1]) = (a, b);
    }

    function _one(int256 value) private pure returns (int256[] memory values) {
        values = new int256[](1);
        values[0] = value;
    }
}
