// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "../Inference.sol";
import {Callbacks} from "./Callbacks.sol";
import {ModelNames} from "./ModelNames.sol";

/// @notice What a client of ORA's oracle implements.
interface IAIOracleClient {
    function aiOracleCallback(uint256 requestId, bytes calldata output, bytes calldata callbackData) external;
}

/// @title Lets contracts written for ORA's `IAIOracle` get their callback in the transaction that asks.
/// @notice What maps and what cannot stands in the package's README.
/// @dev `requestCallback` is payable because the interface is; value is refused, so none is locked.
// slither-disable-next-line locked-ether
contract AIOracleAdapter is ModelNames, Callbacks {
    event AICallbackRequest(
        address indexed account,
        uint256 indexed requestId,
        uint256 modelId,
        bytes input,
        address callbackContract,
        uint64 gasLimit,
        bytes callbackData
    );
    event AICallbackResult(address indexed account, uint256 indexed requestId, address invoker, bytes output);

    /// @notice The answer costs gas and no fee.
    error NoFee();

    /// @notice Asks a model and calls back. A numeric model name stands for a model of text: input and output are UTF-8.
    /// An id of this chain takes and gives `abi.encode(Tensor[])`.
    function requestCallback(
        uint256 modelId,
        bytes calldata input,
        address callbackContract,
        uint64 gasLimit,
        bytes calldata callbackData
    ) external payable returns (uint256 requestId) {
        if (msg.value > 0) revert NoFee();
        requestId = ++requests;
        emit AICallbackRequest(msg.sender, requestId, modelId, input, callbackContract, gasLimit, callbackData);
        _answer(requestId, callbackContract, gasLimit, _ask(modelId, input), callbackData);
    }

    /// @notice Nothing but gas is paid.
    function estimateFee(uint256, uint256) external pure returns (uint256) {
        return 0;
    }

    /// @notice Whether the callback was made; what was computed can't be challenged any more.
    function isFinalized(uint256 requestId) external view returns (bool) {
        return requestId > 0 && requestId <= requests && !isPending(requestId);
    }

    function _answer(uint256 id, address client, uint64 gasLimit, bytes memory output, bytes calldata data) private {
        if (client == address(0)) {
            emit AICallbackResult(msg.sender, id, address(this), output);
            return;
        }
        _callBack(id, client, gasLimit, abi.encodeCall(IAIOracleClient.aiOracleCallback, (id, output, data)));
    }

    function _ask(uint256 modelId, bytes calldata input) private view returns (bytes memory) {
        bytes32 model = modelOf(abi.encode(modelId));
        if (model == bytes32(modelId)) return Inference.run(model, input);
        return bytes(Inference.text(model, string(input)));
    }

    function _delivered(uint256 requestId, address client, bytes memory call) internal override {
        emit AICallbackResult(client, requestId, address(this), this.outputIn(call));
    }

    /// @notice The output in a callback's calldata.
    function outputIn(bytes calldata call) external pure returns (bytes memory output) {
        (, output,) = abi.decode(call[4:], (uint256, bytes, bytes));
    }
}
