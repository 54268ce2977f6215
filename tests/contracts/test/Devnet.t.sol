// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";
import {IInference, ModelInfo, Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";
import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";

/// @notice Run with a plain `forge test` while a devnet listens at $FOREBLOCK_URL: what its precompile returns and reverts with
/// arrives whole.
contract DevnetTest is UsesDevnet {
    bytes32 private constant NOBODY = keccak256("nobody");
    bytes32 private model;

    function setUp() public {
        useDevnet();
        model = devnetModel("volatility");
    }

    function test_the_precompile_is_there() public view {
        vm.assertTrue(Inference.isSupported(), "known answer");
    }

    function test_a_real_model_answers() public view {
        int256 calm = Inference.score(model, _returns(0.001e18));
        int256 wild = Inference.score(model, _returns(0.05e18));
        vm.assertTrue(calm > 0 && calm < 0.01e18, "calm");
        vm.assertTrue(wild > 10 * calm && wild < 0.2e18, "wild");
        vm.assertEq(Inference.score(model, _returns(0.05e18)), wild, "the same again");
    }

    function test_a_text_goes_in_and_two_outputs_come_out() public {
        bytes memory words = "Pay the audit firm a grant from the treasury.";
        Tensor memory input = TensorLib.reshape(TensorLib.octets(words), TensorLib.shape(1, words.length));
        Tensor[] memory outputs = Inference.run(devnetModel("text"), input);
        vm.assertEq(outputs.length, 2, "embedding and valence");
        vm.assertEq(TensorLib.takeWads(outputs[0]).length, 32, "numbers of the embedding");
    }

    function test_what_consensus_knows_of_a_model() public view {
        ModelInfo memory info = Inference.model(model);
        vm.assertTrue(info.known && info.gasPerRun > 0 && info.maxInputBytes >= 16 * 32, "known");
        vm.assertTrue(!Inference.model(NOBODY).known, "nobody");
    }

    function test_an_unknown_models_revert_data_arrives() public {
        vm.expectRevert(abi.encodeWithSelector(IInference.UnknownModel.selector, NOBODY));
        this.score(NOBODY, _returns(0));
    }

    function test_a_malformed_inputs_revert_data_arrives_with_its_reason() public {
        (bool ok, bytes memory reason) = Inference.tryRun(model, "no tensors");
        vm.assertTrue(!ok && bytes4(reason) == IInference.MalformedInput.selector, "typed");
        vm.assertTrue(bytes(_reason(reason)).length > 0, "with words");
        vm.expectRevert(reason);
        this.run(model, "no tensors");
    }

    function test_a_failed_inference_can_be_caught_with_its_code() public view {
        try this.score(model, new int256[](3)) returns (int256) {
            vm.assertTrue(false, "the model takes 16 returns");
        } catch (bytes memory data) {
            vm.assertTrue(bytes4(data) == IInference.InferenceFailed.selector, "agreed failure");
        }
    }

    function test_a_fallback_after_the_deadline_and_an_answer_before() public view {
        (bool ran, int256 value) = Inference.scoreOr(model, _returns(0.01e18), 1, 7);
        vm.assertTrue(!ran && value == 7, "after");
        (ran, value) = Inference.scoreOr(model, _returns(0.01e18), type(uint256).max, 7);
        vm.assertTrue(ran && value > 7, "before");
    }

    function score(bytes32 modelId, int256[] calldata features) external view returns (int256) {
        return Inference.score(modelId, features);
    }

    function run(bytes32 modelId, bytes calldata input) external view returns (bytes memory) {
        return Inference.run(modelId, input);
    }

    function _reason(bytes memory data) private view returns (string memory) {
        return this.reasonOf(data);
    }

    function reasonOf(bytes calldata data) external pure returns (string memory) {
        return abi.decode(data[4:], (string));
    }

    function _returns(int256 step) private pure returns (int256[] memory features) {
        features = new int256[](16);
        for (uint256 i = 0; i < 16; ++i) {
            features[i] = i % 2 == 0 ? step : -step;
        }
    }
}
