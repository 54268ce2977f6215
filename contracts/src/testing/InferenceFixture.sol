// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {InferenceTest} from "./InferenceTest.sol";
import {vm as cheats} from "./Vm.sol";

/// @title Base of forge tests that replay recorded outcomes.
/// @notice A recording is what models answered on a devnet, so that a test sees real answers without running one:
/// ```json
/// {"outcomes": [
///   {"model": "0x…", "input": "0x…", "output": "0x…"},
///   {"model": "0x…", "input": "0x…", "failure": {"code": 5, "reason": "…"}}
/// ]}
/// ```
/// The project's foundry.toml must allow reading the file (`fs_permissions`).
abstract contract InferenceFixture is InferenceTest {
    /// @notice The file holds no outcomes.
    error EmptyRecording(string path);

    /// @notice From here on, the mock answers what was recorded. Returns the number of outcomes.
    function replay(string memory path) internal returns (uint256 count) {
        string memory json = cheats.readFile(path);
        for (;; ++count) {
            string memory entry = string.concat(".outcomes[", cheats.toString(count), "]");
            if (!cheats.keyExistsJson(json, entry)) break;
            _replay(json, entry);
        }
        if (count == 0) revert EmptyRecording(path);
    }

    function _replay(string memory json, string memory entry) private {
        bytes32 modelId = cheats.parseJsonBytes32(json, string.concat(entry, ".model"));
        bytes memory input = cheats.parseJsonBytes(json, string.concat(entry, ".input"));
        if (cheats.keyExistsJson(json, string.concat(entry, ".output"))) {
            inference.answer(modelId, input, cheats.parseJsonBytes(json, string.concat(entry, ".output")));
            return;
        }
        uint256 code = cheats.parseJsonUint(json, string.concat(entry, ".failure.code"));
        string memory reason = cheats.parseJsonString(json, string.concat(entry, ".failure.reason"));
        inference.fail(modelId, input, uint16(code), reason);
    }
}
