//! Operators that only change the shape. Each has a function on shapes alone, for elements that lie elsewhere.

use super::layout::{dimension, ints};
use super::shape::{axes, axis, count};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::Node;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Flatten", 1..=LATEST, flatten),
    Operator::onnx("Reshape", 1..=LATEST, reshape),
    Operator::onnx("Squeeze", 1..=LATEST, squeeze),
    Operator::onnx("Unsqueeze", 1..=LATEST, unsqueeze),
];

fn reshape(node: &Node<'_>) -> Built {
    let (given, allow_zero) = (node.ints("shape")?, node.flag("allowzero", false)?);
    kernel(move |inputs, _| {
        let wanted = ints(&given, inputs, 1)?.ok_or_else(|| failure::arity("the shape is missing"))?;
        let x = inputs.take(0)?;
        let shape = reshaped(x.shape(), &wanted, allow_zero)?;
        Ok(vec![x.reshape(shape)?])
    })
}

/// `wanted` with 0 as the dimension at hand, unless `allow_zero`, and one -1 as what is left.
pub(super) fn reshaped(from: &[usize], wanted: &[i64], allow_zero: bool) -> Result<Vec<usize>, Failure> {
    let mut shape = Vec::with_capacity(wanted.len());
    let mut free = None;
    for (i, length) in wanted.iter().enumerate() {
        shape.push(match length {
            0 if !allow_zero => {
                *from.get(i).ok_or_else(|| failure::wrong_shape(format!("no dimension {i} to keep in {from:?}")))?
            }
            -1 if free.is_none() => {
                free = Some(i);
                1
            }
            length => dimension(*length)?,
        });
    }
    if let Some(free) = free {
        let (len, known) = (from.iter().product::<usize>(), count(&shape)?);
        if known == 0 || len % known != 0 {
            return Err(failure::wrong_shape(format!("cannot reshape {from:?} to {wanted:?}")));
        }
        shape[free] = len / known;
    }
    Ok(shape)
}

fn flatten(node: &Node<'_>) -> Built {
    let given = node.int("axis", 1)?;
    kernel(move |inputs, _| {
        let x = inputs.take(0)?;
        let shape = flattened(x.shape(), given)?;
        Ok(vec![x.reshape(shape)?])
    })
}

/// The dimensions before `given`, and those from it on, as one each.
pub(super) fn flattened(from: &[usize], given: i64) -> Result<Vec<usize>, Failure> {
    let at = if given == from.len() as i64 { from.len() } else { axis(given, from.len())? };
    Ok(vec![from[..at].iter().product(), from[at..].iter().product()])
}

fn squeeze(node: &Node<'_>) -> Built {
    let given = node.ints("axes")?;
    kernel(move |inputs, _| {
        let given = ints(&given, inputs, 1)?;
        let x = inputs.take(0)?;
        let shape = squeezed(x.shape(), given.as_deref())?;
        Ok(vec![x.reshape(shape)?])
    })
}

/// Without the given axes, or without all of length 1.
pub(super) fn squeezed(from: &[usize], given: Option<&[i64]>) -> Result<Vec<usize>, Failure> {
    let drop = match given {
        Some(given) => axes(given, from.len())?,
        None => (0..from.len()).filter(|a| from[*a] == 1).collect(),
    };
    if let Some(a) = drop.iter().find(|a| from[**a] != 1) {
        return Err(failure::wrong_shape(format!("cannot squeeze axis {a} of {from:?}")));
    }
    Ok((0..from.len()).filter(|a| !drop.contains(a)).map(|a| from[a]).collect())
}

fn unsqueeze(node: &Node<'_>) -> Built {
    let given = node.ints("axes")?;
    kernel(move |inputs, _| {
        let given = ints(&given, inputs, 1)?.ok_or_else(|| failure::arity("the axes are missing"))?;
        let x = inputs.take(0)?;
        let shape = unsqueezed(x.shape(), &given)?;
        Ok(vec![x.reshape(shape)?])
    })
}

/// With axes of length 1 at the given places of the result.
pub(super) fn unsqueezed(from: &[usize], given: &[i64]) -> Result<Vec<usize>, Failure> {
    let mut shape = from.to_vec();
    for a in axes(given, from.len() + given.len())? {
        shape.insert(a.min(shape.len()), 1);
    }
    Ok(shape)
}
