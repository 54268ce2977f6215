// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Profile} from "../src/interfaces/IInference.sol";
import {Cost, Manifest, ModelFile, TensorSpec} from "../src/interfaces/IModelRegistry.sol";

/// @notice Manifests to test with.
library Manifests {
    /// @notice A regressor with one input of [1, 16] and one output of [1, 1].
    function regressor() internal pure returns (Manifest memory manifest) {
        manifest.format = 1;
        manifest.name = "regressor";
        manifest.profile = uint8(Profile.ExactF32);
        manifest.files = new ModelFile[](3);
        manifest.files[0] = ModelFile("model.onnx", keccak256("graph"), 4_711);
        manifest.files[1] = ModelFile("card.md", keccak256("card"), 12);
        manifest.files[2] = ModelFile("vocab/words.txt", keccak256("words"), 99);
        manifest.inputs = one("features", 16);
        manifest.outputs = one("score", 1);
        manifest.tolerances = new uint256[](0);
        manifest.cost = Cost({multiplyAdds: 2_001, bytesMoved: 999, maxInputBytes: 800, maxOutputBytes: 320});
    }

    /// @notice One float tensor of [1, length].
    function one(string memory name, int64 length) internal pure returns (TensorSpec[] memory specs) {
        specs = new TensorSpec[](1);
        specs[0] = TensorSpec({name: name, elementType: 1, shape: new int64[](2)});
        specs[0].shape[0] = 1;
        specs[0].shape[1] = length;
    }
}
