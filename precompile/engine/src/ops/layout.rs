//! Operators that move elements without changing them: slices, transposes, joins, repetitions.

use super::shape::{around, axes, axis, broadcast, broadcast_strides, count, for_each_run, simplify, strides};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::tensor::{Data, Element, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Concat", 1..=LATEST, concat),
    Operator::onnx("Expand", 8..=LATEST, expand_node),
    Operator::onnx("Gather", 1..=LATEST, gather),
    Operator::onnx("Slice", 1..=LATEST, slice),
    Operator::onnx("Split", 1..=LATEST, split),
    Operator::onnx("Tile", 6..=LATEST, tile),
    Operator::onnx("Transpose", 1..=LATEST, transpose),
];

/// Edge of the square tiles in which axes are exchanged: a tile's rows stay in the first-level cache.
const TILE: usize = 16;

/// The elements of `source` at `offset` and on by `strides` (which wrap), in the order of `shape`.
pub(crate) fn strided_copy<T: Element>(
    source: &[T],
    offset: usize,
    shape: &[usize],
    strides: &[usize],
    context: &Context,
) -> Result<Vec<T>, Failure> {
    let (joined, [steps]) = simplify(shape, [strides]);
    let last = joined.len() - 1;
    let unit = steps.iter().position(|s| *s == 1).filter(|axis| *axis < last && joined[last] > 1 && steps[last] > 1);
    if let Some(axis) = unit {
        return exchange(source, offset, &joined, &steps, axis, context);
    }
    let mut out = context.reserve::<T>(count(shape)?)?;
    let (length, step) = (joined[last], steps[last]);
    for_each_run(&joined, [&steps], |[start]| {
        let start = offset.wrapping_add(start);
        match step {
            1 => out.extend_from_slice(&source[start..start + length]),
            0 => out.extend(std::iter::repeat_n(&source[start], length).cloned()),
            _ => out.extend((0..length).map(|i| source[start.wrapping_add(i.wrapping_mul(step))].clone())),
        }
    });
    Ok(out)
}

/// [`strided_copy`] where neighbours in the source lie along `axis`, not along the last one: in tiles over both.
fn exchange<T: Element>(
    source: &[T],
    offset: usize,
    shape: &[usize],
    steps: &[usize],
    axis: usize,
    context: &Context,
) -> Result<Vec<T>, Failure> {
    let mut out = context.zeros::<T>(count(shape)?)?;
    let (last, places) = (shape.len() - 1, strides(shape));
    let (rows, columns, step) = (shape[axis], shape[last], steps[last]);
    // All other axes, with one run for each of their elements.
    let mut outer: Vec<usize> = shape.to_vec();
    (outer[axis], outer[last]) = (1, 1);
    for_each_run(&outer, [steps, &places], |[from, to]| {
        let from = offset.wrapping_add(from);
        for row0 in (0..rows).step_by(TILE) {
            for column0 in (0..columns).step_by(TILE) {
                for row in row0..rows.min(row0 + TILE) {
                    let start = to + row * places[axis];
                    let line = &mut out[start + column0..start + columns.min(column0 + TILE)];
                    for (i, x) in line.iter_mut().enumerate() {
                        *x = source[from + row + (column0 + i) * step].clone();
                    }
                }
            }
        }
    });
    Ok(out)
}

/// A tensor of `shape` whose elements are those of `tensor` at `offset` and on by `strides`.
pub(crate) fn view(
    tensor: &Tensor,
    offset: usize,
    shape: Vec<usize>,
    strides: &[usize],
    context: &Context,
) -> Result<Tensor, Failure> {
    fn copy<T: Element>(
        v: &[T],
        offset: usize,
        shape: &[usize],
        strides: &[usize],
        context: &Context,
    ) -> Result<Data, Failure> {
        Ok(T::wrap(strided_copy(v, offset, shape, strides, context)?.into()))
    }
    let data = with_data!(tensor.data(), v => copy(v, offset, &shape, strides, context)?);
    Tensor::from_data(shape, data)
}

/// `tensor` repeated to `shape`, to which it must broadcast.
pub(crate) fn expand(tensor: &Tensor, shape: &[usize], context: &Context) -> Result<Tensor, Failure> {
    if tensor.shape() == shape {
        return Ok(tensor.clone());
    }
    if broadcast(&[tensor.shape(), shape])? != shape {
        let from = tensor.shape();
        return Err(failure::wrong_shape(format!("the shape {from:?} does not broadcast to {shape:?}")));
    }
    view(tensor, 0, shape.to_vec(), &broadcast_strides(tensor.shape(), shape), context)
}

/// `tensor` with its axes in another order.
pub(crate) fn permute(tensor: &Tensor, order: &[usize], context: &Context) -> Result<Tensor, Failure> {
    let own = strides(tensor.shape());
    let shape: Vec<_> = order.iter().map(|a| tensor.shape()[*a]).collect();
    let moved = order.iter().filter(|a| tensor.shape()[**a] != 1);
    if moved.is_sorted() {
        return tensor.clone().reshape(shape);
    }
    view(tensor, 0, shape, &order.iter().map(|a| own[*a]).collect::<Vec<_>>(), context)
}

