// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @notice One file of a model.
/// @param name relative to the model's folder, without `..`
/// @param digest keccak256 of the content
/// @param size in bytes
struct ModelFile {
    string name;
    bytes32 digest;
    uint64 size;
}

/// @notice An input or output of a model.
/// @param name as in the graph
/// @param elementType ONNX `TensorProto.DataType`
/// @param shape length of each dimension; -1 where the caller chooses
struct TensorSpec {
    string name;
    uint8 elementType;
    int64[] shape;
}

/// @notice What one run costs at most, counted on the published graph at its largest input.
/// @param multiplyAdds multiplications with addition
/// @param bytesMoved weights and activations read and written
/// @param maxInputBytes longest `abi.encode(Tensor[])` accepted
/// @param maxOutputBytes longest `abi.encode(Tensor[])` returned
struct Cost {
    uint64 multiplyAdds;
    uint64 bytesMoved;
    uint32 maxInputBytes;
    uint32 maxOutputBytes;
}

/// @notice All that defines a model; `modelId = keccak256(abi.encode(manifest))`.
/// @param format version of this struct, 1
/// @param name for people; not unique
/// @param profile a `Profile` of IInference.sol
/// @param files the published graph first, then tokenizer and others, sorted by name
/// @param inputs in the graph's order
/// @param outputs in the graph's order
/// @param tolerances for each output, how far two honest answers may lie apart, WAD; empty for exact profiles
/// @param cost of one run
struct Manifest {
    uint16 format;
    string name;
    uint8 profile;
    ModelFile[] files;
    TensorSpec[] inputs;
    TensorSpec[] outputs;
    uint256[] tolerances;
    Cost cost;
}

/// @title The models that the inference precompile knows.
/// @notice Stands at 0x0000000000000000000000000000000000001a1f. Anyone registers a manifest; nothing is ever changed or
/// removed.
/// @dev The precompile reads `slots[modelId]` (mapping at storage slot 0) as an SLOAD. The packed slot, from the lowest
/// bit: gasPerRun 64, maxInputBytes 32, maxOutputBytes 32, profile 8; the rest is zero. Zero means unknown. It also reads
/// `excess` (storage slot 1), from which the price of inference gas follows.
interface IModelRegistry {
    /// @notice A model can be used from the next transaction on.
    event ModelRegistered(bytes32 indexed modelId, address indexed registrant, bytes manifest);

    /// @notice The manifest is there already, with these same bytes.
    error AlreadyRegistered(bytes32 modelId);
    /// @notice keccak256 of the manifest is not the id that was claimed.
    error ManifestMismatch(bytes32 claimed, bytes32 actual);
    /// @notice The bytes are not the canonical `abi.encode(Manifest)`.
    error NotCanonical();
    /// @notice A field is out of range; `field` names it.
    error InvalidManifest(string field);
    /// @notice Only the system call at the start of a block may do this.
    error OnlySystem();

    /// @notice Registers the model whose canonical manifest this is.
    /// @param modelId keccak256(manifest), claimed so that a mistake is seen
    /// @param manifest `abi.encode(Manifest)`
    function register(bytes32 modelId, bytes calldata manifest) external;

    /// @notice The packed slot that the precompile reads; zero for an unknown model.
    function slotOf(bytes32 modelId) external view returns (uint256 packed);

    /// @notice Gas of one run: 2,000 + multiplyAdds / 2,000 + bytesMoved / 1,000, each rounded up.
    function gasPerRun(Cost calldata cost) external pure returns (uint64 gas);

    /// @notice Counts the inference gas of the block before. Called by the system address
    /// 0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE at the start of each block, as in EIP-4788.
    /// @param inferenceGas sum of `gasPerRun` over the parent's inference list
    function startBlock(uint256 inferenceGas) external;

    /// @notice Inference gas above the target, summed over past blocks, never below zero. Storage slot 1.
    function excess() external view returns (uint256);

    /// @notice What one inference gas costs in this block, in millionths of an execution gas; one million at least.
    function price() external view returns (uint256);
}
