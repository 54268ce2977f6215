// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {ModelRegistry} from "../src/ModelRegistry.sol";
import {OperatorRegistry} from "../src/OperatorRegistry.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";

/// @notice The code in a devnet's genesis is what these sources compile to. `cargo xtask contracts --write` writes it anew.
contract ArtifactsTest is Check {
    function test_ModelRegistry_hex_is_what_the_source_compiles_to() public view {
        assertEq(_artifact("ModelRegistry"), type(ModelRegistry).runtimeCode);
    }

    function test_OperatorRegistry_hex_is_what_the_source_compiles_to() public view {
        assertEq(_artifact("OperatorRegistry"), type(OperatorRegistry).runtimeCode);
    }

    function _artifact(string memory name) private view returns (bytes memory) {
        string memory path = string.concat("../precompile/consensus/artifacts/", name, ".hex");
        return vm.parseBytes(vm.trim(vm.readFile(path)));
    }
}