/// Integers given as an attribute in old opsets and as input `index` in new ones.
pub(crate) fn ints(given: &Option<Vec<i64>>, inputs: &Inputs, index: usize) -> Result<Option<Vec<i64>>, Failure> {
    match (given, inputs.optional(index)) {
        (Some(values), _) => Ok(Some(values.clone())),
        (None, Some(tensor)) => tensor.to_i64s().map(Some),
        (None, None) => Ok(None),
    }
}

/// A dimension given as data.
pub(crate) fn dimension(value: i64) -> Result<usize, Failure> {
    usize::try_from(value).map_err(|_| failure::out_of_range(format!("a dimension of {value}")))
}

fn transpose(node: &Node<'_>) -> Built {
    let order = node.ints("perm")?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let order = match &order {
            None => (0..x.rank()).rev().collect(),
            Some(order) => order.iter().map(|a| axis(*a, x.rank())).collect::<Result<Vec<_>, _>>()?,
        };
        if order.len() != x.rank() || (0..x.rank()).any(|a| !order.contains(&a)) {
            return Err(failure::wrong_shape(format!("cannot permute the shape {:?} by {order:?}", x.shape())));
        }
        Ok(vec![permute(x, &order, context)?])
    })
}

fn concat(node: &Node<'_>) -> Built {
    let given = node.int("axis", 1)?;
    fn join<T: Element>(
        parts: &[&Tensor],
        outer: usize,
        total: usize,
        context: &Context,
        _: &[T],
    ) -> Result<Data, Failure> {
        let mut out = context.reserve::<T>(total)?;
        let values = parts.iter().map(|p| p.values::<T>()).collect::<Result<Vec<_>, _>>()?;
        for i in 0..outer {
            for part in &values {
                let length = part.len() / outer;
                out.extend_from_slice(&part[i * length..(i + 1) * length]);
            }
        }
        Ok(T::wrap(out.into()))
    }
    kernel(move |inputs, context| {
        let parts = (0..inputs.len()).map(|i| inputs.get(i)).collect::<Result<Vec<_>, _>>()?;
        let first = *parts.first().ok_or_else(|| failure::arity("nothing to concatenate"))?;
        let at = axis(given, first.rank())?;
        let mut shape = first.shape().to_vec();
        shape[at] = 0;
        for part in &parts {
            let same = part.rank() == shape.len() && (0..shape.len()).all(|a| a == at || part.shape()[a] == shape[a]);
            if !same {
                return Err(failure::wrong_shape(format!(
                    "cannot concatenate {:?} and {:?} on axis {at}",
                    first.shape(),
                    part.shape()
                )));
            }
            shape[at] += part.shape()[at];
        }
        let (total, outer) = (count(&shape)?, shape[..at].iter().product());
        let data = with_data!(first.data(), v => join(&parts, outer, total, context, v)?);
        Ok(vec![Tensor::from_data(shape, data)?])
    })
}

/// First element, number of elements and step of a slice of an axis of `length`.
fn clamp_slice(start: i64, end: i64, step: i64, length: usize) -> Result<(usize, usize, i64), Failure> {
    let signed = length as i64;
    let from_start = |i: i64| if i < 0 { i.saturating_add(signed) } else { i };
    if step == 0 {
        return Err(failure::out_of_range("a slice with step 0"));
    }
    let (start, end) = if step > 0 {
        (from_start(start).clamp(0, signed), from_start(end).clamp(0, signed))
    } else {
        (from_start(start).clamp(-1, signed - 1), from_start(end).clamp(-1, signed - 1))
    };
    let span = if step > 0 { end - start } else { start - end };
    let steps = if span <= 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) as usize };
    Ok((start.max(0) as usize, steps, step))
}

