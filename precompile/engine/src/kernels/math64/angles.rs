//! Sine, cosine, tangent and their inverses.

use super::{factorial_series, nearest, power_of_two};

const PIO2_HI: f64 = f64::from_bits(0x3ff9_21fb_5444_2d18);
const PIO2_LO: f64 = f64::from_bits(0x3c91_a626_3314_5c07);
/// π/2 in three parts of 33 bits and a rest, so that products with quadrant numbers below 2^20 are exact.
const PIO2_PARTS: [f64; 4] = [
    f64::from_bits(0x3ff9_21fb_5440_0000),
    f64::from_bits(0x3dd0_b461_1a60_0000),
    f64::from_bits(0x3ba3_198a_2e00_0000),
    f64::from_bits(0x397b_839a_2520_49c1),
];
/// The binary digits of 2/π.
const TWO_OVER_PI: [u64; 20] = [
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
    0xf0cfbc209af4361d,
];

/// `x` less the nearest multiple of π/2 as a value and a tail, and that multiple modulo 4.
fn reduce(x: f64) -> (f64, f64, u64) {
    if x.abs() >= 1_000_000.0 {
        return reduce_huge(x);
    }
    let (n, k) = nearest(x * std::f64::consts::FRAC_2_PI);
    let a = n.mul_add(-PIO2_PARTS[0], x);
    let b = n * PIO2_PARTS[1];
    let c = a - b;
    let lost = (a - c) - b;
    let rest = n.mul_add(-PIO2_PARTS[3], n.mul_add(-PIO2_PARTS[2], lost));
    let r = c + rest;
    (r, (c - r) + rest, k as u64 & 3)
}

/// [`reduce`] for huge arguments: multiplies by as many digits of 2/π as matter.
fn reduce_huge(x: f64) -> (f64, f64, u64) {
    let bits = x.abs().to_bits();
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    let exponent = (bits >> 52) as i64 - 1075;
    let skip = (exponent - 2).max(0) as usize;
    let digits = |word: usize| {
        let (at, shift) = ((skip + 64 * word) / 64, skip % 64);
        let low = if shift == 0 { 0 } else { TWO_OVER_PI[at + 1] >> (64 - shift) };
        (TWO_OVER_PI[at] << shift) | low
    };
    let mut product = [0u64; 4]; // little-endian words of mantissa * digits
    let mut carry = 0u128;
    for (word, low) in product[..3].iter_mut().enumerate() {
        let sum = u128::from(mantissa) * u128::from(digits(2 - word)) + carry;
        *low = sum as u64;
        carry = sum >> 64;
    }
    product[3] = carry as u64;
    // Two bits of quadrant, then the fraction, moved to the top of 256 bits.
    let shift = (62 + exponent).min(64) as u32;
    let top = |word: usize| match shift {
        64 => product[word - 1],
        _ => (product[word] << shift) | (product[word - 1] >> (64 - shift)),
    };
    let high = (u128::from(top(3)) << 64) | u128::from(top(2));
    let mut quadrant = (high >> 126) as u64;
    let fraction = ((high << 2) | u128::from(top(1) >> 62)) as i128;
    quadrant += u64::from(fraction < 0);
    let hi = fraction as f64;
    let lo = fraction.wrapping_sub(hi as i128) as f64;
    let unit = power_of_two(-128);
    let r = hi * PIO2_HI * unit;
    let tail = (hi.mul_add(PIO2_LO, hi.mul_add(PIO2_HI, -(hi * PIO2_HI))) + lo * PIO2_HI) * unit;
    if x < 0.0 { (-r, -tail, quadrant.wrapping_neg() & 3) } else { (r, tail, quadrant & 3) }
}

fn sin_reduced(r: f64, tail: f64) -> f64 {
    let z = r * r;
    // r - r^3/6 + r^5/120 ...: the series in -z.
    let series = factorial_series(-z, 3, 2, 19);
    r - (z * r).mul_add(series, -tail * (1.0 - 0.5 * z))
}

fn cos_reduced(r: f64, tail: f64) -> f64 {
    let z = r * r;
    let half = 0.5 * z;
    let w = 1.0 - half;
    w + (((1.0 - w) - half) + (z * z).mul_add(factorial_series(-z, 4, 2, 20), -r * tail))
}

/// The sine; NaN at infinities.
pub(crate) fn sin(x: f64) -> f64 {
    if !x.is_finite() {
        return f64::NAN;
    }
    let (r, tail, quadrant) = reduce(x);
    match quadrant {
        0 => sin_reduced(r, tail),
        1 => cos_reduced(r, tail),
        2 => -sin_reduced(r, tail),
        _ => -cos_reduced(r, tail),
    }
}

/// The cosine; NaN at infinities.
pub(crate) fn cos(x: f64) -> f64 {
    if !x.is_finite() {
        return f64::NAN;
    }
    let (r, tail, quadrant) = reduce(x);
    match quadrant {
        0 => cos_reduced(r, tail),
        1 => -sin_reduced(r, tail),
        2 => -cos_reduced(r, tail),
        _ => sin_reduced(r, tail),
    }
}

/// The tangent; NaN at infinities.
pub(crate) fn tan(x: f64) -> f64 {
    sin(x) / cos(x)
}

/// `atan(n / 8)` for `n` in 0..=8.
const ATAN_EIGHTHS: [f64; 9] = [
    0.0,
    0.12435499454676144,
    0.24497866312686414,
    0.35877067027057225,
    0.4636476090008061,
    0.5585993153435624,
    0.6435011087932844,
    0.7188299996216245,
    std::f64::consts::FRAC_PI_4,
];

/// The inverse tangent.
pub(crate) fn atan(x: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    let a = x.abs();
    let inverted = a > 1.0;
    let t = if inverted { 1.0 / a } else { a };
    let (step, index) = nearest(t * 8.0);
    let center = step * 0.125;
    let r = (t - center) / center.mul_add(t, 1.0);
    let z = r * r;
    let mut series = 1.0 / 19.0;
    for odd in [17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        series = (-z).mul_add(series, 1.0 / odd);
    }
    let angle = ATAN_EIGHTHS[index as usize] + (r * z).mul_add(-series, r);
    (if inverted { PIO2_HI - (angle - PIO2_LO) } else { angle }).copysign(x)
}

/// The inverse sine; NaN outside [-1, 1].
pub(crate) fn asin(x: f64) -> f64 {
    if x.abs() == 1.0 {
        return PIO2_HI.copysign(x);
    }
    atan(x / ((1.0 - x) * (1.0 + x)).sqrt())
}

/// The inverse cosine; NaN outside [-1, 1].
pub(crate) fn acos(x: f64) -> f64 {
    2.0 * atan(((1.0 - x) / (1.0 + x)).sqrt())
}
