// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, IInference, ModelInfo, Tensor} from "./interfaces/IInference.sol";
import {TensorCodec} from "./libraries/TensorCodec.sol";
import {TensorLib} from "./Tensor.sol";
import {WadVector} from "./WadVector.sol";

/// @title A model's answer in one line of Solidity.
/// @notice All calls are STATICCALLs, so that there is nothing to re-enter. Errors of the precompile pass through as they are.
/// @dev The short cuts send one tensor and read the first WAD (or Text) tensor of the answer. Whatever has more inputs or
/// outputs goes through `run` with `Tensor[]`.
library Inference {
    /// @notice Nothing at this address answers as the precompile does: wrong chain, or too little gas for the call.
    error InferenceUnavailable(address precompile);
    /// @notice The answer holds no tensor of the kind that was asked for.
    error UnexpectedOutput();

    address internal constant PRECOMPILE = 0x0000000000000000000000000000000000001a0F;
    /// @dev Enough for `isSupported`, and little enough to lose where the account holds an INVALID and nothing more.
    uint256 private constant PROBE_GAS = 50_000;

    // ---- the three calls

    /// @notice The output of `modelId` for `input`, both `abi.encode(Tensor[])`.
    function run(bytes32 modelId, bytes memory input) internal view returns (bytes memory) {
        bool ok = _call(abi.encodeCall(IInference.run, (modelId, input)));
        if (!ok) _revertWithReturned();
        return _returnedBytes();
    }

    /// @notice The outputs of `modelId` for `inputs`, in the manifest's order.
    function run(bytes32 modelId, Tensor[] memory inputs) internal view returns (Tensor[] memory) {
        return TensorCodec.decodeInPlace(run(modelId, abi.encode(inputs)));
    }

    /// @notice The outputs of a model with one input.
    function run(bytes32 modelId, Tensor memory input) internal view returns (Tensor[] memory) {
        return TensorCodec.decodeInPlace(run(modelId, TensorCodec.encode(input)));
    }

    /// @notice As `run`, but the precompile's typed errors do not revert: `output` is then the error.
    /// @dev A call that ends without an error of the precompile reverts with `InferenceUnavailable`: else a caller could
    /// choose the failing branch by sending too little gas.
    function tryRun(bytes32 modelId, bytes memory input) internal view returns (bool ok, bytes memory output) {
        ok = _call(abi.encodeCall(IInference.run, (modelId, input)));
        if (ok) return (true, _returnedBytes());
        if (_returnedSize() == 0) revert InferenceUnavailable(PRECOMPILE);
        return (false, _returned());
    }

    /// @notice The model's output until `deadline`, in unix seconds; after it, and for a failed inference, `fallback_`.
    function runOr(bytes32 modelId, bytes memory input, uint256 deadline, bytes memory fallback_)
        internal
        view
        returns (bool ran, bytes memory output)
    {
        bool ok = _call(abi.encodeCall(IInference.runOr, (modelId, input, deadline, fallback_)));
        if (!ok) _revertWithReturned();
        return _returnedFlagAndBytes();
    }

    // ---- what is there

    /// @notice What consensus knows of a model; `known` is false where nothing is.
    function model(bytes32 modelId) internal view returns (ModelInfo memory) {
        bool ok = _call(abi.encodeCall(IInference.model, (modelId)));
        if (!ok) _revertWithReturned();
        if (_returnedSize() != 5 * 32) revert InferenceUnavailable(PRECOMPILE);
        return abi.decode(_returned(), (ModelInfo));
    }

    /// @notice Whether the precompile is there: asks it something to which only one answer is right. Needs 100,000 gas to say so.
    /// @dev `runOr` after its deadline gives the fallback, whatever the model.
    function isSupported() internal view returns (bool) {
        // A probe that runs out of gas would say no, and whoever sends the gas could choose that.
        if (gasleft() < 2 * PROBE_GAS) revert InferenceUnavailable(PRECOMPILE);
        bytes memory answer = "foreblock";
        bytes memory question = abi.encodeCall(IInference.runOr, (bytes32(0), "", 0, answer));
        (bool ok, bytes memory returned) = PRECOMPILE.staticcall{gas: PROBE_GAS}(question);
        return ok && keccak256(returned) == keccak256(abi.encode(false, answer));
    }

    /// @notice For a `catch` around a call that asks: returns where all nodes agree on `reason`, and reverts where it may come of too
    /// little gas. Without it, who calls chooses the branch without the model by the gas that is sent along.
    function checkReason(bytes memory reason) internal view {
        if (reason.length == 0) revert InferenceUnavailable(PRECOMPILE);
        // The library's word for a call that ended without an error of the precompile: only a chain without one explains it.
        if (bytes4(reason) == InferenceUnavailable.selector && isSupported()) revert InferenceUnavailable(PRECOMPILE);
    }

    // ---- short cuts

    /// @notice The one number that a model gives for a row of features, shape [1, features.length].
    function score(bytes32 modelId, int256[] memory features) internal view returns (int256) {
        return _single(vector(modelId, features));
    }

    /// @notice As `score` until `deadline`; after it, and for a failed inference, `otherwise`.
    function scoreOr(bytes32 modelId, int256[] memory features, uint256 deadline, int256 otherwise)
        internal
        view
        returns (bool ran, int256 value)
    {
        bytes memory output;
        (ran, output) = runOr(modelId, TensorCodec.encodeRow(features), deadline, "");
        value = ran ? _single(_firstWads(output)) : otherwise;
    }

    /// @notice The class to which a model gives the highest value, the first of several, and that value.
    function class(bytes32 modelId, int256[] memory features) internal view returns (uint256 index, int256 value) {
        int256[] memory values = vector(modelId, features);
        index = WadVector.argmax(values);
        value = values[index];
    }

    /// @notice All the numbers that a model gives for a row of features, shape [1, features.length].
    function vector(bytes32 modelId, int256[] memory features) internal view returns (int256[] memory) {
        bool ok = _callWithRow(modelId, features);
        if (!ok) _revertWithReturned();
        return _firstWads(_returnedBytes());
    }

    /// @notice All the numbers that a model gives for a text: an embedding, or a classifier's values.
    function vector(bytes32 modelId, string memory text_) internal view returns (int256[] memory) {
        return _firstWads(run(modelId, TensorCodec.encode(TensorLib.text(text_))));
    }

    /// @notice The text that a model gives for a text.
    function text(bytes32 modelId, string memory prompt) internal view returns (string memory) {
        Tensor[] memory outputs = run(modelId, TensorLib.text(prompt));
        for (uint256 i = 0; i < outputs.length; ++i) {
            if (outputs[i].dtype == DType.Text) return TensorLib.toText(outputs[i]);
        }
        revert UnexpectedOutput();
    }

    // ---- inside

    function _firstWads(bytes memory output) private pure returns (int256[] memory) {
        (bool found, int256[] memory values) = TensorCodec.takeOnlyWads(output);
        if (found) return values;
        Tensor[] memory outputs = TensorCodec.decodeInPlace(output);
        for (uint256 i = 0; i < outputs.length; ++i) {
            if (outputs[i].dtype == DType.Wad) return TensorLib.takeWads(outputs[i]);
        }
        revert UnexpectedOutput();
    }

    function _single(int256[] memory values) private pure returns (int256) {
        if (values.length != 1) revert UnexpectedOutput();
        return values[0];
    }

    function _call(bytes memory data) private view returns (bool ok) {
        assembly ("memory-safe") {
            ok := staticcall(gas(), PRECOMPILE, add(data, 0x20), mload(data), 0, 0)
        }
    }

    /// @dev `run` with the calldata written straight to free memory, where the answer overwrites it.
    function _callWithRow(bytes32 modelId, int256[] memory features) private view returns (bool ok) {
        bytes4 selector = IInference.run.selector;
        uint256 size = TensorCodec.rowSize(features);
        uint256 frame;
        assembly ("memory-safe") {
            frame := mload(0x40)
            mstore(frame, selector)
            mstore(add(frame, 0x04), modelId)
            mstore(add(frame, 0x24), 0x40)
            mstore(add(frame, 0x44), size)
        }
        TensorCodec.writeRow(frame + 0x64, features);
        assembly ("memory-safe") {
            ok := staticcall(gas(), PRECOMPILE, frame, add(size, 0x64), 0, 0)
        }
    }

    function _returnedSize() private pure returns (uint256 size) {
        assembly ("memory-safe") {
            size := returndatasize()
        }
    }

    function _returned() private pure returns (bytes memory data) {
        assembly ("memory-safe") {
            data := mload(0x40)
            mstore(data, returndatasize())
            returndatacopy(add(data, 0x20), 0, returndatasize())
            mstore(0x40, and(add(add(data, 0x3f), returndatasize()), not(0x1f)))
        }
    }

    /// @dev The bytes in the returned `abi.encode(bytes)`, copied once.
    function _returnedBytes() private pure returns (bytes memory content) {
        bool fits;
        assembly ("memory-safe") {
            let place := mload(0x40)
            let size := returndatasize()
            returndatacopy(place, 0, size)
            mstore(0x40, and(add(add(place, size), 0x1f), not(0x1f)))
            content := add(place, 0x20)
            let shape := and(gt(size, 0x3f), eq(mload(place), 0x20))
            fits := and(shape, iszero(gt(mload(content), sub(size, 0x40))))
        }
        if (!fits) revert InferenceUnavailable(PRECOMPILE);
    }

    /// @dev The same for `abi.encode(bool, bytes)`.
    function _returnedFlagAndBytes() private pure returns (bool flag, bytes memory content) {
        bytes memory returned = _returned();
        bool fits;
        assembly ("memory-safe") {
            let size := mload(returned)
            flag := mload(add(returned, 0x20))
            content := add(returned, 0x60)
            let shape := and(gt(size, 0x5f), and(lt(flag, 2), eq(mload(add(returned, 0x40)), 0x40)))
            fits := and(shape, iszero(gt(mload(content), sub(size, 0x60))))
        }
        if (!fits) revert InferenceUnavailable(PRECOMPILE);
    }

    function _revertWithReturned() private pure {
        if (_returnedSize() == 0) revert InferenceUnavailable(PRECOMPILE);
        bytes memory data = _returned();
        assembly ("memory-safe") {
            revert(add(data, 0x20), mload(data))
        }
    }
}
