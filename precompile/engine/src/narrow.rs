//! Doubles rounded to 16 bits, once and everywhere alike: `half` goes by way of `f32` where the processor has
//! instructions for that, and so rounds twice there.

use half::f16;

/// The `f16` nearest to `value`, ties to even.
pub(crate) const fn to_f16(value: f64) -> f16 {
    let near = value as f32;
    if near as f64 == value || near.is_nan() {
        return f16::from_f32_const(near);
    }
    // Rounded to odd, which loses on the way to `f32` nothing that the second rounding looks at.
    let beyond = (near as f64).abs() > value.abs();
    let truncated = near.to_bits() - beyond as u32;
    f16::from_f32_const(f32::from_bits(truncated | 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_next_to_a_tie_round_once() {
        // Between 1 and the next f16, by less than an f32 shows.
        let tie = 1.0 + f64::powi(2.0, -11);
        assert_eq!(to_f16(tie).to_bits(), 0x3c00);
        assert_eq!(to_f16(tie + f64::powi(2.0, -40)).to_bits(), 0x3c01);
        assert_eq!(to_f16(-tie - f64::powi(2.0, -52)).to_bits(), 0xbc01);
        let next = 1.0 + 3.0 * f64::powi(2.0, -11);
        assert_eq!(to_f16(next - f64::powi(2.0, -40)).to_bits(), 0x3c01);
        assert_eq!(to_f16(next).to_bits(), 0x3c02);
    }

    #[test]
    fn ends_of_the_range_are_kept() {
        let cases = [
            (65504.0, 0x7bff),
            (65_519.999_999_999, 0x7bff),
            (65520.0, 0x7c00),
            (1e300, 0x7c00),
            (f64::NEG_INFINITY, 0xfc00),
            (f64::powi(2.0, -24), 0x0001),
            (f64::powi(2.0, -25), 0x0000),
            (f64::powi(2.0, -25) * 1.000_000_000_1, 0x0001),
            (5e-324, 0x0000),
            (-5e-324, 0x8000),
        ];
        for (value, bits) in cases {
            assert_eq!(to_f16(value).to_bits(), bits, "{value:e}");
        }
        assert!(to_f16(f64::NAN).is_nan());
    }
}
