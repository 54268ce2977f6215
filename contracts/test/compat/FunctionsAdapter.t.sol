// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference} from "../../src/interfaces/IInference.sol";
import {Cbor} from "../../src/compat/Cbor.sol";
import {Decimal} from "../../src/compat/Decimal.sol";
import {FunctionsAdapter, IFunctionsClient} from "../../src/compat/FunctionsAdapter.sol";
import {ModelNames} from "../../src/compat/ModelNames.sol";
import {TensorCodec} from "../../src/libraries/TensorCodec.sol";
import {InferenceTest} from "../../src/testing/InferenceTest.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

/// @notice A consumer as one writes it for Functions: it knows its router, and takes only the request that it noted.
contract FunctionsConsumer is IFunctionsClient {
    FunctionsAdapter private immutable router;
    bool private immutable checksId;
    bytes32 public lastRequestId;
    bytes public lastResponse;
    bytes public lastError;

    constructor(FunctionsAdapter router_, bool checksId_) {
        (router, checksId) = (router_, checksId_);
    }

    function sendRequest(bytes calldata data) external returns (bytes32) {
        lastRequestId = router.sendRequest(1, data, 1, 300_000, "don");
        return lastRequestId;
    }

    function handleOracleFulfillment(bytes32 requestId, bytes memory response, bytes memory err) external {
        require(msg.sender == address(router), "only the router");
        require(!checksId || requestId == lastRequestId, "unexpected request id");
        (lastResponse, lastError) = (response, err);
    }
}

