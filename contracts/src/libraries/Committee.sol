// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title Chooses a committee: a draw without replacement that anyone can repeat.
library Committee {
    /// @notice `size` of the candidates, or all of them. Uses up the list that it is given.
    /// @param seed nobody may have known it when the request became known
    function choose(address[] memory candidates, bytes32 requestId, bytes32 seed, uint256 size)
        internal
        pure
        returns (address[] memory)
    {
        if (size > candidates.length) size = candidates.length;
        for (uint256 i = 0; i < size; ++i) {
            // The bias of the remainder is below 2^-240 for every list that fits a block.
            uint256 drawn = i + uint256(keccak256(abi.encode(seed, requestId, i))) % (candidates.length - i);
            (candidates[i], candidates[drawn]) = (candidates[drawn], candidates[i]);
        }
        assembly ("memory-safe") {
            mstore(candidates, size)
        }
        return candidates;
    }
}
