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
mod tests;
