//! Values that do not come from elements: constants, shapes, padding, and the dropout that does nothing.

use super::layout::{dimension, ints};
use super::shape::{axis, count, strides};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::parallel_parts;
use crate::tensor::{Data, Element, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Constant", 1..=LATEST, constant),
    Operator::onnx("ConstantOfShape", 9..=LATEST, constant_of_shape),
    Operator::onnx("Dropout", 1..=LATEST, dropout),
    Operator::onnx("Pad", 1..=LATEST, pad),
    Operator::onnx("Shape", 1..=LATEST, shape),
    Operator::onnx("Size", 1..=LATEST, size),
];

fn constant(node: &Node<'_>) -> Built {
    let value = if let Some(tensor) = node.tensor("value")? {
        tensor
    } else if node.has("value_float") {
        Tensor::scalar(node.float("value_float", 0.0)?)
    } else if node.has("value_int") {
        Tensor::scalar(node.int("value_int", 0)?)
    } else if node.has("value_string") {
        Tensor::scalar(node.string("value_string", "")?)
    } else if let Some(values) = node.floats("value_floats")? {
        Tensor::vector(values)
    } else if let Some(values) = node.ints("value_ints")? {
        Tensor::vector(values)
    } else if let Some(values) = node.strings("value_strings")? {
        Tensor::vector(values)
    } else {
        return Err(node.error("no supported value: store it as a dense tensor"));
    };
    kernel(move |_, _| Ok(vec![value.clone()]))
}

fn constant_of_shape(node: &Node<'_>) -> Built {
    let value = node.tensor("value")?.unwrap_or_else(|| Tensor::vector(vec![0.0f32]));
    if value.len() != 1 {
        return Err(node.error("value must have one element"));
    }
    fn fill<T: Element>(v: &[T], n: usize, context: &Context) -> Result<Data, Failure> {
        let mut out = context.reserve::<T>(n)?;
        out.extend(std::iter::repeat_n(&v[0], n).cloned());
        Ok(T::wrap(out.into()))
    }
    kernel(move |inputs, context| {
        let shape = inputs.get(0)?.to_i64s()?.iter().map(|d| dimension(*d)).collect::<Result<Vec<_>, _>>()?;
        let n = count(&shape)?;
        let data = with_data!(value.data(), v => fill(v, n, context)?);
        Ok(vec![Tensor::from_data(shape, data)?])
    })
}

fn shape(node: &Node<'_>) -> Built {
    let (start, end) = (node.int("start", 0)?, node.int("end", i64::MAX)?);
    kernel(move |inputs, _| {
        let x = inputs.get(0)?;
        let rank = x.rank() as i64;
        let clamp = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
        let (start, end) = (clamp(start), clamp(end));
        Ok(vec![Tensor::vector(x.shape()[start..end.max(start)].iter().map(|d| *d as i64).collect())])
    })
}

fn size(_: &Node<'_>) -> Built {
    kernel(|inputs, _| Ok(vec![Tensor::scalar(inputs.get(0)?.len() as i64)]))
}

fn dropout(node: &Node<'_>) -> Built {
    let training = node.opset() < 7 && node.has("is_test") && !node.flag("is_test", true)?;
    if training {
        return Err(node.error("dropout in training mode is random: export the model for inference"));
    }
    if let Some(mode) = node.constant(2) {
        if mode.single::<bool>().unwrap_or(true) {
            return Err(node.error("dropout in training mode is random: export the model for inference"));
        }
    } else if node.has_input(2) {
        return Err(node.error("training_mode must be a constant: export the model for inference"));
    }
    kernel(|inputs, context| {
        let x = inputs.take(0)?;
        context.claim::<bool>(x.len())?;
        let mask = Tensor::new(x.shape(), vec![true; x.len()])?;
        Ok(vec![x, mask])
    })
}

/// What stands outside of the tensor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outside {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

impl Outside {
    /// For each place of the padded axis, the element that stands there.
    fn sources(self, before: i64, length: usize, after: i64, context: &Context) -> Result<Vec<Option<usize>>, Failure> {
        let total = before.checked_add(after).and_then(|n| n.checked_add(length as i64)).unwrap_or(-1);
        let total = dimension(total)?;
        context.claim::<f64>(2 * count(&[total])?)?;
        if length == 0 && total > 0 && self != Self::Constant {
            return Err(failure::undefined("nothing to repeat in an axis without elements"));
        }
        let n = length as i64;
        let source = |i: usize| {
            let at = i as i64 - before;
            match self {
                _ if (0..n).contains(&at) => Some(at),
                Self::Constant => None,
                Self::Edge => Some(at.clamp(0, n - 1)),
                Self::Wrap => Some(at.rem_euclid(n)),
                Self::Reflect if n == 1 => Some(0),
                Self::Reflect => {
                    let at = at.rem_euclid(2 * (n - 1));
                    Some(if at < n { at } else { 2 * (n - 1) - at })
                }
            }
        };
        Ok((0..total).map(|i| source(i).map(|s| s as usize)).collect())
    }
}

