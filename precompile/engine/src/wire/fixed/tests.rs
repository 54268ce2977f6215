//! Fixed point and floats, both ways.

use super::*;
use num_bigint::{BigInt, Sign};
use proptest::prelude::*;

fn big(value: I256) -> BigInt {
    BigInt::from_signed_bytes_be(&value.to_be_bytes::<32>())
}

/// A finite float as a fraction (numerator, power of two of the denominator).
fn fraction(value: f64) -> (BigInt, u32) {
    let (negative, significand, exponent) = disassemble(value).unwrap();
    let signed = BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, significand.into());
    if exponent >= 0 { (signed << exponent as usize, 0) } else { (signed, exponent.unsigned_abs()) }
}

/// |wad / 10^18 - value| as an integer over the common denominator `10^18 * 2^bits`.
fn distance(wad: &BigInt, value: f64, bits: u32) -> BigInt {
    let (numerator, power) = fraction(value);
    let left = wad << bits as usize;
    let right = (numerator * BigInt::from(WAD)) << (bits - power) as usize;
    let difference = left - right;
    if difference.sign() == Sign::Minus { -difference } else { difference }
}

/// Neither neighbour of `got` is nearer to the WAD, and a tie has an even significand.
fn assert_nearest(wad: I256, got: f64, below: f64, above: f64, even: bool) {
    const BITS: u32 = 1200;
    let (wad, mine) = (big(wad), distance(&big(wad), got, BITS));
    for neighbour in [below, above].into_iter().filter(|n| n.is_finite()) {
        let other = distance(&wad, neighbour, BITS);
        assert!(mine < other || (mine == other && even), "{wad}: {got:e} against {neighbour:e}");
    }
}

