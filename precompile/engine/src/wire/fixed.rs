//! Fixed point and binary floating point, converted exactly: to nearest, ties to even, saturating never.
//!
//! A WAD is an `int256` with 18 decimals. Every conversion here is one correctly rounded step in integer arithmetic:
//! going through another float would round twice.

use alloy_primitives::{I256, U256};
use half::{bf16, f16};

/// The integer that stands for 1.0 in a WAD.
pub const WAD: u64 = 1_000_000_000_000_000_000;

/// A binary floating point type of a model's tensors.
pub trait Float: Copy {
    /// Bits of the significand with the hidden one.
    const SIGNIFICAND_BITS: u32;
    /// Exponent of the smallest subnormal number: `2^EXPONENT_MIN`.
    const EXPONENT_MIN: i32;

    /// The type's value of a number that has no more bits than it; `None` beyond the largest finite number.
    fn from_exact(value: f64) -> Option<Self>;

    /// The same number, exactly.
    fn to_f64(self) -> f64;

    /// The nearest to an integer, ties to even; `None` beyond the largest finite number.
    fn from_integer(value: i128) -> Option<Self> {
        let dropped = (128 - value.unsigned_abs().leading_zeros()).saturating_sub(Self::SIGNIFICAND_BITS);
        let significand = round_shift(U256::from(value.unsigned_abs()), dropped as usize, false);
        Self::from_exact(assemble(value < 0, significand.to::<u64>(), dropped as i32))
    }
}

impl Float for f64 {
    const SIGNIFICAND_BITS: u32 = 53;
    const EXPONENT_MIN: i32 = -1074;

    fn from_exact(value: f64) -> Option<Self> {
        value.is_finite().then_some(value)
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn from_integer(value: i128) -> Option<Self> {
        Some(value as f64)
    }
}

impl Float for f32 {
    const SIGNIFICAND_BITS: u32 = 24;
    const EXPONENT_MIN: i32 = -149;

    fn from_exact(value: f64) -> Option<Self> {
        Some(value as f32).filter(|v| v.is_finite())
    }

    fn to_f64(self) -> f64 {
        self.into()
    }

    fn from_integer(value: i128) -> Option<Self> {
        Some(value as f32).filter(|v| v.is_finite())
    }
}

impl Float for f16 {
    const SIGNIFICAND_BITS: u32 = 11;
    const EXPONENT_MIN: i32 = -24;

    fn from_exact(value: f64) -> Option<Self> {
        Some(f16::from_f64(value)).filter(|v| v.is_finite())
    }

    fn to_f64(self) -> f64 {
        self.into()
    }
}

impl Float for bf16 {
    const SIGNIFICAND_BITS: u32 = 8;
    const EXPONENT_MIN: i32 = -133;

    fn from_exact(value: f64) -> Option<Self> {
        Some(bf16::from_f64(value)).filter(|v| v.is_finite())
    }

