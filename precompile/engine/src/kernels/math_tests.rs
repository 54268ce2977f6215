//! Errors of the pinned functions against binary64, and equal bits on every instruction set.

use super::dispatch::Isa;
use super::math::{self, Cos, Erf, Exp, Log, Scalar, Sigmoid, Sin, Tanh};

/// Distance of `got` from `exact` in units in the last place of binary32.
fn ulps(got: f32, exact: f64) -> f64 {
    if exact.is_nan() || got.is_nan() {
        return if exact.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let rounded = exact as f32;
    if rounded.is_infinite() || got.is_infinite() {
        return if rounded == got { 0.0 } else { f64::INFINITY };
    }
    let exponent = ((rounded.to_bits() >> 23) & 0xff).max(1) as i32 - 150;
    (f64::from(got) - exact).abs() / 2f64.powi(exponent)
}

/// Every 97th float of both signs, those around each power of two, and special values.
fn samples() -> Vec<f32> {
    let mut bits: Vec<u32> = (0..0x7f80_0000u32).step_by(97 * 16).collect();
    bits.extend((0..0xff).flat_map(|e| (e << 23)..(e << 23) + 3));
    bits.extend((1..0xff).flat_map(|e| (e << 23) - 3..(e << 23)));
    // Dense where the functions change: 2^-12 to 2^8.
    bits.extend((0x3980_0000u32..0x4380_0000).step_by(97));
    let mut values: Vec<f32> = bits.iter().flat_map(|b| [f32::from_bits(*b), -f32::from_bits(*b)]).collect();
    values.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0]);
    values
}

fn worst<S: Scalar>(function: S, reference: fn(f64) -> f64) -> f64 {
    let inputs = samples();
    let mut expected: Option<Vec<f32>> = None;
    for isa in Isa::available() {
        let mut outputs = inputs.clone();
        math::map(isa, &mut outputs, function);
        if let Some(expected) = &expected {
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(expected.iter().zip(&outputs).all(same), "{isa:?} gives other bits");
        }
        expected = Some(outputs);
    }
    let error = |(x, y): (&f32, &f32)| (ulps(*y, reference(f64::from(*x))), *x);
    let (error, at) =
        inputs.iter().zip(&expected.unwrap()).map(error).fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
    println!("{error:.3} ulp at {at:e}");
    error
}

#[test]
fn exp_is_within_its_error() {
    assert!(worst(Exp, f64::exp) <= 1.0);
}

#[test]
fn log_is_within_its_error() {
    assert!(worst(Log, f64::ln) <= 0.8);
}

#[test]
fn tanh_is_within_its_error() {
    assert!(worst(Tanh, f64::tanh) <= 1.4);
}

#[test]
fn sigmoid_is_within_its_error() {
    assert!(worst(Sigmoid, |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }) <= 2.4);
}

#[test]
fn erf_is_within_its_error() {
    assert!(worst(Erf, libm::erf) <= 1.1);
}

#[test]
fn sin_and_cos_are_within_their_error() {
    assert!(worst(Sin, f64::sin) <= 0.51);
    assert!(worst(Cos, f64::cos) <= 0.51);
}

#[test]
fn pow_is_within_its_error() {
    let values: Vec<f32> = samples().into_iter().step_by(4001).collect();
    let mut worst = (0.0, 0.0, 0.0);
    for x in &values {
        for y in values.iter().step_by(3) {
            let error = ulps(math::pow(*x, *y), f64::from(*x).powf(f64::from(*y)));
            worst = if error > worst.0 { (error, *x, *y) } else { worst };
        }
    }
    println!("{worst:?}");
    assert!(worst.0 <= 0.51, "{worst:?}");
}

#[test]
fn pow_has_the_special_cases_of_ieee_754() {
    let special = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    for x in special {
        for y in special {
            let (got, expected) = (math::pow(x, y), x.powf(y));
            assert!(
                got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan(),
                "{x}^{y}: {got}, not {expected}"
            );
        }
    }
}

#[test]
fn single_values_have_the_bits_of_slices() {
    for x in samples().into_iter().step_by(1009) {
        let mut y = [x];
        math::map(Isa::best(), &mut y, Exp);
        assert!(y[0].to_bits() == math::exp(x).to_bits() || x.is_nan());
    }
}
