//! Reading and writing at indices: `GatherElements`, `GatherND`, `ScatterElements`, `ScatterND`, `TensorScatter`.
//!
//! Where several updates meet one element, they are applied in the order of the updates.

use super::shape::{axis, count, strides};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::tensor::{Data, Element, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("GatherElements", 11..=LATEST, gather_elements),
    Operator::onnx("GatherND", 11..=LATEST, gather_nd),
    Operator::onnx("Scatter", 9..=LATEST, scatter_elements),
    Operator::onnx("ScatterElements", 11..=LATEST, scatter_elements),
    Operator::onnx("ScatterND", 11..=LATEST, scatter_nd),
    Operator::onnx("TensorScatter", 24..=LATEST, tensor_scatter),
];

/// An index, negative from the end, inside of `length`.
fn position(index: i64, length: usize) -> Result<usize, Failure> {
    let signed = length as i64;
    let from_start = if index < 0 { index.saturating_add(signed) } else { index };
    if (0..signed).contains(&from_start) {
        return Ok(from_start as usize);
    }
    Err(failure::out_of_range(format!("index {index} into {length} elements")))
}

/// Offsets in a tensor of `shape` that `indices` of shape `index_shape` name along `axis`, in the order of the indices.
fn offsets(shape: &[usize], axis: usize, indices: &Tensor, context: &Context) -> Result<Vec<usize>, Failure> {
    let fits = indices.rank() == shape.len()
        && indices.shape().iter().zip(shape).enumerate().all(|(i, (n, d))| i == axis || n <= d);
    if !fits {
        let came = indices.shape();
        return Err(failure::wrong_shape(format!("indices of shape {came:?} into a tensor of shape {shape:?}")));
    }
    context.claim::<i64>(2 * indices.len())?;
    let (data_strides, own) = (strides(shape), strides(indices.shape()));
    let values = indices.to_i64s()?;
    let mut out = Vec::with_capacity(values.len());
    for (at, index) in values.iter().enumerate() {
        let mut offset = position(*index, shape[axis])? * data_strides[axis];
        for i in (0..shape.len()).filter(|i| *i != axis) {
            offset += (at / own[i]) % indices.shape()[i] * data_strides[i];
        }
        out.push(offset);
    }
    Ok(out)
}

fn pick<T: Element>(values: &[T], at: &[usize], run: usize, context: &Context) -> Result<Vec<T>, Failure> {
    let mut out = context.reserve::<T>(at.len().saturating_mul(run))?;
    at.iter().for_each(|offset| out.extend_from_slice(&values[*offset..*offset + run]));
    Ok(out)
}

fn gather_elements(node: &Node<'_>) -> Built {
    let along = node.int("axis", 0)?;
    kernel(move |inputs, context| {
        let (x, indices) = (inputs.get(0)?, inputs.get(1)?);
        let at = offsets(x.shape(), axis(along, x.rank())?, indices, context)?;
        with_data!(x.data(), v => Ok(vec![Tensor::new(indices.shape(), pick(v, &at, 1, context)?)?]))
    })
}

/// Offsets of the slices that the last axis of `indices` names, and the shape of each slice.
fn slices(
    shape: &[usize],
    batch: usize,
    indices: &Tensor,
    context: &Context,
) -> Result<(Vec<usize>, Vec<usize>), Failure> {
    let depth = indices.shape().last().copied().unwrap_or(0);
    let inside = indices.rank() > batch && batch + depth <= shape.len() && indices.shape()[..batch] == shape[..batch];
    if !inside {
        let came = indices.shape();
        return Err(failure::wrong_shape(format!("indices of shape {came:?} into a tensor of shape {shape:?}")));
    }
    let tuples: usize = indices.shape()[..indices.rank() - 1].iter().product();
    context.claim::<i64>(indices.len().saturating_add(tuples))?;
    let own = strides(shape);
    let values = indices.to_i64s()?;
    let batches: usize = shape[..batch].iter().product();
    let each = tuples.checked_div(batches).unwrap_or(0);
    let batch_size: usize = shape[batch..].iter().product();
    let mut out = Vec::with_capacity(tuples);
    for tuple in 0..tuples {
        let mut offset = tuple / each * batch_size;
        for (k, index) in values[tuple * depth..(tuple + 1) * depth].iter().enumerate() {
            offset += position(*index, shape[batch + k])? * own[batch + k];
        }
        out.push(offset);
    }
    Ok((out, shape[batch + depth..].to_vec()))
}

