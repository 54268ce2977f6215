// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Cost, IModelRegistry, Manifest} from "./interfaces/IModelRegistry.sol";
import {InferencePrice} from "./libraries/InferencePrice.sol";
import {ManifestRules} from "./libraries/ManifestRules.sol";

/// @title The models that the inference precompile knows.
/// @dev Stands in the genesis block without a constructor's run: no immutable, no initial storage.
contract ModelRegistry is IModelRegistry {
    /// @dev Storage slot 0. Consensus reads this mapping as it is: the layout can't be changed.
    mapping(bytes32 modelId => uint256 packed) private slots;

    /// @inheritdoc IModelRegistry
    /// @dev Storage slot 1, read by consensus, too.
    uint256 public excess;

    /// @dev The caller of system calls (EIP-4788).
    address private constant SYSTEM = 0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE;

    /// @inheritdoc IModelRegistry
    function register(bytes32 modelId, bytes calldata manifest) external {
        bytes32 actual = keccak256(manifest);
        if (actual != modelId) revert ManifestMismatch(modelId, actual);
        if (slots[modelId] != 0) revert AlreadyRegistered(modelId);
        slots[modelId] = _checkedSlot(manifest);
        emit ModelRegistered(modelId, msg.sender, manifest);
    }

    /// @inheritdoc IModelRegistry
    function slotOf(bytes32 modelId) external view returns (uint256 packed) {
        return slots[modelId];
    }

    /// @inheritdoc IModelRegistry
    function gasPerRun(Cost calldata cost) external pure returns (uint64 gas) {
        return ManifestRules.gasPerRun(cost.multiplyAdds, cost.bytesMoved);
    }

    /// @inheritdoc IModelRegistry
    function startBlock(uint256 inferenceGas) external {
        if (msg.sender != SYSTEM) revert OnlySystem();
        excess = InferencePrice.nextExcess(excess, inferenceGas);
    }

    /// @inheritdoc IModelRegistry
    function price() external view returns (uint256) {
        return InferencePrice.price(excess);
    }

    /// @notice The packed slot of a manifest that obeys every rule. Reverts without data where `manifest` does not decode.
    /// @dev External only so that `register` can catch the decoder's revert.
    function slotFor(bytes calldata manifest) external pure returns (uint256 packed) {
        Manifest memory decoded = abi.decode(manifest, (Manifest));
        if (keccak256(abi.encode(decoded)) != keccak256(manifest)) revert NotCanonical();
        return ManifestRules.checkedSlot(decoded);
    }

    function _checkedSlot(bytes calldata manifest) private view returns (uint256) {
        try this.slotFor(manifest) returns (uint256 packed) {
            return packed;
        } catch (bytes memory reason) {
            // A decoder that gives up says nothing, or panics over a length that no memory holds.
            if (reason.length == 0 || bytes4(reason) == 0x4e487b71) revert NotCanonical();
            assembly ("memory-safe") {
                revert(add(reason, 32), mload(reason))
            }
        }
    }
}
