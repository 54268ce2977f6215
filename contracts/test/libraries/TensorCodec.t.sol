// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, Tensor} from "../../src/interfaces/IInference.sol";
import {TensorCodec} from "../../src/libraries/TensorCodec.sol";
import {TensorLib} from "../../src/Tensor.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

contract TensorCodecTest is Check {
    function testFuzz_encodeRow_is_abi_encode(int256[] memory values) public pure {
        dirtyMemory();
        bytes memory encoded = TensorCodec.encodeRow(values);
        Tensor memory row = TensorLib.reshape(TensorLib.wads(values), TensorLib.shape(1, values.length));
        assertEq(encoded, abi.encode(_one(row)));
        assertEq(encoded, TensorCodec.encode(row));
    }

    function testFuzz_decode_is_abi_decode(int256[] memory wads, bytes memory octets, string memory text) public pure {
        dirtyMemory();
        Tensor[] memory tensors = new Tensor[](3);
        tensors[0] = TensorLib.wads(wads);
        tensors[1] = TensorLib.octets(octets);
        tensors[2] = TensorLib.text(text);
        bytes memory encoded = abi.encode(tensors);
        Tensor[] memory decoded = TensorCodec.decode(encoded);
        assertEq(abi.encode(decoded), encoded);
        assertEq(decoded.length, 3);
        assertEq(decoded[2].data, bytes(text));
    }

    function testFuzz_decode_accepts_no_more_than_abi_decode(uint256 position, uint8 mask) public view {
        bytes memory encoded = abi.encode(_samples());
        encoded[position % encoded.length] ^= bytes1(mask);
        try this.decode(encoded) returns (Tensor[] memory decoded) {
            assertEq(abi.encode(decoded), abi.encode(abi.decode(encoded, (Tensor[]))));
        } catch (bytes memory reason) {
            assertEq(reason, abi.encodeWithSelector(TensorCodec.MalformedTensors.selector));
        }
    }

    function testFuzz_decode_of_noise_reverts_typed(bytes memory noise) public view {
        try this.decode(noise) returns (Tensor[] memory decoded) {
            assertEq(abi.encode(decoded), noise);
        } catch (bytes memory reason) {
            assertEq(reason, abi.encodeWithSelector(TensorCodec.MalformedTensors.selector));
        }
    }

    function test_decodeInPlace_empties_its_source_and_copies_nothing() public pure {
        bytes memory encoded = abi.encode(_samples());
        uint256 before;
        uint256 afterwards;
        assembly {
            before := mload(0x40)
        }
        Tensor[] memory tensors = TensorCodec.decodeInPlace(encoded);
        assembly {
            afterwards := mload(0x40)
        }
        assertEq(before, afterwards);
        assertEq(encoded.length, 0);
        assertEq(abi.encode(tensors), abi.encode(_samples()));
    }

    function testFuzz_takeOnlyWads_is_decodeInPlace(int256[] memory values, uint256 position, uint8 mask) public pure {
        bytes memory encoded = TensorCodec.encodeRow(values);
        encoded[position % encoded.length] ^= bytes1(mask);
        bytes memory original = bytes.concat(encoded);
        (bool found, int256[] memory taken) = TensorCodec.takeOnlyWads(encoded);
        if (!found) {
            assertEq(encoded, original);
            assertEq(taken.length, 0);
            return;
        }
        assertEq(taken, TensorLib.toWads(TensorCodec.decode(original)[0]));
        assertEq(encoded.length, 0);
    }

    function test_takeOnlyWads_takes_every_rank() public pure {
        dirtyMemory();
        for (uint256 rank = 0; rank <= 8; ++rank) {
            uint32[] memory dimensions = new uint32[](rank);
            for (uint256 i = 0; i < rank; ++i) {
                dimensions[i] = 2;
            }
            int256[] memory values = new int256[](1 << rank);
            values[values.length - 1] = -7;
            bytes memory encoded = TensorCodec.encode(Tensor(DType.Wad, dimensions, TensorLib.wads(values).data));
            (bool found, int256[] memory taken) = TensorCodec.takeOnlyWads(encoded);
            assertTrue(found, "one WAD tensor");
            assertEq(taken, values);
        }
    }

    function test_takeOnlyWads_leaves_everything_else() public pure {
        bytes[5] memory others = [
            bytes(""),
            abi.encode(new Tensor[](0)),
            abi.encode(_samples()),
            TensorCodec.encode(TensorLib.octets(hex"01")),
            TensorCodec.encode(Tensor(DType.Wad, TensorLib.shape(2), new bytes(32)))
        ];
        for (uint256 i = 0; i < others.length; ++i) {
            bytes memory original = bytes.concat(others[i]);
            (bool found,) = TensorCodec.takeOnlyWads(others[i]);
            assertTrue(!found, "not one WAD tensor");
            assertEq(others[i], original);
        }
    }

    function test_decode_no_tensors() public pure {
        assertEq(TensorCodec.decode(abi.encode(new Tensor[](0))).length, 0);
    }

    function test_decode_empty_tensor() public pure {
        Tensor[] memory decoded = TensorCodec.decode(abi.encode(_one(Tensor(DType.Wad, TensorLib.shape(0, 5), ""))));
        assertEq(decoded[0].data.length, 0);
        assertEq(decoded[0].shape.length, 2);
    }

    function test_decode_rejects_each_defect() public {
        bytes memory good = abi.encode(_one(TensorLib.wads(new int256[](2))));
        // words: 0 offset, 1 count, 2 offset, 3 dtype, 4 offset, 5 offset, 6 rank, 7 dimension, 8 length, 9.. data
        uint256[12] memory words = [uint256(0), 1, 1, 2, 3, 4, 5, 6, 6, 7, 7, 8];
        uint256[12] memory values = [
            uint256(64),
            2,
            type(uint256).max,
            64,
            12,
            128,
            192,
            9,
            type(uint256).max,
            3,
            uint256(1) << 32,
            type(uint256).max
        ];
        for (uint256 i = 0; i < words.length; ++i) {
            bytes memory bad = bytes.concat(good);
            uint256 offset = 32 + words[i] * 32;
            uint256 value = values[i];
            assembly {
                mstore(add(bad, offset), value)
            }
            _expectMalformed(bad);
        }
    }

    function test_decode_rejects_every_truncation() public {
        bytes memory good = abi.encode(_samples());
        for (uint256 length = 0; length < good.length; ++length) {
            bytes memory bad = bytes.concat(good);
            assembly {
                mstore(bad, length)
            }
            _expectMalformed(bad);
        }
    }

    function test_decode_rejects_trailing_bytes() public {
        _expectMalformed(bytes.concat(abi.encode(_samples()), bytes32(0)));
        _expectMalformed(bytes.concat(abi.encode(_samples()), hex"00"));
    }

    function test_decode_rejects_a_product_that_wraps_around() public {
        uint32[] memory huge = new uint32[](8);
        for (uint256 i = 0; i < 8; ++i) {
            huge[i] = 1 << 31;
        }
        _expectMalformed(abi.encode(_one(Tensor(DType.Wad, huge, ""))));
        huge[7] = 0; // empty, but beyond 2^64 on the way, as the precompile counts
        _expectMalformed(abi.encode(_one(Tensor(DType.Wad, huge, ""))));
    }

    function test_decode_rejects_data_that_does_not_fit_the_shape() public {
        _expectMalformed(abi.encode(_one(Tensor(DType.Wad, TensorLib.shape(2), new bytes(32)))));
        _expectMalformed(abi.encode(_one(Tensor(DType.U16, TensorLib.shape(2), new bytes(3)))));
        _expectMalformed(abi.encode(_one(Tensor(DType.Bool, TensorLib.shape(2), new bytes(64)))));
        _expectMalformed(abi.encode(_one(Tensor(DType.Text, TensorLib.shape(2), new bytes(7)))));
    }

    function test_width_of_each_dtype() public pure {
        uint8[12] memory expected = [32, 32, 1, 1, 2, 2, 4, 4, 8, 8, 1, 0];
        for (uint8 i = 0; i < 12; ++i) {
            assertEq(TensorCodec.width(DType(i)), expected[i]);
        }
    }

    function test_gas_of_decoding_384_wads() public {
        int256[] memory values = new int256[](384);
        bytes memory encoded = TensorCodec.encodeRow(values);
        uint256 gas = gasleft();
        values = TensorLib.takeWads(TensorCodec.decodeInPlace(encoded)[0]);
        gas -= gasleft();
        assertEq(values.length, 384);
        encoded = TensorCodec.encodeRow(values);
        uint256 fast = gasleft();
        TensorCodec.takeOnlyWads(encoded);
        vm.snapshotValue("TensorCodec", "take 384 WAD elements of the only tensor", fast - gasleft());
        vm.snapshotValue("TensorCodec", "decode 384 WAD elements", gas);
        assertTrue(gas <= 1_500, "decoding 384 WAD elements costs at most 1,500 gas over the copy");
        vm.snapshotValue("TensorCodec", "decode 384 WAD elements", gas);
        gas = gasleft();
        TensorCodec.encodeRow(values);
        vm.snapshotValue("TensorCodec", "encode 384 WAD elements", gas - gasleft());
    }

    function decode(bytes memory encoded) external pure returns (Tensor[] memory) {
        return TensorCodec.decode(encoded);
    }

    function _expectMalformed(bytes memory bad) private {
        vm.expectRevert(TensorCodec.MalformedTensors.selector);
        this.decode(bad);
    }

    function _one(Tensor memory tensor) private pure returns (Tensor[] memory tensors) {
        tensors = new Tensor[](1);
        tensors[0] = tensor;
    }

    function _samples() private pure returns (Tensor[] memory tensors) {
        tensors = new Tensor[](3);
        int256[] memory values = new int256[](2);
        (values[0], values[1]) = (1.5e18, -2);
        tensors[0] = TensorLib.reshape(TensorLib.wads(values), TensorLib.shape(1, 2));
        tensors[1] = TensorLib.text("hello");
        tensors[2] = TensorLib.octets(hex"010203");
    }
}