fn wads() -> impl Strategy<Value = I256> {
    // Uniform in the number of bits, so that every binade of both types is met.
    (any::<[u8; 32]>(), 0usize..256, any::<bool>()).prop_map(|(bytes, shift, negative)| {
        let wad = I256::from_raw(U256::from_be_bytes(bytes) >> 1 >> shift);
        if negative { wad.wrapping_neg() } else { wad }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn wad_to_f64_is_the_nearest(wad in wads()) {
        let got = wad_to_float::<f64>(wad).unwrap();
        assert_nearest(wad, got, got.next_down(), got.next_up(), got.to_bits() & 1 == 0);
    }

    #[test]
    fn wad_to_f32_is_the_nearest_or_out_of_range(wad in wads()) {
        match wad_to_float::<f32>(wad) {
            Some(got) => {
                assert_nearest(wad, got.into(), got.next_down().into(), got.next_up().into(), got.to_bits() & 1 == 0);
            }
            None => {
                // Half a unit beyond the largest: 2^128 - 2^103.
                let limit = ((BigInt::from(1) << 128usize) - (BigInt::from(1) << 103usize)) * BigInt::from(WAD);
                prop_assert!(big(wad).magnitude() >= limit.magnitude());
            }
        }
    }

    #[test]
    fn f64_to_wad_is_the_nearest(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        let limit = 2f64.powi(255) / 1e18;
        match float_to_wad(value) {
            None => prop_assert!(!value.is_finite() || value.abs() >= limit * 0.999_999),
            Some(wad) => {
                let twice = distance(&big(wad), value, 1200) * 2;
                let unit = BigInt::from(1) << 1200usize;
                prop_assert!(twice < unit || (twice == unit && !wad.bit(0)));
            }
        }
    }

    #[test]
    fn a_float_of_ordinary_size_survives_the_round_trip(value in -1e15f64..1e15, small in -1e12f32..1e12f32) {
        // 18 decimals hold the whole significand of numbers above 2^-6 only; from there the trip is exact.
        if value.abs() > 0.02 {
            let back = wad_to_float::<f64>(float_to_wad(value).unwrap()).unwrap();
            prop_assert_eq!(back, value);
        }
        if small.abs() > 0.02 {
            prop_assert_eq!(wad_to_float::<f32>(float_to_wad(small).unwrap()).unwrap(), small);
        }
    }
}

#[test]
fn named_values() {
    let wad = |text: &str| I256::from_dec_str(text).unwrap();
    assert_eq!(wad_to_float::<f32>(wad("1500000000000000000")), Some(1.5));
    assert_eq!(wad_to_float::<f32>(wad("-100000000000000000")), Some(-0.1));
    assert_eq!(wad_to_float::<f64>(wad("1")), Some(1e-18));
    assert_eq!(wad_to_float::<f32>(I256::ZERO).map(f32::to_bits), Some(0));
    // 2^24 + 1 lies between two floats: to the even one; a single unit more and it goes up.
    assert_eq!(wad_to_float::<f32>(wad("16777217000000000000000000")), Some(16777216.0));
    assert_eq!(wad_to_float::<f32>(wad("16777217000000000000000001")), Some(16777218.0));
    assert_eq!(wad_to_float::<f32>(wad("16777219000000000000000000")), Some(16777220.0));
    assert_eq!(wad_to_float::<f32>(I256::MAX), None);
    assert_eq!(wad_to_float::<f64>(I256::MIN), Some(-(2f64.powi(255) / 1e18)));
    assert_eq!(float_to_wad(-0.0f32), Some(I256::ZERO));
    assert_eq!(float_to_wad(0.5f64.powi(19)), Some(wad("1907348632812")), "1907348632812.5 is a tie");
    assert_eq!(float_to_wad(0.5f32.powi(140)), Some(I256::ZERO));
    assert_eq!(float_to_wad(f32::MAX), Some(wad("340282346638528859811704183484516925440000000000000000000")));
    assert_eq!(float_to_wad(f64::MAX), None);
    assert!(float_to_wad(f32::NAN).is_none() && float_to_wad(f64::NEG_INFINITY).is_none());
}

#[test]
fn decimal_numbers() {
    for (text, wad) in [
        ("1.5", "1500000000000000000"),
        ("-2e-3", "-2000000000000000"),
        ("0.1234567890123456785", "123456789012345678"),
        ("0.1234567890123456775", "123456789012345678"),
        ("0.12345678901234567750001", "123456789012345678"),
        ("12E2", "1200000000000000000000"),
        ("5e-19", "0"),
        ("15e-19", "2"),
        ("9e-99", "0"),
        ("0e999999999", "0"),
        ("-0", "0"),
    ] {
        assert_eq!(parse_wad(text), I256::from_dec_str(wad).ok(), "{text}");
    }
    for text in ["", "-", ".5", "1e", "1e99", "0x1", "NaN", "1.2.3", "--1", "1e9999999999", "1 "] {
        assert_eq!(parse_wad(text), None, "{text}");
    }
    assert_eq!(format_wad(parse_wad("-0.250").unwrap()), "-0.25");
    assert_eq!(
        format_wad(I256::MIN),
        "-57896044618658097711785492504343953926634992332820282019728.792003956564819968"
    );
}

proptest! {
    #[test]
    fn a_wad_survives_its_decimal_form(wad in wads()) {
        prop_assert_eq!(parse_wad(&format_wad(wad)), Some(wad));
    }
}

#[test]
fn half_precision_has_subnormals_and_a_small_range() {
    let wad = |text: &str| I256::from_dec_str(text).unwrap();
    assert_eq!(wad_to_float::<f16>(wad("65504000000000000000000")), Some(f16::MAX));
    assert_eq!(wad_to_float::<f16>(wad("65520000000000000000000")), None);
    // 2^-25 is half of the smallest subnormal: a tie, so zero; a unit more rounds up.
    assert_eq!(wad_to_float::<f16>(wad("29802322387")).map(f16::to_bits), Some(0));
    assert_eq!(wad_to_float::<f16>(wad("29802322388")).map(f16::to_bits), Some(1));
    assert_eq!(f16::from_integer(2049), Some(f16::from_f32(2048.0)));
    assert_eq!(f16::from_integer(70_000), None);
    // 2^62 + 2^54 + 1 lies just above a tie of bfloat16; through f64 it would be the tie itself.
    assert_eq!(bf16::from_integer((1 << 62) + (1 << 54) + 1), Some(bf16::from_f64(2f64.powi(62) + 2f64.powi(55))));
    assert_eq!(bf16::from_integer(-(1 << 62) - (1 << 54)), Some(bf16::from_f64(-(2f64.powi(62)))));
}

#[test]
fn bit_helper_agrees_with_the_definition() {
    // floor, half and ties of small numbers against plain integer arithmetic.
    for value in 0u64..64 {
        for shift in 0usize..8 {
            let unit = 1u64 << shift;
            let (floor, rest) = (value / unit, value % unit);
            let up = rest * 2 > unit || (rest * 2 == unit && floor % 2 == 1);
            assert_eq!(round_shift(U256::from(value), shift, false), U256::from(floor + u64::from(up)));
        }
    }
}
