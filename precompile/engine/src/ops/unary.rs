//! Elementwise functions of one tensor.

use super::cast::cast;
use super::number::{Number, numeric};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::math::{self, Cos, Erf, Exp, Log, Scalar, Sigmoid, Sin, Tanh};
use crate::kernels::{Fma, parallel_rows};
use crate::tensor::{ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Abs", 1..=LATEST, abs),
    Operator::onnx("Ceil", 1..=LATEST, |_| rounding(libm::ceil)),
    Operator::onnx("Celu", 12..=LATEST, celu),
    Operator::onnx("Clip", 1..=LATEST, clip),
    Operator::onnx("Cos", 7..=LATEST, |_| floats(Cos, libm::cos)),
    Operator::onnx("Elu", 1..=LATEST, elu),
    Operator::onnx("Erf", 9..=LATEST, |_| floats(Erf, libm::erf)),
    Operator::onnx("Exp", 1..=LATEST, |_| floats(Exp, libm::exp)),
    Operator::onnx("Floor", 1..=LATEST, |_| rounding(libm::floor)),
    Operator::onnx("Gelu", 20..=LATEST, gelu),
    Operator::onnx("HardSigmoid", 1..=LATEST, hard_sigmoid),
    Operator::onnx("HardSwish", 14..=LATEST, |_| floats(HARD_SWISH, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0))),
    Operator::onnx("Identity", 1..=LATEST, identity),
    Operator::onnx("LeakyRelu", 1..=LATEST, leaky_relu),
    Operator::onnx("Log", 1..=LATEST, |_| floats(Log, libm::log)),
    Operator::onnx("Neg", 1..=LATEST, neg),
    Operator::onnx("Not", 1..=LATEST, not),
    Operator::onnx("Reciprocal", 1..=LATEST, |_| floats(RECIPROCAL, |x| 1.0 / x)),
    Operator::onnx("Relu", 1..=LATEST, relu),
    Operator::onnx("Round", 11..=LATEST, |_| rounding(libm::rint)),
    Operator::onnx("Selu", 1..=LATEST, selu),
    Operator::onnx("Sigmoid", 1..=LATEST, |_| floats(Sigmoid, |x| 1.0 / (1.0 + libm::exp(-x)))),
    Operator::onnx("Sin", 7..=LATEST, |_| floats(Sin, libm::sin)),
    Operator::onnx("Softplus", 1..=LATEST, |_| {
        floats(SOFTPLUS, |x| libm::log1p(libm::exp(-libm::fabs(x))) + x.max(0.0))
    }),
    Operator::onnx("Softsign", 1..=LATEST, |_| floats(SOFTSIGN, |x| x / (1.0 + libm::fabs(x)))),
    Operator::onnx("Sqrt", 1..=LATEST, |_| floats(SQRT, libm::sqrt)),
    Operator::onnx("Swish", 24..=LATEST, swish),
    Operator::onnx("Tanh", 1..=LATEST, |_| floats(Tanh, libm::tanh)),
];

/// Elements that take as long as one multiply-add of a matrix product, roughly, cost more than an addition by this much.
const WEIGHT: usize = 64;

/// A kernel of a function of floats: `f32` and 16-bit floats by `narrow`, `f64` by `wide`.
fn floats(narrow: impl Scalar + Send + Sync + 'static, wide: fn(f64) -> f64) -> Built {
    kernel(move |inputs, context| Ok(vec![apply(inputs.take(0)?, context, narrow, wide)?]))
}