    fn to_f64(self) -> f64 {
        self.into()
    }
}

/// `±significand * 2^exponent`, exactly, for exponents of -1022 to 1023; larger ones give infinity.
fn assemble(negative: bool, significand: u64, exponent: i32) -> f64 {
    let power = f64::from_bits(((exponent + 1023).clamp(1, 0x7ff) as u64) << 52);
    let value = significand as f64 * power;
    if negative { -value } else { value }
}

/// (negative, significand, exponent) of a finite number, `None` of NaN and the infinities.
fn disassemble(value: f64) -> Option<(bool, u64, i32)> {
    let (bits, fraction_mask) = (value.to_bits(), (1u64 << 52) - 1);
    let biased = (bits >> 52) as i32 & 0x7ff;
    match biased {
        0x7ff => None,
        0 => Some((value.is_sign_negative(), bits & fraction_mask, -1074)),
        _ => Some((value.is_sign_negative(), bits & fraction_mask | 1 << 52, biased - 1075)),
    }
}

/// The float nearest to `wad / 10^18`, ties to even; `None` where that is beyond the largest finite number.
pub fn wad_to_float<F: Float>(wad: I256) -> Option<F> {
    let magnitude = wad.unsigned_abs();
    if magnitude.is_zero() {
        return F::from_exact(0.0);
    }
    // 10^18 has 60 bits: with this shift the quotient has at least two bits more than the significand.
    let shift = (F::SIGNIFICAND_BITS as usize + 62).saturating_sub(magnitude.bit_len());
    let (quotient, inexact) = match u128::try_from(magnitude).ok().filter(|m| m.leading_zeros() as usize >= shift) {
        Some(small) => {
            let scaled = small << shift;
            (U256::from(scaled / u128::from(WAD)), !scaled.is_multiple_of(u128::from(WAD)))
        }
        None => {
            let (quotient, remainder) = (magnitude << shift).div_rem(U256::from(WAD));
            (quotient, !remainder.is_zero())
        }
    };
    // Small numbers of a small type are subnormal: fewer bits are kept.
    let subnormal = (shift as i32 + F::EXPONENT_MIN).max(0) as usize;
    let dropped = subnormal.max(quotient.bit_len() - F::SIGNIFICAND_BITS as usize);
    let significand = round_shift(quotient, dropped, inexact).to::<u64>();
    F::from_exact(assemble(wad.is_negative(), significand, dropped as i32 - shift as i32))
}

/// The WAD nearest to `value`, ties to even; `None` for NaN, the infinities, and what an `int256` cannot hold.
pub fn float_to_wad<F: Float>(value: F) -> Option<I256> {
    let (negative, significand, exponent) = disassemble(value.to_f64())?;
    // At most 53 + 60 bits.
    let scaled = U256::from(u128::from(significand) * u128::from(WAD));
    let magnitude = if exponent <= 0 {
        round_shift(scaled, exponent.unsigned_abs() as usize, false)
    } else if scaled.bit_len() + exponent as usize <= 255 {
        scaled << exponent as usize
    } else {
        // -2^255 is no multiple of 5^18, so it needs no exception.
        return None;
    };
    let wad = I256::from_raw(magnitude);
    Some(if negative { wad.wrapping_neg() } else { wad })
}

/// The WAD nearest to a decimal number such as `-1.5`, `2e-3` or `7`, ties to even; `None` where the text is no number
/// or an `int256` cannot hold it.
pub fn parse_wad(text: &str) -> Option<I256> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: Vec<u8> = whole.bytes().chain(decimals.bytes()).collect();
    if whole.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // `all[..point]` are the digits of the WAD's integer part, the rest decides the rounding.
    let point = (whole.len() as i64) + i64::from(exponent) + 18;
    let magnitude = decimal_integer(&all, point)?;
    let wad = I256::from_raw(magnitude);
    if wad.is_negative() {
        return (negative && wad == I256::MIN).then_some(wad);
    }
    Some(if negative { -wad } else { wad })
}

/// The first `point` of these digits as an integer, zeros appended where there are fewer, rounded by the others.
fn decimal_integer(digits: &[u8], point: i64) -> Option<U256> {
    let ten = U256::from(10);
    let mut value = U256::ZERO;
    let kept = point.clamp(0, digits.len() as i64) as usize;
    for digit in &digits[..kept] {
        value = value.checked_mul(ten)?.checked_add(U256::from(digit - b'0'))?;
    }
    if !value.is_zero() {
        for _ in 0..point - kept as i64 {
            value = value.checked_mul(ten)?;
        }
    }
    let rest = if point < 0 { &[][..] } else { &digits[kept..] };
    let Some((first, others)) = rest.split_first() else { return Some(value) };
    let up = match first {
        b'6'..=b'9' => true,
        b'5' => others.iter().any(|digit| *digit != b'0') || value.bit(0),
        _ => false,
    };
    value.checked_add(U256::from(up))
}

/// A WAD as a decimal number without needless zeros: `-0.25`, `3`.
pub fn format_wad(wad: I256) -> String {
    let (whole, decimals) = wad.unsigned_abs().div_rem(U256::from(WAD));
    let sign = if wad.is_negative() { "-" } else { "" };
    let decimals = format!("{decimals:018}");
    match decimals.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        decimals => format!("{sign}{whole}.{decimals}"),
    }
}

/// `value / 2^shift` to nearest, ties to even; `inexact` says that the true value lies a little above `value`.
fn round_shift(value: U256, shift: usize, inexact: bool) -> U256 {
    if shift == 0 {
        // The callers that pass `inexact` keep two bits in hand.
        return value;
    }
    if shift > 256 {
        return U256::ZERO;
    }
    let (kept, half) = (if shift == 256 { U256::ZERO } else { value >> shift }, value.bit(shift - 1));
    let below_half = inexact || value.trailing_zeros() < shift - 1;
    if half && (below_half || kept.bit(0)) { kept + U256::from(1) } else { kept }
}

#[cfg(test)]
mod tests {
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
}
