//! What the source holds as constants: scales, zero points, weights and biases.

use super::{Converter, attribute, label};
use crate::{
    ElementType, Tensor,
    integer::NotInteger,
    onnx::{
        proto::{AttributeProto, NodeProto, TensorProto},
        tensors::Constants,
    },
};

/// A constant of narrow integers: weights or a bias.
#[derive(Clone)]
pub(super) struct Weights {
    /// As `int8` in `int32`s, zero points still in.
    pub(super) values: Vec<i32>,
    pub(super) shape: Vec<usize>,
    pub(super) scales: Vec<f64>,
    pub(super) axis: i64,
    pub(super) zero: i32,
    pub(super) wide: bool,
}

impl Converter<'_> {
    pub(super) fn constant(&self, name: &str) -> Option<Tensor> {
        let proto: &TensorProto = self.source.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name))?;
        Constants::new(&self.limits, None).read(proto).ok()
    }

    /// Scales as doubles and the zero point as `int8` would have it; without one it is the 0 of `uint8`.
    pub(super) fn parameters(&self, scale: &str, zero: &str, what: &str) -> Result<(Vec<f64>, i32), NotInteger> {
        let dynamic = || NotInteger::Dynamic(what.into());
        let scales = self.constant(scale).ok_or_else(dynamic)?;
        let scales: Vec<f64> =
            scales.values::<f32>().map_err(|_| dynamic())?.iter().map(|scale| f64::from(*scale)).collect();
        if scales.is_empty() {
            return Err(NotInteger::Form(what.into(), "expected a scale, got an empty tensor"));
        }
        if zero.is_empty() {
            return Ok((scales, -128));
        }
        let zero = self.constant(zero).ok_or_else(dynamic)?;
        let zeros = narrow(&zero).ok_or(NotInteger::Form(what.into(), "expected a zero point of 8 bits"))?;
        match zeros.first() {
            Some(first) if zeros.iter().all(|zero| zero == first) => Ok((scales, *first)),
            _ => {
                Err(NotInteger::Form(what.into(), "zero points that differ between channels have no integer form here"))
            }
        }
    }

    pub(super) fn one_scale(&self, scale: &str, zero: &str, what: &str) -> Result<(f64, i8), NotInteger> {
        let (scales, zero) = self.parameters(scale, zero, what)?;
        let zero = i8::try_from(zero).map_err(|_| NotInteger::Form(what.into(), "expected a zero point of 8 bits"))?;
        match scales[..] {
            [one] if one > 0.0 => Ok((one, zero)),
            _ => Err(NotInteger::Form(what.into(), "activations have one scale above 0")),
        }
    }

    pub(super) fn read_weights(&self, name: &str, scale: &str, zero: &str, what: &str) -> Result<Weights, NotInteger> {
        let tensor = self.constant(name).ok_or_else(|| NotInteger::Float(name.into()))?;
        let shape = tensor.shape().to_vec();
        if let Ok(values) = tensor.values::<i32>() {
            let (scales, _) = self.parameters(scale, "", what)?;
            return Ok(Weights { values: values.to_vec(), shape, scales, axis: 0, zero: 0, wide: true });
        }
        let values = narrow(&tensor).ok_or(NotInteger::Form(what.into(), "expected weights of 8 bits"))?;
        let signed = tensor.element_type() == ElementType::I8;
        let (scales, zero) = match self.parameters(scale, zero, what)? {
            (scales, _) if zero.is_empty() && signed => (scales, 0),
            other => other,
        };
        Ok(Weights { values, shape, scales, axis: 1, zero, wide: false })
    }

    pub(super) fn bias(&self, tensor: &Tensor, what: &str) -> Result<Weights, NotInteger> {
        let values = tensor.values::<i32>().map_err(|_| NotInteger::Form(what.into(), "expected a bias of int32"))?;
        let shape = tensor.shape().to_vec();
        Ok(Weights { values: values.to_vec(), shape, scales: vec![], axis: 0, zero: 0, wide: true })
    }
}

/// The weights of a `Gemm` as a matrix product takes them.
pub(super) fn gemm(node: &NodeProto, w: Weights) -> Result<(Weights, Vec<AttributeProto>), NotInteger> {
    let int = |name| attribute(node, name).and_then(|a| a.i).unwrap_or(0);
    let one = |name| attribute(node, name).and_then(|a| a.f).unwrap_or(1.0) == 1.0;
    if int("transA") != 0 || !one("alpha") || !one("beta") || w.shape.len() != 2 {
        return Err(NotInteger::Form(label(node), "a Gemm takes its input as it is, with alpha and beta 1"));
    }
    if int("transB") == 0 {
        return Ok((w, vec![]));
    }
    let (rows, columns) = (w.shape[0], w.shape[1]);
    let values = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|at| w.values[at]).collect();
    let axis = 1 - if w.axis < 0 { w.axis + 2 } else { w.axis };
    Ok((Weights { values, shape: vec![columns, rows], axis, ..w }, vec![]))
}

/// Narrow integers as `int8` has them: `uint8` less 128.
fn narrow(tensor: &Tensor) -> Option<Vec<i32>> {
    match (tensor.values::<i8>(), tensor.values::<u8>()) {
        (Ok(values), _) => Some(values.iter().map(|value| i32::from(*value)).collect()),
        (_, Ok(values)) => Some(values.iter().map(|value| i32::from(*value) - 128).collect()),
        _ => None,
    }
}