/// Applies a function of floats; see [`floats`].
pub(crate) fn apply(
    x: Tensor,
    context: &Context,
    narrow: impl Scalar + Send + Sync,
    wide: impl Fn(f64) -> f64,
) -> Result<Tensor, Failure> {
    let (kind, shape) = (x.element_type(), x.shape().to_vec());
    match kind {
        ElementType::F32 => {
            context.claim::<f32>(x.len())?;
            let mut values = x.into_values::<f32>()?;
            parallel_rows(&mut values, 1, WEIGHT, |part| math::map(context.isa(), part, narrow));
            Tensor::new(shape, values)
        }
        ElementType::F16 | ElementType::Bf16 => {
            let y = apply(cast(&x, ElementType::F32, context)?, context, narrow, wide)?;
            cast(&y, kind, context)
        }
        ElementType::F64 => {
            context.claim::<f64>(x.len())?;
            let mut values = x.into_values::<f64>()?;
            values.iter_mut().for_each(|x| *x = wide(*x));
            Tensor::new(shape, values)
        }
        _ => Err(failure::wrong_type(format!("expected floats, got {kind}"))),
    }
}

/// Functions that are exact: all float types by way of `f64`.
fn rounding(f: fn(f64) -> f64) -> Built {
    kernel(move |inputs, context| Ok(vec![each(inputs.take(0)?, context, Exactly(f))?]))
}

/// A function of any number.
trait EachNumber: Copy + Send + Sync {
    fn apply<T: Number>(self, x: T) -> T;
}

#[derive(Clone, Copy)]
struct Exactly(fn(f64) -> f64);

impl EachNumber for Exactly {
    fn apply<T: Number>(self, x: T) -> T {
        if T::INTEGER { x } else { T::from_f64(self.0(x.to_f64())) }
    }
}

fn each(x: Tensor, context: &Context, f: impl EachNumber) -> Result<Tensor, Failure> {
    let (kind, shape) = (x.element_type(), x.shape().to_vec());
    numeric!(kind, T => {
        context.claim::<T>(x.len())?;
        let mut values = x.into_values::<T>()?;
        parallel_rows(&mut values, 1, 8, |part| part.iter_mut().for_each(|x| *x = f.apply(*x)));
        Tensor::new(shape, values)
    }, else Err(failure::wrong_type(format!("expected numbers, got {kind}"))))
}

macro_rules! each_number {
    ($($name:ident: $function:ident, |$t:ident, $x:ident| $f:expr;)*) => {$(
        fn $function(_: &Node<'_>) -> Built {
            #[derive(Clone, Copy)]
            struct $name;
            impl EachNumber for $name {
                #[inline(always)]
                fn apply<$t: Number>(self, $x: $t) -> $t { $f }
            }
            kernel(|inputs, context| Ok(vec![each(inputs.take(0)?, context, $name)?]))
        }
    )*};
}
each_number! {
    Abs: abs, |T, x| if x < T::ZERO { T::ZERO.minus(x) } else if x == T::ZERO { T::ZERO } else { x };
    Neg: neg, |T, x| if T::INTEGER { T::ZERO.minus(x) } else { T::from_f64(-x.to_f64()) };
    Relu: relu, |T, x| if x > T::ZERO { x } else { T::ZERO };
}

fn identity(_: &Node<'_>) -> Built {
    kernel(|inputs, _| Ok(vec![inputs.take(0)?]))
}

fn not(_: &Node<'_>) -> Built {
    kernel(|inputs, _| {
        let x = inputs.take(0)?;
        let shape = x.shape().to_vec();
        Ok(vec![Tensor::new(shape, x.into_values::<bool>()?.iter().map(|b| !b).collect())?])
    })
}

