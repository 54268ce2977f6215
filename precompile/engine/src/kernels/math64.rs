//! Elementary functions in binary64 from basic IEEE operations only, so that they give the same bits everywhere.
//!
//! Two kinds of operator use them: those on `double` tensors, and the rarer functions of `float` tensors (tangent, inverse
//! trigonometric and hyperbolic functions, powers), which are computed here and rounded once. Series coefficients are the
//! exact quotients of the Taylor series after argument reduction. Stated errors, checked by the tests below:
//! `exp`, `ln`, `sin`, `cos`, `atan` 2 ulp; `tan`, `asin`, `acos`, `expm1`, `ln_1p`, `sinh`, `cosh`, `tanh`, `asinh`, `acosh`,
//! `atanh` 8 ulp; `pow` a relative error of 2^-41.

mod angles;
#[cfg(test)]
mod tests;

pub(crate) use angles::{acos, asin, atan, cos, sin, tan};

const LN2_HI: f64 = f64::from_bits(0x3fe6_2e42_fef0_0000);
const LN2_LO: f64 = f64::from_bits(0x3dd4_73de_6af2_78ed);
const LOG2_E: f64 = f64::from_bits(0x3ff7_1547_652b_82fe);
/// 1.5 * 2^52: adding and subtracting it rounds to the nearest integer, ties to even.
const ROUND: f64 = 6_755_399_441_055_744.0;

const fn inverse_factorials() -> [f64; 24] {
    let mut table = [1.0; 24];
    let (mut n, mut factorial) = (1, 1.0);
    while n < 24 {
        factorial *= n as f64;
        table[n] = 1.0 / factorial;
        n += 1;
    }
    table
}
const INV_FACTORIAL: [f64; 24] = inverse_factorials();

/// `c[first] + x * (c[first + step] + x * ...)` up to `c[last]`, by Horner's rule with fused steps.
fn factorial_series(x: f64, first: usize, step: usize, last: usize) -> f64 {
    let mut index = last;
    let mut sum = INV_FACTORIAL[last];
    while index > first {
        index -= step;
        sum = sum.mul_add(x, INV_FACTORIAL[index]);
    }
    sum
}

/// `2^k` for `-1022 <= k <= 1023`.
fn power_of_two(k: i64) -> f64 {
    f64::from_bits(((k + 1023) as u64) << 52)
}

/// The nearest integer to `x`, ties to even, for `|x| < 2^51`, also as an integer.
fn nearest(x: f64) -> (f64, i64) {
    let shifted = x + ROUND;
    (shifted - ROUND, (shifted.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64))
}

/// `e^x`.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    if x > 709.79 {
        return f64::INFINITY;
    }
    if x < -745.14 {
        return 0.0;
    }
    let (n, k) = nearest(x * LOG2_E);
    let hi = n.mul_add(-LN2_HI, x);
    let r = n.mul_add(-LN2_LO, hi);
    let tail = n.mul_add(-LN2_LO, hi - r);
    // e^r - 1 = r + r^2 (1/2 + r/6 + ...)
    let y = 1.0 + (r + (r * r).mul_add(factorial_series(r, 2, 1, 14), tail));
    let half = k / 2;
    y * power_of_two(half) * power_of_two(k - half)
}

/// `e^x - 1`, accurate near zero.
pub(crate) fn expm1(x: f64) -> f64 {
    if x > -0.35 && x < 0.35 {
        return (x * x).mul_add(factorial_series(x, 2, 1, 16), x);
    }
    exp(x) - 1.0
}

/// The natural logarithm of `(1 + f) 2^k` for `f` in `[sqrt(1/2) - 1, sqrt(2) - 1]`; `rest` is a small correction of it.
fn ln_reduced(f: f64, k: f64, rest: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    let mut series = 2.0 / 25.0;
    for odd in [23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        series = z.mul_add(series, 2.0 / odd);
    }
    let series = series * z;
    let half = 0.5 * f * f;
    k.mul_add(LN2_HI, 0.0) - ((half - (s * (half + series) + k.mul_add(LN2_LO, rest))) - f)
}