fn gather_nd(node: &Node<'_>) -> Built {
    let batch = usize::try_from(node.int("batch_dims", 0)?).map_err(|_| node.error("batch_dims is negative"))?;
    kernel(move |inputs, context| {
        let (x, indices) = (inputs.get(0)?, inputs.get(1)?);
        let (at, slice) = slices(x.shape(), batch, indices, context)?;
        let run = slice.iter().product();
        let shape: Vec<usize> = indices.shape()[..indices.rank() - 1].iter().chain(&slice).copied().collect();
        count(&shape)?;
        with_data!(x.data(), v => Ok(vec![Tensor::new(shape, pick(v, &at, run, context)?)?]))
    })
}

/// How an update meets what is there.
#[derive(Clone, Copy, PartialEq)]
enum Reduction {
    Replace,
    Add,
    Mul,
    Min,
    Max,
}

fn reduction(node: &Node<'_>) -> Result<Reduction, crate::onnx::LoadError> {
    Ok(match node.string("reduction", "none")?.as_str() {
        "none" => Reduction::Replace,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "min" => Reduction::Min,
        "max" => Reduction::Max,
        other => return Err(node.error(format!("unknown reduction {other}"))),
    })
}

/// Writes `updates` over the tensor, `run` elements at each offset.
fn write(
    x: Tensor,
    updates: &Tensor,
    at: &[usize],
    run: usize,
    how: Reduction,
    context: &Context,
) -> Result<Tensor, Failure> {
    if updates.len() != at.len() * run {
        let came = updates.shape();
        return Err(failure::wrong_shape(format!("updates of shape {came:?} for {} indices", at.len())));
    }
    fn each<T: Element>(
        x: Tensor,
        updates: &Tensor,
        at: &[usize],
        run: usize,
        context: &Context,
        f: impl Fn(&T, &T) -> T,
    ) -> Result<Tensor, Failure> {
        context.claim::<T>(x.len())?;
        let updates = updates.values::<T>()?;
        let shape = x.shape().to_vec();
        let mut values = x.into_values::<T>()?;
        for (offset, new) in at.iter().zip(updates.chunks(run.max(1))) {
            for (old, new) in values[*offset..*offset + run].iter_mut().zip(new) {
                *old = f(old, new);
            }
        }
        Tensor::new(shape, values)
    }
    fn replace<T: Element>(
        _: &[T],
        x: Tensor,
        updates: &Tensor,
        at: &[usize],
        run: usize,
        context: &Context,
    ) -> Result<Tensor, Failure> {
        each::<T>(x, updates, at, run, context, |_, new| new.clone())
    }
    if how == Reduction::Replace {
        let data = x.data().clone();
        return with_data!(&data, v => replace(v, x, updates, at, run, context));
    }
    macro_rules! numbers {
        ($t:ty, $add:expr, $mul:expr) => {
            match how {
                Reduction::Add => each::<$t>(x, updates, at, run, context, $add),
                Reduction::Mul => each::<$t>(x, updates, at, run, context, $mul),
                Reduction::Min => each::<$t>(x, updates, at, run, context, |a, b| if *b < *a { *b } else { *a }),
                _ => each::<$t>(x, updates, at, run, context, |a, b| if *b > *a { *b } else { *a }),
            }
        };
    }
    match x.data() {
        Data::F32(_) => numbers!(f32, |a, b| a + b, |a, b| a * b),
        Data::F64(_) => numbers!(f64, |a, b| a + b, |a, b| a * b),
        Data::F16(_) => numbers!(half::f16, |a, b| a + b, |a, b| a * b),
        Data::Bf16(_) => numbers!(half::bf16, |a, b| a + b, |a, b| a * b),
        Data::I64(_) => numbers!(i64, |a, b| a.wrapping_add(*b), |a, b| a.wrapping_mul(*b)),
        Data::I32(_) => numbers!(i32, |a, b| a.wrapping_add(*b), |a, b| a.wrapping_mul(*b)),
        Data::I16(_) => numbers!(i16, |a, b| a.wrapping_add(*b), |a, b| a.wrapping_mul(*b)),
        Data::I8(_) => numbers!(i8, |a, b| a.wrapping_add(*b), |a, b| a.wrapping_mul(*b)),
        Data::U64(_) => numbers!(u64, |a, b| a.wrapping_add(*b), |a, b| a.wrapping_mul(*b)),
        Data::U32(_) => numbers!(u32, |a, b| a.wrapping_add(*b), |a, b| a.wrapping_mul(*b)),
        Data::U16(_) => numbers!(u16, |a, b| a.wrapping_add(*b), |a, b| a.wrapping_mul(*b)),
        Data::U8(_) => numbers!(u8, |a, b| a.wrapping_add(*b), |a, b| a.wrapping_mul(*b)),
        _ => Err(failure::wrong_type(format!("cannot reduce {}", x.element_type()))),
    }
}

