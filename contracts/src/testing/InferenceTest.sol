// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference, Tensor} from "../interfaces/IInference.sol";
import {Inference} from "../Inference.sol";
import {TensorCodec} from "../libraries/TensorCodec.sol";
import {TensorLib} from "../Tensor.sol";
import {MockInference} from "./MockInference.sol";
import {vm as cheats} from "./Vm.sol";

/// @title Base of forge tests for contracts that use a model.
/// @notice The mock is in place before `setUp` runs. Inherit it beside forge-std's `Test`, or alone.
/// ```solidity
/// contract AskTest is InferenceTest {
///     function test_stores_the_score() public {
///         givesScore(MODEL, 0.25e18);
///         …
///     }
/// }
/// ```
abstract contract InferenceTest {
    /// @notice The mock, at the precompile's address.
    MockInference internal constant inference = MockInference(payable(Inference.PRECOMPILE));

    constructor() {
        cheats.etch(Inference.PRECOMPILE, type(MockInference).runtimeCode);
        cheats.label(Inference.PRECOMPILE, "Inference");
    }

    // ---- what the model gives, whatever it is asked

    function givesScore(bytes32 modelId, int256 value) internal {
        inference.answerAll(modelId, TensorCodec.encodeRow(row(value)));
    }

    function givesVector(bytes32 modelId, int256[] memory values) internal {
        inference.answerAll(modelId, TensorCodec.encodeRow(values));
    }

    function givesText(bytes32 modelId, string memory text) internal {
        inference.answerAll(modelId, TensorCodec.encode(TensorLib.text(text)));
    }

    function fails(bytes32 modelId, uint16 code, string memory reason) internal {
        inference.failAll(modelId, code, reason);
    }

    // ---- what it gives for one row of features, or one text

    function givesScore(bytes32 modelId, int256[] memory features, int256 value) internal {
        inference.answer(modelId, TensorCodec.encodeRow(features), TensorCodec.encodeRow(row(value)));
    }

    function givesVector(bytes32 modelId, int256[] memory features, int256[] memory values) internal {
        inference.answer(modelId, TensorCodec.encodeRow(features), TensorCodec.encodeRow(values));
    }

    function givesVector(bytes32 modelId, string memory text, int256[] memory values) internal {
        inference.answer(modelId, TensorCodec.encode(TensorLib.text(text)), TensorCodec.encodeRow(values));
    }

    function givesText(bytes32 modelId, string memory prompt, string memory text) internal {
        bytes memory output = TensorCodec.encode(TensorLib.text(text));
        inference.answer(modelId, TensorCodec.encode(TensorLib.text(prompt)), output);
    }

    function fails(bytes32 modelId, int256[] memory features, uint16 code, string memory reason) internal {
        inference.fail(modelId, TensorCodec.encodeRow(features), code, reason);
    }

    // ---- what the contract must ask before the test ends

    function expectRun(bytes32 modelId, int256[] memory features) internal {
        expectRun(modelId, TensorCodec.encodeRow(features));
    }

    function expectRun(bytes32 modelId, bytes memory input) internal {
        cheats.expectCall(Inference.PRECOMPILE, abi.encodeCall(IInference.run, (modelId, input)));
    }

    // ---- chains without the precompile

    /// @notice From here on the test runs on a chain without it.
    function removeInference() internal {
        cheats.etch(Inference.PRECOMPILE, "");
    }

    // ---- rows of features

    function row(int256 a) internal pure returns (int256[] memory values) {
        values = new int256[](1);
        values[0] = a;
    }

    function row(int256 a, int256 b) internal pure returns (int256[] memory values) {
        values = new int256[](2);
        (values[0], values[1]) = (a, b);
    }

    function row(int256 a, int256 b, int256 c) internal pure returns (int256[] memory values) {
        values = new int256[](3);
        (values[0], values[1], values[2]) = (a, b, c);
    }

    function row(int256 a, int256 b, int256 c, int256 d) internal pure returns (int256[] memory values) {
        values = new int256[](4);
        (values[0], values[1], values[2], values[3]) = (a, b, c, d);
    }
}
