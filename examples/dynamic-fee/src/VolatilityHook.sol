// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";
import {IPoolManager, PoolKey, SwapParams, UniswapV4} from "./IUniswapV4.sol";

/// @title A hook for Uniswap v4 pools whose fee follows the volatility that a model expects.
/// @notice The first swap of a day closes the day before: its time-weighted price is noted, and with 16 daily returns in hand the
/// model is asked, in that swap. Where it has no answer, the last fee stays.
contract VolatilityHook {
    /// @notice The model looks back so many days.
    uint256 public constant DAYS = 16;
    /// @notice Fees in hundredths of a basis point: until the first answer, at least, at most.
    uint24 public constant DEFAULT_FEE = 3_000;
    uint24 public constant MIN_FEE = 500;
    uint24 public constant MAX_FEE = 20_000;
    /// @notice The fee is the least and this part of a day's expected move.
    int256 public constant SHARE = 10;
    /// @dev ln(1.0001) with 18 decimals: what a tick is as a return.
    int256 private constant TICK = 99_995_000_333_308;

    error OnlyPoolManager(address sender);
    error FeeNotDynamic(uint24 fee);
    error WrongAddress(address hook);

    event FeeChanged(bytes32 indexed poolId, int256 volatility, uint24 fee);

    struct Record {
        uint40 since; // when the day began
        uint40 updated; // when the sum was brought up to date
        int88 sum; // ticks times seconds since the day began
        int24 average; // tick of the day before
        uint24 fee;
        uint32 noted; // days
        int24[16] moves; // ticks from day to day, a ring
    }

    IPoolManager public immutable manager;
    bytes32 public immutable model;
    mapping(bytes32 poolId => Record) private records;

    modifier onlyManager() {
        if (msg.sender != address(manager)) revert OnlyPoolManager(msg.sender);
        _;
    }

    /// @dev A hook's address says which calls it gets, so it must have been looked for (see the script).
    constructor(IPoolManager manager_, bytes32 model_) {
        if (uint160(address(this)) & UniswapV4.HOOK_BITS != UniswapV4.AFTER_INITIALIZE | UniswapV4.BEFORE_SWAP) {
            revert WrongAddress(address(this));
        }
        (manager, model) = (manager_, model_);
    }

    /// @notice The pool manager calls it for a new pool.
    function afterInitialize(address, PoolKey calldata key, uint160, int24) external onlyManager returns (bytes4) {
        if (key.fee != UniswapV4.DYNAMIC_FEE) revert FeeNotDynamic(key.fee);
        Record storage record = records[UniswapV4.id(key)];
        (record.since, record.updated, record.fee) = (uint40(block.timestamp), uint40(block.timestamp), DEFAULT_FEE);
        return this.afterInitialize.selector;
    }

    /// @notice The pool manager calls it before a swap and takes the fee that it returns.
    function beforeSwap(address, PoolKey calldata key, SwapParams calldata, bytes calldata)
        external
        onlyManager
        returns (bytes4, int256, uint24)
    {
        bytes32 poolId = UniswapV4.id(key);
        Record storage record = records[poolId];
        if (_closesDay(record, UniswapV4.tick(manager, poolId)) && record.noted > DAYS) _ask(poolId, record);
        return (this.beforeSwap.selector, 0, record.fee | UniswapV4.OVERRIDE_FEE);
    }

    /// @notice The fee of the next swap, unless it begins a day.
    function feeOf(bytes32 poolId) external view returns (uint24) {
        return records[poolId].fee;
    }

    /// @notice The model's input: the last daily log returns, oldest first.
    function returnsOf(bytes32 poolId) public view returns (int256[] memory features) {
        Record storage record = records[poolId];
        features = new int256[](DAYS);
        for (uint256 i = 0; i < DAYS; ++i) {
            features[i] = record.moves[(record.noted + DAYS - 1 + i) % DAYS] * TICK;
        }
    }

    /// @notice What the model expects now.
    function volatilityOf(bytes32 poolId) external view returns (int256) {
        return Inference.score(model, returnsOf(poolId));
    }

    /// @notice The fee for an expected daily move.
    function feeFor(int256 volatility) public pure returns (uint24) {
        int256 fee = int256(uint256(MIN_FEE)) + volatility * 1e6 / SHARE / 1e18;
        if (fee > int256(uint256(MAX_FEE))) return MAX_FEE;
        return fee < int256(uint256(MIN_FEE)) ? MIN_FEE : uint24(uint256(fee));
    }

    function _ask(bytes32 poolId, Record storage record) private {
        try this.volatilityOf(poolId) returns (int256 volatility) {
            record.fee = feeFor(volatility);
            emit FeeChanged(poolId, volatility, record.fee);
        } catch (bytes memory reason) {
            Inference.checkReason(reason); // too little gas says nothing of the model
        }
    }

    /// @dev Brings the day's average up to now and says whether that ended a day. The tick is the one that stood since the last
    /// swap, so a price that lasts for no time counts for nothing.
    function _closesDay(Record storage record, int24 tick) private returns (bool) {
        uint256 elapsed = block.timestamp - record.since;
        record.sum += int88(tick) * int88(uint88(block.timestamp - record.updated));
        record.updated = uint40(block.timestamp);
        if (elapsed < 1 days) return false;
        int24 average = int24(record.sum / int88(uint88(elapsed)));
        if (record.noted > 0) record.moves[(record.noted - 1) % DAYS] = average - record.average;
        (record.average, record.sum, record.since) = (average, 0, uint40(block.timestamp));
        ++record.noted;
        return true;
    }
}