fn slice(node: &Node<'_>) -> Built {
    let (starts, ends, given_axes) = (node.ints("starts")?, node.ints("ends")?, node.ints("axes")?);
    kernel(move |inputs, context| {
        let missing = || failure::arity("starts and ends are needed");
        let starts = ints(&starts, inputs, 1)?.ok_or_else(missing)?;
        let ends = ints(&ends, inputs, 2)?.ok_or_else(missing)?;
        let given = ints(&given_axes, inputs, 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = ints(&None, inputs, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if ends.len() != starts.len() || given.len() != starts.len() || steps.len() != starts.len() {
            return Err(failure::wrong_shape("starts, ends, axes and steps of a slice differ in length"));
        }
        let x = inputs.get(0)?;
        axes(&given, x.rank())?;
        let (mut shape, mut own, mut offset) = (x.shape().to_vec(), strides(x.shape()), 0);
        for (i, a) in given.iter().enumerate() {
            let a = axis(*a, x.rank())?;
            let (first, length, step) = clamp_slice(starts[i], ends[i], steps[i], shape[a])?;
            offset += first * own[a];
            own[a] = own[a].wrapping_mul(step as usize);
            shape[a] = length;
        }
        if shape == x.shape() && steps.iter().all(|s| *s == 1) {
            return Ok(vec![x.clone()]);
        }
        Ok(vec![view(x, offset, shape, &own, context)?])
    })
}

fn gather(node: &Node<'_>) -> Built {
    let given = node.int("axis", 0)?;
    fn pick<T: Element>(
        v: &[T],
        sizes: (usize, usize, usize),
        indices: &[usize],
        context: &Context,
    ) -> Result<Data, Failure> {
        let (outer, length, inner) = sizes;
        let total = outer.checked_mul(indices.len()).and_then(|n| n.checked_mul(inner));
        let mut out = context.reserve::<T>(total.unwrap_or(usize::MAX))?;
        for o in 0..outer {
            for i in indices {
                let start = (o * length + i) * inner;
                out.extend_from_slice(&v[start..start + inner]);
            }
        }
        Ok(T::wrap(out.into()))
    }
    kernel(move |inputs, context| {
        let (x, at) = (inputs.get(0)?, inputs.get(1)?);
        let axis = axis(given, x.rank())?;
        let sizes = around(x.shape(), axis);
        let indices = at.to_i64s()?.iter().map(|i| super::shape::index(*i, sizes.1)).collect::<Result<Vec<_>, _>>()?;
        let shape = [&x.shape()[..axis], at.shape(), &x.shape()[axis + 1..]].concat();
        let data = with_data!(x.data(), v => pick(v, sizes, &indices, context)?);
        Ok(vec![Tensor::from_data(shape, data)?])
    })
}

fn expand_node(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let wanted = inputs.get(1)?.to_i64s()?.iter().map(|d| dimension(*d)).collect::<Result<Vec<_>, _>>()?;
        let x = inputs.get(0)?;
        let shape = broadcast(&[x.shape(), &wanted])?;
        Ok(vec![expand(x, &shape, context)?])
    })
}

fn tile(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let repeats = inputs.get(1)?.to_i64s()?.iter().map(|d| dimension(*d)).collect::<Result<Vec<_>, _>>()?;
        let x = inputs.get(0)?;
        if repeats.len() != x.rank() {
            return Err(failure::wrong_shape(format!("{} repeats for a tensor of rank {}", repeats.len(), x.rank())));
        }
        // Each axis becomes two: the repetitions, which stay in place, and the axis itself.
        let own = strides(x.shape());
        let pairs = |f: &dyn Fn(usize) -> [usize; 2]| (0..x.rank()).flat_map(f).collect::<Vec<_>>();
        let (doubled, steps) = (pairs(&|a| [repeats[a], x.shape()[a]]), pairs(&|a| [0, own[a]]));
        count(&doubled)?;
        let shape = (0..x.rank()).map(|a| repeats[a] * x.shape()[a]).collect();
        Ok(vec![view(x, 0, doubled, &steps, context)?.reshape(shape)?])
    })
}

/// Lengths of the parts of an axis of `length`.
fn parts(given: Option<Vec<i64>>, outputs: usize, length: usize, even: bool) -> Result<Vec<usize>, Failure> {
    if let Some(given) = given {
        let parts = given.iter().map(|d| dimension(*d)).collect::<Result<Vec<_>, _>>()?;
        let sum = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(*part));
        return if sum == Some(length) {
            Ok(parts)
        } else {
            Err(failure::wrong_shape(format!("cannot split {length} into {given:?}")))
        };
    }
    if even && !length.is_multiple_of(outputs) {
        return Err(failure::wrong_shape(format!("cannot split {length} into {outputs} equal parts")));
    }
    let step = length.div_ceil(outputs);
    Ok((0..outputs).map(|i| step.min(length.saturating_sub(i * step))).collect())
}

fn split(node: &Node<'_>) -> Built {
    let (given_axis, sizes, outputs) = (node.int("axis", 0)?, node.ints("split")?, node.outputs());
    let even = node.opset() < 18 || !node.has("num_outputs");
    if node.has("num_outputs") && node.int("num_outputs", 0)? != outputs as i64 {
        return Err(node.error(format!("num_outputs differs from the {outputs} outputs listed")));
    }
    kernel(move |inputs, context| {
        let sizes = ints(&sizes, inputs, 1)?;
        let x = inputs.get(0)?;
        let at = axis(given_axis, x.rank())?;
        let (own, mut start) = (strides(x.shape()), 0);
        let part = |length: usize| {
            let mut shape = x.shape().to_vec();
            shape[at] = length;
            start += length;
            view(x, (start - length) * own[at], shape, &own, context)
        };
        parts(sizes, outputs, x.shape()[at], even)?.into_iter().map(part).collect()
    })
}
