// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Numbers} from "../../src/compat/Numbers.sol";
import {vm} from "../../src/testing/Vm.sol";
import {Check} from "../Check.sol";

contract NumbersTest is Check {
    function test_fromDecimal() public pure {
        assertEq(Numbers.fromDecimal(15, 1), 1.5e18);
        assertEq(Numbers.fromDecimal(-7, 0), -7e18);
        assertEq(Numbers.fromDecimal(3, -2), 300e18);
        assertEq(Numbers.fromDecimal(25, 19), 2); // 2.5 -> 2, even
        assertEq(Numbers.fromDecimal(35, 19), 4); // 3.5 -> 4, even
        assertEq(Numbers.fromDecimal(-25, 19), -2);
        assertEq(Numbers.fromDecimal(type(int128).max, 90), 0);
        assertEq(Numbers.fromDecimal(type(int128).max, 200), 0);
    }

    function test_fromDecimal_too_great_reverts() public {
        vm.expectRevert(Numbers.Unrepresentable.selector);
        this.fromDecimal(1, -59);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        this.fromDecimal(type(int128).max, -40);
    }

    function test_divide_in_each_way_of_rounding() public pure {
        int256[4] memory values = [int256(25), -25, 15, -14];
        int256[4] memory halfEven = [int256(2), -2, 2, -1];
        int256[4] memory truncated = [int256(2), -2, 1, -1];
        int256[4] memory floored = [int256(2), -3, 1, -2];
        int256[4] memory ceiled = [int256(3), -2, 2, -1];
        for (uint256 i = 0; i < 4; ++i) {
            assertEq(Numbers.divide(values[i], 10, Numbers.HALF_EVEN), halfEven[i]);
            assertEq(Numbers.divide(values[i], 10, Numbers.TRUNCATE), truncated[i]);
            assertEq(Numbers.divide(values[i], 10, Numbers.FLOOR), floored[i]);
            assertEq(Numbers.divide(values[i], 10, Numbers.CEIL), ceiled[i]);
        }
    }

    function test_divide_in_an_unknown_way_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(Numbers.UnknownRounding.selector, 5));
        this.divide(1, 10, 5);
    }

    function test_fromBits_of_known_numbers() public pure {
        assertEq(Numbers.fromBits(0x3f800000, 23, 8), 1e18);
        assertEq(Numbers.fromBits(0xc0200000, 23, 8), -2.5e18);
        assertEq(Numbers.fromBits(0x3dcccccd, 23, 8), 100000001490116119);
        assertEq(Numbers.fromBits(0, 23, 8), 0);
        assertEq(Numbers.fromBits(0x80000000, 23, 8), 0);
        assertEq(Numbers.fromBits(1, 23, 8), 0); // the least of all, 1.4e-45
        assertEq(Numbers.fromBits(0x7f7fffff, 23, 8), 340282346638528859811704183484516925440 * 1e18);
        assertEq(Numbers.fromBits(0x0001, 10, 5), 59604644775); // 2^-24, half precision's least
        assertEq(Numbers.fromBits(0x3555, 10, 5), 333251953125000000);
        assertEq(Numbers.fromBits(0x3fb999999999999a, 52, 11), 100000000000000006); // 0.1
        assertEq(Numbers.fromBits(1, 52, 11), 0);
    }

    function test_fromBits_of_no_number_reverts() public {
        uint32[3] memory bad = [0x7f800000, 0xff800000, 0x7fc00000];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(Numbers.Unrepresentable.selector);
            this.fromBits(bad[i], 23, 8);
        }
        vm.expectRevert(Numbers.Unrepresentable.selector);
        this.fromBits(0x7fefffffffffffff, 52, 11); // 1.8e308
    }

    function test_toFloat32_of_known_numbers() public pure {
        assertEq(Numbers.toFloat32(0), 0);
        assertEq(Numbers.toFloat32(1e18), 0x3f800000);
        assertEq(Numbers.toFloat32(-2.5e18), 0xc0200000);
        assertEq(Numbers.toFloat32(0.1e18), 0x3dcccccd);
        assertEq(Numbers.toFloat32(1), 0x219392ef); // 1e-18
        assertEq(Numbers.toFloat32(16777217e18), 0x4b800000); // a tie goes to the even one
        assertEq(Numbers.toFloat32(16777219e18), 0x4b800002);
        assertEq(Numbers.toFloat32(0.999999999999999999e18), 0x3f800000); // up to the next power of two
    }

    function testFuzz_single_precision_round_trip(uint32 bits) public pure {
        // 18 decimals hold all 24 bits of numbers from 2^-30 up.
        uint32 exponent = 97 + (bits >> 23) % 120;
        bits = (bits & 0x807fffff) | exponent << 23;
        assertEq(Numbers.toFloat32(Numbers.fromBits(bits, 23, 8)), bits);
    }

    function test_regression_a_mantissa_of_all_ones_keeps_its_last_bit() public pure {
        assertEq(Numbers.toFloat32(Numbers.fromBits(0x37ffffff, 23, 8)), 0x37ffffff);
    }

    function testFuzz_toFloat32_is_the_nearest(int256 wad) public pure {
        wad = wad % 1e56;
        if (wad == 0) return;
        uint32 bits = Numbers.toFloat32(wad);
        int256 near = Numbers.fromBits(bits, 23, 8);
        int256 error = near > wad ? near - wad : wad - near;
        for (uint32 step = 0; step < 2; ++step) {
            int256 other = Numbers.fromBits(step == 0 ? bits - 1 : bits + 1, 23, 8);
            int256 otherError = other > wad ? other - wad : wad - other;
            assertTrue(error <= otherError + 1, "no neighbour is nearer");
        }
    }

    function fromDecimal(int256 value, int256 decimals) external pure returns (int256) {
        return Numbers.fromDecimal(value, decimals);
    }

    function divide(int256 value, uint256 divisor, uint8 rounding) external pure returns (int256) {
        return Numbers.divide(value, divisor, rounding);
    }

    function fromBits(uint256 bits, uint256 mantissaBits, uint256 exponentBits) external pure returns (int256) {
        return Numbers.fromBits(bits, mantissaBits, exponentBits);
    }
}
