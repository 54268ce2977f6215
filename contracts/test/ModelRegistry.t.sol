// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Profile} from "../src/interfaces/IInference.sol";
import {Cost, IModelRegistry, Manifest, ModelFile, TensorSpec} from "../src/interfaces/IModelRegistry.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";
import {Manifests} from "./Manifests.sol";

contract ModelRegistryTest is Check {
    ModelRegistry private registry;

    function setUp() public {
        registry = new ModelRegistry();
    }

    function test_register_stores_the_packed_slot_where_consensus_reads_it() public {
        bytes32 id = _register(Manifests.regressor());
        // 2,000 + ceil(2,001 / 2,000) + ceil(999 / 1,000) = 2,003
        uint256 packed = 2_003 | uint256(800) << 64 | uint256(320) << 96 | uint256(1) << 128;
        assertEq(registry.slotOf(id), packed);
        assertEq(uint256(vm.load(address(registry), keccak256(abi.encode(id, uint256(0))))), packed);
    }

    function test_register_emits_the_manifest() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        vm.expectEmit(address(registry));
        emit IModelRegistry.ModelRegistered(keccak256(manifest), address(this), manifest);
        registry.register(keccak256(manifest), manifest);
    }

    function test_register_accepts_anyone_and_every_profile() public {
        for (uint8 profile = 1; profile <= uint8(type(Profile).max); ++profile) {
            Manifest memory manifest = Manifests.regressor();
            manifest.profile = profile;
            if (profile == uint8(Profile.Tolerance)) manifest.tolerances = new uint256[](1);
            vm.prank(address(uint160(profile)));
            assertEq(uint256(uint8(registry.slotOf(_register(manifest)) >> 128)), profile);
        }
    }

    function test_slotOf_unknown_model_is_zero() public view {
        assertEq(registry.slotOf(keccak256("nothing")), 0);
    }

    function test_gas_of_registering_a_model() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        bytes32 id = keccak256(manifest);
        uint256 gas = gasleft();
        registry.register(id, manifest);
        vm.snapshotValue("ModelRegistry", "register a regressor", gas - gasleft());
    }

    function test_gasPerRun_rounds_each_term_up() public view {
        assertEq(registry.gasPerRun(Cost(0, 0, 0, 0)), 2_000);
        assertEq(registry.gasPerRun(Cost(1, 1, 0, 0)), 2_002);
        assertEq(registry.gasPerRun(Cost(2_000, 1_000, 0, 0)), 2_002);
        assertEq(registry.gasPerRun(Cost(2_001, 1_001, 0, 0)), 2_004);
    }

    function test_gasPerRun_of_the_largest_cost_does_not_overflow() public view {
        uint64 max = type(uint64).max;
        assertEq(registry.gasPerRun(Cost(max, max, 0, 0)), 2_000 + uint256(max) / 2_000 + 1 + uint256(max) / 1_000 + 1);
    }

    function test_register_rejects_a_second_time() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        bytes32 id = _register(Manifests.regressor());
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.AlreadyRegistered.selector, id));
        registry.register(id, manifest);
    }

    function test_register_rejects_a_wrong_claim() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        vm.expectRevert(
            abi.encodeWithSelector(IModelRegistry.ManifestMismatch.selector, bytes32(uint256(1)), keccak256(manifest))
        );
        registry.register(bytes32(uint256(1)), manifest);
    }

    function test_register_rejects_empty_bytes() public {
        _expectNotCanonical("");
    }

    function test_register_rejects_truncated_bytes() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        assembly {
            mstore(manifest, sub(mload(manifest), 32))
        }
        _expectNotCanonical(manifest);
    }

    function test_register_rejects_trailing_bytes() public {
        _expectNotCanonical(bytes.concat(abi.encode(Manifests.regressor()), bytes32(0)));
    }

    function test_register_rejects_dirty_padding_after_a_string() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        // The word after the manifest's own name "regressor" holds 9 bytes of text, then padding.
        uint256 place = _find(manifest, "regressor");
        manifest[place + 31] = 0x01;
        _expectNotCanonical(manifest);
    }

    function test_register_rejects_a_number_wider_than_its_type() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        manifest[32] = 0x01; // the top byte of `format`
        _expectNotCanonical(manifest);
    }

    function test_register_rejects_an_offset_out_of_bounds() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        manifest[64] = 0xff; // the top byte of the offset of `name`
        _expectNotCanonical(manifest);
    }

    function test_register_rejects_a_length_that_no_memory_holds() public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        manifest[_find(manifest, "regressor") - 32] = 0x7f;
        _expectNotCanonical(manifest);
    }

    function test_register_rejects_bad_scalars() public {
        Manifest memory manifest = Manifests.regressor();
        manifest.format = 2;
        _expectInvalid(manifest, "format");

        manifest = Manifests.regressor();
        manifest.name = "";
        _expectInvalid(manifest, "name");
        manifest.name = "line\nbreak";
        _expectInvalid(manifest, "name");
        manifest.name = string(new bytes(129));
        _expectInvalid(manifest, "name");

        manifest = Manifests.regressor();
        manifest.profile = 0;
        _expectInvalid(manifest, "profile");
        manifest.profile = uint8(type(Profile).max) + 1;
        _expectInvalid(manifest, "profile");

        manifest = Manifests.regressor();
        manifest.cost.maxInputBytes = 0;
        _expectInvalid(manifest, "cost");
        manifest.cost.maxInputBytes = 1;
        manifest.cost.maxOutputBytes = 0;
        _expectInvalid(manifest, "cost");
    }

    function test_register_rejects_tolerances_that_do_not_fit_the_profile() public {
        Manifest memory manifest = Manifests.regressor();
        manifest.tolerances = new uint256[](1);
        _expectInvalid(manifest, "tolerances");
        manifest.profile = uint8(Profile.Tolerance);
        manifest.tolerances = new uint256[](0);
        _expectInvalid(manifest, "tolerances");
        manifest.tolerances = new uint256[](2);
        _expectInvalid(manifest, "tolerances");
    }

    function test_register_rejects_bad_files() public {
        Manifest memory manifest = Manifests.regressor();
        manifest.files = new ModelFile[](0);
        _expectInvalid(manifest, "files");

        manifest = Manifests.regressor();
        manifest.files[1].digest = 0;
        _expectInvalid(manifest, "files.digest");

        manifest = Manifests.regressor();
        manifest.files[2].size = 0;
        _expectInvalid(manifest, "files.size");

        manifest = Manifests.regressor();
        (manifest.files[1], manifest.files[2]) = (manifest.files[2], manifest.files[1]);
        _expectInvalid(manifest, "files.order");

        manifest = Manifests.regressor();
        manifest.files[2].name = manifest.files[1].name;
        _expectInvalid(manifest, "files.order");

        manifest = Manifests.regressor();
        manifest.files[2].name = manifest.files[0].name;
        _expectInvalid(manifest, "files.name");
    }

    function test_register_rejects_paths_out_of_the_folder() public {
        string[13] memory bad = [
            "", "/etc/passwd", "..", ".", "../x", "a/../b", "a/..", "a//b", "a/", "a\\b", "c:x", "a b", unicode"modèle"
        ];
        for (uint256 i = 0; i < bad.length; ++i) {
            Manifest memory manifest = Manifests.regressor();
            manifest.files[1].name = bad[i];
            _expectInvalid(manifest, "files.name");
        }
    }

    function test_register_accepts_paths_in_the_folder() public {
        string[5] memory good = ["a", "...", "..a/b", "a.b/c..", ".hidden"];
        for (uint256 i = 0; i < good.length; ++i) {
            Manifest memory manifest = Manifests.regressor();
            manifest.files[1].name = good[i];
            _register(manifest);
        }
    }

    function test_register_rejects_bad_tensors() public {
        Manifest memory manifest = Manifests.regressor();
        manifest.inputs = new TensorSpec[](0);
        _expectInvalid(manifest, "inputs");

        manifest = Manifests.regressor();
        manifest.outputs = new TensorSpec[](0);
        _expectInvalid(manifest, "outputs");

        manifest = Manifests.regressor();
        manifest.inputs[0].name = "";
        _expectInvalid(manifest, "inputs.name");

        uint8[4] memory noTypes = [0, 14, 15, 17];
        for (uint256 i = 0; i < noTypes.length; ++i) {
            manifest = Manifests.regressor();
            manifest.outputs[0].elementType = noTypes[i];
            _expectInvalid(manifest, "outputs.elementType");
        }

        int64[3] memory noLengths = [int64(-2), int64(1) << 32, type(int64).max];
        for (uint256 i = 0; i < noLengths.length; ++i) {
            manifest = Manifests.regressor();
            manifest.outputs[0].shape[1] = noLengths[i];
            _expectInvalid(manifest, "outputs.shape");
        }
    }

    function testFuzz_register_rejects_every_changed_byte(uint256 position, uint8 mask) public {
        vm.assume(mask != 0);
        bytes memory manifest = abi.encode(Manifests.regressor());
        bytes32 id = keccak256(manifest);
        manifest[position % manifest.length] ^= bytes1(mask);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.ManifestMismatch.selector, id, keccak256(manifest)));
        registry.register(id, manifest);
    }

    function testFuzz_a_changed_byte_never_breaks_the_registry(uint256 position, uint8 mask) public {
        bytes memory manifest = abi.encode(Manifests.regressor());
        manifest[position % manifest.length] ^= bytes1(mask);
        bytes32 id = keccak256(manifest);
        try registry.register(id, manifest) {
            Manifest memory decoded = abi.decode(manifest, (Manifest));
            assertEq(abi.encode(decoded), manifest);
            assertEq(uint64(registry.slotOf(id)), registry.gasPerRun(decoded.cost));
        } catch (bytes memory reason) {
            bytes4 selector = bytes4(reason);
            assertTrue(
                selector == IModelRegistry.NotCanonical.selector || selector == IModelRegistry.InvalidManifest.selector,
                "a typed error"
            );
            assertEq(registry.slotOf(id), 0);
        }
    }

    function _register(Manifest memory manifest) private returns (bytes32 id) {
        bytes memory encoded = abi.encode(manifest);
        id = keccak256(encoded);
        registry.register(id, encoded);
    }

    function _expectNotCanonical(bytes memory manifest) private {
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.NotCanonical.selector));
        registry.register(keccak256(manifest), manifest);
    }

    function _expectInvalid(Manifest memory manifest, string memory field) private {
        bytes memory encoded = abi.encode(manifest);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.InvalidManifest.selector, field));
        registry.register(keccak256(encoded), encoded);
    }

    /// @dev Where the first word that begins with `text` stands.
    function _find(bytes memory data, string memory text) private pure returns (uint256) {
        for (uint256 place = 0; place + 32 <= data.length; place += 32) {
            bytes32 word;
            assembly {
                word := mload(add(add(data, 32), place))
            }
            if (keccak256(abi.encodePacked(bytes9(word))) == keccak256(bytes(text))) return place;
        }
        revert("not found");
    }
}
