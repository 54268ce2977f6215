// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";

/// @title Asks a model how much an asset will move, and keeps the answer.
contract Forecast {
    /// @notice Days that the model looks back.
    uint256 public constant DAYS = 16;

    /// @notice The volatility model's id: keccak256 of its manifest, so the answer can come from no other.
    bytes32 public immutable model;

    /// @notice Daily volatility over the next five days; 0.01e18 is 1 % a day.
    int256 public volatility;

    event Forecasted(int256 volatility);

    constructor(bytes32 model_) {
        model = model_;
    }

    /// @notice One transaction: the question, the model's answer, and what the contract makes of it.
    /// @param returns_ ln(close / previous close) of the last 16 days, oldest first; 0.01e18 is 1 %
    function ask(int256[DAYS] calldata returns_) external {
        int256[] memory features = new int256[](DAYS);
        for (uint256 i = 0; i < DAYS; ++i) {
            features[i] = returns_[i];
        }
        volatility = Inference.score(model, features);
        emit Forecasted(volatility);
    }
}
