// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title The names that other systems use for models, and the ids they stand for here.
/// @notice Whoever names a model first has named it for ever, so look before you rely on a name on a public chain. A devnet
/// names its own at genesis.
abstract contract ModelNames {
    /// @notice The name stands for this model from now on.
    event ModelNamed(bytes name, bytes32 indexed modelId);

    /// @notice The name stands for a model already.
    error AlreadyNamed(bytes name);
    /// @notice The name stands for nothing here.
    error UnknownName(bytes name);

    /// @dev Storage slot 0, so that a genesis block can hold names.
    mapping(bytes32 nameHash => bytes32 modelId) private models;

    /// @notice Lets `name` stand for a model.
    function nameModel(bytes calldata name, bytes32 modelId) external {
        bytes32 hash = keccak256(name);
        if (models[hash] != 0) revert AlreadyNamed(name);
        models[hash] = modelId;
        emit ModelNamed(name, modelId);
    }

    /// @notice The model for which `name` stands. A name of 32 bytes that nobody gave away is the id itself.
    function modelOf(bytes memory name) public view returns (bytes32 modelId) {
        modelId = models[keccak256(name)];
        if (modelId == 0 && name.length == 32) modelId = bytes32(name);
        if (modelId == 0) revert UnknownName(name);
    }
}
