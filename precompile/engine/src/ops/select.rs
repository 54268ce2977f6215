//! What is chosen by its value: `Compress`, `NonZero`, `OneHot`, `TopK`, `Unique`, `ReverseSequence`.

use std::cmp::Ordering;

use super::shape::{around, axis, count};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::tensor::{Element, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Compress", 9..=LATEST, compress),
    Operator::onnx("NonZero", 9..=LATEST, non_zero),
    Operator::onnx("OneHot", 9..=LATEST, one_hot),
    Operator::onnx("ReverseSequence", 10..=LATEST, reverse_sequence),
    Operator::onnx("TopK", 1..=LATEST, top_k),
    Operator::onnx("Unique", 11..=LATEST, unique),
];

/// The parts of `x` at positions `picked` along the middle of (outer, length, inner).
fn parts<T: Element>(
    x: &[T],
    (outer, length, inner): (usize, usize, usize),
    picked: &[usize],
    context: &Context,
) -> Result<Vec<T>, Failure> {
    let size = outer.saturating_mul(picked.len()).saturating_mul(inner);
    let mut out = context.reserve::<T>(size)?;
    for o in 0..outer {
        for k in picked {
            let from = (o * length + k) * inner;
            out.extend_from_slice(&x[from..from + inner]);
        }
    }
    Ok(out)
}

fn compress(node: &Node<'_>) -> Built {
    let along = if node.has("axis") { Some(node.int("axis", 0)?) } else { None };
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let condition = inputs.get(1)?.values::<bool>()?;
        let (mut shape, along) = match along {
            Some(along) => (x.shape().to_vec(), axis(along, x.rank())?),
            None => (vec![x.len()], 0),
        };
        let around = around(&shape, along);
        let picked: Vec<usize> = (0..condition.len()).filter(|i| condition[*i]).collect();
        if picked.last().is_some_and(|last| *last >= around.1) {
            return Err(failure::out_of_range(format!("{} conditions for {} elements", condition.len(), around.1)));
        }
        shape[along] = picked.len();
        with_data!(x.data(), v => Ok(vec![Tensor::new(shape, parts(v, around, &picked, context)?)?]))
    })
}

fn non_zero(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let x = inputs.get(0)?;
        fn found<T: Element>(values: &[T]) -> Vec<usize> {
            let zero = T::default();
            (0..values.len()).filter(|i| values[*i] != zero).collect()
        }
        context.claim::<i64>(x.len())?;
        let at = with_data!(x.data(), v => found(v.as_slice()));
        // A scalar counts as one element of one dimension.
        let shape = if x.rank() == 0 { vec![1] } else { x.shape().to_vec() };
        let strides = super::shape::strides(&shape);
        let mut out = context.reserve::<i64>(shape.len().saturating_mul(at.len()))?;
        for (length, stride) in shape.iter().zip(&strides) {
            out.extend(at.iter().map(|offset| (offset / stride % length) as i64));
        }
        Ok(vec![Tensor::new([shape.len(), at.len()], out)?])
    })
}

fn one_hot(node: &Node<'_>) -> Built {
    let along = node.int("axis", -1)?;
    kernel(move |inputs, context| {
        let indices = super::floats::widen_numbers(inputs.get(0)?, context)?;
        let depth = super::floats::widen_numbers(inputs.get(1)?, context)?;
        let depth = match depth[..] {
            [depth] if (0.0..2_147_483_648.0).contains(&depth) => depth as usize,
            _ => return Err(failure::out_of_range(format!("the depth {depth:?} is not one number >= 0"))),
        };
        let shape = inputs.get(0)?.shape();
        let along = axis(along, shape.len() + 1)?;
        let mut out_shape = shape.to_vec();
        out_shape.insert(along, depth);
        let size = count(&out_shape)?;
        let inner: usize = shape[along..].iter().product();
        let on_off = inputs.get(2)?;
        if on_off.len() != 2 {
            return Err(failure::wrong_shape(format!("expected an off and an on value, got {} values", on_off.len())));
        }
        fn fill<T: Element>(values: &[T], size: usize, on: &[usize], context: &Context) -> Result<Vec<T>, Failure> {
            context.claim::<T>(size)?;
            let mut out = vec![values[0].clone(); size];
            on.iter().for_each(|at| out[*at] = values[1].clone());
            Ok(out)
        }
        let mut on = Vec::with_capacity(indices.len());
        for (i, index) in indices.iter().enumerate() {
            let class = if *index < 0.0 { *index + depth as f64 } else { *index };
            // Classes out of range have no element that is on.
            if class >= 0.0 && class < depth as f64 {
                on.push((i / inner.max(1) * depth + class as usize) * inner + i % inner.max(1));
            }
        }
        with_data!(on_off.data(), v => Ok(vec![Tensor::new(out_shape, fill(v, size, &on, context)?)?]))
    })
}

