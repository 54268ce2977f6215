// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "../Inference.sol";
import {Callbacks} from "./Callbacks.sol";
import {Cbor} from "./Cbor.sol";
import {Decimal} from "./Decimal.sol";
import {ModelNames} from "./ModelNames.sol";

/// @notice What a client of Chainlink Functions implements.
interface IFunctionsClient {
    function handleOracleFulfillment(bytes32 requestId, bytes memory response, bytes memory err) external;
}

/// @title Stands where contracts written for Chainlink Functions have their router, and fulfils in the transaction that asks.
/// @notice Nothing runs a request's JavaScript: its source is a name, and `nameModel(source, modelId)` says for which model it
/// stands. What maps and what cannot stands in the package's README.
contract FunctionsAdapter is ModelNames, Callbacks {
    using Cbor for Cbor.Reader;

    event RequestStart(bytes32 indexed requestId, bytes32 indexed donId, uint64 indexed subscriptionId, address client);
    event RequestProcessed(bytes32 indexed requestId, address client);

    /// @notice The request's arguments are no question to a model.
    error UnsupportedArguments();
    /// @notice No client is at that address.
    error OnlyContracts(address client);

    struct Question {
        bytes source;
        bytes[] args;
        bytes[] bytesArgs;
    }

    /// @notice Answers a request, `FunctionsRequest`'s CBOR of the first version, and calls back. Subscription, version and
    /// network are not looked at: nothing but gas is paid.
    function sendRequest(uint64 subscriptionId, bytes calldata data, uint16, uint32 callbackGasLimit, bytes32 donId)
        external
        returns (bytes32 requestId)
    {
        if (msg.sender.code.length == 0) revert OnlyContracts(msg.sender);
        uint256 id = ++requests;
        requestId = bytes32(id);
        emit RequestStart(requestId, donId, subscriptionId, msg.sender);
        (bytes memory response, bytes memory err) = _tryAnswer(data);
        bytes memory call = abi.encodeCall(IFunctionsClient.handleOracleFulfillment, (requestId, response, err));
        _callBack(id, msg.sender, callbackGasLimit, call);
    }

    /// @notice The response to a request's data.
    function answer(bytes calldata data) external view returns (bytes memory) {
        Question memory question = _parse(data);
        bytes32 model = modelOf(question.source);
        if (question.bytesArgs.length == 1 && question.args.length == 0) {
            return Inference.run(model, question.bytesArgs[0]);
        }
        if (question.bytesArgs.length > 0 || question.args.length == 0) revert UnsupportedArguments();
        (bool numeric, int256[] memory features) = _numbers(question.args);
        if (numeric) return abi.encodePacked(Inference.vector(model, features));
        if (question.args.length > 1) revert UnsupportedArguments();
        return bytes(Inference.text(model, string(question.args[0])));
    }

    function _tryAnswer(bytes calldata data) private view returns (bytes memory response, bytes memory err) {
        try this.answer(data) returns (bytes memory found) {
            return (found, "");
        } catch (bytes memory reason) {
            Inference.checkReason(reason); // too little gas says nothing of the request
            return ("", reason);
        }
    }

    /// @dev Keys and values in turn, without a map around them, as the client's library writes them.
    function _parse(bytes calldata data) private pure returns (Question memory question) {
        Cbor.Reader memory reader = Cbor.Reader(data, 0);
        while (!reader.atEnd()) {
            bytes32 key = keccak256(reader.readString());
            if (key == keccak256("source")) question.source = reader.readString();
            else if (key == keccak256("args")) question.args = reader.readStrings();
            else if (key == keccak256("bytesArgs")) question.bytesArgs = reader.readStrings();
            else reader.skip();
        }
    }

    function _numbers(bytes[] memory args) private pure returns (bool all, int256[] memory values) {
        values = new int256[](args.length);
        all = true;
        for (uint256 i = 0; all && i < args.length; ++i) {
            (all, values[i]) = Decimal.parse(args[i]);
        }
    }

    function _delivered(uint256 requestId, address client, bytes memory) internal override {
        emit RequestProcessed(bytes32(requestId), client);
    }
}
