//! Pinned elementary functions: the same bits on every machine.
//!
//! Coefficients are minimax fits by `scripts/fit_polynomials.py`. Largest errors in units in the last place against
//! binary64, as the tests check them on a dense sample of all floats: exp 1.0, log 0.8, tanh 1.4, sigmoid 2.4, erf 1.1;
//! sin, cos and pow (`math_wide`) 0.51.

use super::dispatch::{self, Fma, Isa, Work};
pub(crate) use super::math_wide::{Cos, Sin, pow};

/// A function of one value. Implement it for your own and [`map`] vectorises it; branches become selections.
pub(crate) trait Scalar: Copy {
    /// Computes it.
    fn apply<F: Fma>(self, x: f32) -> f32;
}

/// Applies `function` to each element.
pub(crate) fn map<S: Scalar>(isa: Isa, values: &mut [f32], function: S) {
    struct Map<'a, S>(&'a mut [f32], S);
    impl<S: Scalar> Work for Map<'_, S> {
        type Output = ();
        #[inline(always)]
        fn run<F: Fma>(self) {
            for x in self.0 {
                *x = self.1.apply::<F>(*x);
            }
        }
    }
    dispatch::run(isa, Map(values, function));
}

/// `c[0] + c[1] x + ...` by Horner's rule, with FMA.
#[inline(always)]
pub(super) fn horner<F: Fma, const N: usize>(c: &[f32; N], x: f32) -> f32 {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = F::fma(y, x, c[i]);
    }
    y
}

/// 1.5 * 2^23: adding and subtracting it rounds to an integer, which stands in the low bits in between.
const MAGIC: f32 = f32::from_bits(0x4b40_0000);
const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b);
/// ln 2 in 15 bits, so that its products with exponents are exact, and the rest.
const LN2_HIGH: f32 = f32::from_bits(0x3f31_7200);
const LN2_LOW: f32 = f32::from_bits(0x35bf_be8e);

/// exp(r) = 1 + r + r^2 P(r) for |r| <= ln 2 / 2.
const EXP: [f32; 5] = [
    f32::from_bits(0x3eff_fffe),
    f32::from_bits(0x3e2a_aa48),
    f32::from_bits(0x3d2a_ac4f),
    f32::from_bits(0x3c09_1d63),
    f32::from_bits(0x3ab5_3118),
];

#[inline(always)]
fn pow2(exponent: i32) -> f32 {
    f32::from_bits((exponent.wrapping_add(127) as u32) << 23)
}

/// e^x; 0 below -103.98, infinity above 88.73, subnormals kept.
#[derive(Clone, Copy)]
pub(crate) struct Exp;

impl Scalar for Exp {
    #[inline(always)]
    fn apply<F: Fma>(self, x: f32) -> f32 {
        let x = if x > 89.0 { 89.0 } else { x };
        let x = if x < -104.0 { -104.0 } else { x };
        let shifted = F::fma(x, LOG2_E, MAGIC);
        let n = shifted - MAGIC;
        let exponent = (shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32);
        let r = F::fma(n, -LN2_LOW, F::fma(n, -LN2_HIGH, x));
        let y = F::fma(r * r, horner::<F, 5>(&EXP, r), r) + 1.0;
        // Two factors, since 2^128 and 2^-150 are no normal numbers; only the last product rounds.
        let half = exponent >> 1;
        y * pow2(half) * pow2(exponent.wrapping_sub(half))
    }
}

/// log(1 + f) = f - f^2 / 2 + f^3 P(f) for sqrt(1/2) <= 1 + f < sqrt(2).
const LOG: [f32; 9] = [
    f32::from_bits(0x3eaa_aaa4),
    f32::from_bits(0xbe80_0004),
    f32::from_bits(0x3e4c_d23c),
    f32::from_bits(0xbe2a_adc1),
    f32::from_bits(0x3e11_9d76),
    f32::from_bits(0xbdfe_2020),
    f32::from_bits(0x3df3_700c),
    f32::from_bits(0xbdee_c60a),
    f32::from_bits(0x3d89_d2f9),
];

/// Natural logarithm; of 0 negative infinity, of negative numbers NaN.
#[derive(Clone, Copy)]
pub(crate) struct Log;