fn reverse_sequence(node: &Node<'_>) -> Built {
    let (batch, time) = (node.int("batch_axis", 1)?, node.int("time_axis", 0)?);
    if !matches!((batch, time), (0, 1) | (1, 0)) {
        return Err(node.error("batch_axis and time_axis must be 0 and 1 in either order"));
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let lengths = inputs.get(1)?.to_i64s()?;
        if x.rank() < 2 || lengths.len() != x.shape()[batch as usize] {
            let shape = x.shape();
            return Err(failure::wrong_shape(format!("{} lengths for the shape {shape:?}", lengths.len())));
        }
        let (rows, columns) = (x.shape()[0], x.shape()[1]);
        let times = x.shape()[time as usize] as i64;
        if let Some(bad) = lengths.iter().find(|l| !(0..=times).contains(*l)) {
            return Err(failure::out_of_range(format!("a sequence of {bad} of {times} steps")));
        }
        let inner: usize = x.shape()[2..].iter().product();
        fn reversed<T: Element>(
            x: &[T],
            inner: usize,
            size: usize,
            context: &Context,
            order: impl Iterator<Item = usize>,
        ) -> Result<Vec<T>, Failure> {
            let mut out = context.reserve::<T>(size)?;
            order.for_each(|at| out.extend_from_slice(&x[at * inner..(at + 1) * inner]));
            Ok(out)
        }
        let order = (0..rows * columns).map(|at| {
            let (row, column) = (at / columns, at % columns);
            let (of, step) = if batch == 0 { (row, column) } else { (column, row) };
            let length = lengths[of] as usize;
            let step = if step < length { length - 1 - step } else { step };
            if batch == 0 { row * columns + step } else { step * columns + column }
        });
        with_data!(x.data(), v => Ok(vec![Tensor::new(x.shape(), reversed(v, inner, x.len(), context, order)?)?]))
    })
}

/// A total order of tensor elements; NaN is larger than every number.
trait Ordered: Element {
    fn order(&self, other: &Self) -> Ordering;
}
macro_rules! ordered {
    ($($t:ty),*) => {$(
        impl Ordered for $t {
            fn order(&self, other: &Self) -> Ordering { self.cmp(other) }
        }
    )*};
}
ordered!(u8, i8, u16, i16, u32, i32, u64, i64, bool, String);
macro_rules! ordered_floats {
    ($($t:ty),*) => {$(
        impl Ordered for $t {
            fn order(&self, other: &Self) -> Ordering {
                self.partial_cmp(other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
            }
        }
    )*};
}
ordered_floats!(f32, f64, half::f16, half::bf16);

fn top_k(node: &Node<'_>) -> Built {
    let along = node.int("axis", -1)?;
    let largest = node.flag("largest", true)?;
    let fixed = if node.opset() < 10 { Some(node.int("k", 0)?) } else { None };
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let k = match fixed {
            Some(k) => k,
            None => inputs.get(1)?.single::<i64>()?,
        };
        let around = around(x.shape(), axis(along, x.rank())?);
        let k = usize::try_from(k).ok().filter(|k| *k <= around.1);
        let k = k.ok_or_else(|| failure::out_of_range(format!("k is not within the {} elements", around.1)))?;
        let mut shape = x.shape().to_vec();
        shape[axis(along, x.rank())?] = k;
        with_data!(x.data(), v => best(v, around, k, largest, shape, context))
    })
}

