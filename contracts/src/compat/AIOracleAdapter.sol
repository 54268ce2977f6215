// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "../Inference.sol";
import {ModelNames} from "./ModelNames.sol";

/// @notice What a client of ORA's oracle implements.
interface IAIOracleClient {
    function aiOracleCallback(uint256 requestId, bytes calldata output, bytes calldata callbackData) external;
}

/// @title Lets contracts written for ORA's `IAIOracle` get their callback in the transaction that asks.
/// @notice The callback is made at once. A client that is ready for it only after `requestCallback` has returned (it refuses
/// ids that it has not written down yet) gets it from `deliver`, which anyone may call, or from `relay`, which calls the client
/// and then delivers, in one transaction. What maps and what cannot stands in the package's README.
contract AIOracleAdapter is ModelNames {
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
    /// @notice Too little gas is left for the callback's limit.
    error TooLittleGas(uint256 gas, uint64 gasLimit);
    /// @notice Nothing is to be delivered under this id.
    error NothingPending(uint256 requestId);

    struct Pending {
        address client;
        uint64 gasLimit;
        bytes output;
        bytes callbackData;
    }

    mapping(uint256 requestId => Pending) private pending;
    uint256 public requests;

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
        bytes memory output = _ask(modelId, input);
        if (callbackContract == address(0)) {
            emit AICallbackResult(msg.sender, requestId, address(this), output);
            return requestId;
        }
        pending[requestId] = Pending(callbackContract, gasLimit, output, callbackData);
        _tryDeliver(requestId);
    }

    /// @notice Calls a client and, before the transaction ends, delivers what it asked for. The client sees this contract as
    /// the sender: where that matters, let a smart account or a delegated one (EIP-7702) call the client and `deliver`.
    function relay(address client, bytes calldata data) external returns (bytes memory returned) {
        uint256 before = requests;
        bool ok;
        (ok, returned) = client.call(data);
        if (!ok) _bubble(returned);
        for (uint256 id = before + 1; id <= requests; ++id) {
            if (pending[id].client != address(0)) deliver(id);
        }
    }

    /// @notice Makes the callback of a request whose client was not ready. Reverts as the client does.
    function deliver(uint256 requestId) public {
        (bool ok, bytes memory returned) = _deliver(requestId);
        if (!ok) _bubble(returned);
    }

    /// @notice Nothing but gas is paid.
    function estimateFee(uint256, uint256) external pure returns (uint256) {
        return 0;
    }

    /// @notice Whether the callback was made; what was computed can't be challenged any more.
    function isFinalized(uint256 requestId) external view returns (bool) {
        return requestId > 0 && requestId <= requests && pending[requestId].client == address(0);
    }

    function _ask(uint256 modelId, bytes calldata input) private view returns (bytes memory) {
        bytes32 model = modelOf(abi.encode(modelId));
        if (model == bytes32(modelId)) return Inference.run(model, input);
        return bytes(Inference.text(model, string(input)));
    }

    /// @dev What fails stays pending.
    function _tryDeliver(uint256 requestId) private {
        Pending memory item = pending[requestId];
        (bool ok,) = _deliver(requestId);
        if (!ok) pending[requestId] = item;
    }

    /// @dev The request is closed before the client is called, so that it can't be delivered twice.
    function _deliver(uint256 requestId) private returns (bool ok, bytes memory returned) {
        Pending memory item = pending[requestId];
        if (item.client == address(0)) revert NothingPending(requestId);
        delete pending[requestId];
        // EIP-150 keeps back a 64th.
        if (gasleft() * 63 / 64 < item.gasLimit) revert TooLittleGas(gasleft(), item.gasLimit);
        (ok, returned) = item.client.call{gas: item.gasLimit}(
            abi.encodeCall(IAIOracleClient.aiOracleCallback, (requestId, item.output, item.callbackData))
        );
        if (ok) emit AICallbackResult(item.client, requestId, address(this), item.output);
    }

    function _bubble(bytes memory reason) private pure {
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }
}