impl Scalar for Log {
    #[inline(always)]
    fn apply<F: Fma>(self, x: f32) -> f32 {
        let subnormal = x < f32::MIN_POSITIVE;
        let scaled = if subnormal { x * 33_554_432.0 } else { x };
        let bits = scaled.to_bits() as i32;
        // Exponent relative to sqrt(1/2), so that the mantissa is around 1.
        let exponent = bits.wrapping_sub(0x3f35_04f3) >> 23;
        let f = f32::from_bits(bits.wrapping_sub(exponent << 23) as u32) - 1.0;
        let e = exponent as f32 - if subnormal { 25.0 } else { 0.0 };
        let square = f * f;
        let y = F::fma(e, LN2_LOW, f * square * horner::<F, 9>(&LOG, f));
        let y = F::fma(e, LN2_HIGH, f + F::fma(-0.5, square, y));
        let y = if x < f32::INFINITY { y } else { x };
        let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
        if x < 0.0 { f32::NAN } else { y }
    }
}

/// tanh(x) = x + x^3 P(x^2) for |x| <= 0.64.
const TANH: [f32; 6] = [
    f32::from_bits(0xbeaa_aaaa),
    f32::from_bits(0x3e08_8837),
    f32::from_bits(0xbd5c_f6e1),
    f32::from_bits(0x3cb1_b8da),
    f32::from_bits(0xbc05_9da7),
    f32::from_bits(0x3b0a_ccce),
];

/// Hyperbolic tangent.
#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Scalar for Tanh {
    #[inline(always)]
    fn apply<F: Fma>(self, x: f32) -> f32 {
        let square = x * x;
        let small = F::fma(x * square, horner::<F, 6>(&TANH, square), x);
        let size = x.abs();
        let large = (1.0 - 2.0 / (Exp.apply::<F>(size + size) + 1.0)).copysign(x);
        if size < 0.625 { small } else { large }
    }
}

/// 1 / (1 + e^-x).
#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Scalar for Sigmoid {
    #[inline(always)]
    fn apply<F: Fma>(self, x: f32) -> f32 {
        let e = Exp.apply::<F>(-x.abs());
        (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
    }
}

/// erf(x) = x + x P(x^2) for |x| < 0.93.
const ERF_SMALL: [f32; 7] = [
    f32::from_bits(0x3e03_75d4),
    f32::from_bits(0xbec0_93a0),
    f32::from_bits(0x3de7_16b2),
    f32::from_bits(0xbcdc_008e),
    f32::from_bits(0x3baa_2523),
    f32::from_bits(0xba53_0641),
    f32::from_bits(0x38a7_b8af),
];
/// erf(x) = 1 - exp(x P(x)) for 0.92 <= x <= 4; beyond, 1.
const ERF_LARGE: [f32; 9] = [
    f32::from_bits(0xbf90_715f),
    f32::from_bits(0xbf22_d915),
    f32::from_bits(0xbdd5_31cb),
    f32::from_bits(0x3cad_52f6),
    f32::from_bits(0xbae1_bb15),
    f32::from_bits(0xba10_d302),
    f32::from_bits(0x396f_f067),
    f32::from_bits(0xb817_4679),
    f32::from_bits(0x3617_9b21),
];

/// Error function.
#[derive(Clone, Copy)]
pub(crate) struct Erf;

impl Scalar for Erf {
    #[inline(always)]
    fn apply<F: Fma>(self, x: f32) -> f32 {
        let small = F::fma(x, horner::<F, 7>(&ERF_SMALL, x * x), x);
        let size = x.abs();
        let t = if size > 4.0 { 4.0 } else { size };
        let large = (1.0 - Exp.apply::<F>(t * horner::<F, 9>(&ERF_LARGE, t))).copysign(x);
        if size < 0.921_875 { small } else { large }
    }
}

macro_rules! single {
    ($($name:ident => $function:expr, $doc:literal;)*) => {$(
        #[doc = $doc]
        pub(crate) fn $name(x: f32) -> f32 {
            $function.apply::<dispatch::Scalar>(x)
        }
    )*};
}
single! {
    exp => Exp, "[`Exp`] of a single value.";
    log => Log, "[`Log`] of a single value.";
    tanh => Tanh, "[`Tanh`] of a single value.";
}