/// Values and indices, best first; of equal ones the lower index comes first.
fn best<T: Ordered>(
    x: &[T],
    (outer, length, inner): (usize, usize, usize),
    k: usize,
    largest: bool,
    shape: Vec<usize>,
    context: &Context,
) -> Result<Vec<Tensor>, Failure> {
    let size = outer * k * inner;
    context.claim::<T>(size)?;
    context.claim::<i64>(size.saturating_add(length))?;
    let mut values = vec![T::default(); size];
    let mut indices = vec![0i64; size];
    let mut order: Vec<usize> = Vec::with_capacity(length);
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| &x[(o * length + j) * inner + i];
            let compare = |a: &usize, b: &usize| {
                let by_value = at(*a).order(at(*b));
                (if largest { by_value.reverse() } else { by_value }).then(a.cmp(b))
            };
            order.clear();
            order.extend(0..length);
            first_sorted(&mut order, k, &compare);
            for (rank, j) in order[..k].iter().enumerate() {
                values[(o * k + rank) * inner + i] = at(*j).clone();
                indices[(o * k + rank) * inner + i] = *j as i64;
            }
        }
    }
    Ok(vec![Tensor::new(shape.clone(), values)?, Tensor::new(shape, indices)?])
}

/// Brings the first `k` in order to the front. Dynamic: sorting takes much code, and should not take it for each type.
fn first_sorted(order: &mut [usize], k: usize, compare: &dyn Fn(&usize, &usize) -> Ordering) {
    if k > 0 && k < order.len() {
        order.select_nth_unstable_by(k - 1, compare);
    }
    order[..k].sort_unstable_by(compare);
}

/// Groups of equal parts in ascending order, each with its first part; the sort is stable, so that is the first of all.
fn grouped(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<(usize, Vec<usize>)> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
    for j in order {
        match groups.last_mut() {
            Some((first, members)) if compare(*first, j) == Ordering::Equal => members.push(j),
            _ => groups.push((j, vec![j])),
        }
    }
    groups
}

fn unique(node: &Node<'_>) -> Built {
    let along = if node.has("axis") { Some(node.int("axis", 0)?) } else { None };
    let sorted = node.flag("sorted", true)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let (shape, along) = match along {
            Some(along) => (x.shape().to_vec(), axis(along, x.rank())?),
            None => (vec![x.len()], 0),
        };
        with_data!(x.data(), v => distinct(v, &shape, along, sorted, context))
    })
}

/// The distinct parts along an axis, where each is first, which one each part is, and how often.
fn distinct<T: Ordered>(
    x: &[T],
    shape: &[usize],
    along: usize,
    sorted: bool,
    context: &Context,
) -> Result<Vec<Tensor>, Failure> {
    let (outer, length, inner) = around(shape, along);
    context.claim::<i64>(5 * length)?;
    let part = |j: usize| (0..outer).flat_map(move |o| x[(o * length + j) * inner..][..inner].iter());
    let compare = |a: usize, b: usize| {
        part(a).zip(part(b)).map(|(a, b)| a.order(b)).find(|o| *o != Ordering::Equal).unwrap_or(Ordering::Equal)
    };
    let mut groups = grouped(length, &compare);
    if !sorted {
        groups.sort_by_key(|(first, _)| *first);
    }
    let mut inverse = vec![0i64; length];
    for (index, (_, members)) in groups.iter().enumerate() {
        members.iter().for_each(|j| inverse[*j] = index as i64);
    }
    let firsts: Vec<usize> = groups.iter().map(|(first, _)| *first).collect();
    let mut out_shape = shape.to_vec();
    out_shape[along] = firsts.len();
    Ok(vec![
        Tensor::new(out_shape, parts(x, (outer, length, inner), &firsts, context)?)?,
        Tensor::vector(firsts.iter().map(|j| *j as i64).collect::<Vec<_>>()),
        Tensor::vector(inverse),
        Tensor::vector(groups.iter().map(|(_, members)| members.len() as i64).collect::<Vec<_>>()),
    ])
}
