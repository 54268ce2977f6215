// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference} from "../src/interfaces/IInference.sol";
import {Inference} from "../src/Inference.sol";
import {TensorCodec} from "../src/libraries/TensorCodec.sol";
import {InferenceTest} from "../src/testing/InferenceTest.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";

/// @notice A precompile with an expensive model: `run` takes a million gas, what `isSupported` asks takes little.
contract ExpensiveModel {
    fallback(bytes calldata data) external returns (bytes memory) {
        if (bytes4(data) == IInference.runOr.selector) {
            (,,, bytes memory otherwise) = abi.decode(data[4:], (bytes32, bytes, uint256, bytes));
            return abi.encode(false, otherwise);
        }
        uint256 start = gasleft();
        while (start - gasleft() < 1_000_000) {}
        return abi.encode(TensorCodec.encodeRow(new int256[](1)));
    }
}

/// @notice What a user writes who can do without the model.
contract Asker {
    function ask() external view returns (int256) {
        return Inference.score("model", new int256[](1));
    }

    function careful() external view returns (bool answered) {
        try this.ask() returns (int256) {
            return true;
        } catch (bytes memory reason) {
            Inference.checkReason(reason);
        }
    }

    function careless() external view returns (bool answered) {
        try this.ask() returns (int256) {
            return true;
        } catch (bytes memory reason) {
            if (reason.length == 0) revert();
        }
    }
}

contract InferenceCatchTest is InferenceTest, Check {
    Asker private asker = new Asker();

    function test_too_little_gas_never_takes_the_branch_without_the_model() public {
        vm.etch(Inference.PRECOMPILE, type(ExpensiveModel).runtimeCode);
        (uint256 carefully, uint256 carelessly, uint256 answered) = (0, 0, 0);
        for (uint256 gas = 30_000; gas < 1_300_000; gas += 10_000) {
            try asker.careful{gas: gas}() returns (bool ran) {
                if (ran) ++answered;
                else ++carefully;
            } catch {}
            try asker.careless{gas: gas}() returns (bool ran) {
                if (!ran) ++carelessly;
            } catch {}
        }
        assertEq(carefully, 0);
        assertTrue(answered > 0, "enough gas");
        assertTrue(carelessly > 0, "the hole that the test guards is there for who looks at empty reasons only");
    }

    function test_what_all_nodes_agree_on_takes_it() public {
        fails("model", 5, "NaN");
        assertTrue(!asker.careful(), "a failed inference");
        removeInference();
        assertTrue(!asker.careful(), "a chain without the precompile");
    }

    function test_isSupported_with_too_little_gas_says_nothing() public {
        bytes memory expected = abi.encodeWithSelector(Inference.InferenceUnavailable.selector, Inference.PRECOMPILE);
        vm.expectRevert(expected);
        this.isSupported{gas: 90_000}();
        assertTrue(this.isSupported{gas: 150_000}(), "enough");
    }

    function isSupported() external view returns (bool) {
        return Inference.isSupported();
    }
}
