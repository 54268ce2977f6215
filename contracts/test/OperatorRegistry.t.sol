// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Certificate} from "../src/Certificate.sol";
import {Profile} from "../src/interfaces/IInference.sol";
import {IOperatorRegistry, SignedOutcome} from "../src/interfaces/IOperatorRegistry.sol";
import {Manifest} from "../src/interfaces/IModelRegistry.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {OperatorRegistry} from "../src/OperatorRegistry.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";
import {Manifests} from "./Manifests.sol";
import {Signers} from "./Signers.sol";

contract OperatorRegistryTest is Check {
    OperatorRegistry private registry;
    bytes32 private constant INPUT_HASH = keccak256("input");
    bytes32 private model;
    bytes32 private requestId;

    function setUp() public {
        registry = new OperatorRegistry();
        vm.etch(address(registry.MODELS()), type(ModelRegistry).runtimeCode);
        model = _registerModel(Profile.ExactF32);
        requestId = Certificate.requestIdOf(model, INPUT_HASH);
        for (uint256 key = 1; key <= 4; ++key) {
            _join(Signers.account(key));
        }
    }

    receive() external payable {}

    // ---- membership

    function test_join_puts_the_operator_where_consensus_reads_it() public view {
        assertEq(registry.operators().length, 4);
        assertEq(uint256(vm.load(address(registry), 0)), 4);
        for (uint256 i = 0; i < 4; ++i) {
            bytes32 slot = bytes32(uint256(keccak256(abi.encode(uint256(0)))) + i);
            assertEq(uint256(vm.load(address(registry), slot)), uint160(Signers.account(i + 1)));
        }
        assertEq(registry.operator(Signers.account(2)).stake, 1 ether);
        assertEq(registry.operator(Signers.account(2)).endpoint, "http://operator");
        assertEq(registry.quorum(), 3);
    }

    function test_join_refuses_a_low_stake_a_second_time_and_a_bad_endpoint() public {
        address newcomer = Signers.account(9);
        vm.deal(newcomer, 10 ether);
        vm.prank(newcomer);
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.StakeTooLow.selector, 1 ether - 1, 1 ether));
        registry.join{value: 1 ether - 1}("http://x");
        vm.prank(newcomer);
        vm.expectRevert(IOperatorRegistry.InvalidEndpoint.selector);
        registry.join{value: 1 ether}("");
        vm.prank(newcomer);
        vm.expectRevert(IOperatorRegistry.InvalidEndpoint.selector);
        registry.join{value: 1 ether}(string(new bytes(257)));
        vm.deal(Signers.account(1), 1 ether);
        vm.prank(Signers.account(1));
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.AlreadyOperator.selector, Signers.account(1)));
        registry.join{value: 1 ether}("http://x");
    }

    function test_join_refuses_more_than_128() public {
        for (uint256 key = 5; key <= 128; ++key) {
            _join(Signers.account(key));
        }
        address newcomer = Signers.account(129);
        vm.deal(newcomer, 1 ether);
        vm.prank(newcomer);
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.TooManyOperators.selector, 128));
        registry.join{value: 1 ether}("http://x");
    }

    function test_retire_then_withdraw_after_the_delay() public {
        address account = Signers.account(2);
        vm.prank(account);
        registry.retire();
        assertEq(registry.operators().length, 3);
        uint256 freeAt = block.timestamp + 7 days;
        vm.prank(account);
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.NotFreeYet.selector, freeAt));
        registry.withdraw();
        vm.warp(freeAt);
        vm.prank(account);
        registry.withdraw();
        assertEq(account.balance, 1 ether);
        vm.prank(account);
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.NothingAtStake.selector, account));
        registry.withdraw();
        _join(account);
        assertEq(registry.operators().length, 4);
    }

    function test_withdraw_refuses_an_active_operator() public {
        vm.prank(Signers.account(1));
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.NotFreeYet.selector, 0));
        registry.withdraw();
    }

    function test_retire_in_any_order_keeps_the_list_whole() public {
        uint8[4] memory order = [2, 4, 1, 3];
        for (uint256 i = 0; i < 4; ++i) {
            address gone = Signers.account(order[i]);
            vm.prank(gone);
            registry.retire();
            address[] memory rest = registry.operators();
            assertEq(rest.length, 3 - i);
            for (uint256 j = 0; j < rest.length; ++j) {
                assertTrue(rest[j] != gone, "gone from the list");
                assertEq(registry.operator(rest[j]).place, j + 1);
            }
        }
    }

    function test_only_active_operators_act() public {
        bytes memory expected = abi.encodeWithSelector(IOperatorRegistry.NotActive.selector, address(this));
        vm.expectRevert(expected);
        registry.retire();
        vm.expectRevert(expected);
        registry.addStake{value: 1}();
        vm.expectRevert(expected);
        registry.setEndpoint("http://x");
        vm.expectRevert(expected);
        registry.setServes(new bytes32[](1), true);
    }

    function test_addStake_and_setEndpoint() public {
        address account = Signers.account(1);
        vm.deal(account, 2 ether);
        vm.prank(account);
        registry.addStake{value: 2 ether}();
        vm.prank(account);
        registry.setEndpoint("http://new");
        assertEq(registry.operator(account).stake, 3 ether);
        assertEq(registry.operator(account).endpoint, "http://new");
    }

    // ---- evidence

    function test_two_statements_for_one_request_cost_the_stake() public {
        address liar = Signers.account(3);
        uint256 burned = address(0).balance;
        uint256 balance = address(this).balance;
        registry.slashEquivocation(requestId, _signed(3, "a"), _signed(3, "b"));
        assertEq(address(this).balance - balance, 0.1 ether);
        assertEq(address(0).balance - burned, 0.9 ether);
        assertEq(registry.operator(liar).stake, 0);
        assertEq(registry.operators().length, 3);
        vm.deal(liar, 1 ether);
        vm.prank(liar);
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.Banned.selector, liar));
        registry.join{value: 1 ether}("http://again");
    }

    function test_equivocation_is_punished_until_the_stake_is_withdrawn() public {
        vm.prank(Signers.account(3));
        registry.retire();
        vm.warp(block.timestamp + 8 days);
        registry.slashEquivocation(requestId, _signed(3, "a"), _signed(3, "b"));
        vm.prank(Signers.account(3));
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.NothingAtStake.selector, Signers.account(3)));
        registry.withdraw();
    }

    function test_the_same_evidence_counts_once() public {
        registry.slashEquivocation(requestId, _signed(3, "a"), _signed(3, "b"));
        (SignedOutcome memory a, SignedOutcome memory b) = (_signed(3, "a"), _signed(3, "b"));
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.NothingAtStake.selector, Signers.account(3)));
        registry.slashEquivocation(requestId, a, b);
    }

    function test_equal_statements_are_no_evidence() public {
        (SignedOutcome memory a, SignedOutcome memory b) = (_signed(3, "a"), _signed(3, "a"));
        vm.expectRevert(IOperatorRegistry.NoContradiction.selector);
        registry.slashEquivocation(requestId, a, b);
    }

    function test_statements_of_two_operators_are_no_evidence() public {
        (SignedOutcome memory a, SignedOutcome memory b) = (_signed(3, "a"), _signed(4, "b"));
        vm.expectRevert(IOperatorRegistry.NoContradiction.selector);
        registry.slashEquivocation(requestId, a, b);
    }

    function test_statements_for_another_request_chain_or_registry_are_no_evidence() public {
        (SignedOutcome memory a, SignedOutcome memory b) = (_signed(3, "a"), _signed(3, "b"));
        vm.expectRevert();
        registry.slashEquivocation(keccak256("other request"), a, b);
        vm.chainId(1);
        vm.expectRevert();
        registry.slashEquivocation(requestId, a, b);
        vm.chainId(31337);
        OperatorRegistry other = new OperatorRegistry();
        vm.expectRevert();
        other.slashEquivocation(requestId, a, b);
    }

    function test_a_statement_against_a_certificate_costs_the_stake() public {
        registry.slashContradiction(model, INPUT_HASH, _signed(4, "lie"), _hash("truth"), _certificate(3, "truth"));
        assertEq(registry.operator(Signers.account(4)).stake, 0);
        assertEq(registry.operators().length, 3);
    }

    function test_a_statement_that_agrees_is_no_evidence() public {
        (SignedOutcome memory statement, bytes memory certificate) = (_signed(4, "truth"), _certificate(3, "truth"));
        vm.expectRevert(IOperatorRegistry.NoContradiction.selector);
        registry.slashContradiction(model, INPUT_HASH, statement, _hash("truth"), certificate);
    }

    function test_too_few_cannot_contradict() public {
        (SignedOutcome memory statement, bytes memory certificate) = (_signed(4, "truth"), _certificate(2, "lie"));
        vm.expectRevert(abi.encodeWithSelector(Certificate.TooFewSigners.selector, 2, 3));
        registry.slashContradiction(model, INPUT_HASH, statement, _hash("lie"), certificate);
    }

    function test_tolerance_models_have_no_contradiction() public {
        bytes32 tolerant = _registerModel(Profile.Tolerance);
        bytes32[2] memory models = [tolerant, keccak256("unknown")];
        for (uint256 i = 0; i < 2; ++i) {
            (SignedOutcome memory statement, bytes memory certificate) = (_signed(4, "a"), _certificate(3, "b"));
            vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.ModelNotExact.selector, models[i]));
            registry.slashContradiction(models[i], INPUT_HASH, statement, _hash("b"), certificate);
        }
    }

    function test_the_last_who_stay_cannot_take_the_stakes_of_those_who_go() public {
        for (uint256 key = 2; key <= 4; ++key) {
            vm.prank(Signers.account(key));
            registry.retire();
        }
        registry.checkCertificate(requestId, _hash("lie"), _certificate(1, "lie")); // alone, its word is a certificate
        (SignedOutcome memory statement, bytes memory certificate) = (_signed(4, "truth"), _certificate(1, "lie"));
        vm.expectRevert(abi.encodeWithSelector(Certificate.TooFewSigners.selector, 1, 3));
        registry.slashContradiction(model, INPUT_HASH, statement, _hash("lie"), certificate);
    }

    // ---- certificates

    function test_checkCertificate_counts_active_operators() public {
        registry.checkCertificate(requestId, _hash("a"), _certificate(3, "a"));
        bytes memory certificate = _certificate(4, "a");
        vm.prank(Signers.account(2));
        registry.retire();
        vm.expectRevert(abi.encodeWithSelector(Certificate.UnknownSigner.selector, Signers.account(2)));
        registry.checkCertificate(requestId, _hash("a"), certificate);
    }

    // ---- committees

    function test_committee_is_drawn_from_those_who_serve_the_model() public {
        _serve(3);
        registry.announce(requestId);
        vm.roll(block.number + 2);
        vm.setBlockhash(block.number - 1, keccak256("randomness"));
        address[] memory chosen = registry.committee(model, INPUT_HASH, 2);
        assertEq(chosen.length, 2);
        assertTrue(chosen[0] != chosen[1], "without replacement");
        for (uint256 i = 0; i < 2; ++i) {
            assertTrue(registry.serves(chosen[i], model), "serves the model");
        }
        assertEq(registry.committee(model, INPUT_HASH, 9).length, 3);
    }

    function test_committee_follows_the_randomness() public {
        _serve(4);
        uint256[4] memory first;
        for (uint256 i = 0; i < 200; ++i) {
            bytes32 inputHash = bytes32(i);
            registry.announce(Certificate.requestIdOf(model, inputHash));
            vm.roll(block.number + 2);
            vm.setBlockhash(block.number - 1, keccak256(abi.encode(i)));
            address chosen = registry.committee(model, inputHash, 1)[0];
            ++first[registry.operator(chosen).place - 1];
        }
        for (uint256 i = 0; i < 4; ++i) {
            assertTrue(first[i] > 30 && first[i] < 70, "about a quarter each");
        }
    }

    function test_committee_has_no_randomness_before_the_next_block() public {
        _serve(4);
        bytes memory expected = abi.encodeWithSelector(IOperatorRegistry.NoRandomness.selector, requestId);
        vm.expectRevert(expected);
        registry.committee(model, INPUT_HASH, 4);
        registry.announce(requestId);
        vm.expectRevert(expected);
        registry.committee(model, INPUT_HASH, 4);
        vm.roll(block.number + 1);
        vm.expectRevert(expected);
        registry.committee(model, INPUT_HASH, 4);
    }

    function test_fixed_randomness_stays() public {
        _serve(4);
        registry.announce(requestId);
        vm.roll(block.number + 2);
        vm.setBlockhash(block.number - 1, keccak256("randomness"));
        registry.fixRandomness(requestId);
        address[] memory chosen = registry.committee(model, INPUT_HASH, 4);
        vm.roll(block.number + 1_000);
        assertEq(abi.encode(registry.committee(model, INPUT_HASH, 4)), abi.encode(chosen));
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.AlreadyAnnounced.selector, requestId));
        registry.announce(requestId);
    }

    function test_announce_again_only_when_the_randomness_is_lost() public {
        registry.announce(requestId);
        uint256 announced = block.number;
        vm.roll(announced + 257);
        vm.expectRevert(abi.encodeWithSelector(IOperatorRegistry.AlreadyAnnounced.selector, requestId));
        registry.announce(requestId);
        vm.roll(announced + 258);
        registry.announce(requestId);
        assertEq(registry.announcedAt(requestId), announced + 258);
    }

    // ---- inside

    function _join(address account) private {
        vm.deal(account, 1 ether);
        vm.prank(account);
        registry.join{value: 1 ether}("http://operator");
    }

    function _serve(uint256 count) private {
        bytes32[] memory models = new bytes32[](1);
        models[0] = model;
        for (uint256 key = 1; key <= count; ++key) {
            vm.prank(Signers.account(key));
            registry.setServes(models, true);
        }
        assertEq(registry.operatorsOf(model).length, count);
    }

    function _registerModel(Profile profile) private returns (bytes32 id) {
        Manifest memory manifest = Manifests.regressor();
        manifest.profile = uint8(profile);
        if (profile == Profile.Tolerance) manifest.tolerances = new uint256[](1);
        id = keccak256(abi.encode(manifest));
        registry.MODELS().register(id, abi.encode(manifest));
    }

    function _hash(string memory output) private pure returns (bytes32) {
        return Certificate.outputHash(bytes(output));
    }

    function _digest(string memory output) private view returns (bytes32) {
        bytes32 domain = Certificate.domainSeparator(block.chainid, address(registry));
        return Certificate.digest(domain, requestId, _hash(output));
    }

    function _signed(uint256 key, string memory output) private view returns (SignedOutcome memory) {
        return SignedOutcome(_hash(output), Signers.sign(key, _digest(output)));
    }

    function _certificate(uint256 count, string memory output) private view returns (bytes memory) {
        return Signers.certificate(count, _digest(output));
    }
}
