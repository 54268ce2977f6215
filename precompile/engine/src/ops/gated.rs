//! Activations of two inputs, and of whole rows: `PRelu`, `SwiGLU`, `Hardmax`.

use super::floats::{narrow, same_type, widen, widen_numbers};
use super::rare_unary::silu;
use super::shape::{around, axis, broadcast_strides, for_each_run};
use super::{Built, LATEST, Operator, kernel};
use crate::failure;
use crate::graph::Node;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Hardmax", 1..=12, |node| hardmax(node, 1)),
    Operator::onnx("Hardmax", 13..=LATEST, |node| hardmax(node, -1)),
    Operator::onnx("PRelu", 7..=LATEST, prelu),
    Operator::onnx("SwiGLU", 28..=LATEST, swiglu),
];

fn prelu(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let (x, slope) = (inputs.get(0)?, inputs.get(1)?);
        same_type(x, slope)?;
        if super::shape::broadcast(&[x.shape(), slope.shape()])? != x.shape() {
            let (slope, x) = (slope.shape(), x.shape());
            return Err(failure::wrong_shape(format!("slopes of shape {slope:?} for the shape {x:?}")));
        }
        let mut values = widen(x, context)?;
        let slopes = widen_numbers(slope, context)?;
        let strides = broadcast_strides(slope.shape(), x.shape());
        let (length, step) = (x.shape().last().copied().unwrap_or(1), strides.last().copied().unwrap_or(0));
        let mut rows = values.chunks_mut(length.max(1));
        for_each_run(x.shape(), [&strides], |[from]| {
            for (i, v) in rows.next().into_iter().flatten().enumerate() {
                *v *= if *v < 0.0 { slopes[from + i * step] } else { 1.0 };
            }
        });
        Ok(vec![narrow(x.element_type(), x.shape(), values, context)?])
    })
}

fn swiglu(node: &Node<'_>) -> Built {
    let alpha = f64::from(node.float("alpha", 1.0)?);
    kernel(move |inputs, context| {
        let (gate, linear) = (inputs.get(0)?, inputs.get(1)?);
        same_type(gate, linear)?;
        if gate.shape() != linear.shape() {
            let (a, b) = (gate.shape(), linear.shape());
            return Err(failure::wrong_shape(format!("expected inputs of one shape, got {a:?} and {b:?}")));
        }
        let (mut values, linear) = (widen(gate, context)?, widen(linear, context)?);
        values.iter_mut().zip(&linear).for_each(|(a, b)| *a = silu(*a, alpha) * b);
        Ok(vec![narrow(gate.element_type(), gate.shape(), values, context)?])
    })
}

/// 1 at the first largest element, 0 elsewhere. Before opset 13 all axes from `axis` on count as one.
fn hardmax(node: &Node<'_>, default: i64) -> Built {
    let along = node.int("axis", default)?;
    let flattens = node.opset() < 13;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let shape = x.shape();
        let (outer, length, inner) = if flattens {
            let along = if along == shape.len() as i64 { shape.len() } else { axis(along, shape.len())? };
            (shape[..along].iter().product(), shape[along..].iter().product(), 1)
        } else {
            around(shape, axis(along, shape.len())?)
        };
        let values = widen(x, context)?;
        let mut out = context.zeros::<f64>(values.len())?;
        for o in 0..outer {
            for i in 0..inner {
                let at = |k: usize| (o * length + k) * inner + i;
                let best = (1..length).fold(0, |best, k| if values[at(k)] > values[at(best)] { k } else { best });
                if length > 0 {
                    out[at(best)] = 1.0;
                }
            }
        }
        Ok(vec![narrow(x.element_type(), shape, out, context)?])
    })
}
