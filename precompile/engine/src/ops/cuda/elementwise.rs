//! Elementwise functions and operators.

use super::{Built, Row, input, offloaded, or_cpu};
use crate::cuda::Numbers;
use crate::graph::Node;
use crate::ops::shape::{broadcast, broadcast_strides, simplify};

pub(super) const KERNELS: &[Row] = &[
    ("Abs", |_| unary(8, [0.0; 2])),
    ("Add", |node| binary(node, 0)),
    ("Clip", clip),
    ("Div", |node| binary(node, 3)),
    ("Elu", |node| unary(16, [node.float("alpha", 1.0)?, 0.0])),
    ("Erf", |_| unary(5, [0.0; 2])),
    ("Exp", |_| unary(1, [0.0; 2])),
    ("Gelu", |node| unary(if node.string("approximate", "none")? == "tanh" { 11 } else { 10 }, [0.0; 2])),
    ("HardSigmoid", |node| unary(13, [node.float("alpha", 0.2)?, node.float("beta", 0.5)?])),
    ("HardSwish", |_| unary(14, [0.0; 2])),
    ("LeakyRelu", |node| unary(12, [node.float("alpha", 0.01)?, 0.0])),
    ("Log", |_| unary(2, [0.0; 2])),
    ("Max", |node| binary(node, 4)),
    ("Min", |node| binary(node, 5)),
    ("Mul", |node| binary(node, 2)),
    ("Neg", |_| unary(7, [0.0; 2])),
    ("Reciprocal", |_| unary(9, [0.0; 2])),
    ("Relu", |_| unary(0, [0.0; 2])),
    ("Sigmoid", |_| unary(4, [0.0; 2])),
    ("Sqrt", |_| unary(6, [0.0; 2])),
    ("Sub", |node| binary(node, 1)),
    ("Swish", |node| unary(15, [node.float("alpha", 1.0)?, 0.0])),
    ("Tanh", |_| unary(3, [0.0; 2])),
];

/// Axes that the kernels count through.
pub(super) const AXES_MAX: usize = 6;

/// Function `function` of the kernel `unary`.
fn unary(function: usize, parameters: [f32; 2]) -> Built {
    offloaded(move |inputs, context| {
        let x = or_cpu!(input(inputs, 0)?);
        context.claim::<f32>(x.len())?;
        let out = inputs.accelerator.allocate(x.shape().to_vec())?;
        let numbers = Numbers::new(&[x.len(), function], &parameters);
        inputs.accelerator.each("unary", x.len(), &out, [Some(&x), None, None], numbers)?;
        Ok(Some(out))
    })
}

/// Bounds that are known at load, or absent.
fn clip(node: &Node<'_>) -> Built {
    let bound = |index: usize, name: &str, none: f32| {
        if node.opset() < 11 {
            return node.float(name, none).map(Some);
        }
        let known = node.constant(index).map(|tensor| tensor.single::<f32>().ok());
        Ok(if node.has_input(index) { known.flatten() } else { Some(none) })
    };
    let bounds = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    match bounds {
        (Some(low), Some(high)) => unary(17, [low, high]),
        _ => Ok(None),
    }
}

/// Function `function` of the kernel `binary`.
fn binary(node: &Node<'_>, function: usize) -> Built {
    if node.inputs() != 2 || node.opset() < 7 {
        return Ok(None);
    }
    offloaded(move |inputs, context| {
        let (a, b) = (or_cpu!(input(inputs, 0)?), or_cpu!(input(inputs, 1)?));
        let shape = or_cpu!(broadcast(&[a.shape(), b.shape()]).ok());
        let strides = [broadcast_strides(a.shape(), &shape), broadcast_strides(b.shape(), &shape)];
        let (joined, [a_strides, b_strides]) = simplify(&shape, [&strides[0], &strides[1]]);
        if joined.len() > AXES_MAX {
            return Ok(None);
        }
        let count = shape.iter().product();
        context.claim::<f32>(count)?;
        let out = inputs.accelerator.allocate(shape)?;
        let mut numbers = [0; 3 + 3 * AXES_MAX];
        numbers[..3].copy_from_slice(&[count, function, joined.len()]);
        for (place, list) in [(3, &joined), (9, &a_strides), (15, &b_strides)] {
            numbers[place..place + list.len()].copy_from_slice(list);
        }
        let inputs_of = [Some(&a), Some(&b), None];
        inputs.accelerator.each("binary", count, &out, inputs_of, Numbers::new(&numbers, &[]))?;
        Ok(Some(out))
    })
}
