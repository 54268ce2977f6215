// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, Tensor} from "../src/interfaces/IInference.sol";
import {TensorCodec} from "../src/libraries/TensorCodec.sol";
import {TensorLib} from "../src/Tensor.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";

contract TensorTest is Check {
    using TensorLib for Tensor;

    function test_shapes() public pure {
        assertEq(abi.encode(TensorLib.shape(1)), abi.encode(_dims([1, 0, 0, 0], 1)));
        assertEq(abi.encode(TensorLib.shape(1, 2)), abi.encode(_dims([1, 2, 0, 0], 2)));
        assertEq(abi.encode(TensorLib.shape(1, 2, 3)), abi.encode(_dims([1, 2, 3, 0], 3)));
        assertEq(abi.encode(TensorLib.shape(1, 2, 3, 4)), abi.encode(_dims([1, 2, 3, 4], 4)));
    }

    function test_shape_above_uint32_reverts() public {
        uint256 beyond = uint256(1) << 32;
        vm.expectRevert(abi.encodeWithSelector(TensorLib.ShapeMismatch.selector, type(uint32).max, beyond));
        this.shape(beyond);
    }

    function testFuzz_wads_round_trip(int256[] memory values) public pure {
        dirtyMemory();
        Tensor memory tensor = TensorLib.wads(values);
        assertEq(tensor.data, abi.encodePacked(values));
        assertEq(tensor.size(), values.length);
        assertEq(tensor.toWads(), values);
        assertEq(tensor.toWads(), values); // the tensor is whole after a copy
        assertEq(tensor.takeWads(), values);
        assertEq(tensor.data.length, 0);
    }

    function testFuzz_ints_round_trip(int256[] memory values) public pure {
        assertEq(TensorLib.ints(values).toInts(), values);
    }

    function test_ints_above_int256_revert() public {
        uint256[] memory values = new uint256[](2);
        values[1] = uint256(1) << 255;
        vm.expectRevert(abi.encodeWithSelector(TensorLib.ValueOutOfRange.selector, 1, DType.Int));
        this.ints(values);
    }

    function testFuzz_packed_round_trip(int64[] memory seeds, uint8 choice) public pure {
        dirtyMemory();
        DType dtype = DType(uint8(DType.U8) + choice % 8);
        uint256 bits = TensorCodec.width(dtype) * 8;
        bool signed = uint8(dtype) % 2 == 1;
        int256[] memory values = new int256[](seeds.length);
        for (uint256 i = 0; i < seeds.length; ++i) {
            // Cut to the width, as a cast to the type would.
            uint256 low = uint256(int256(seeds[i])) << (256 - bits);
            values[i] = signed ? int256(low) >> (256 - bits) : int256(low >> (256 - bits));
        }
        Tensor memory tensor = TensorLib.packed(values, dtype);
        assertEq(tensor.data.length, values.length * bits / 8);
        assertEq(tensor.toInts(), values);
    }

    function test_packed_is_big_endian() public pure {
        int256[] memory values = new int256[](2);
        (values[0], values[1]) = (258, -2);
        assertEq(TensorLib.packed(values, DType.I16).data, hex"0102fffe");
        assertEq(TensorLib.packed(values, DType.I32).data, hex"00000102fffffffe");
    }

    function test_packed_out_of_range_reverts_at_each_edge() public {
        for (uint8 d = uint8(DType.U8); d <= uint8(DType.I64); ++d) {
            uint256 bits = TensorCodec.width(DType(d)) * 8;
            bool signed = d % 2 == 1;
            int256 max = signed ? int256(1 << (bits - 1)) - 1 : int256(1 << bits) - 1;
            int256 min = signed ? -max - 1 : int256(0);
            this.packed(_one(max), DType(d));
            this.packed(_one(min), DType(d));
            vm.expectRevert(abi.encodeWithSelector(TensorLib.ValueOutOfRange.selector, 0, DType(d)));
            this.packed(_one(max + 1), DType(d));
            vm.expectRevert(abi.encodeWithSelector(TensorLib.ValueOutOfRange.selector, 0, DType(d)));
            this.packed(_one(min - 1), DType(d));
        }
    }

    function test_packed_of_a_dtype_that_is_not_packed_reverts() public {
        DType[4] memory others = [DType.Wad, DType.Int, DType.Bool, DType.Text];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(TensorLib.NotPacked.selector, others[i]));
            this.packed(_one(0), others[i]);
        }
    }

    function test_bools_round_trip() public pure {
        dirtyMemory();
        bool[] memory values = new bool[](3);
        values[1] = true;
        Tensor memory tensor = TensorLib.bools(values);
        assertEq(tensor.data, hex"000100");
        assertEq(tensor.toInts()[1], 1);
    }

    function testFuzz_texts_round_trip(string[] memory values) public pure {
        dirtyMemory();
        assertEq(abi.encode(TensorLib.texts(values).toTexts()), abi.encode(values));
    }

    function test_toText_reads_rank_0_and_a_single_one() public pure {
        string[] memory one = new string[](1);
        one[0] = unicode"grüß Gott";
        assertEq(TensorLib.text(one[0]).toText(), one[0]);
        assertEq(TensorLib.texts(one).toText(), one[0]);
    }

    function test_toText_of_several_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(TensorLib.ShapeMismatch.selector, 1, 2));
        this.toText(TensorLib.texts(new string[](2)));
    }

    function test_toTexts_of_malformed_data_reverts() public {
        bytes[4] memory bad = [bytes(hex"000000"), hex"0000000178ff", hex"00000002ff", hex"ffffffff00"];
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectRevert(TensorCodec.MalformedTensors.selector);
            this.toTexts(Tensor(DType.Text, TensorLib.shape(1), bad[i]));
        }
        vm.expectRevert(TensorCodec.MalformedTensors.selector); // a count that no memory holds
        this.toTexts(Tensor(DType.Text, TensorLib.shape(type(uint32).max), new bytes(8)));
    }

    function test_reshape_keeps_the_elements() public pure {
        Tensor memory tensor = TensorLib.octets(hex"010203040506").reshape(TensorLib.shape(2, 3));
        assertEq(tensor.row(1).data, hex"040506");
        assertEq(tensor.row(1).row(2).data, hex"06");
        assertEq(tensor.row(1).row(2).shape.length, 0);
    }

    function test_reshape_to_another_size_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(TensorLib.ShapeMismatch.selector, 4, 6));
        this.reshape(TensorLib.octets(hex"010203040506"), TensorLib.shape(2, 2));
    }

    function test_row_beyond_the_last_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(TensorLib.NoSuchRow.selector, 2, 2));
        this.row(TensorLib.octets(hex"0102"), 2);
        vm.expectRevert(abi.encodeWithSelector(TensorLib.NoSuchRow.selector, 0, 0));
        this.row(Tensor(DType.U8, new uint32[](0), hex"01"), 0);
    }

    function test_row_of_text_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(TensorLib.WrongDType.selector, DType.Text));
        this.row(TensorLib.texts(new string[](2)), 0);
    }

    function test_readers_of_another_dtype_revert() public {
        vm.expectRevert(abi.encodeWithSelector(TensorLib.WrongDType.selector, DType.U8));
        this.toWads(TensorLib.octets(hex"01"));
        vm.expectRevert(abi.encodeWithSelector(TensorLib.WrongDType.selector, DType.Wad));
        this.toInts(TensorLib.wads(_one(1)));
        vm.expectRevert(abi.encodeWithSelector(TensorLib.WrongDType.selector, DType.Text));
        this.toInts(TensorLib.text("1"));
        vm.expectRevert(abi.encodeWithSelector(TensorLib.WrongDType.selector, DType.U8));
        this.toText(TensorLib.octets(hex"01"));
    }

    function test_readers_of_data_that_does_not_fit_the_shape_revert() public {
        vm.expectRevert(abi.encodeWithSelector(TensorLib.ShapeMismatch.selector, 32, 33));
        this.toWads(Tensor(DType.Wad, TensorLib.shape(1), new bytes(33)));
        vm.expectRevert(abi.encodeWithSelector(TensorLib.ShapeMismatch.selector, 8, 3));
        this.toInts(Tensor(DType.U16, TensorLib.shape(4), new bytes(3)));
        vm.expectRevert(abi.encodeWithSelector(TensorLib.ShapeMismatch.selector, 4, 3));
        this.row(Tensor(DType.U8, TensorLib.shape(2, 2), new bytes(3)), 1);
    }

    function test_size_that_overflows_panics() public {
        uint32[] memory huge = new uint32[](9);
        for (uint256 i = 0; i < 9; ++i) {
            huge[i] = type(uint32).max;
        }
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        this.size(Tensor(DType.U8, huge, ""));
    }

    // Reached by a call, so that a revert can be expected.
    function shape(uint256 length) external pure returns (uint32[] memory) {
        return TensorLib.shape(length);
    }

    function ints(uint256[] memory values) external pure returns (Tensor memory) {
        return TensorLib.ints(values);
    }

    function packed(int256[] memory values, DType dtype) external pure returns (Tensor memory) {
        return TensorLib.packed(values, dtype);
    }

    function reshape(Tensor memory tensor, uint32[] memory dimensions) external pure returns (Tensor memory) {
        return tensor.reshape(dimensions);
    }

    function row(Tensor memory tensor, uint256 index) external pure returns (Tensor memory) {
        return tensor.row(index);
    }

    function size(Tensor memory tensor) external pure returns (uint256) {
        return tensor.size();
    }

    function toWads(Tensor memory tensor) external pure returns (int256[] memory) {
        return tensor.toWads();
    }

    function toInts(Tensor memory tensor) external pure returns (int256[] memory) {
        return tensor.toInts();
    }

    function toText(Tensor memory tensor) external pure returns (string memory) {
        return tensor.toText();
    }

    function toTexts(Tensor memory tensor) external pure returns (string[] memory) {
        return tensor.toTexts();
    }

    function _one(int256 value) private pure returns (int256[] memory values) {
        values = new int256[](1);
        values[0] = value;
    }

    function _dims(uint8[4] memory values, uint256 count) private pure returns (uint32[] memory dimensions) {
        dimensions = new uint32[](count);
        for (uint256 i = 0; i < count; ++i) {
            dimensions[i] = values[i];
        }
    }
}
