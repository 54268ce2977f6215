//! Functions of one element that models seldom use: computed in doubles and rounded once.

use super::floats::map;
use super::{Built, LATEST, Operator, kernel};
use crate::failure;
use crate::graph::Node;
use crate::kernels::math64;
use crate::tensor::{Data, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Acos", 7..=LATEST, |_| of(math64::acos)),
    Operator::onnx("Acosh", 9..=LATEST, |_| of(math64::acosh)),
    Operator::onnx("Asin", 7..=LATEST, |_| of(math64::asin)),
    Operator::onnx("Asinh", 9..=LATEST, |_| of(math64::asinh)),
    Operator::onnx("Atan", 7..=LATEST, |_| of(math64::atan)),
    Operator::onnx("Atanh", 9..=LATEST, |_| of(math64::atanh)),
    Operator::onnx("Cosh", 9..=LATEST, |_| of(math64::cosh)),
    Operator::onnx("IsInf", 10..=LATEST, is_inf),
    Operator::onnx("IsNaN", 9..=LATEST, is_nan),
    Operator::onnx("Mish", 18..=LATEST, |_| of(mish)),
    Operator::onnx("Shrink", 9..=LATEST, shrink),
    Operator::onnx("Sign", 9..=LATEST, sign),
    Operator::onnx("Sinh", 9..=LATEST, |_| of(math64::sinh)),
    Operator::onnx("Tan", 7..=LATEST, |_| of(math64::tan)),
    Operator::onnx("ThresholdedRelu", 10..=LATEST, thresholded),
];

fn of(function: fn(f64) -> f64) -> Built {
    kernel(move |inputs, context| Ok(vec![map(inputs.get(0)?, context, function)?]))
}

/// `ln(1 + e^x)`.
pub(super) fn softplus(x: f64) -> f64 {
    let positive = if x > 0.0 { x } else { 0.0 };
    positive + math64::ln_1p(math64::exp(-x.abs()))
}

/// `x / (1 + e^-x)` for `alpha` 1.
pub(super) fn silu(x: f64, alpha: f64) -> f64 {
    x / (1.0 + math64::exp(-alpha * x))
}

fn mish(x: f64) -> f64 {
    x * math64::tanh(softplus(x))
}

fn thresholded(node: &Node<'_>) -> Built {
    let alpha = f64::from(node.float("alpha", 1.0)?);
    kernel(move |inputs, context| Ok(vec![map(inputs.get(0)?, context, |x| if x > alpha { x } else { 0.0 })?]))
}

fn shrink(node: &Node<'_>) -> Built {
    let (bias, lambda) = (f64::from(node.float("bias", 0.0)?), f64::from(node.float("lambd", 0.5)?));
    kernel(move |inputs, context| {
        let shrunk = |x: f64| match x {
            _ if x < -lambda => x + bias,
            _ if x > lambda => x - bias,
            _ => 0.0,
        };
        Ok(vec![map(inputs.get(0)?, context, shrunk)?])
    })
}

fn sign(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let x = inputs.get(0)?;
        macro_rules! signum {
            ($v:expr, $t:ty) => {{
                let mut out = context.reserve::<$t>(x.len())?;
                out.extend($v.iter().map(|x| x.signum()));
                Tensor::new(x.shape(), out)
            }};
        }
        macro_rules! unsigned {
            ($v:expr, $t:ty) => {{
                let mut out = context.reserve::<$t>(x.len())?;
                out.extend($v.iter().map(|x| <$t>::from(*x != 0)));
                Tensor::new(x.shape(), out)
            }};
        }
        let y = match x.data() {
            Data::I8(v) => signum!(v, i8),
            Data::I16(v) => signum!(v, i16),
            Data::I32(v) => signum!(v, i32),
            Data::I64(v) => signum!(v, i64),
            Data::U8(v) => unsigned!(v, u8),
            Data::U16(v) => unsigned!(v, u16),
            Data::U32(v) => unsigned!(v, u32),
            Data::U64(v) => unsigned!(v, u64),
            _ => map(x, context, |v| if v == 0.0 { 0.0 } else { v.signum() }),
        };
        Ok(vec![y?])
    })
}

fn is_nan(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let x = inputs.get(0)?;
        let mut out = context.reserve::<bool>(x.len())?;
        match x.data() {
            Data::F32(v) => out.extend(v.iter().map(|x| x.is_nan())),
            Data::F64(v) => out.extend(v.iter().map(|x| x.is_nan())),
            Data::F16(v) => out.extend(v.iter().map(|x| x.is_nan())),
            Data::Bf16(v) => out.extend(v.iter().map(|x| x.is_nan())),
            _ => return Err(failure::wrong_type(format!("expected floats, got {}", x.element_type()))),
        }
        Ok(vec![Tensor::new(x.shape(), out)?])
    })
}

fn is_inf(node: &Node<'_>) -> Built {
    let (below, above) = (node.flag("detect_negative", true)?, node.flag("detect_positive", true)?);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let values = super::floats::widen(x, context)?;
        let mut out = context.reserve::<bool>(x.len())?;
        out.extend(values.iter().map(|v| (below && *v == f64::NEG_INFINITY) || (above && *v == f64::INFINITY)));
        Ok(vec![Tensor::new(x.shape(), out)?])
    })
}
