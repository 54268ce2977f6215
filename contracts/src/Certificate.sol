// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title Certificates: enough operators' signatures over one outcome.
/// @notice For contracts that take an outcome from another chain, and for evidence against operators. Signatures are
/// r ‖ s ‖ v, 65 bytes each, in ascending order of their signers, so that none counts twice.
library Certificate {
    /// @notice The signatures' bytes are no whole number of signatures.
    error InvalidSignaturesLength(uint256 length);
    /// @notice Signature `index` is none: zero signer, s in the upper half, or v neither 27 nor 28.
    error InvalidSignature(uint256 index);
    /// @notice The signer at `index` is not greater than the one before: out of order, or twice.
    error SignersOutOfOrder(uint256 index);
    /// @notice The account is none of the operators.
    error UnknownSigner(address signer);
    /// @notice Fewer signatures than make a certificate.
    error TooFewSigners(uint256 signers, uint256 quorum);

    bytes32 internal constant STATEMENT_TYPEHASH = keccak256("Statement(bytes32 requestId,bytes32 outcomeHash)");
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    uint256 internal constant SIGNATURE_BYTES = 65;
    /// @dev Half of secp256k1's order (EIP-2): above it the same signature has a second form.
    uint256 private constant S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice The EIP-712 domain of one chain's operators.
    function domainSeparator(uint256 chainId, address registry) internal pure returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Foreblock"), keccak256("1"), chainId, registry));
    }

    /// @notice What operators sign.
    function digest(bytes32 domain, bytes32 requestId, bytes32 outcomeHash) internal pure returns (bytes32) {
        bytes32 statement = keccak256(abi.encode(STATEMENT_TYPEHASH, requestId, outcomeHash));
        return keccak256(abi.encodePacked(hex"1901", domain, statement));
    }

    /// @notice The id of one question to one model.
    function requestIdOf(bytes32 modelId, bytes32 inputHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(modelId, inputHash));
    }

    /// @notice The hash that stands for a model's output.
    function outputHash(bytes memory output) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x00), output));
    }

    /// @notice The hash that stands for a failure.
    function failureHash(uint16 code, string memory reason) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x01), code, keccak256(bytes(reason))));
    }

    /// @notice How many of `operators` make a certificate while a third may lie: n - f, f = (n - 1) / 3.
    function quorum(uint256 operators) internal pure returns (uint256) {
        return operators == 0 ? 1 : operators - (operators - 1) / 3;
    }

    /// @notice The signers of `hash`, in ascending order, each once.
    function signers(bytes32 hash, bytes calldata signatures) internal pure returns (address[] memory accounts) {
        if (signatures.length % SIGNATURE_BYTES != 0) revert InvalidSignaturesLength(signatures.length);
        accounts = new address[](signatures.length / SIGNATURE_BYTES);
        address last = address(0);
        for (uint256 i = 0; i < accounts.length; ++i) {
            address account = _recover(hash, signatures, i * SIGNATURE_BYTES);
            if (account == address(0)) revert InvalidSignature(i);
            if (account <= last) revert SignersOutOfOrder(i);
            accounts[i] = last = account;
        }
    }

    /// @notice The signer of one statement.
    function signer(bytes32 hash, bytes calldata signature) internal pure returns (address account) {
        if (signature.length != SIGNATURE_BYTES) revert InvalidSignaturesLength(signature.length);
        account = _recover(hash, signature, 0);
        if (account == address(0)) revert InvalidSignature(0);
    }

    /// @dev The signer of the 65 bytes at `start`, which are there; zero for none.
    function _recover(bytes32 hash, bytes calldata signatures, uint256 start) private pure returns (address) {
        bytes32 r;
        bytes32 s;
        uint256 v;
        assembly ("memory-safe") {
            let place := add(signatures.offset, start)
            r := calldataload(place)
            s := calldataload(add(place, 32))
            v := byte(0, calldataload(add(place, 64)))
        }
        if (uint256(s) > S_MAX || (v != 27 && v != 28)) return address(0);
        return ecrecover(hash, uint8(v), r, s);
    }
}