contract FunctionsAdapterTest is InferenceTest, Check {
    bytes32 private constant MODEL = keccak256("model");
    bytes private constant SOURCE = "const risk = ...; return Functions.encodeInt256(risk);";
    FunctionsAdapter private router;
    FunctionsConsumer private ready;

    function setUp() public {
        router = new FunctionsAdapter();
        router.nameModel(SOURCE, MODEL);
        ready = new FunctionsConsumer(router, false);
        givesScore(MODEL, row(1e18, -2.5e18), 0.25e18);
    }

    function test_numbers_as_arguments_give_a_number_in_the_same_call() public {
        ready.sendRequest(_request(_args("1", "-2.5")));
        assertEq(abi.decode(ready.lastResponse(), (int256)), 0.25e18);
        assertEq(ready.lastError(), "");
    }

    function test_a_consumer_that_notes_the_id_afterwards_gets_it_in_one_transaction_by_relay() public {
        FunctionsConsumer late = new FunctionsConsumer(router, true);
        router.relay(address(late), abi.encodeCall(FunctionsConsumer.sendRequest, (_request(_args("1", "-2.5")))));
        assertEq(abi.decode(late.lastResponse(), (int256)), 0.25e18);
    }

    function test_such_a_consumer_gets_it_by_deliver_once() public {
        FunctionsConsumer late = new FunctionsConsumer(router, true);
        uint256 id = uint256(late.sendRequest(_request(_args("1", "-2.5"))));
        assertTrue(router.isPending(id), "refused at first");
        router.deliver(id);
        assertEq(abi.decode(late.lastResponse(), (int256)), 0.25e18);
        vm.expectRevert();
        router.deliver(id);
    }

    function test_a_text_gives_a_text() public {
        givesText(MODEL, "2+2?", "4");
        ready.sendRequest(_request(bytes.concat(_text("args"), hex"81", _text("2+2?"))));
        assertEq(ready.lastResponse(), "4");
    }

    function test_bytes_are_tensors() public {
        bytes memory input = TensorCodec.encodeRow(row(1e18, -2.5e18));
        ready.sendRequest(_request(bytes.concat(_text("bytesArgs"), hex"9f", _bytes(input), hex"ff")));
        assertEq(ready.lastResponse(), TensorCodec.encodeRow(row(0.25e18)));
    }

    function test_failures_arrive_as_errors() public {
        fails(MODEL, row(7e18), 5, "NaN");
        ready.sendRequest(_request(bytes.concat(_text("args"), hex"9f", _text("7"), hex"ff")));
        assertEq(ready.lastResponse(), "");
        assertEq(ready.lastError(), abi.encodeWithSelector(IInference.InferenceFailed.selector, 5, "NaN"));
    }

    function test_requests_that_ask_nothing_arrive_as_errors() public {
        ready.sendRequest(_request(""));
        assertEq(ready.lastError(), abi.encodeWithSelector(FunctionsAdapter.UnsupportedArguments.selector));
        ready.sendRequest(_request(_args("one", "two")));
        assertEq(ready.lastError(), abi.encodeWithSelector(FunctionsAdapter.UnsupportedArguments.selector));
        ready.sendRequest(bytes.concat(_text("source"), _text("return 1;")));
        assertEq(ready.lastError(), abi.encodeWithSelector(ModelNames.UnknownName.selector, bytes("return 1;")));
    }

    function test_malformed_cbor_arrives_as_an_error() public {
        bytes[6] memory cases = [
            bytes(hex"78"), // a length that is not there
            hex"7a00ffffff", // longer than the data
            hex"a0", // a map where a key is expected
            bytes.concat(_text("args"), hex"9f"), // an array without end
            bytes.concat(_text("args"), hex"9a7fffffff"), // more items than bytes
            bytes.concat(_text("args"), hex"5f") // a string of indefinite length
        ];
        for (uint256 i = 0; i < cases.length; ++i) {
            ready.sendRequest(cases[i]);
            assertEq(bytes32(bytes4(ready.lastError())), bytes32(Cbor.MalformedCbor.selector));
        }
    }

    function test_accounts_without_code_are_refused() public {
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(FunctionsAdapter.OnlyContracts.selector, address(1)));
        router.sendRequest(1, "", 1, 0, 0);
    }

    function test_decimals() public pure {
        string[8] memory good = ["0", "1", "-1", "0.5", "-12.25", "0.000000000000000001", "100", "007"];
        int256[8] memory wads = [int256(0), 1e18, -1e18, 0.5e18, -12.25e18, 1, 100e18, 7e18];
        for (uint256 i = 0; i < good.length; ++i) {
            (bool ok, int256 wad) = Decimal.parse(bytes(good[i]));
            assertTrue(ok, good[i]);
            assertEq(wad, wads[i]);
        }
        string[9] memory bad = ["", "-", ".", ".5", "1.", "1e3", "+1", "1.2.3", "0.0000000000000000001"];
        for (uint256 i = 0; i < bad.length; ++i) {
            (bool ok,) = Decimal.parse(bytes(bad[i]));
            assertTrue(!ok, bad[i]);
        }
    }

    function test_the_longest_number_does_not_overflow() public pure {
        bytes memory digits = new bytes(58);
        for (uint256 i = 0; i < 58; ++i) {
            digits[i] = "9";
        }
        (bool ok, int256 wad) = Decimal.parse(bytes.concat(digits, ".999999999999999999"));
        assertTrue(ok, "76 digits");
        assertEq(wad, int256(10 ** 76 - 1));
        (ok,) = Decimal.parse(bytes.concat(digits, "9"));
        assertTrue(!ok, "59 digits before the point");
    }

    /// @dev As the client's library writes it: location and language as bignums, then the source, then what comes.
    function _request(bytes memory arguments) private pure returns (bytes memory) {
        bytes memory zero = bytes.concat(hex"c25820", bytes32(0));
        bytes memory head = bytes.concat(_text("codeLocation"), zero, _text("language"), zero);
        return bytes.concat(head, _text("source"), _text(string(SOURCE)), arguments);
    }

    function _args(string memory a, string memory b) private pure returns (bytes memory) {
        return bytes.concat(_text("args"), hex"9f", _text(a), _text(b), hex"ff");
    }

    function _text(string memory value) private pure returns (bytes memory) {
        return bytes.concat(_head(0x60, bytes(value).length), bytes(value));
    }

    function _bytes(bytes memory value) private pure returns (bytes memory) {
        return bytes.concat(_head(0x40, value.length), value);
    }

    function _head(uint8 major, uint256 length) private pure returns (bytes memory) {
        if (length < 24) return abi.encodePacked(uint8(major + length));
        if (length < 256) return abi.encodePacked(uint8(major + 24), uint8(length));
        return abi.encodePacked(uint8(major + 25), uint16(length));
    }
}