/// Splits a positive finite number into `m` in `[sqrt(1/2), sqrt(2))` and `k` with `x = m 2^k`.
fn split(x: f64) -> (f64, f64) {
    let (scaled, shift) = if x < f64::MIN_POSITIVE { (x * power_of_two(54), -54) } else { (x, 0) };
    let bits = scaled.to_bits();
    let mut k = (bits >> 52) as i64 - 1023 + shift;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        k += 1;
    }
    (m, k as f64)
}

/// The natural logarithm; NaN below zero, minus infinity at zero.
pub(crate) fn ln(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == f64::INFINITY {
        return x;
    }
    let (m, k) = split(x);
    ln_reduced(m - 1.0, k, 0.0)
}

/// `ln(1 + x)`, accurate near zero.
pub(crate) fn ln_1p(x: f64) -> f64 {
    if !(x > -0.25 && x < 0.4) {
        return ln(1.0 + x);
    }
    ln_reduced(x, 0.0, 0.0)
}

/// The hyperbolic sine.
pub(crate) fn sinh(x: f64) -> f64 {
    if x.abs() < 1.0 {
        let z = x * x;
        return (x * z).mul_add(factorial_series(z, 3, 2, 19), x);
    }
    let half = exp(0.5 * x.abs());
    let value = (0.5 * half) * half - 0.5 / half / half;
    value.copysign(x)
}

/// The hyperbolic cosine.
pub(crate) fn cosh(x: f64) -> f64 {
    let half = exp(0.5 * x.abs());
    (0.5 * half) * half + 0.5 / half / half
}

/// The hyperbolic tangent.
pub(crate) fn tanh(x: f64) -> f64 {
    if x.abs() > 22.0 {
        return 1f64.copysign(x);
    }
    let e = expm1(2.0 * x.abs());
    let value = e / (e + 2.0);
    if x.is_nan() { f64::NAN } else { value.copysign(x) }
}

/// The inverse hyperbolic sine.
pub(crate) fn asinh(x: f64) -> f64 {
    let a = x.abs();
    let value = if a > 1e8 {
        ln(a) + std::f64::consts::LN_2
    } else {
        let root = a.mul_add(a, 1.0).sqrt();
        ln_1p(a + a * a / (1.0 + root))
    };
    value.copysign(x)
}

/// The inverse hyperbolic cosine; NaN below one.
pub(crate) fn acosh(x: f64) -> f64 {
    if x < 1.0 {
        return f64::NAN;
    }
    if x > 1e8 {
        return ln(x) + std::f64::consts::LN_2;
    }
    let t = x - 1.0;
    ln_1p(t + (t * (x + 1.0)).sqrt())
}

/// The inverse hyperbolic tangent; infinite at ±1, NaN outside.
pub(crate) fn atanh(x: f64) -> f64 {
    let a = x.abs();
    (0.5 * ln_1p(2.0 * a / (1.0 - a))).copysign(x)
}

/// `x` to the power of a whole number, by repeated squaring.
pub(crate) fn powi(x: f64, exponent: u32) -> f64 {
    let (mut result, mut base, mut rest) = (1.0, x, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            result *= base;
        }
        rest >>= 1;
        if rest > 0 {
            base *= base;
        }
    }
    result
}

/// `x^y` with the special cases of IEEE 754 `pow`.
pub(crate) fn pow(x: f64, y: f64) -> f64 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    if y.abs() <= 64.0 && y == y.trunc() {
        let power = powi(x, y.abs() as u32);
        return if y < 0.0 { 1.0 / power } else { power };
    }
    if y == 0.5 && x >= 0.0 {
        return x.sqrt();
    }
    let whole = y == y.trunc();
    let odd = whole && y.abs() < 9_007_199_254_740_992.0 && (y as i64) & 1 == 1;
    if x < 0.0 && !whole && x.is_finite() {
        return f64::NAN;
    }
    if x == -1.0 && y.is_infinite() {
        return 1.0;
    }
    let magnitude = exp(y * ln(x.abs()));
    if odd { magnitude.copysign(x) } else { magnitude }
}