/// Functions of `f32` with parameters, as [`Scalar`].
macro_rules! scalars {
    ($($name:ident { $($field:ident),* }, |$me:ident, $x:ident, $fma:ident| $f:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name { $($field: f32),* }
        impl Scalar for $name {
            #[inline(always)]
            fn apply<$fma: Fma>(self, $x: f32) -> f32 {
                let $me = self;
                let _ = &$me;
                $f
            }
        }
    )*};
}
scalars! {
    CeluOf { alpha }, |p, x, F| if x > 0.0 { x } else { p.alpha * (Exp.apply::<F>(x / p.alpha) - 1.0) };
    EluOf { alpha }, |p, x, F| if x < 0.0 { p.alpha * (Exp.apply::<F>(x) - 1.0) } else { x };
    SeluOf { alpha, gamma }, |p, x, F| if x > 0.0 { p.gamma * x } else { p.gamma * (p.alpha * Exp.apply::<F>(x) - p.alpha) };
    LeakyReluOf { alpha }, |p, x, F| if x < 0.0 { p.alpha * x } else { x };
    HardSigmoidOf { alpha, beta }, |p, x, F| unit(F::fma(p.alpha, x, p.beta));
    SwishOf { alpha }, |p, x, F| x * Sigmoid.apply::<F>(p.alpha * x);
    HardSwishOf {}, |_p, x, F| x * unit(F::fma(x, 1.0 / 6.0, 0.5));
    ReciprocalOf {}, |_p, x, F| 1.0 / x;
    SoftsignOf {}, |_p, x, F| x / (1.0 + x.abs());
    SqrtOf {}, |_p, x, F| x.sqrt();
    SoftplusOf {}, |_p, x, F| log1p::<F>(Exp.apply::<F>(-x.abs())) + if x > 0.0 { x } else { 0.0 };
    GeluOf {}, |_p, x, F| 0.5 * x * (1.0 + Erf.apply::<F>(x * std::f32::consts::FRAC_1_SQRT_2));
    GeluTanhOf {}, |_p, x, F| {
        let inner = SQRT_2_OVER_PI * F::fma(0.044_715, x * x * x, x);
        0.5 * x * (1.0 + Tanh.apply::<F>(inner))
    };
}

const SQRT_2_OVER_PI: f32 = f32::from_bits(0x3f4c_422a);
const HARD_SWISH: HardSwishOf = HardSwishOf {};
const RECIPROCAL: ReciprocalOf = ReciprocalOf {};
const SOFTSIGN: SoftsignOf = SoftsignOf {};
const SOFTPLUS: SoftplusOf = SoftplusOf {};
const SQRT: SqrtOf = SqrtOf {};

/// `x` brought into 0 to 1.
#[inline(always)]
fn unit(x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < 1.0 { x } else { 1.0 }
}

/// log(1 + e) for 0 <= e <= 1: the logarithm of the rounded sum, corrected for its rounding.
#[inline(always)]
fn log1p<F: Fma>(e: f32) -> f32 {
    let u = 1.0 + e;
    let corrected = Log.apply::<F>(u) * (e / (u - 1.0));
    if u == 1.0 { e } else { corrected }
}

fn elu(node: &Node<'_>) -> Built {
    let alpha = node.float("alpha", 1.0)?;
    let wide = f64::from(alpha);
    parametric(EluOf { alpha }, move |x| if x < 0.0 { wide * libm::expm1(x) } else { x })
}

fn celu(node: &Node<'_>) -> Built {
    let alpha = node.float("alpha", 1.0)?;
    let wide = f64::from(alpha);
    parametric(CeluOf { alpha }, move |x| if x > 0.0 { x } else { wide * libm::expm1(x / wide) })
}

fn selu(node: &Node<'_>) -> Built {
    let (alpha, gamma) = (node.float("alpha", 1.673_263_2)?, node.float("gamma", 1.050_701)?);
    let (a, g) = (f64::from(alpha), f64::from(gamma));
    parametric(SeluOf { alpha, gamma }, move |x| if x > 0.0 { g * x } else { g * (a * libm::exp(x) - a) })
}

fn leaky_relu(node: &Node<'_>) -> Built {
    let alpha = node.float("alpha", 0.01)?;
    parametric(LeakyReluOf { alpha }, move |x| if x < 0.0 { f64::from(alpha) * x } else { x })
}

fn hard_sigmoid(node: &Node<'_>) -> Built {
    let (alpha, beta) = (node.float("alpha", 0.2)?, node.float("beta", 0.5)?);
    parametric(HardSigmoidOf { alpha, beta }, move |x| (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0))
}

