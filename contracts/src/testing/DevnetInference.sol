// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "../Inference.sol";
import {vm} from "./Vm.sol";

/// @dev Where the devnet listens.
function devnetUrl() view returns (string memory) {
    return vm.envOr("FOREBLOCK_URL", string("http://127.0.0.1:8545"));
}

/// @title The precompile of a running devnet, inside forge's own EVM.
/// @notice Forge executes tests and scripts itself and knows no precompile but its own. Etched at the precompile's address,
/// this contract forwards each call to the devnet at $FOREBLOCK_URL (http://127.0.0.1:8545 by default). Models registered
/// there and the block time there count.
/// @dev `eth_call` over `vm.rpc` loses revert data, so the devnet answers `inference_callEnvelope(tx, block)` with
/// `abi.encode(bool success, bytes data)`.
contract DevnetInference {
    fallback(bytes calldata data) external returns (bytes memory) {
        string memory transaction = string.concat(
            '[{"from":"',
            vm.toString(msg.sender),
            '","to":"',
            vm.toString(address(this)),
            '","data":"',
            vm.toString(data),
            '"},"latest"]'
        );
        bytes memory envelope = vm.rpc(devnetUrl(), "inference_callEnvelope", transaction);
        (bool success, bytes memory returned) = abi.decode(envelope, (bool, bytes));
        if (success) return returned;
        assembly ("memory-safe") {
            revert(add(returned, 0x20), mload(returned))
        }
    }
}

/// @title Base of tests and scripts that ask a running devnet.
abstract contract UsesDevnet {
    /// @notice The key of a devnet's first account, known to everybody.
    uint256 internal constant DEVNET_KEY = 0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80;

    /// @notice Call it in `setUp`. A forge script must run with `--skip-simulation`, since forge would execute the
    /// transactions once more without what is put in place here.
    function useDevnet() internal {
        vm.etch(Inference.PRECOMPILE, type(DevnetInference).runtimeCode);
        vm.makePersistent(Inference.PRECOMPILE);
        vm.allowCheatcodes(Inference.PRECOMPILE);
        vm.label(Inference.PRECOMPILE, "Inference");
    }

    /// @notice The id of a model that the devnet serves, by its name. In a contract, write the id itself down: names are no
    /// one's property.
    function devnetModel(string memory name) internal returns (bytes32) {
        string memory parameters = string.concat('["', name, '"]');
        return bytes32(vm.rpc(devnetUrl(), "inference_modelId", parameters));
    }
}
