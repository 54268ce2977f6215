// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference} from "../../src/interfaces/IInference.sol";
import {Inference} from "../../src/Inference.sol";
import {TensorCodec} from "../../src/libraries/TensorCodec.sol";
import {InferenceTest} from "../../src/testing/InferenceTest.sol";
import {MockInference} from "../../src/testing/MockInference.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

contract MockInferenceTest is InferenceTest, Check {
    bytes32 private constant MODEL = keccak256("model");

    function test_an_answer_of_its_own_goes_before_the_models() public {
        givesScore(MODEL, 1);
        givesScore(MODEL, row(7), 2);
        assertEq(Inference.score(MODEL, row(7)), 2);
        assertEq(Inference.score(MODEL, row(8)), 1);
    }

    function test_a_failure_of_its_own_goes_before_the_models_answer() public {
        givesScore(MODEL, 1);
        fails(MODEL, row(7), 3, "shape");
        vm.expectRevert(abi.encodeWithSelector(IInference.InferenceFailed.selector, 3, "shape"));
        inference.run(MODEL, TensorCodec.encodeRow(row(7)));
        assertEq(Inference.score(MODEL, row(8)), 1);
    }

    function test_the_last_word_counts() public {
        fails(MODEL, 3, "shape");
        givesScore(MODEL, 5);
        assertEq(Inference.score(MODEL, row(7)), 5);
    }

    function test_models_do_not_share_answers() public {
        givesScore(MODEL, row(7), 2);
        vm.expectRevert(abi.encodeWithSelector(IInference.UnknownModel.selector, bytes32(uint256(1))));
        inference.run(bytes32(uint256(1)), TensorCodec.encodeRow(row(7)));
    }

    function test_nothing_scripted_is_an_error_of_its_own() public {
        bytes memory input = TensorCodec.encodeRow(row(7));
        inference.addModel(MODEL, 1_000, 1_000);
        vm.expectRevert(abi.encodeWithSelector(MockInference.NothingScripted.selector, MODEL, input));
        inference.run(MODEL, input);
    }

    function test_input_that_is_not_canonical_is_refused_as_on_a_chain() public {
        givesScore(MODEL, 1);
        bytes memory padded = bytes.concat(TensorCodec.encodeRow(row(7)), bytes32(0));
        vm.expectPartialRevert(IInference.MalformedInput.selector);
        inference.run(MODEL, padded);
    }

    function test_delegatecall_value_and_unknown_functions_are_refused_as_on_a_chain() public {
        givesScore(MODEL, 1);
        bytes memory call = abi.encodeCall(IInference.run, (MODEL, TensorCodec.encodeRow(row(7))));
        (bool ok, bytes memory returned) = address(inference).delegatecall(call);
        assertTrue(!ok, "delegatecall");
        assertEq(returned, abi.encodeWithSelector(IInference.IndirectCall.selector));
        (ok, returned) = address(inference).call{value: 1}("");
        assertEq(returned, abi.encodeWithSelector(IInference.ValueSent.selector, 1));
        (ok, returned) = address(inference).call(hex"12345678");
        assertEq(returned, abi.encodeWithSelector(IInference.MalformedCall.selector));
    }
}