fn swish(node: &Node<'_>) -> Built {
    let alpha = node.float("alpha", 1.0)?;
    parametric(SwishOf { alpha }, move |x| x / (1.0 + libm::exp(-f64::from(alpha) * x)))
}

fn gelu(node: &Node<'_>) -> Built {
    match node.string("approximate", "none")?.as_str() {
        "tanh" => parametric(GeluTanhOf {}, |x| {
            0.5 * x * (1.0 + libm::tanh(0.797_884_560_802_865_4 * (x + 0.044715 * x * x * x)))
        }),
        "none" => parametric(GeluOf {}, |x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))),
        other => Err(node.error(format!("approximate must be none or tanh, not {other}"))),
    }
}

fn parametric(narrow: impl Scalar + Send + Sync + 'static, wide: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Built {
    kernel(move |inputs, context| Ok(vec![apply(inputs.take(0)?, context, narrow, &wide)?]))
}

#[derive(Clone, Copy)]
struct Limit<T> {
    low: Option<T>,
    high: Option<T>,
}

fn clip(node: &Node<'_>) -> Built {
    let attribute = |name| if node.opset() < 11 && node.has(name) { node.float(name, 0.0).map(Some) } else { Ok(None) };
    let (low, high) = (attribute("min")?, attribute("max")?);
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let (kind, shape) = (x.element_type(), x.shape().to_vec());
        let y = numeric!(kind, T => {
            let bound = |index: usize, fixed: Option<f32>| match inputs.optional(index) {
                Some(tensor) => tensor.single::<T>().map(Some),
                None => Ok(fixed.map(|v| T::from_f64(f64::from(v)))),
            };
            let limit = Limit { low: bound(1, low)?, high: bound(2, high)? };
            context.claim::<T>(x.len())?;
            let mut values = x.into_values::<T>()?;
            parallel_rows(&mut values, 1, 8, |part| limit.clip(part));
            Tensor::new(shape, values)?
        }, else return Err(failure::wrong_type(format!("expected numbers, got {kind}"))));
        Ok(vec![y])
    })
}

impl<T: Number> Limit<T> {
    /// NaN stays; where the bounds cross, the upper one holds.
    fn clip(self, values: &mut [T]) {
        if let Some(low) = self.low {
            values.iter_mut().for_each(|x| *x = if *x < low { low } else { *x });
        }
        if let Some(high) = self.high {
            values.iter_mut().for_each(|x| *x = if *x > high { high } else { *x });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::{float, run, string};
    use crate::tensor::Tensor;

    fn one(op: &str, attributes: &[crate::onnx::proto::AttributeProto], x: f32) -> f32 {
        run(("", op, 24), attributes, &[Some(Tensor::vector(vec![x]))], 1).unwrap()[0].single::<f32>().unwrap()
    }

    #[test]
    fn activations_have_their_values() {
        let cases = [
            ("Relu", -1.0, 0.0),
            ("Relu", 2.5, 2.5),
            ("Softplus", 0.0, std::f32::consts::LN_2),
            ("Softplus", -20.0, 2.061_153_6e-9),
            ("Softplus", 50.0, 50.0),
            ("Elu", -1.0, -0.632_120_55),
            ("Selu", -1.0, -1.111_330_7),
            ("HardSwish", 1.0, 0.666_666_7),
            ("Gelu", 1.0, 0.841_344_7),
            ("Swish", 1.0, 0.731_058_6),
            ("Abs", -0.0, 0.0),
            ("Round", 2.5, 2.0),
            ("Floor", -0.5, -1.0),
        ];
        for (op, x, y) in cases {
            let got = one(op, &[], x);
            assert!((got - y).abs() <= 2e-7 * y.abs().max(f32::MIN_POSITIVE), "{op}({x}) = {got}, not {y}");
        }
        assert_eq!(one("LeakyRelu", &[float("alpha", 0.5)], -2.0), -1.0);
        assert!((one("Gelu", &[string("approximate", "tanh")], 1.0) - 0.841_192).abs() < 1e-6);
    }
}
