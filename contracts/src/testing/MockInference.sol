// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference, ModelInfo, Profile, Tensor} from "../interfaces/IInference.sol";
import {Inference} from "../Inference.sol";
import {TensorCodec} from "../libraries/TensorCodec.sol";

/// @title The precompile for tests: it answers what it was told to.
/// @notice Etch it at the precompile's address (`InferenceTest` does). It checks calls as the precompile does and reverts
/// with the same errors. Where nothing was scripted it reverts with `NothingScripted`; on a chain the transaction would
/// wait instead.
contract MockInference is IInference {
    /// @notice The test gave neither an answer for this input nor one for the whole model.
    error NothingScripted(bytes32 modelId, bytes input);

    struct Outcome {
        bool scripted;
        bool failed;
        uint16 code;
        string reason;
        bytes output;
    }

    mapping(bytes32 requestId => Outcome) private byRequest;
    mapping(bytes32 modelId => Outcome) private byModel;
    mapping(bytes32 modelId => ModelInfo) private models;

    // ---- the script

    /// @notice Makes a model known with these limits.
    function addModel(bytes32 modelId, uint32 maxInputBytes, uint32 maxOutputBytes) external {
        models[modelId] = ModelInfo(true, Profile.ExactF32, 2_000, maxInputBytes, maxOutputBytes);
    }

    /// @notice The model's output for one input.
    function answer(bytes32 modelId, bytes calldata input, bytes calldata output) external {
        _know(modelId);
        byRequest[requestId(modelId, input)] = Outcome(true, false, 0, "", output);
    }

    /// @notice The model's output for all inputs that have none of their own.
    function answerAll(bytes32 modelId, bytes calldata output) external {
        _know(modelId);
        byModel[modelId] = Outcome(true, false, 0, "", output);
    }

    /// @notice The model's failure for one input.
    function fail(bytes32 modelId, bytes calldata input, uint16 code, string calldata reason) external {
        _know(modelId);
        byRequest[requestId(modelId, input)] = Outcome(true, true, code, reason, "");
    }

    /// @notice The model's failure for all inputs that have no outcome of their own.
    function failAll(bytes32 modelId, uint16 code, string calldata reason) external {
        _know(modelId);
        byModel[modelId] = Outcome(true, true, code, reason, "");
    }

    /// @notice The id that one question to one model has everywhere.
    function requestId(bytes32 modelId, bytes calldata input) public pure returns (bytes32) {
        return keccak256(abi.encode(modelId, keccak256(input)));
    }

    // ---- the precompile

    /// @inheritdoc IInference
    function run(bytes32 modelId, bytes calldata input) external view returns (bytes memory) {
        Outcome memory outcome = _outcome(modelId, input);
        if (outcome.failed) revert InferenceFailed(outcome.code, outcome.reason);
        return outcome.output;
    }

    /// @inheritdoc IInference
    function runOr(bytes32 modelId, bytes calldata input, uint256 deadline, bytes calldata fallback_)
        external
        view
        returns (bool, bytes memory)
    {
        if (block.timestamp > deadline) return (false, fallback_);
        Outcome memory outcome = _outcome(modelId, input);
        return outcome.failed ? (false, fallback_) : (true, outcome.output);
    }

    /// @inheritdoc IInference
    function model(bytes32 modelId) external view returns (ModelInfo memory) {
        return models[modelId];
    }

    /// @notice Reverts where `input` is not canonical. External so that its revert can be caught.
    function checkInput(bytes calldata input) external pure {
        Tensor[] memory tensors = TensorCodec.decode(input);
        if (keccak256(abi.encode(tensors)) != keccak256(input)) revert TensorCodec.MalformedTensors();
    }

    fallback() external payable {
        _refuse();
    }

    receive() external payable {
        _refuse();
    }

    // ---- inside

    function _refuse() private {
        if (msg.value > 0) revert ValueSent(msg.value);
        revert MalformedCall();
    }

    function _know(bytes32 modelId) private {
        if (models[modelId].known) return;
        models[modelId] = ModelInfo(true, Profile.ExactF32, 2_000, type(uint32).max, type(uint32).max);
    }

    function _outcome(bytes32 modelId, bytes calldata input) private view returns (Outcome memory outcome) {
        if (address(this) != Inference.PRECOMPILE) revert IndirectCall();
        ModelInfo memory info = models[modelId];
        if (!info.known) revert UnknownModel(modelId);
        if (input.length > info.maxInputBytes) revert InputTooLarge(input.length, info.maxInputBytes);
        try this.checkInput(input) {}
        catch (bytes memory reason) {
            if (reason.length == 0) revert(); // out of gas, which says nothing of the input
            revert MalformedInput("the input is not the canonical abi.encode(Tensor[])");
        }
        outcome = byRequest[requestId(modelId, input)];
        if (!outcome.scripted) outcome = byModel[modelId];
        if (!outcome.scripted) revert NothingScripted(modelId, input);
    }
}
