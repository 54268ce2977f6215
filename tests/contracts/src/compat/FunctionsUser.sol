// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

// A contract as one writes it for Chainlink Functions: it declares what that system publishes, and knows nothing of this chain.

interface IFunctionsRouter {
    function sendRequest(
        uint64 subscriptionId,
        bytes calldata data,
        uint16 dataVersion,
        uint32 callbackGasLimit,
        bytes32 donId
    ) external returns (bytes32);
}

interface IFunctionsClient {
    function handleOracleFulfillment(bytes32 requestId, bytes memory response, bytes memory err) external;
}

contract FunctionsUser is IFunctionsClient {
    uint16 private constant REQUEST_DATA_VERSION = 1;
    uint32 private constant CALLBACK_GAS = 300_000;

    IFunctionsRouter private immutable router;
    string private source;
    bytes32 public lastRequestId;
    int256 public lastAnswer;
    bytes public lastError;

    constructor(IFunctionsRouter router_, string memory source_) {
        (router, source) = (router_, source_);
    }

    /// @notice Runs the source with these arguments. The id is noted when the request has returned, and only that id is taken.
    function request(string[] calldata args) external returns (bytes32) {
        bytes memory data = bytes.concat(_key("codeLocation"), _word(0), _key("language"), _word(0));
        data = bytes.concat(data, _key("source"), _text(source), _key("args"), hex"9f");
        for (uint256 i = 0; i < args.length; i++) {
            data = bytes.concat(data, _text(args[i]));
        }
        data = bytes.concat(data, hex"ff");
        lastRequestId = router.sendRequest(7, data, REQUEST_DATA_VERSION, CALLBACK_GAS, "fun-network-1");
        return lastRequestId;
    }

    function handleOracleFulfillment(bytes32 requestId, bytes memory response, bytes memory err) external {
        require(msg.sender == address(router), "only the router can fulfill");
        require(requestId == lastRequestId, "unexpected request id");
        if (err.length == 0) lastAnswer = abi.decode(response, (int256));
        lastError = err;
    }

    function _key(string memory name) private pure returns (bytes memory) {
        return _text(name);
    }

    /// @dev A text of CBOR.
    function _text(string memory value) private pure returns (bytes memory) {
        uint256 length = bytes(value).length;
        require(length < 256, "too long for this example");
        if (length < 24) return bytes.concat(bytes1(uint8(0x60 + length)), bytes(value));
        return bytes.concat(hex"78", bytes1(uint8(length)), bytes(value));
    }

    /// @dev A bignum of CBOR, 32 bytes.
    function _word(uint256 value) private pure returns (bytes memory) {
        return bytes.concat(hex"c25820", bytes32(value));
    }
}
