// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Profile} from "../interfaces/IInference.sol";
import {Cost, IModelRegistry, Manifest, ModelFile, TensorSpec} from "../interfaces/IModelRegistry.sol";

/// @title What a manifest must obey before consensus knows its model.
/// @notice Every broken rule reverts with `InvalidManifest` and the field's name.
library ManifestRules {
    uint16 internal constant FORMAT = 1;
    uint256 internal constant NAME_BYTES_MAX = 128;
    /// @dev ONNX `TensorProto.DataType` up to BFLOAT16; 14 and 15 are complex numbers, which have no wire type.
    uint8 internal constant ELEMENT_TYPE_MAX = 16;

    uint256 internal constant GAS_BASE = 2_000;
    uint256 internal constant MULTIPLY_ADDS_PER_GAS = 2_000;
    uint256 internal constant BYTES_MOVED_PER_GAS = 1_000;

    /// @notice Gas of one run. Fits 64 bits for every cost: 2^64 / 2,000 + 2^64 / 1,000 is below 2^56.
    function gasPerRun(uint64 multiplyAdds, uint64 bytesMoved) internal pure returns (uint64) {
        uint256 gas =
            GAS_BASE + _ceilDiv(multiplyAdds, MULTIPLY_ADDS_PER_GAS) + _ceilDiv(bytesMoved, BYTES_MOVED_PER_GAS);
        return uint64(gas);
    }

    /// @notice The registry's packed slot of a manifest, after every rule was checked.
    function checkedSlot(Manifest memory manifest) internal pure returns (uint256 packed) {
        _require(manifest.format == FORMAT, "format");
        _require(_isName(manifest.name), "name");
        _require(manifest.profile != uint8(Profile.Unknown) && manifest.profile <= uint8(type(Profile).max), "profile");
        _checkFiles(manifest.files);
        _checkTensors(manifest.inputs, "inputs");
        _checkTensors(manifest.outputs, "outputs");
        bool tolerant = manifest.profile == uint8(Profile.Tolerance);
        _require(manifest.tolerances.length == (tolerant ? manifest.outputs.length : 0), "tolerances");
        _require(manifest.cost.maxInputBytes > 0 && manifest.cost.maxOutputBytes > 0, "cost");
        return _pack(manifest.cost, manifest.profile);
    }

    function _pack(Cost memory cost, uint8 profile) private pure returns (uint256) {
        return uint256(gasPerRun(cost.multiplyAdds, cost.bytesMoved)) | uint256(cost.maxInputBytes) << 64
            | uint256(cost.maxOutputBytes) << 96 | uint256(profile) << 128;
    }

    /// @dev The graph is first, so it takes no part in the order, but its name must not come again.
    function _checkFiles(ModelFile[] memory files) private pure {
        _require(files.length > 0, "files");
        for (uint256 i = 0; i < files.length; ++i) {
            _require(_isPath(files[i].name), "files.name");
            _require(files[i].digest != 0, "files.digest");
            _require(files[i].size > 0, "files.size");
            if (i > 0) _require(!_same(files[0].name, files[i].name), "files.name");
            if (i > 1) _require(_isBefore(bytes(files[i - 1].name), bytes(files[i].name)), "files.order");
        }
    }

    function _checkTensors(TensorSpec[] memory tensors, string memory field) private pure {
        _require(tensors.length > 0, field);
        for (uint256 i = 0; i < tensors.length; ++i) {
            TensorSpec memory tensor = tensors[i];
            _require(_isName(tensor.name), string.concat(field, ".name"));
            _require(_isElementType(tensor.elementType), string.concat(field, ".elementType"));
            for (uint256 d = 0; d < tensor.shape.length; ++d) {
                int64 length = tensor.shape[d];
                _require(length >= -1 && length <= int64(uint64(type(uint32).max)), string.concat(field, ".shape"));
            }
        }
    }

    function _isElementType(uint8 elementType) private pure returns (bool) {
        return elementType != 0 && elementType <= ELEMENT_TYPE_MAX && elementType != 14 && elementType != 15;
    }

    /// @dev Text of 1 to 128 bytes without control characters.
    function _isName(string memory name) private pure returns (bool) {
        bytes memory text = bytes(name);
        if (text.length == 0 || text.length > NAME_BYTES_MAX) return false;
        for (uint256 i = 0; i < text.length; ++i) {
            if (uint8(text[i]) < 0x20 || text[i] == 0x7f) return false;
        }
        return true;
    }

    /// @dev A relative path of printable ASCII whose parts are neither empty nor `.` nor `..`, so that it stays inside the
    /// model's folder on every file system.
    function _isPath(string memory name) private pure returns (bool) {
        bytes memory path = bytes(name);
        if (path.length == 0 || path.length > NAME_BYTES_MAX) return false;
        uint256 partStart = 0;
        for (uint256 i = 0; i <= path.length; ++i) {
            if (i == path.length || path[i] == "/") {
                if (_isDots(path, partStart, i)) return false;
                partStart = i + 1;
            } else if (uint8(path[i]) <= 0x20 || uint8(path[i]) >= 0x7f || path[i] == "\\" || path[i] == ":") {
                return false;
            }
        }
        return true;
    }

    /// @dev Whether path[start:end] is empty, `.` or `..`.
    function _isDots(bytes memory path, uint256 start, uint256 end) private pure returns (bool) {
        if (end - start > 2) return false;
        for (uint256 i = start; i < end; ++i) {
            if (path[i] != ".") return false;
        }
        return true;
    }

    function _same(string memory a, string memory b) private pure returns (bool) {
        return keccak256(bytes(a)) == keccak256(bytes(b));
    }

    /// @dev Byte order, a prefix before what it begins; false for equals.
    function _isBefore(bytes memory a, bytes memory b) private pure returns (bool) {
        uint256 common = a.length < b.length ? a.length : b.length;
        for (uint256 i = 0; i < common; ++i) {
            if (a[i] != b[i]) return a[i] < b[i];
        }
        return a.length < b.length;
    }

    function _ceilDiv(uint256 value, uint256 divisor) private pure returns (uint256) {
        return (value + divisor - 1) / divisor;
    }

    function _require(bool holds, string memory field) private pure {
        if (!holds) revert IModelRegistry.InvalidManifest(field);
    }
}
