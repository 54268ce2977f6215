// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference} from "../../src/interfaces/IInference.sol";
import {Inference} from "../../src/Inference.sol";
import {InferenceFixture} from "../../src/testing/InferenceFixture.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

contract InferenceFixtureTest is InferenceFixture, Check {
    bytes32 private constant MODEL = keccak256("model");

    function test_replays_outputs_and_failures() public {
        assertEq(replay("test/fixtures/outcomes.json"), 2);
        assertEq(Inference.score(MODEL, row(1e18, -2)), 0.25e18);
        vm.expectRevert(abi.encodeWithSelector(IInference.InferenceFailed.selector, 5, "NaN in output 0"));
        this.score(row(0, 0));
    }

    function test_a_recording_without_outcomes_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(EmptyRecording.selector, "test/fixtures/empty.json"));
        this.replayed("test/fixtures/empty.json");
    }

    function score(int256[] memory features) external view returns (int256) {
        return Inference.score(MODEL, features);
    }

    function replayed(string memory path) external returns (uint256) {
        return replay(path);
    }
}
