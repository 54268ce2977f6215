// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";

/// @notice Two inferences in one transaction, the second asked about the first one's answer.
contract Chained {
    int256 public first;
    int256 public second;

    function ask(bytes32 model, int256[16] calldata returns_) external {
        int256[] memory features = new int256[](16);
        for (uint256 i = 0; i < 16; ++i) {
            features[i] = returns_[i];
        }
        first = Inference.score(model, features);
        features[15] = first;
        second = Inference.score(model, features);
    }
}
