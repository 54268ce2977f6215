//! `exact-i8/v1`: models that compute in integers alone.
//!
//! [`convert`] reads a quantised model, in ONNX Runtime's QDQ or QOperator form, and writes a graph of ordinary integer
//! operators whose answer follows from the integers' own arithmetic, on any engine:
//!
//! - activations and weights are `int8`; `uint8` ones are moved by 128;
//! - products (`MatMulInteger`, `ConvInteger`) and biases are sums of `int32` that provably do not overflow;
//! - a sum becomes `int8` again by `(sum * M + 2^(s-1)) >> s`, in `int64`, with `M < 2^31` and `s <= 30`, and is clamped;
//! - a mean is a sum whose number of terms is part of the factor;
//! - functions of one number are tables of 256 entries, made when the model is converted;
//! - scales are constants. `QuantizeLinear` stands at the inputs only (one division, rounded to even), `DequantizeLinear` at the
//!   outputs only (one multiplication): both are IEEE operations.
//!
//! What cannot be computed so is refused.

mod convert;
mod emit;
mod target;

use bytes::Bytes;

pub use convert::{Converted, convert};

use crate::{
    Failure, Limits, LoadError,
    onnx::{self, proto::GraphProto},
};

/// Why a model is no integer model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotInteger {
    /// The file is no model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An operator has no integer form.
    #[error("{0} has no integer form here; quantise the model around it, or certify it as exact-f32/v1")]
    Operator(String),
    /// A value is computed in floats.
    #[error("{0} is not quantised; quantise all of the model, with static scales (QDQ or QOperator form)")]
    Float(String),
    /// A scale or zero point is not a constant.
    #[error("the scale or zero point of {0} is not a constant: only static scales are exact")]
    Dynamic(String),
    /// A sum may overflow.
    #[error("the sums of {0} may pass 32 bits: {1} terms; split it or narrow its weights")]
    Overflow(String, u64),
    /// A shape is not known.
    #[error("the shape of what {0} takes cannot be found: {1}")]
    Shape(String, Failure),
    /// A ratio of scales cannot be written as `M / 2^s`.
    #[error("the scales of {0} give the factor {1:e}, which no M < 2^31 with s <= 30 expresses")]
    Factor(String, f64),
    /// Zero points that differ between channels, or other types.
    #[error("{0}: {1}")]
    Form(String, &'static str),
}

/// Operators that the graph of an integer model may hold besides its ends.
const OPERATORS: [&str; 20] = [
    "Add",
    "Cast",
    "Concat",
    "ConvInteger",
    "Div",
    "Flatten",
    "Gather",
    "Identity",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "ReduceSum",
    "Reshape",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
    "Slice",
];

/// Refuses a graph that is not of the form which [`convert`] writes: what its profile promises is checked when it is loaded.
pub(crate) fn check(file: &Bytes) -> Result<(), NotInteger> {
    let model = onnx::decode(file.clone(), &Limits::default())?;
    let graph = model.graph.unwrap_or_default();
    graph.node.iter().try_for_each(|node| {
        let op = node.op_type.as_deref().unwrap_or_default();
        let is = |names: &[String], values: &[onnx::proto::ValueInfoProto]| {
            names.first().is_some_and(|name| values.iter().any(|value| value.name.as_ref() == Some(name)))
        };
        let fits = match op {
            "QuantizeLinear" => is(&node.input, &graph.input),
            "DequantizeLinear" => is(&node.output, &graph.output),
            _ => OPERATORS.contains(&op) && node.domain.as_deref().unwrap_or_default().is_empty(),
        };
        if fits { Ok(()) } else { Err(NotInteger::Operator(op.into())) }
    })?;
    no_float_constants(&graph)
}

/// Floats may only be scales, and those only at the ends.
fn no_float_constants(graph: &GraphProto) -> Result<(), NotInteger> {
    let ends = |op: Option<&str>| matches!(op, Some("QuantizeLinear" | "DequantizeLinear"));
    for tensor in graph.initializer.iter().filter(|tensor| tensor.data_type == Some(1)) {
        let users = graph.node.iter().filter(|node| node.input.iter().any(|name| Some(name) == tensor.name.as_ref()));
        if users.into_iter().any(|node| !ends(node.op_type.as_deref())) {
            return Err(NotInteger::Float(tensor.name.clone().unwrap_or_default()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
