// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

// A contract as one writes it for ORA's oracle: it declares what that system publishes, and knows nothing of this chain.

interface IAIOracle {
    function requestCallback(
        uint256 modelId,
        bytes memory input,
        address callbackContract,
        uint64 gasLimit,
        bytes memory callbackData
    ) external payable returns (uint256);
    function estimateFee(uint256 modelId, uint256 gasLimit) external view returns (uint256);
    function isFinalized(uint256 requestId) external view returns (bool);
}

abstract contract AIOracleCallbackReceiver {
    IAIOracle public immutable aiOracle;

    error UnauthorizedCallbackSource(IAIOracle expected, IAIOracle found);

    constructor(IAIOracle oracle) {
        aiOracle = oracle;
    }

    modifier onlyAIOracleCallback() {
        IAIOracle found = IAIOracle(msg.sender);
        if (found != aiOracle) revert UnauthorizedCallbackSource(aiOracle, found);
        _;
    }

    function aiOracleCallback(uint256 requestId, bytes calldata output, bytes calldata callbackData) external virtual;
}

contract OraUser is AIOracleCallbackReceiver {
    uint64 private constant CALLBACK_GAS = 500_000;

    /// @dev What each request's callback brought, by its id.
    mapping(uint256 requestId => bytes) public outputs;
    uint256 public lastRequestId;

    event Answered(uint256 indexed requestId, bytes output, bytes callbackData);

    constructor(IAIOracle oracle) AIOracleCallbackReceiver(oracle) {}

    function ask(uint256 modelId, bytes calldata input) external payable {
        uint256 fee = aiOracle.estimateFee(modelId, CALLBACK_GAS);
        require(msg.value >= fee, "insufficient fee");
        lastRequestId = aiOracle.requestCallback{value: fee}(modelId, input, address(this), CALLBACK_GAS, "context");
    }

    function aiOracleCallback(uint256 requestId, bytes calldata output, bytes calldata callbackData)
        external
        override
        onlyAIOracleCallback
    {
        outputs[requestId] = output;
        emit Answered(requestId, output, callbackData);
    }
}