fn pad(node: &Node<'_>) -> Built {
    let outside = match node.string("mode", "constant")?.as_str() {
        "constant" => Outside::Constant,
        "reflect" => Outside::Reflect,
        "edge" => Outside::Edge,
        "wrap" => Outside::Wrap,
        other => return Err(node.error(format!("mode {other} is unknown"))),
    };
    let given = match node.ints("pads")? {
        Some(pads) => Some(pads),
        None => node.ints("paddings")?,
    };
    let value = node.float("value", 0.0)?;
    fn fill<T: Element>(
        v: &[T],
        own: &[usize],
        sources: &[Vec<Option<usize>>],
        outside: T,
        context: &Context,
    ) -> Result<Data, Failure> {
        let shape: Vec<usize> = sources.iter().map(Vec::len).collect();
        let mut out = context.room::<T>(count(&shape)?)?;
        let Some((columns, outer)) = sources.split_last() else {
            out.clone_from_slice(v);
            return Ok(T::wrap(out.into()));
        };
        // Where the last axis is only moved, its elements are copied as one run.
        let first = columns.iter().position(Option::is_some).unwrap_or(0);
        let inner: Vec<usize> = columns.iter().flatten().copied().collect();
        let moved = columns[first..].iter().take(inner.len()).all(Option::is_some)
            && inner.windows(2).all(|w| w[1] == w[0] + 1);
        let places = strides(&shape[..outer.len()]);
        if out.is_empty() {
            return Ok(T::wrap(out.into()));
        }
        parallel_parts(&mut out, columns.len(), 8, |row0, part| {
            for (i, out) in part.chunks_exact_mut(columns.len()).enumerate() {
                let place = |a: usize| (row0 + i) / places[a] % shape[a];
                let start = (0..outer.len()).try_fold(0, |sum, a| Some(sum + outer[a][place(a)]? * own[a]));
                match (start, inner.first()) {
                    (Some(start), Some(from)) if moved => {
                        let (before, rest) = out.split_at_mut(first);
                        let (inside, after) = rest.split_at_mut(inner.len());
                        before.fill(outside.clone());
                        inside.clone_from_slice(&v[start + from..start + from + inner.len()]);
                        after.fill(outside.clone());
                    }
                    (Some(start), _) => {
                        let values = columns.iter().map(|c| c.map_or(&outside, |c| &v[start + c]));
                        out.iter_mut().zip(values).for_each(|(out, value)| *out = value.clone());
                    }
                    (None, _) => out.fill(outside.clone()),
                }
            }
        });
        Ok(T::wrap(out.into()))
    }
    /// The value outside, of the type of the tensor.
    fn outside_value<T: Element>(given: Option<&Tensor>, _: &[T]) -> Result<T, Failure> {
        given.map_or_else(|| Ok(T::default()), Tensor::single::<T>)
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let pads = ints(&given, inputs, 1)?.ok_or_else(|| failure::arity("the pads are missing"))?;
        let listed = match inputs.optional(3) {
            Some(axes) => axes.to_i64s()?.iter().map(|a| axis(*a, x.rank())).collect::<Result<Vec<_>, _>>()?,
            None => (0..x.rank()).collect(),
        };
        if pads.len() != 2 * listed.len() {
            return Err(failure::wrong_shape(format!("{} pads for {} axes", pads.len(), listed.len())));
        }
        let mut around = vec![(0, 0); x.rank()];
        listed.iter().enumerate().for_each(|(i, a)| around[*a] = (pads[i], pads[i + listed.len()]));
        let sources = around
            .iter()
            .zip(x.shape())
            .map(|((b, a), n)| outside.sources(*b, *n, *a, context))
            .collect::<Result<Vec<_>, _>>()?;
        let shape = sources.iter().map(Vec::len).collect();
        let legacy = if value == 0.0 {
            None
        } else {
            Some(super::cast::cast(&Tensor::scalar(value), x.element_type(), context)?)
        };
        let fill_with = inputs.optional(2).or(legacy.as_ref());
        let data =
            with_data!(x.data(), v => fill(v, &strides(x.shape()), &sources, outside_value(fill_with, v)?, context)?);
        Ok(vec![Tensor::from_data(shape, data)?])
    })
}
