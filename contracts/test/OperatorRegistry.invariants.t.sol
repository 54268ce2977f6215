// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Certificate} from "../src/Certificate.sol";
import {Operator, SignedOutcome} from "../src/interfaces/IOperatorRegistry.sol";
import {OperatorRegistry} from "../src/OperatorRegistry.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";
import {Signers} from "./Signers.sol";

/// @notice What operators with keys 1 to 4 may do, in any order.
contract OperatorActions {
    OperatorRegistry public immutable registry = new OperatorRegistry();
    address[] private accounts = Signers.accounts(4);
    SignedOutcome[2][] private lies;
    bytes32 private constant REQUEST = keccak256("request");

    /// @notice Set once an operator lost its stake, so that the run is known to reach it.
    uint256 public slashed;

    constructor() {
        bytes32 domain = Certificate.domainSeparator(block.chainid, address(registry));
        for (uint256 key = 1; key <= accounts.length; ++key) {
            SignedOutcome[2] storage pair = lies.push();
            for (uint256 i = 0; i < 2; ++i) {
                pair[i] = SignedOutcome(bytes32(i), Signers.sign(key, Certificate.digest(domain, REQUEST, bytes32(i))));
            }
        }
    }

    receive() external payable {}

    function all() external view returns (address[] memory) {
        return accounts;
    }

    function join(uint256 who, uint96 stake) external {
        address account = accounts[who % accounts.length];
        vm.deal(account, stake);
        vm.prank(account);
        try registry.join{value: stake}("http://operator") {} catch {}
    }

    function addStake(uint256 who, uint96 stake) external {
        address account = accounts[who % accounts.length];
        vm.deal(account, stake);
        vm.prank(account);
        try registry.addStake{value: stake}() {} catch {}
    }

    function retire(uint256 who) external {
        vm.prank(accounts[who % accounts.length]);
        try registry.retire() {} catch {}
    }

    function withdraw(uint256 who) external {
        vm.prank(accounts[who % accounts.length]);
        try registry.withdraw() {} catch {}
    }

    function pass(uint32 time) external {
        vm.warp(block.timestamp + time % 10 days);
    }

    function lie(uint256 who) external {
        SignedOutcome[2] memory pair = lies[who % accounts.length];
        try registry.slashEquivocation(REQUEST, pair[0], pair[1]) {
            ++slashed;
        } catch {}
    }
}

contract OperatorRegistryInvariants is Check {
    OperatorActions private actions;
    OperatorRegistry private registry;
    address[] private accounts;

    function setUp() public {
        actions = new OperatorActions();
        registry = actions.registry();
        accounts = actions.all();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actions);
    }

    /// @dev One function, since each of them plays all runs again: the balance is the sum of the stakes; the list holds each
    /// active operator once, with its stake; a stake without a place waits to be withdrawn; who was slashed has none.
    function invariant_stakes_and_list_agree() public view {
        address[] memory list = registry.operators();
        (uint256 sum, uint256 active) = (0, 0);
        for (uint256 i = 0; i < accounts.length; ++i) {
            Operator memory one = registry.operator(accounts[i]);
            sum += one.stake;
            if (one.place == 0) {
                assertTrue(one.stake == 0 || one.freeAt > 0, "a stake without a place is a retired operator's");
                assertTrue(!one.banned || one.stake == 0, "who was slashed has no stake");
                continue;
            }
            ++active;
            assertEq(list[one.place - 1], accounts[i]);
            assertTrue(one.stake >= 1 ether && !one.banned && one.freeAt == 0, "an active operator has its stake");
        }
        assertEq(list.length, active);
        assertEq(address(registry).balance, sum);
    }

    /// @notice The actions reach what the invariant is about.
    function test_the_actions_do_what_they_say() public {
        actions.join(0, 2 ether);
        actions.join(1, 3 ether);
        actions.addStake(1, 1 ether);
        assertEq(address(registry).balance, 6 ether);
        actions.retire(1);
        actions.lie(0);
        assertEq(actions.slashed(), 1);
        vm.warp(block.timestamp + 8 days);
        actions.withdraw(1);
        assertEq(address(registry).balance, 0);
    }
}
