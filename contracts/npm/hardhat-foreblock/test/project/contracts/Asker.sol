// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";

contract Asker {
    int256 public score;

    function ask(bytes32 model, int256[] calldata features) external {
        score = Inference.score(model, features);
    }
}
