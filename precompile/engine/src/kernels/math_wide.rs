//! Functions computed in binary64 and rounded once to binary32: sine, cosine and power.
//!
//! Only `+ - * /` and integers: no FMA, so that the speed is the same everywhere.

use super::dispatch::Fma;
use super::math::Scalar;

#[inline(always)]
fn horner<const N: usize>(c: &[f64; N], x: f64) -> f64 {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = y * x + c[i];
    }
    y
}

/// 1.5 * 2^52, which rounds to an integer as in `math`.
const MAGIC: f64 = f64::from_bits(0x4338_0000_0000_0000);
const TWO_OVER_PI: f64 = f64::from_bits(0x3fe4_5f30_6dc9_c883);
/// pi / 2 in 33 bits, so that its products with 20-bit integers are exact, and the rest.
const HALF_PI_HIGH: f64 = f64::from_bits(0x3ff9_21fb_5440_0000);
const HALF_PI_LOW: f64 = f64::from_bits(0x3dd0_b461_1a62_6331);
/// sin(r) = r + r^3 P(r^2), cos(r) = 1 - r^2 / 2 + r^4 Q(r^2) for |r| <= pi / 4.
const SIN: [f64; 6] = [
    f64::from_bits(0xbfc5_5555_5555_5549),
    f64::from_bits(0x3f81_1111_1110_f83e),
    f64::from_bits(0xbf2a_01a0_19c0_9d55),
    f64::from_bits(0x3ec7_1de3_570b_f6d6),
    f64::from_bits(0xbe5a_e5e6_099c_f385),
    f64::from_bits(0x3de5_d915_2f03_972f),
];
const COS: [f64; 5] = [
    f64::from_bits(0x3fa5_5555_5555_30b2),
    f64::from_bits(0xbf56_c16c_1676_1c6f),
    f64::from_bits(0x3efa_019f_a9f6_80c8),
    f64::from_bits(0xbe92_7e02_580a_70f4),
    f64::from_bits(0x3e21_bc62_1bbc_b62e),
];
/// First 192 bits of 2 / pi, in words of 32.
const TWO_OVER_PI_BITS: [u32; 6] = [0xa2f9_836e, 0x4e44_1529, 0xfc27_57d1, 0xf534_ddc0, 0xdb62_9599, 0x3c43_9041];

/// `x = n pi/2 + r` with |r| <= pi/4: n modulo 4, and r.
#[inline(always)]
fn reduce(x: f32) -> (i32, f64) {
    let wide = f64::from(x);
    if x.abs() > 1_048_576.0 {
        return reduce_large(x);
    }
    let shifted = wide * TWO_OVER_PI + MAGIC;
    let n = shifted - MAGIC;
    ((shifted.to_bits() & 3) as i32, (wide - n * HALF_PI_HIGH) - n * HALF_PI_LOW)
}

/// Payne and Hanek's reduction: only the bits of 2/pi that matter are multiplied, in integers.
#[cold]
fn reduce_large(x: f32) -> (i32, f64) {
    if !x.is_finite() {
        return (0, f64::NAN);
    }
    let bits = x.to_bits();
    let mantissa = u128::from((bits & 0x007f_ffff) | 0x0080_0000);
    // x = mantissa * 2^exponent; |x| > 2^20, so the exponent is between -3 and 104.
    let exponent = ((bits >> 23) & 0xff) as i32 - 150;
    // Bits of 2/pi before this one only add multiples of 4 quarter turns.
    let first = (exponent - 2).max(0) as usize;
    let mut window = 0u128;
    for i in first..first + 96 {
        let bit = TWO_OVER_PI_BITS.get(i / 32).map_or(0, |word| (word >> (31 - i % 32)) & 1);
        window = (window << 1) | u128::from(bit);
    }
    // window * 2^-(first + 96) ~ 2/pi: the product in units of 2^-scale quarter turns.
    let scale = first as i32 + 96 - exponent;
    let product = (mantissa * window) & ((4u128 << scale) - 1);
    let quarters = (product + (1u128 << (scale - 1))) >> scale;
    let rest = product as i128 - ((quarters as i128) << scale);
    let r = rest as f64 / (1u128 << scale) as f64 * std::f64::consts::FRAC_PI_2;
    if x < 0.0 { ((4 - (quarters as i32 & 3)) & 3, -r) } else { (quarters as i32 & 3, r) }
}

#[inline(always)]
fn turn((n, r): (i32, f64)) -> f32 {
    let square = r * r;
    let sine = r + r * square * horner(&SIN, square);
    let cosine = (1.0 - 0.5 * square) + square * square * horner(&COS, square);
    let y = if n & 1 == 0 { sine } else { cosine };
    (if n & 2 == 0 { y } else { -y }) as f32
}

