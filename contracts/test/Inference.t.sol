// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, IInference, ModelInfo, Profile, Tensor} from "../src/interfaces/IInference.sol";
import {Inference} from "../src/Inference.sol";
import {TensorCodec} from "../src/libraries/TensorCodec.sol";
import {TensorLib} from "../src/Tensor.sol";
import {WadVector} from "../src/WadVector.sol";
import {InferenceTest} from "../src/testing/InferenceTest.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";

/// @notice Answers every call with the same bytes.
contract Parrot {
    bytes private answer;

    function teach(bytes calldata answer_) external {
        answer = answer_;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        return answer;
    }
}

contract InferenceLibraryTest is InferenceTest, Check {
    bytes32 private constant MODEL = keccak256("model");

    // ---- answers

    function test_score_of_a_row() public {
        givesScore(MODEL, row(1, 2), 0.25e18);
        dirtyMemory();
        assertEq(Inference.score(MODEL, row(1, 2)), 0.25e18);
    }

    function test_score_asks_with_shape_1_n() public {
        givesScore(MODEL, 1);
        Tensor memory expected = TensorLib.reshape(TensorLib.wads(row(3, 4)), TensorLib.shape(1, 2));
        expectRun(MODEL, TensorCodec.encode(expected));
        Inference.score(MODEL, row(3, 4));
    }

    function test_class_is_the_first_of_the_greatest() public {
        givesVector(MODEL, row(-1, 5, 5));
        (uint256 index, int256 value) = Inference.class(MODEL, row(0));
        assertEq(index, 1);
        assertEq(value, 5);
    }

    function testFuzz_vector_round_trip(int256[] memory features, int256[] memory values) public {
        givesVector(MODEL, features, values);
        dirtyMemory();
        assertEq(Inference.vector(MODEL, features), values);
    }

    function test_vector_of_a_text() public {
        givesVector(MODEL, "hello", row(1, 2, 3));
        assertEq(Inference.vector(MODEL, "hello"), row(1, 2, 3));
    }

    function test_text_of_a_text() public {
        givesText(MODEL, "2+2?", "4");
        assertEq(Inference.text(MODEL, "2+2?"), "4");
    }

    function test_short_cuts_read_the_first_tensor_of_their_kind() public {
        Tensor[] memory outputs = new Tensor[](3);
        outputs[0] = TensorLib.ints(row(7));
        outputs[1] = TensorLib.wads(row(8, 9));
        outputs[2] = TensorLib.text("ten");
        inference.answerAll(MODEL, abi.encode(outputs));
        assertEq(Inference.vector(MODEL, row(0)), row(8, 9));
        assertEq(Inference.text(MODEL, ""), "ten");
    }

    function test_run_with_several_tensors() public {
        Tensor[] memory inputs = new Tensor[](2);
        inputs[0] = TensorLib.wads(row(1));
        inputs[1] = TensorLib.octets(hex"0102");
        inference.answer(MODEL, abi.encode(inputs), abi.encode(inputs));
        assertEq(abi.encode(Inference.run(MODEL, inputs)), abi.encode(inputs));
    }

    function testFuzz_run_gives_the_bytes_unchanged(bytes memory output) public {
        inference.answerAll(MODEL, output);
        dirtyMemory();
        assertEq(Inference.run(MODEL, TensorCodec.encodeRow(row(0))), output);
    }

    // ---- fallbacks

    function test_runOr_until_the_deadline_and_after_it() public {
        givesScore(MODEL, 1);
        vm.warp(100);
        (bool ran, bytes memory output) = Inference.runOr(MODEL, TensorCodec.encodeRow(row(0)), 100, "none");
        assertTrue(ran, "at the deadline the model answers");
        assertEq(output, TensorCodec.encodeRow(row(1)));
        (ran, output) = Inference.runOr(MODEL, TensorCodec.encodeRow(row(0)), 99, "none");
        assertTrue(!ran, "after it never");
        assertEq(output, "none");
    }

    function test_scoreOr_gives_the_other_value_when_the_model_fails() public {
        fails(MODEL, 5, "NaN");
        (bool ran, int256 value) = Inference.scoreOr(MODEL, row(0), block.timestamp, 42);
        assertTrue(!ran && value == 42, "the fallback");
        givesScore(MODEL, row(1), 7);
        (ran, value) = Inference.scoreOr(MODEL, row(1), block.timestamp, 42);
        assertTrue(ran && value == 7, "the model's");
    }

    function test_tryRun_gives_the_error_of_a_failed_inference() public {
        fails(MODEL, 5, "NaN");
        (bool ok, bytes memory reason) = Inference.tryRun(MODEL, TensorCodec.encodeRow(row(0)));
        assertTrue(!ok, "failed");
        assertEq(reason, abi.encodeWithSelector(IInference.InferenceFailed.selector, 5, "NaN"));
    }

    function test_tryRun_gives_the_output() public {
        givesScore(MODEL, 3);
        (bool ok, bytes memory output) = Inference.tryRun(MODEL, TensorCodec.encodeRow(row(0)));
        assertTrue(ok, "ran");
        assertEq(output, TensorCodec.encodeRow(row(3)));
    }

    // ---- errors pass through

    function test_unknown_model_reverts_typed() public {
        vm.expectRevert(abi.encodeWithSelector(IInference.UnknownModel.selector, MODEL));
        this.score(MODEL, row(0));
    }

    function test_too_large_input_reverts_typed() public {
        inference.addModel(MODEL, 351, 1_000);
        vm.expectRevert(abi.encodeWithSelector(IInference.InputTooLarge.selector, 352, 351));
        this.score(MODEL, row(0));
    }

    function test_malformed_input_reverts_typed() public {
        inference.addModel(MODEL, 1_000, 1_000);
        vm.expectPartialRevert(IInference.MalformedInput.selector);
        this.run(MODEL, "no tensors");
    }

    function test_failed_inference_reverts_typed() public {
        fails(MODEL, row(0), 4, "index 9 of 3");
        vm.expectRevert(abi.encodeWithSelector(IInference.InferenceFailed.selector, 4, "index 9 of 3"));
        this.score(MODEL, row(0));
    }

    // ---- answers of another kind

    function test_output_without_a_wad_tensor_reverts() public {
        givesText(MODEL, "no number");
        vm.expectRevert(Inference.UnexpectedOutput.selector);
        this.score(MODEL, row(0));
    }

    function test_output_without_a_text_reverts() public {
        givesScore(MODEL, 1);
        vm.expectRevert(Inference.UnexpectedOutput.selector);
        this.text(MODEL, "");
    }

    function test_score_of_two_numbers_reverts() public {
        givesVector(MODEL, row(1, 2));
        vm.expectRevert(Inference.UnexpectedOutput.selector);
        this.score(MODEL, row(0));
    }

    function test_output_that_is_no_tensors_reverts() public {
        inference.answerAll(MODEL, "garbage");
        vm.expectRevert(TensorCodec.MalformedTensors.selector);
        this.score(MODEL, row(0));
    }

    // ---- is it there

    function test_isSupported_with_the_precompile() public view {
        assertTrue(Inference.isSupported(), "there");
    }

    function test_isSupported_without_it() public {
        removeInference();
        assertTrue(!Inference.isSupported(), "no account");
        vm.etch(Inference.PRECOMPILE, hex"fe");
        assertTrue(!Inference.isSupported(), "the account, but not the precompile");
        vm.etch(Inference.PRECOMPILE, type(Parrot).runtimeCode);
        assertTrue(!Inference.isSupported(), "some other contract");
    }

    function test_isSupported_where_everything_is_echoed() public {
        vm.etch(Inference.PRECOMPILE, hex"365f5f37365ff3"); // returns its calldata
        assertTrue(!Inference.isSupported(), "an echo");
    }

    function test_absent_precompile_reverts_with_its_address() public {
        removeInference();
        bytes memory expected = abi.encodeWithSelector(Inference.InferenceUnavailable.selector, Inference.PRECOMPILE);
        vm.expectRevert(expected);
        this.score(MODEL, row(0));
        vm.expectRevert(expected);
        this.tryRun(MODEL, "");
        vm.expectRevert(expected);
        this.runOr(MODEL, "", 0, "");
        vm.expectRevert(expected);
        this.model(MODEL);
    }

    function test_account_without_the_precompile_reverts_the_same() public {
        vm.etch(Inference.PRECOMPILE, hex"fe");
        bytes memory expected = abi.encodeWithSelector(Inference.InferenceUnavailable.selector, Inference.PRECOMPILE);
        vm.expectRevert(expected);
        this.score(MODEL, row(0));
        vm.expectRevert(expected);
        this.tryRun(MODEL, "");
    }

    function test_tryRun_with_too_little_gas_never_takes_the_failing_branch() public {
        givesScore(MODEL, 1);
        bytes memory input = TensorCodec.encodeRow(row(0));
        uint256 answered = 0;
        for (uint256 gas = 1_000; gas < 120_000; gas += 500) {
            try this.tryRun{gas: gas}(MODEL, input) returns (bool ok, bytes memory) {
                assertTrue(ok, "an answer, or a revert");
                ++answered;
            } catch {}
        }
        assertTrue(answered > 0 && answered < 238, "both ends were seen");
    }

    function testFuzz_malformed_return_data_reverts_typed(bytes memory returned) public {
        vm.etch(Inference.PRECOMPILE, type(Parrot).runtimeCode);
        Parrot(Inference.PRECOMPILE).teach(returned);
        try this.run(MODEL, "") returns (bytes memory output) {
            // Whatever passes is an encoding of bytes, if one with more behind.
            assertEq(keccak256(abi.encode(abi.decode(returned, (bytes)))), keccak256(abi.encode(output)));
        } catch (bytes memory reason) {
            assertEq(reason, abi.encodeWithSelector(Inference.InferenceUnavailable.selector, Inference.PRECOMPILE));
        }
    }

    function test_each_malformed_return_reverts_typed() public {
        vm.etch(Inference.PRECOMPILE, type(Parrot).runtimeCode);
        bytes[6] memory bad = [
            bytes(""),
            hex"20",
            abi.encode(uint256(0x20)),
            abi.encode(uint256(0x40), uint256(0)),
            abi.encode(uint256(0x20), uint256(1)),
            abi.encode(uint256(0x20), type(uint256).max)
        ];
        for (uint256 i = 0; i < bad.length; ++i) {
            Parrot(Inference.PRECOMPILE).teach(bad[i]);
            vm.expectPartialRevert(Inference.InferenceUnavailable.selector);
            this.run(MODEL, "");
            vm.expectPartialRevert(Inference.InferenceUnavailable.selector);
            this.runOr(MODEL, "", 0, "");
        }
        Parrot(Inference.PRECOMPILE).teach(abi.encode(uint256(2), uint256(0x40), uint256(0)));
        vm.expectPartialRevert(Inference.InferenceUnavailable.selector);
        this.runOr(MODEL, "", 0, "");
    }

    function test_empty_features_and_texts_are_asked_as_they_are() public {
        int256[] memory none = new int256[](0);
        expectRun(MODEL, abi.encode(_list(Tensor(DType.Wad, TensorLib.shape(1, 0), ""))));
        givesVector(MODEL, none, none);
        dirtyMemory();
        assertEq(Inference.vector(MODEL, none).length, 0);
        givesText(MODEL, "", "");
        assertEq(Inference.text(MODEL, ""), "");
        vm.expectRevert(Inference.UnexpectedOutput.selector);
        this.score(MODEL, none);
    }

    function test_a_class_of_no_values_reverts() public {
        givesVector(MODEL, new int256[](0));
        vm.expectRevert(WadVector.EmptyVector.selector);
        this.class(MODEL, row(0));
    }

    function test_a_huge_row_goes_both_ways() public {
        int256[] memory features = new int256[](50_000);
        (features[0], features[49_999]) = (type(int256).min, type(int256).max);
        bytes memory returnsRest = hex"600b380380600b5f395ff3"; // what stands behind these 11 bytes
        vm.etch(Inference.PRECOMPILE, bytes.concat(returnsRest, abi.encode(TensorCodec.encodeRow(features))));
        dirtyMemory();
        assertEq(Inference.vector(MODEL, features), features);
    }

    function test_a_huge_length_in_the_answer_reverts_and_allocates_nothing() public {
        uint32[] memory huge = new uint32[](2);
        (huge[0], huge[1]) = (type(uint32).max, type(uint32).max);
        bytes memory output = abi.encode(_list(Tensor(DType.Wad, huge, "")));
        inference.answerAll(MODEL, output);
        vm.expectRevert(TensorCodec.MalformedTensors.selector);
        this.score{gas: 200_000}(MODEL, row(0));
    }

    function test_model_info() public {
        assertTrue(!Inference.model(MODEL).known, "not known");
        inference.addModel(MODEL, 1_000, 2_000);
        ModelInfo memory info = Inference.model(MODEL);
        assertTrue(info.known && info.profile == Profile.ExactF32, "known");
        assertEq(info.maxInputBytes, 1_000);
        assertEq(info.maxOutputBytes, 2_000);
    }

    // ---- gas

    function test_gas_over_a_raw_staticcall_with_32_elements() public {
        int256[] memory features = new int256[](32);
        vm.etch(Inference.PRECOMPILE, type(Parrot).runtimeCode);
        Parrot(Inference.PRECOMPILE).teach(abi.encode(TensorCodec.encodeRow(row(1))));
        // Two rounds, so that both find the account and its storage warm.
        (uint256 raw, uint256 library_) = (_rawGas(features), _libraryGas(features));
        (raw, library_) = (_rawGas(features), _libraryGas(features));
        vm.snapshotValue("Inference", "score of 32 over a raw staticcall", library_ - raw);
        assertTrue(library_ - raw <= 2_000, "at most 2,000 gas over a raw staticcall with hand-written calldata");
    }

    function _rawGas(int256[] memory features) private view returns (uint256 gas) {
        bytes memory data = abi.encodeCall(IInference.run, (MODEL, TensorCodec.encodeRow(features)));
        address precompile = Inference.PRECOMPILE;
        bool ok;
        gas = gasleft();
        assembly {
            ok := staticcall(gas(), precompile, add(data, 0x20), mload(data), 0, 0)
        }
        gas -= gasleft();
        assertTrue(ok, "answered");
    }

    function _libraryGas(int256[] memory features) private view returns (uint256 gas) {
        gas = gasleft();
        Inference.score(MODEL, features);
        gas -= gasleft();
    }

    function _list(Tensor memory tensor) private pure returns (Tensor[] memory tensors) {
        tensors = new Tensor[](1);
        tensors[0] = tensor;
    }

    // Reached by a call, so that a revert can be expected.
    function score(bytes32 modelId, int256[] memory features) external view returns (int256) {
        return Inference.score(modelId, features);
    }

    function class(bytes32 modelId, int256[] memory features) external view returns (uint256, int256) {
        return Inference.class(modelId, features);
    }

    function text(bytes32 modelId, string memory prompt) external view returns (string memory) {
        return Inference.text(modelId, prompt);
    }

    function run(bytes32 modelId, bytes memory input) external view returns (bytes memory) {
        return Inference.run(modelId, input);
    }

    function tryRun(bytes32 modelId, bytes memory input) external view returns (bool, bytes memory) {
        return Inference.tryRun(modelId, input);
    }

    function runOr(bytes32 modelId, bytes memory input, uint256 deadline, bytes memory fallback_)
        external
        view
        returns (bool, bytes memory)
    {
        return Inference.runOr(modelId, input, deadline, fallback_);
    }

    function model(bytes32 modelId) external view returns (ModelInfo memory) {
        return Inference.model(modelId);
    }
}
