// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {IPoolManager, PoolKey, UniswapV4} from "../src/IUniswapV4.sol";
import {VolatilityHook} from "../src/VolatilityHook.sol";

/// @notice Deploys the hook for the pool manager at $POOL_MANAGER, and opens a pool of $TOKEN0 and $TOKEN1 at a price of one.
contract Deploy is UsesDevnet {
    /// @dev Through which forge creates contracts at addresses chosen by a salt.
    address private constant FACTORY = 0x4e59b44847b379578588920cA78FbF26c0B4956C;
    uint160 private constant PRICE_ONE = 1 << 96;

    function run() external returns (VolatilityHook hook, bytes32 poolId) {
        useDevnet();
        IPoolManager manager = IPoolManager(vm.envAddress("POOL_MANAGER"));
        bytes32 model = devnetModel("volatility");
        bytes32 salt = _salt(keccak256(abi.encodePacked(type(VolatilityHook).creationCode, abi.encode(manager, model))));
        vm.startBroadcast(vm.envOr("PRIVATE_KEY", DEVNET_KEY));
        hook = new VolatilityHook{salt: salt}(manager, model);
        (address a, address b) = (vm.envAddress("TOKEN0"), vm.envAddress("TOKEN1"));
        if (a > b) (a, b) = (b, a);
        PoolKey memory key = PoolKey(a, b, UniswapV4.DYNAMIC_FEE, 60, address(hook));
        manager.initialize(key, PRICE_ONE);
        vm.stopBroadcast();
        poolId = UniswapV4.id(key);
    }

    /// @dev One address in 16,384 has the right last bits.
    function _salt(bytes32 codeHash) private pure returns (bytes32 salt) {
        for (uint256 i = 0;; ++i) {
            salt = bytes32(i);
            uint256 hash = uint256(keccak256(abi.encodePacked(hex"ff", FACTORY, salt, codeHash)));
            if (uint160(hash) & UniswapV4.HOOK_BITS == UniswapV4.AFTER_INITIALIZE | UniswapV4.BEFORE_SWAP) return salt;
        }
    }
}
