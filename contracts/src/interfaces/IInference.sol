// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @notice How the `data` of a `Tensor` is laid out. Numbers are big-endian, as everywhere in the EVM.
enum DType {
    Wad, // int256 with 18 decimals, 32 bytes an element: the memory layout of an `int256[]`
    Int, // int256 without decimals, 32 bytes an element
    U8, // packed, 1 byte
    I8, // packed, 1 byte, two's complement
    U16, // packed, 2 bytes
    I16, // packed, 2 bytes, two's complement
    U32, // packed, 4 bytes
    I32, // packed, 4 bytes, two's complement
    U64, // packed, 8 bytes
    I64, // packed, 8 bytes, two's complement
    Bool, // packed, 1 byte, 0 or 1
    Text // UTF-8; rank 0: the bytes of one string; rank 1 and up: for each, uint32 length, then its bytes
}

/// @notice What crosses the boundary between a contract and a model.
/// @param dtype layout of `data`
/// @param shape length of each dimension, outermost first; empty for a scalar
/// @param data the elements in row-major order, exactly `product(shape)` of them
struct Tensor {
    DType dtype;
    uint32[] shape;
    bytes data;
}

/// @notice By which rule an answer of the model is valid.
enum Profile {
    Unknown, // no such model
    ExactF32, // "exact-f32/v1": equal bytes on every machine
    ExactI8, // "exact-i8/v1": integer arithmetic, equal bytes on every machine
    Tolerance, // answers within the manifest's tolerances, the medoid of 2f+1
    ExactText // "exact-text/v1": a language model whose text is equal on every machine; gas is that of a token
}

/// @notice What consensus knows of a model.
/// @param known whether the model is registered
/// @param profile the rule by which its answers are valid
/// @param gasPerRun gas of one run, beside the terms for input and output words
/// @param maxInputBytes longest `input` accepted, in bytes
/// @param maxOutputBytes longest `output` possible, in bytes
struct ModelInfo {
    bool known;
    Profile profile;
    uint64 gasPerRun;
    uint32 maxInputBytes;
    uint32 maxOutputBytes;
}

/// @title Machine-learning inference inside the calling transaction.
/// @notice A precompile at 0x0000000000000000000000000000000000001a0F. It only looks outcomes up: they are
/// computed before the block is built. A transaction whose outcome is not there yet is deferred, not reverted, so a
/// contract never sees a pending or simulated answer.
/// @dev Call it with CALL or STATICCALL and without value. All functions are pure in calldata, registered models and
/// block time. `input` and `output` are `abi.encode(Tensor[])`.
interface IInference {
    /// @notice No model with this id is registered.
    error UnknownModel(bytes32 modelId);
    /// @notice `input` is longer than the model accepts, in bytes.
    error InputTooLarge(uint256 size, uint256 max);
    /// @notice `input` is not the canonical `abi.encode(Tensor[])`, or a tensor's data does not fit its shape.
    error MalformedInput(string reason);
    /// @notice The operators agree that the model has no answer for this input.
    /// @param code a `FailureCode`, stable across releases
    /// @param reason the same in words
    error InferenceFailed(uint16 code, string reason);
    /// @notice Reached by DELEGATECALL or CALLCODE: use CALL or STATICCALL.
    error IndirectCall();
    /// @notice Value was sent: the precompile accepts none.
    error ValueSent(uint256 value);
    /// @notice Calldata names no function of this interface, or ends before its arguments do: an offset or a length
    /// reaches beyond it. Other offsets than the usual, and bytes that nothing refers to, are read as Solidity reads them.
    error MalformedCall();

    /// @notice The output of `modelId` for `input`.
    /// @param modelId keccak256 of the model's canonical manifest
    /// @param input `abi.encode(Tensor[])`, one tensor for each input of the model, in the manifest's order
    /// @return output `abi.encode(Tensor[])`, one tensor for each output of the model, in the manifest's order
    function run(bytes32 modelId, bytes calldata input) external view returns (bytes memory output);

    /// @notice As `run` while `block.timestamp <= deadline`; after it, always the fallback, so that no block
    /// producer can choose. An inference that failed gives the fallback, too.
    /// @param modelId keccak256 of the model's canonical manifest
    /// @param input `abi.encode(Tensor[])`
    /// @param deadline unix time in seconds until which the model's answer is wanted
    /// @param fallback_ returned as it is when the model does not answer
    /// @return ran whether `output` is the model's
    /// @return output the model's output, or `fallback_`
    function runOr(bytes32 modelId, bytes calldata input, uint256 deadline, bytes calldata fallback_)
        external
        view
        returns (bool ran, bytes memory output);

    /// @notice What is known of a model; `known` is false where nothing is. Never reverts.
    function model(bytes32 modelId) external view returns (ModelInfo memory info);
}
