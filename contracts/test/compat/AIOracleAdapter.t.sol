// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference} from "../../src/interfaces/IInference.sol";
import {AIOracleAdapter, IAIOracleClient} from "../../src/compat/AIOracleAdapter.sol";
import {Callbacks} from "../../src/compat/Callbacks.sol";
import {TensorCodec} from "../../src/libraries/TensorCodec.sol";
import {InferenceTest} from "../../src/testing/InferenceTest.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

/// @notice Keeps whatever comes.
contract ReadyClient is IAIOracleClient {
    AIOracleAdapter internal oracle;
    mapping(uint256 requestId => string) public answers;
    bytes public lastData;

    constructor(AIOracleAdapter oracle_) {
        oracle = oracle_;
    }

    function ask(uint256 model, string calldata prompt) external virtual returns (uint256) {
        return oracle.requestCallback(model, bytes(prompt), address(this), 500_000, "data");
    }

    function aiOracleCallback(uint256 id, bytes calldata output, bytes calldata data) public virtual {
        require(msg.sender == address(oracle), "only the oracle");
        answers[id] = string(output);
        lastData = data;
    }
}

/// @notice Writes the id down after it has asked, and refuses ids that it does not know, as most clients do.
contract LateClient is ReadyClient {
    mapping(uint256 requestId => bool) public known;

    constructor(AIOracleAdapter oracle_) ReadyClient(oracle_) {}

    function ask(uint256 model, string calldata prompt) external override returns (uint256 id) {
        id = oracle.requestCallback(model, bytes(prompt), address(this), 500_000, "data");
        known[id] = true;
    }

    function aiOracleCallback(uint256 id, bytes calldata output, bytes calldata data) public override {
        require(known[id], "request does not exist");
        super.aiOracleCallback(id, output, data);
    }
}

contract AIOracleAdapterTest is InferenceTest, Check {
    bytes32 private constant MODEL = keccak256("model");
    AIOracleAdapter private oracle;

    function setUp() public {
        oracle = new AIOracleAdapter();
        oracle.nameModel(abi.encode(11), MODEL);
        givesText(MODEL, "2+2?", "4");
    }

    function test_a_ready_client_has_its_answer_before_the_call_returns() public {
        ReadyClient client = new ReadyClient(oracle);
        uint256 id = client.ask(11, "2+2?");
        assertEq(client.answers(id), "4");
        assertEq(client.lastData(), "data");
        assertTrue(oracle.isFinalized(id), "delivered");
        assertEq(oracle.estimateFee(11, 1), 0);
    }

    function test_a_late_client_gets_it_by_deliver_once() public {
        LateClient client = new LateClient(oracle);
        uint256 id = client.ask(11, "2+2?");
        assertTrue(!oracle.isFinalized(id), "pending");
        oracle.deliver(id);
        assertEq(client.answers(id), "4");
        vm.expectRevert(abi.encodeWithSelector(Callbacks.NothingPending.selector, id));
        oracle.deliver(id);
    }

    function test_a_late_client_gets_it_in_one_transaction_by_relay() public {
        LateClient client = new LateClient(oracle);
        bytes memory returned = oracle.relay(address(client), abi.encodeCall(LateClient.ask, (11, "2+2?")));
        assertEq(client.answers(abi.decode(returned, (uint256))), "4");
    }

    function test_relay_reverts_as_the_client_does() public {
        LateClient client = new LateClient(oracle);
        vm.expectPartialRevert(IInference.UnknownModel.selector);
        oracle.relay(address(client), abi.encodeCall(LateClient.ask, (12, "2+2?")));
    }

    function test_an_id_of_this_chain_takes_and_gives_tensors() public {
        givesScore(MODEL, row(5), 6);
        oracle.requestCallback(uint256(MODEL), TensorCodec.encodeRow(row(5)), address(0), 0, "");
        assertTrue(oracle.isFinalized(1), "no callback wanted");
    }

    function test_a_failed_inference_reverts_the_request() public {
        fails(MODEL, 9, "steps");
        vm.expectRevert(abi.encodeWithSelector(IInference.InferenceFailed.selector, 9, "steps"));
        oracle.requestCallback(11, "another", address(0), 0, "");
    }

    function test_value_is_refused() public {
        vm.deal(address(this), 1);
        vm.expectRevert(AIOracleAdapter.NoFee.selector);
        oracle.requestCallback{value: 1}(11, "2+2?", address(0), 0, "");
    }

    function test_too_little_gas_for_the_callback_reverts() public {
        ReadyClient client = new ReadyClient(oracle);
        vm.expectPartialRevert(Callbacks.TooLittleGas.selector);
        oracle.requestCallback{gas: 1_000_000}(11, "2+2?", address(client), 2_000_000, "");
    }

    function test_unknown_requests_are_not_final() public view {
        assertTrue(!oracle.isFinalized(0) && !oracle.isFinalized(1), "nothing was asked");
    }
}
