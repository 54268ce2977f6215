// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Certificate} from "../src/Certificate.sol";
import {CertificateVerifier} from "../src/CertificateVerifier.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";
import {Signers} from "./Signers.sol";

contract CertificateTest is Check {
    uint256 private constant CHAIN = 31337;
    address private constant REGISTRY = 0x0000000000000000000000000000000000001A2f;
    bytes32 private constant MODEL = keccak256("model");
    bytes private constant INPUT = "input";
    bytes private constant OUTPUT = "output";

    CertificateVerifier private verifier;
    bytes32 private requestId;
    bytes32 private outcomeHash;
    bytes32 private digest;

    function setUp() public {
        verifier = new CertificateVerifier(CHAIN, REGISTRY, Signers.accounts(4));
        requestId = Certificate.requestIdOf(MODEL, keccak256(INPUT));
        outcomeHash = Certificate.outputHash(OUTPUT);
        digest = Certificate.digest(Certificate.domainSeparator(CHAIN, REGISTRY), requestId, outcomeHash);
    }

    function test_three_of_four_are_a_certificate() public view {
        verifier.checkCertificate(requestId, outcomeHash, Signers.certificate(3, digest));
        verifier.checkOutput(MODEL, INPUT, OUTPUT, Signers.certificate(3, digest));
        verifier.checkOutput(MODEL, INPUT, OUTPUT, Signers.certificate(4, digest));
    }

    function test_the_hashes_are_those_of_the_nodes() public pure {
        assertEq(Certificate.requestIdOf(MODEL, keccak256(INPUT)), keccak256(bytes.concat(MODEL, keccak256(INPUT))));
        assertEq(Certificate.outputHash(hex"aabb"), keccak256(hex"00aabb"));
        assertEq(Certificate.failureHash(5, "NaN"), keccak256(bytes.concat(hex"010005", keccak256("NaN"))));
    }

    /// @dev The nodes' Rust reads the same file.
    function test_the_certificate_of_the_shared_vectors_is_accepted() public {
        string memory json = vm.readFile("../tests/vectors/certificate.json");
        bytes32 id = vm.parseJsonBytes32(json, ".requestId");
        bytes32 outcome = vm.parseJsonBytes32(json, ".outcomeHash");
        bytes32 model = vm.parseJsonBytes32(json, ".modelId");
        assertEq(Certificate.requestIdOf(model, keccak256(vm.parseJsonBytes(json, ".input"))), id);
        assertEq(Certificate.outputHash(vm.parseJsonBytes(json, ".output")), outcome);
        string memory reason = vm.parseJsonString(json, ".failure.reason");
        bytes32 failure = Certificate.failureHash(uint16(vm.parseJsonUint(json, ".failure.code")), reason);
        assertEq(failure, vm.parseJsonBytes32(json, ".failure.outcomeHash"));

        address[] memory operators = vm.parseJsonAddressArray(json, ".operators");
        address registry = vm.parseJsonAddress(json, ".registry");
        CertificateVerifier all = new CertificateVerifier(vm.parseJsonUint(json, ".chainId"), registry, operators);
        all.checkCertificate(id, outcome, vm.parseJsonBytes(json, ".signatures"));
    }

    function test_quorum_is_2f_plus_1_of_3f_plus_1() public pure {
        uint8[14] memory expected = [1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9];
        for (uint256 n = 0; n < expected.length; ++n) {
            assertEq(Certificate.quorum(n), expected[n]);
        }
    }

    function testFuzz_two_quorums_share_an_honest_operator(uint16 n) public pure {
        vm.assume(n > 0);
        uint256 f = (uint256(n) - 1) / 3;
        assertTrue(2 * Certificate.quorum(n) >= uint256(n) + f + 1, "the overlap is more than the liars");
    }

    function test_gas_of_3_signers() public {
        bytes memory signatures = Signers.certificate(3, digest);
        // The test's own storage is read before; the verifier and its storage are cold, as in a transaction.
        (CertificateVerifier cold, bytes32 id, bytes32 outcome) = (verifier, requestId, outcomeHash);
        uint256 gas = gasleft();
        cold.checkCertificate(id, outcome, signatures);
        gas -= gasleft();
        vm.snapshotValue("Certificate", "verify 3 signers", gas);
        assertTrue(gas <= 25_000, "a certificate of 3 signers costs at most 25,000 gas");
    }

    function test_too_few_signers_are_rejected() public {
        bytes memory signatures = Signers.certificate(2, digest);
        vm.expectRevert(abi.encodeWithSelector(Certificate.TooFewSigners.selector, 2, 3));
        verifier.checkCertificate(requestId, outcomeHash, signatures);
        vm.expectRevert(abi.encodeWithSelector(Certificate.TooFewSigners.selector, 0, 3));
        verifier.checkCertificate(requestId, outcomeHash, "");
    }

    function test_another_outcome_request_chain_or_registry_is_rejected() public {
        bytes memory signatures = Signers.certificate(3, digest);
        vm.expectRevert();
        verifier.checkCertificate(requestId, Certificate.outputHash("other"), signatures);
        vm.expectRevert();
        verifier.checkCertificate(Certificate.requestIdOf(MODEL, keccak256("other")), outcomeHash, signatures);
        CertificateVerifier other = new CertificateVerifier(CHAIN + 1, REGISTRY, Signers.accounts(4));
        vm.expectRevert();
        other.checkCertificate(requestId, outcomeHash, signatures);
        other = new CertificateVerifier(CHAIN, address(1), Signers.accounts(4));
        vm.expectRevert();
        other.checkCertificate(requestId, outcomeHash, signatures);
    }

    function test_a_stranger_among_the_signers_is_rejected() public {
        bytes memory signatures = Signers.certificate(5, digest);
        vm.expectRevert(abi.encodeWithSelector(Certificate.UnknownSigner.selector, Signers.account(5)));
        verifier.checkCertificate(requestId, outcomeHash, signatures);
    }

    function test_a_repeated_signer_is_rejected() public {
        bytes memory one = Signers.sign(1, digest);
        vm.expectRevert(abi.encodeWithSelector(Certificate.SignersOutOfOrder.selector, 1));
        verifier.checkCertificate(requestId, outcomeHash, bytes.concat(one, one, one));
    }

    function test_signers_out_of_order_are_rejected() public {
        uint256[] memory keys = Signers.sortedKeys(3);
        bytes memory signatures =
            bytes.concat(Signers.sign(keys[0], digest), Signers.sign(keys[2], digest), Signers.sign(keys[1], digest));
        vm.expectRevert(abi.encodeWithSelector(Certificate.SignersOutOfOrder.selector, 2));
        verifier.checkCertificate(requestId, outcomeHash, signatures);
    }

    function test_truncated_signatures_are_rejected() public {
        bytes memory signatures = Signers.certificate(3, digest);
        assembly {
            mstore(signatures, sub(mload(signatures), 1))
        }
        vm.expectRevert(abi.encodeWithSelector(Certificate.InvalidSignaturesLength.selector, 194));
        verifier.checkCertificate(requestId, outcomeHash, signatures);
    }

    function test_the_second_form_of_a_signature_is_rejected() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(1, digest);
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes memory second = abi.encodePacked(r, order - uint256(s), v == 27 ? uint8(28) : uint8(27));
        vm.expectRevert(abi.encodeWithSelector(Certificate.InvalidSignature.selector, 0));
        verifier.checkCertificate(requestId, outcomeHash, second);
    }

    function test_no_signatures_are_rejected() public {
        uint8[3] memory badV = [0, 1, 29];
        for (uint256 i = 0; i < badV.length; ++i) {
            (, bytes32 r, bytes32 s) = vm.sign(1, digest);
            vm.expectRevert(abi.encodeWithSelector(Certificate.InvalidSignature.selector, 0));
            verifier.checkCertificate(requestId, outcomeHash, abi.encodePacked(r, s, badV[i]));
        }
        vm.expectRevert(abi.encodeWithSelector(Certificate.InvalidSignature.selector, 0));
        verifier.checkCertificate(requestId, outcomeHash, abi.encodePacked(bytes32(0), bytes32(0), uint8(27)));
    }

    function testFuzz_no_changed_byte_is_accepted(uint256 position, uint8 mask) public view {
        vm.assume(mask != 0);
        bytes memory signatures = Signers.certificate(3, digest);
        signatures[position % signatures.length] ^= bytes1(mask);
        try verifier.checkCertificate(requestId, outcomeHash, signatures) {
            revert("a changed certificate was accepted");
        } catch {}
    }

    function test_a_set_that_is_empty_or_has_twins_is_refused() public {
        vm.expectRevert(CertificateVerifier.InvalidOperators.selector);
        new CertificateVerifier(CHAIN, REGISTRY, new address[](0));
        vm.expectRevert(CertificateVerifier.InvalidOperators.selector);
        new CertificateVerifier(CHAIN, REGISTRY, new address[](2));
    }
}
