// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {Inference} from "@foreblock/contracts/src/Inference.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";

/// @title Fees of a pool, by two models: how much the price will move, and what to ask for trading meanwhile.
/// @notice The second model's input is the first one's output, in the same transaction. The pool notes a price each day and asks
/// for fees before a swap. Where a model has no answer, the last fees stay.
contract ChainedFees {
    /// @notice The model looks back so many days.
    uint256 public constant DAYS = 16;
    int256 private constant ONE = 1e18;
    /// @notice Fees until the first answer: 0.3 %.
    int256 public constant DEFAULT_FEE = 0.003e18;

    error OnlyPool(address sender);
    error TooEarly(uint256 nextAt);
    error InvalidPrice();

    event FeesChanged(int256 volatility, int256 buyFee, int256 sellFee);

    address public immutable pool;
    bytes32 public immutable volatilityModel;
    bytes32 public immutable feeModel;

    /// @dev Daily log returns, a ring.
    int256[DAYS] private returns_;
    uint256 public noted;
    uint256 public notedAt;
    uint256 public lastPrice;
    int256 public buyFee = DEFAULT_FEE;
    int256 public sellFee = DEFAULT_FEE;

    constructor(address pool_, bytes32 volatilityModel_, bytes32 feeModel_) {
        (pool, volatilityModel, feeModel) = (pool_, volatilityModel_, feeModel_);
    }

    /// @notice Notes the day's price, and with 16 returns in hand asks for new fees.
    /// @param price of base in quote, any fixed scale; from a source that one swap does not move
    /// @param inventory what the pool holds, -1e18 (only quote) to 1e18 (only base)
    function note(uint256 price, int256 inventory) external {
        if (msg.sender != pool) revert OnlyPool(msg.sender);
        if (price == 0 || price > type(uint128).max) revert InvalidPrice();
        if (noted > 0 && block.timestamp < notedAt + 1 days) revert TooEarly(notedAt + 1 days);
        if (noted > 0) returns_[(noted - 1) % DAYS] = _logReturn(lastPrice, price);
        (noted, notedAt, lastPrice) = (noted + 1, block.timestamp, price);
        if (noted <= DAYS) return;
        try this.ask(inventory) returns (int256 volatility, int256 buy, int256 sell) {
            (buyFee, sellFee) = (buy, sell);
            emit FeesChanged(volatility, buy, sell);
        } catch (bytes memory reason) {
            Inference.checkReason(reason); // too little gas says nothing of the models
        }
    }

    /// @notice What the models say now.
    function ask(int256 inventory) external view returns (int256 volatility, int256 buy, int256 sell) {
        Tensor[] memory first = Inference.run(volatilityModel, _row(_lastReturns()));
        Tensor[] memory inputs = new Tensor[](2);
        inputs[0] = first[0]; // as it is
        int256[] memory held = new int256[](1);
        held[0] = inventory;
        inputs[1] = _row(held);
        volatility = TensorLib.toWads(first[0])[0];
        int256[] memory fees = TensorLib.takeWads(Inference.run(feeModel, inputs)[0]);
        (buy, sell) = (fees[0], fees[1]);
    }

    /// @dev Oldest first.
    function _lastReturns() private view returns (int256[] memory features) {
        features = new int256[](DAYS);
        for (uint256 i = 0; i < DAYS; ++i) {
            features[i] = returns_[(noted - 1 + i) % DAYS];
        }
    }

    function _row(int256[] memory values) private pure returns (Tensor memory) {
        return TensorLib.reshape(TensorLib.wads(values), TensorLib.shape(1, values.length));
    }

    /// @dev ln(now / before) by the series 2 (z + z^3/3 + z^5/5 + …), z = (now - before) / (now + before): to 1e-9 for moves
    /// up to a half or a double. Beyond, the move counts as a half or a double.
    function _logReturn(uint256 before, uint256 now_) private pure returns (int256 sum) {
        int256 z = (int256(now_) - int256(before)) * ONE / (int256(now_) + int256(before));
        if (z > ONE / 3) z = ONE / 3;
        if (z < -ONE / 3) z = -ONE / 3;
        int256 power = z;
        for (int256 n = 1; n < 18; n += 2) {
            sum += 2 * power / n;
            power = power * z / ONE * z / ONE;
        }
    }
}