/// Sine.
#[derive(Clone, Copy)]
pub(crate) struct Sin;

impl Scalar for Sin {
    #[inline(always)]
    fn apply<F: Fma>(self, x: f32) -> f32 {
        // The sign of zero is the argument's.
        if x == 0.0 { x } else { turn(reduce(x)) }
    }
}

/// Cosine.
#[derive(Clone, Copy)]
pub(crate) struct Cos;

impl Scalar for Cos {
    #[inline(always)]
    fn apply<F: Fma>(self, x: f32) -> f32 {
        let (n, r) = reduce(x);
        turn((n + 1, r))
    }
}

/// log2((1 + z) / (1 - z)) = z P(z^2), for mantissas between sqrt(1/2) and sqrt(2).
const LOG2: [f64; 9] = [
    f64::from_bits(0x4007_1547_652b_82fe),
    f64::from_bits(0x3fee_c709_dc3a_03fc),
    f64::from_bits(0x3fe2_776c_50ef_9fe3),
    f64::from_bits(0x3fda_6176_2a70_5342),
    f64::from_bits(0x3fd4_84b1_44a3_0e6f),
    f64::from_bits(0x3fd0_c9a5_90cb_c0ce),
    f64::from_bits(0x3fcc_6a2c_37c6_1cc4),
    f64::from_bits(0x3fc8_7704_17c2_6af6),
    f64::from_bits(0x3fc8_7fa5_433d_b6f0),
];
/// 2^t for |t| <= 1/2.
const EXP2: [f64; 12] = [
    f64::from_bits(0x3ff0_0000_0000_0000),
    f64::from_bits(0x3fe6_2e42_fefa_39ef),
    f64::from_bits(0x3fce_bfbd_ff82_c5ae),
    f64::from_bits(0x3fac_6b08_d704_9fcb),
    f64::from_bits(0x3f83_b2ab_6fb9_f292),
    f64::from_bits(0x3f55_d87f_e78c_fd99),
    f64::from_bits(0x3f24_3091_3110_c682),
    f64::from_bits(0x3eef_fcbf_ba56_950d),
    f64::from_bits(0x3eb6_2bfc_2fbc_d40a),
    f64::from_bits(0x3e7b_5267_b64c_ddf7),
    f64::from_bits(0x3e3e_6225_b52d_d628),
    f64::from_bits(0x3dfe_7a87_c428_8ecb),
];

/// log2 of a positive finite number.
#[inline(always)]
fn log2(x: f64) -> f64 {
    let bits = x.to_bits() as i64;
    let exponent = bits.wrapping_sub(0x3fe6_a09e_667f_3bcd) >> 52;
    let m = f64::from_bits(bits.wrapping_sub(exponent << 52) as u64);
    let z = (m - 1.0) / (m + 1.0);
    exponent as f64 + z * horner(&LOG2, z * z)
}

/// 2^x, rounded to binary32.
#[inline(always)]
fn exp2(x: f64) -> f32 {
    let x = x.clamp(-200.0, 200.0);
    let shifted = x + MAGIC;
    let n = shifted - MAGIC;
    let exponent = (shifted.to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64);
    (horner(&EXP2, x - n) * f64::from_bits(((exponent + 1023) as u64) << 52)) as f32
}

/// `x` to the power `y`, with the special cases of IEEE 754 `pow`.
#[inline(always)]
pub(crate) fn pow(x: f32, y: f32) -> f32 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return f32::NAN;
    }
    if y == 1.0 {
        return x;
    }
    if y == 2.0 {
        // The correctly rounded value, and much the most frequent exponent.
        return x * x;
    }
    let whole = y == y.trunc();
    let odd = whole && y.abs() < 16_777_216.0 && (y as i32) & 1 == 1;
    if x < 0.0 && x.is_finite() && !whole && y.is_finite() {
        return f32::NAN;
    }
    let size = x.abs();
    let y_size = if size == 0.0 || size == f32::INFINITY {
        if (size == 0.0) == (y < 0.0) { f32::INFINITY } else { 0.0 }
    } else if y.is_infinite() {
        if size == 1.0 {
            1.0
        } else if (size > 1.0) == (y > 0.0) {
            f32::INFINITY
        } else {
            0.0
        }
    } else {
        exp2(f64::from(y) * log2(f64::from(size)))
    };
    if x.is_sign_negative() && odd { -y_size } else { y_size }
}
