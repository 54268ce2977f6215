// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {InferenceTest} from "@foreblock/contracts/src/testing/InferenceTest.sol";
import {Asker} from "./Asker.sol";

/// @dev Hardhat runs Solidity tests, too.
contract AskerTest is InferenceTest {
    function test_stores_the_score() public {
        Asker asker = new Asker();
        givesScore("model", 0.25e18);
        asker.ask("model", row(1e18, 2e18));
        require(asker.score() == 0.25e18, "the model's answer");
    }
}
