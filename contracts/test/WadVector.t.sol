// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {WadVector} from "../src/WadVector.sol";
import {vm} from "../src/testing/Vm.sol";
import {Check} from "./Check.sol";

contract WadVectorTest is Check {
    int256 private constant ONE = 1e18;

    function test_argmax_is_the_first_of_the_greatest() public pure {
        assertEq(WadVector.argmax(_three(-3, -1, -2)), 1);
        assertEq(WadVector.argmax(_three(7, 7, 7)), 0);
        assertEq(WadVector.argmax(_three(type(int256).min, 0, type(int256).max)), 2);
    }

    function test_argmax_of_an_empty_vector_reverts() public {
        vm.expectRevert(WadVector.EmptyVector.selector);
        this.argmax(new int256[](0));
    }

    function test_slice_copies() public pure {
        dirtyMemory();
        int256[] memory values = _three(1, 2, 3);
        int256[] memory part = WadVector.slice(values, 1, 3);
        assertEq(part.length, 2);
        assertEq(part[0], 2);
        assertEq(part[1], 3);
        part[0] = 9;
        assertEq(values[1], 2);
        assertEq(WadVector.slice(values, 3, 3).length, 0);
    }

    function test_slice_out_of_bounds_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(WadVector.OutOfBounds.selector, 2, 1, 3));
        this.slice(_three(1, 2, 3), 2, 1);
        vm.expectRevert(abi.encodeWithSelector(WadVector.OutOfBounds.selector, 0, 4, 3));
        this.slice(_three(1, 2, 3), 0, 4);
    }

    function test_dot_rounds_once_to_nearest_even() public pure {
        assertEq(WadVector.dot(_three(ONE, 2 * ONE, 3 * ONE), _three(ONE, ONE, -ONE)), 0);
        assertEq(WadVector.dot(_three(1, 0, 0), _three(ONE / 2, 0, 0)), 0); // 0.5 -> 0
        assertEq(WadVector.dot(_three(3, 0, 0), _three(ONE / 2, 0, 0)), 2); // 1.5 -> 2
        assertEq(WadVector.dot(_three(-1, 0, 0), _three(ONE / 2, 0, 0)), 0); // -0.5 -> 0
        assertEq(WadVector.dot(_three(-3, 0, 0), _three(ONE / 2, 0, 0)), -2); // -1.5 -> -2
        assertEq(WadVector.dot(_three(1, 1, 1), _three(ONE / 3, ONE / 3, ONE / 3)), 1); // 0.33 thrice -> 1
    }

    function test_dot_of_different_lengths_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(WadVector.LengthMismatch.selector, 3, 2));
        this.dot(_three(1, 2, 3), new int256[](2));
    }

    function test_dot_overflow_panics() public {
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        this.dot(_three(type(int256).max, 0, 0), _three(2, 0, 0));
    }

    function test_norm_is_the_root_rounded_down() public pure {
        assertEq(WadVector.norm(_three(3 * ONE, 0, -4 * ONE)), 5 * ONE);
        assertEq(WadVector.norm(_three(ONE, ONE, 0)), 1_414213562373095048);
        assertEq(WadVector.norm(_three(0, 0, 0)), 0);
        assertEq(WadVector.norm(_three(1, 1, 1)), 1);
    }

    function test_cosine_of_known_angles() public pure {
        assertEq(WadVector.cosine(_three(ONE, 0, 0), _three(0, ONE, 0)), 0);
        assertEq(WadVector.cosine(_three(2 * ONE, 0, 0), _three(5 * ONE, 0, 0)), ONE);
        assertEq(WadVector.cosine(_three(2 * ONE, 0, 0), _three(-5 * ONE, 0, 0)), -ONE);
        assertEq(WadVector.cosine(_three(ONE, ONE, 0), _three(ONE, 0, 0)), 707106781186547525);
    }

    function test_cosine_of_a_zero_vector_reverts() public {
        vm.expectRevert(WadVector.ZeroVector.selector);
        this.cosine(_three(0, 0, 0), _three(1, 2, 3));
    }

    function testFuzz_norm_brackets_the_root(int96 a, int96 b, int96 c) public pure {
        uint256 square = uint256(int256(a) * a + int256(b) * b + int256(c) * c);
        uint256 root = uint256(WadVector.norm(_three(a, b, c)));
        assertTrue(root * root <= square && (root + 1) * (root + 1) > square, "floor of the root");
    }

    function testFuzz_cosine_stays_in_range(int80 a, int80 b, int80 c, int80 d) public view {
        int256[] memory left = _three(a, b, c);
        int256[] memory right = _three(d, a, b);
        try this.cosine(left, right) returns (int256 value) {
            assertTrue(value >= -ONE && value <= ONE, "in [-1, 1]");
            assertEq(value, WadVector.cosine(right, left));
        } catch (bytes memory reason) {
            assertEq(bytes32(bytes4(reason)), bytes32(WadVector.ZeroVector.selector));
        }
    }

    function test_gas_of_384_elements() public {
        int256[] memory values = new int256[](384);
        for (uint256 i = 0; i < values.length; ++i) {
            values[i] = int256(i * 1e15) - 0.2e18;
        }
        uint256 gas = gasleft();
        WadVector.argmax(values);
        vm.snapshotValue("WadVector", "argmax of 384", gas - gasleft());
        gas = gasleft();
        WadVector.dot(values, values);
        vm.snapshotValue("WadVector", "dot of 384", gas - gasleft());
        gas = gasleft();
        WadVector.cosine(values, values);
        vm.snapshotValue("WadVector", "cosine of 384", gas - gasleft());
    }

    // Reached by a call, so that a revert can be expected.
    function argmax(int256[] memory a) external pure returns (uint256) {
        return WadVector.argmax(a);
    }

    function slice(int256[] memory a, uint256 start, uint256 end) external pure returns (int256[] memory) {
        return WadVector.slice(a, start, end);
    }

    function dot(int256[] memory a, int256[] memory b) external pure returns (int256) {
        return WadVector.dot(a, b);
    }

    function cosine(int256[] memory a, int256[] memory b) external pure returns (int256) {
        return WadVector.cosine(a, b);
    }

    function _three(int256 a, int256 b, int256 c) private pure returns (int256[] memory values) {
        values = new int256[](3);
        (values[0], values[1], values[2]) = (a, b, c);
    }
}
