// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Certificate} from "../src/Certificate.sol";
import {CertificateVerifier} from "../src/CertificateVerifier.sol";
import {DType, Tensor} from "../src/interfaces/IInference.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";

/// @notice What the nodes' conformance suite asks, as far as contracts say it, too.
contract VectorsTest is Check {
    string private json;

    function test_request_ids() public {
        _each("requests", this.requestId);
    }

    function requestId(uint256 i) external view returns (bool) {
        bytes32 model = vm.parseJsonBytes32(json, _at(i, "question.modelId"));
        bytes32 hash = keccak256(vm.parseJsonBytes(json, _at(i, "question.input")));
        assertEq(Certificate.requestIdOf(model, hash), vm.parseJsonBytes32(json, _at(i, "answer.requestId")));
        return true;
    }

    function test_statements() public {
        _each("statements", this.statement);
    }

    function statement(uint256 i) external view returns (bool) {
        bytes32 outcome = vm.keyExistsJson(json, _at(i, "question.outcome.output"))
            ? Certificate.outputHash(vm.parseJsonBytes(json, _at(i, "question.outcome.output")))
            : Certificate.failureHash(
                uint16(vm.parseJsonUint(json, _at(i, "question.outcome.code"))),
                vm.parseJsonString(json, _at(i, "question.outcome.reason"))
            );
        assertEq(outcome, vm.parseJsonBytes32(json, _at(i, "answer.outcomeHash")));
        bytes32 domain = Certificate.domainSeparator(
            vm.parseJsonUint(json, _at(i, "question.chainId")), vm.parseJsonAddress(json, _at(i, "question.registry"))
        );
        bytes32 id = vm.parseJsonBytes32(json, _at(i, "question.requestId"));
        assertEq(Certificate.digest(domain, id, outcome), vm.parseJsonBytes32(json, _at(i, "answer.digest")));
        return true;
    }

    function test_registry_slots_stand_where_the_precompile_reads_them() public {
        _each("registry", this.slot);
    }

    function slot(uint256 i) external returns (bool) {
        ModelRegistry registry = new ModelRegistry();
        bytes32 id = vm.parseJsonBytes32(json, _at(i, "question.modelId"));
        uint256 packed = vm.parseJsonUint(json, _at(i, "question.packed"));
        vm.store(address(registry), vm.parseJsonBytes32(json, _at(i, "answer.key")), bytes32(packed));
        assertEq(registry.slotOf(id), packed);
        return true;
    }

    function test_certificates() public {
        assertTrue(_each("certificates", this.certificate) >= 12, "most cases are about the same outcome");
    }

    function certificate(uint256 i) external returns (bool) {
        (bytes32 id, bytes memory data, bytes memory signatures) =
            _entry(vm.parseJsonBytes(json, _at(i, "question.encoded")));
        // In the compact form: one tensor, of type 0 and rank 2, 1 by 1, and the one byte 42.
        if (keccak256(data) != keccak256(hex"0100020000000100000001012a")) return false;
        CertificateVerifier verifier = new CertificateVerifier(
            vm.parseJsonUint(json, _at(i, "question.chainId")),
            0x0000000000000000000000000000000000001A2f,
            vm.parseJsonAddressArray(json, _at(i, "question.operators"))
        );
        bool valid = vm.parseJsonBool(json, _at(i, "answer.valid"));
        try verifier.checkCertificate(id, _fortyTwo(), signatures) {
            assertTrue(valid, vm.parseJsonString(json, _at(i, "name")));
        } catch {
            assertTrue(!valid, vm.parseJsonString(json, _at(i, "name")));
        }
        return true;
    }

    /// @dev The outcome that most certificates of the suite are about.
    function _fortyTwo() private pure returns (bytes32) {
        Tensor[] memory answer = new Tensor[](1);
        uint32[] memory shape = new uint32[](2);
        (shape[0], shape[1]) = (1, 1);
        answer[0] = Tensor(DType.Wad, shape, abi.encode(int256(42)));
        return Certificate.outputHash(abi.encode(answer));
    }

    /// @dev Checks each case of a file, each in a call of its own, whose memory ends with it; how many were asked about.
    function _each(string memory name, function(uint256) external returns (bool) check)
        private
        returns (uint256 asked)
    {
        for (uint256 i = _open(name); i > 0; --i) {
            if (check(i)) ++asked;
        }
        assertTrue(asked > 0, "the suite asks");
    }

    /// @dev Reads a file of the suite; the number of its cases.
    function _open(string memory name) private returns (uint256 cases) {
        json = vm.readFile(string.concat("../tests/vectors/conformance/", name, ".json"));
        while (vm.keyExistsJson(json, _at(cases + 1, "name"))) ++cases;
        assertTrue(cases >= 5, "the suite has cases");
    }

    /// @dev Where something of case `number`, counted from 1, stands.
    function _at(uint256 number, string memory what) private pure returns (string memory) {
        return string.concat(".cases[", vm.toString(number - 1), "].", what);
    }

    /// @dev Id, data and signatures of the only entry of an encoded list.
    function _entry(bytes memory list) private pure returns (bytes32 id, bytes memory data, bytes memory signatures) {
        (uint256 place,) = _item(list, 0);
        (place,) = _item(list, place);
        uint256 length;
        (place, length) = _item(list, place);
        id = bytes32(_slice(list, place, length));
        (place, length) = _item(list, place + length);
        (place, length) = _item(list, place + length);
        data = _slice(list, place, length);
        (place, length) = _item(list, place + length);
        signatures = _slice(list, place, length);
    }

    /// @dev Where the content of the RLP item at `place` begins, and how long it is.
    function _item(bytes memory rlp, uint256 place) private pure returns (uint256 start, uint256 length) {
        uint256 prefix = uint8(rlp[place]);
        if (prefix < 0x80) return (place, 1);
        uint256 short = prefix < 0xc0 ? 0x80 : 0xc0;
        if (prefix - short < 56) return (place + 1, prefix - short);
        uint256 size = prefix - short - 55;
        for (uint256 i = 1; i <= size; ++i) {
            length = (length << 8) | uint8(rlp[place + i]);
        }
        return (place + 1 + size, length);
    }

    function _slice(bytes memory from, uint256 start, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            part[i] = from[start + i];
        }
    }
}
