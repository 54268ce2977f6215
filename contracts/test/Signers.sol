// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Certificate} from "../src/Certificate.sol";
import {vm} from "../src/testing/Vm.sol";

/// @notice Operators with keys 1, 2, 3, …, and what they sign.
library Signers {
    function account(uint256 key) internal pure returns (address) {
        return vm.addr(key);
    }

    function accounts(uint256 count) internal pure returns (address[] memory all) {
        all = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            all[i] = account(i + 1);
        }
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// @notice The signatures of keys 1 to `count`, in ascending order of their addresses.
    function certificate(uint256 count, bytes32 digest) internal pure returns (bytes memory signatures) {
        uint256[] memory keys = sortedKeys(count);
        for (uint256 i = 0; i < count; ++i) {
            signatures = bytes.concat(signatures, sign(keys[i], digest));
        }
    }

    /// @notice Keys 1 to `count`, in ascending order of their addresses.
    function sortedKeys(uint256 count) internal pure returns (uint256[] memory keys) {
        keys = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 key = i + 1;
            uint256 place = i;
            for (; place > 0 && account(keys[place - 1]) > account(key); --place) {
                keys[place] = keys[place - 1];
            }
            keys[place] = key;
        }
    }
}
