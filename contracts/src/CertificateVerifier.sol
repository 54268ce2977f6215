// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Certificate} from "./Certificate.sol";

/// @title Checks, on any chain, that the operators of a Foreblock chain agree on an outcome.
/// @notice The set of operators is fixed at deployment: deploy another when it changes.
contract CertificateVerifier {
    /// @notice The set is empty, or names an account twice.
    error InvalidOperators();

    /// @notice The EIP-712 domain of the chain whose operators sign.
    bytes32 public immutable domain;
    /// @notice How many signatures make a certificate.
    uint256 public immutable quorum;
    /// @notice Whether an account is one of the operators.
    mapping(address account => bool) public isOperator;

    /// @param chainId of the chain whose operators sign
    /// @param registry `OperatorRegistry` there
    constructor(uint256 chainId, address registry, address[] memory operators) {
        if (operators.length == 0) revert InvalidOperators();
        for (uint256 i = 0; i < operators.length; ++i) {
            if (isOperator[operators[i]]) revert InvalidOperators();
            isOperator[operators[i]] = true;
        }
        domain = Certificate.domainSeparator(chainId, registry);
        quorum = Certificate.quorum(operators.length);
    }

    /// @notice Reverts unless enough operators signed that `output` is what `modelId` gives for `input`.
    function checkOutput(bytes32 modelId, bytes calldata input, bytes calldata output, bytes calldata signatures)
        external
        view
    {
        bytes32 requestId = Certificate.requestIdOf(modelId, keccak256(input));
        checkCertificate(requestId, Certificate.outputHash(output), signatures);
    }

    /// @notice Reverts unless enough operators signed this outcome.
    /// @param signatures r ‖ s ‖ v of each signer, in ascending order of their addresses
    function checkCertificate(bytes32 requestId, bytes32 outcomeHash, bytes calldata signatures) public view {
        address[] memory signers = Certificate.signers(Certificate.digest(domain, requestId, outcomeHash), signatures);
        for (uint256 i = 0; i < signers.length; ++i) {
            if (!isOperator[signers[i]]) revert Certificate.UnknownSigner(signers[i]);
        }
        if (signers.length < quorum) revert Certificate.TooFewSigners(signers.length, quorum);
    }
}