fn scatter_elements(node: &Node<'_>) -> Built {
    let along = node.int("axis", 0)?;
    let how = reduction(node)?;
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let (indices, updates) = (inputs.get(1)?, inputs.get(2)?);
        let at = offsets(x.shape(), axis(along, x.rank())?, indices, context)?;
        Ok(vec![write(x, updates, &at, 1, how, context)?])
    })
}

fn scatter_nd(node: &Node<'_>) -> Built {
    let how = reduction(node)?;
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let (indices, updates) = (inputs.get(1)?, inputs.get(2)?);
        let (at, slice) = slices(x.shape(), 0, indices, context)?;
        Ok(vec![write(x, updates, &at, slice.iter().product(), how, context)?])
    })
}

fn tensor_scatter(node: &Node<'_>) -> Built {
    let along = node.int("axis", -2)?;
    let circular = match node.string("mode", "linear")?.as_str() {
        "linear" => false,
        "circular" => true,
        other => return Err(node.error(format!("unknown mode {other}"))),
    };
    kernel(move |inputs, context| {
        let cache = inputs.take(0)?;
        let update = inputs.get(1)?;
        let along = axis(along, cache.rank())?;
        let shape = cache.shape().to_vec();
        let fits = update.rank() == shape.len()
            && along > 0
            && update.shape().iter().zip(&shape).enumerate().all(|(i, (n, d))| n == d || (i == along && n <= d));
        if !fits {
            let came = update.shape();
            return Err(failure::wrong_shape(format!("an update of shape {came:?} of a cache of shape {shape:?}")));
        }
        let starts = inputs.optional(2).map(Tensor::to_i64s).transpose()?.unwrap_or_else(|| vec![0; shape[0]]);
        if starts.len() != shape[0] {
            return Err(failure::wrong_shape(format!("{} write indices for {} samples", starts.len(), shape[0])));
        }
        let (length, new) = (shape[along], update.shape()[along]);
        let run: usize = shape[along + 1..].iter().product();
        let prefixes: usize = shape[..along].iter().product();
        context.claim::<i64>(prefixes.saturating_mul(new))?;
        let mut at = Vec::with_capacity(prefixes * new);
        for prefix in 0..prefixes {
            let start = starts[prefix / (prefixes / shape[0])];
            for step in 0..new as i64 {
                let index = start.saturating_add(step);
                let index = if circular { index.rem_euclid((length as i64).max(1)) } else { index };
                let outside = || failure::out_of_range(format!("position {index} of a cache of {length}"));
                let index = usize::try_from(index).ok().filter(|i| *i < length).ok_or_else(outside)?;
                at.push((prefix * length + index) * run);
            }
        }
        Ok(vec![write(cache, update, &at, run, Reduction::Replace, context)?])
    })
}
