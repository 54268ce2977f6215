//! Errors in units in the last place, against the platform's functions and known values.

use super::*;

/// The distance of two numbers in units in the last place of the wanted one.
fn ulps(got: f64, want: f64) -> f64 {
    if got == want || (got.is_nan() && want.is_nan()) {
        return 0.0;
    }
    let next = f64::from_bits(want.abs().to_bits() + 1);
    (got - want).abs() / (next - want.abs())
}

/// Numbers spread over a range, both evenly and by magnitude.
fn samples(from: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..=20_000).flat_map(move |i| {
        let even = from + (to - from) * f64::from(i) / 20_000.0;
        let small = even * f64::powi(0.5, i % 30);
        [even, small.clamp(from, to)]
    })
}

fn worst(name: &str, from: f64, to: f64, ours: fn(f64) -> f64, reference: fn(f64) -> f64, allowed: f64) {
    for x in samples(from, to) {
        let error = ulps(ours(x), reference(x));
        assert!(error <= allowed, "{name}({x:e}) = {:e}, expected {:e}: {error} ulp", ours(x), reference(x));
    }
}

#[test]
fn stated_errors_hold() {
    // The platform's functions are within 1 ulp of the true value.
    worst("exp", -745.0, 709.7, exp, f64::exp, 3.0);
    worst("exp", -1.0, 1.0, exp, f64::exp, 3.0);
    worst("ln", 1e-3, 1e300, ln, f64::ln, 3.0);
    worst("ln", 0.5, 2.0, ln, f64::ln, 3.0);
    worst("sin", -1e5, 1e5, sin, f64::sin, 3.0);
    worst("sin", -1e300, 1e300, sin, f64::sin, 3.0);
    worst("cos", -1e5, 1e5, cos, f64::cos, 3.0);
    worst("cos", -1e22, 1e22, cos, f64::cos, 3.0);
    worst("atan", -50.0, 50.0, atan, f64::atan, 3.0);
    worst("tan", -100.0, 100.0, tan, f64::tan, 9.0);
    worst("asin", -1.0, 1.0, asin, f64::asin, 9.0);
    worst("acos", -1.0, 1.0, acos, f64::acos, 9.0);
    worst("expm1", -40.0, 40.0, expm1, f64::exp_m1, 9.0);
    worst("ln_1p", -0.9, 50.0, ln_1p, f64::ln_1p, 9.0);
    worst("sinh", -700.0, 700.0, sinh, f64::sinh, 9.0);
    worst("cosh", -700.0, 700.0, cosh, f64::cosh, 9.0);
    worst("tanh", -25.0, 25.0, tanh, f64::tanh, 9.0);
    // The standard library's inverse hyperbolic functions are themselves formulas: compared less tightly.
    worst("asinh", -1e5, 1e5, asinh, f64::asinh, 12.0);
    worst("acosh", 1.5, 1e5, acosh, f64::acosh, 12.0);
    worst("atanh", -0.9, 0.9, atanh, f64::atanh, 24.0);
}

#[test]
fn pow_follows_ieee_special_cases() {
    let nan = f64::NAN;
    let inf = f64::INFINITY;
    let table = [
        (2.0, 10.0, 1024.0),
        (-2.0, 3.0, -8.0),
        (2.0, -2.0, 0.25),
        (9.0, 0.5, 3.0),
        (0.0, 2.5, 0.0),
        (0.0, -2.5, inf),
        (nan, 0.0, 1.0),
        (1.0, nan, 1.0),
        (-1.0, inf, 1.0),
        (0.5, inf, 0.0),
        (0.5, -inf, inf),
        (inf, -1.5, 0.0),
        (-inf, 3.0, -inf),
        (-inf, 65.0, -inf),
    ];
    for (x, y, want) in table {
        assert_eq!(pow(x, y), want, "pow({x}, {y})");
    }
    assert!(pow(-2.0, 0.5).is_nan());
    for x in samples(1e-3, 1e3) {
        for y in [0.3, -1.7, 12.5, 70.0, -70.25] {
            let (got, want) = (pow(x, y), x.powf(y));
            assert!((got - want).abs() <= want.abs() * f64::powi(2.0, -41), "pow({x}, {y}) = {got}, expected {want}");
        }
    }
}

#[test]
fn extremes() {
    assert_eq!(exp(f64::INFINITY), f64::INFINITY);
    assert_eq!(exp(f64::NEG_INFINITY), 0.0);
    assert_eq!(exp(-744.0), 1e-323);
    assert_eq!(ln(0.0), f64::NEG_INFINITY);
    assert!(ln(-1.0).is_nan() && sin(f64::INFINITY).is_nan() && acos(1.5).is_nan() && asin(-1.5).is_nan());
    assert_eq!(atan(f64::INFINITY), std::f64::consts::FRAC_PI_2);
    assert_eq!(atanh(1.0), f64::INFINITY);
    assert_eq!(tanh(f64::INFINITY), 1.0);
}
