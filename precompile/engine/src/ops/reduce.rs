//! Reductions along axes: sums in fixed order, extremes, norms, positions.

use super::cast::cast;
use super::layout::{ints, permute};
use super::number::{Number, numeric};
use super::shape::{around, axes, axis};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::math;
use crate::kernels::parallel_parts;
use crate::kernels::sum::{max16, sum_by, sum16};
use crate::tensor::{ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("ArgMax", 1..=LATEST, |node| arg(node, |a, b| a > b)),
    Operator::onnx("ArgMin", 1..=LATEST, |node| arg(node, |a, b| a < b)),
    Operator::onnx("CumSum", 11..=LATEST, cum_sum),
    Operator::onnx("ReduceL1", 1..=LATEST, |node| reduce(node, Reduction::L1)),
    Operator::onnx("ReduceL2", 1..=LATEST, |node| reduce(node, Reduction::L2)),
    Operator::onnx("ReduceLogSum", 1..=LATEST, |node| reduce(node, Reduction::LogSum)),
    Operator::onnx("ReduceLogSumExp", 1..=LATEST, |node| reduce(node, Reduction::LogSumExp)),
    Operator::onnx("ReduceMax", 1..=LATEST, |node| reduce(node, Reduction::Max)),
    Operator::onnx("ReduceMean", 1..=LATEST, |node| reduce(node, Reduction::Mean)),
    Operator::onnx("ReduceMin", 1..=LATEST, |node| reduce(node, Reduction::Min)),
    Operator::onnx("ReduceProd", 1..=LATEST, |node| reduce(node, Reduction::Prod)),
    Operator::onnx("ReduceSum", 1..=LATEST, |node| reduce(node, Reduction::Sum)),
    Operator::onnx("ReduceSumSquare", 1..=LATEST, |node| reduce(node, Reduction::SumSquare)),
];

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reduction {
    L1,
    L2,
    LogSum,
    LogSumExp,
    Max,
    Mean,
    Min,
    Prod,
    Sum,
    SumSquare,
}

impl Reduction {
    /// Of a row of `f32`: sums in sixteen lanes, products in order.
    fn narrow(self, row: &[f32]) -> f32 {
        match self {
            Self::L1 => sum_by(row, f32::abs),
            Self::L2 => sum_by(row, |x| x * x).sqrt(),
            Self::LogSum => math::log(sum16(row)),
            Self::LogSumExp => {
                let max = max16(row);
                let shift = if max.is_finite() { max } else { 0.0 };
                math::log(sum_by(row, |x| math::exp(x - shift))) + shift
            }
            Self::Max => max16(row),
            Self::Mean => sum16(row) / row.len() as f32,
            Self::Min => -row.iter().fold(f32::NEG_INFINITY, |a, x| if a > -x { a } else { -x }),
            Self::Prod => row.iter().product(),
            Self::Sum => sum16(row),
            Self::SumSquare => sum_by(row, |x| x * x),
        }
    }

    /// Of a row of another type, in order; integers wrap.
    fn any<T: Number>(self, row: &[T]) -> T {
        let fold = |f: &dyn Fn(T, T) -> T, first: T| row.iter().fold(first, |a, x| f(a, *x));
        let size = |x: T| if x < T::ZERO { T::ZERO.minus(x) } else { x };
        let float = |f: &dyn Fn(f64) -> f64, x: T| T::from_f64(f(x.to_f64()));
        let sum = || fold(&|a, x| a.plus(x), T::ZERO);
        match self {
            Self::L1 => fold(&|a, x| a.plus(size(x)), T::ZERO),
            Self::L2 => float(&libm::sqrt, self.squares(row)),
            Self::LogSum => float(&libm::log, sum()),
            Self::LogSumExp => {
                let max = row.iter().fold(f64::NEG_INFINITY, |a, x| if a > x.to_f64() { a } else { x.to_f64() });
                let shift = if max.is_finite() { max } else { 0.0 };
                T::from_f64(libm::log(row.iter().fold(0.0, |a, x| a + libm::exp(x.to_f64() - shift))) + shift)
            }
            Self::Max => row.split_first().map_or(T::from_f64(f64::NEG_INFINITY), |(first, rest)| {
                rest.iter().fold(*first, |a, x| if a > *x { a } else { *x })
            }),
            Self::Min => row.split_first().map_or(T::from_f64(f64::INFINITY), |(first, rest)| {
                rest.iter().fold(*first, |a, x| if a < *x { a } else { *x })
            }),
            Self::Mean => sum().over(T::from_i64(row.len() as i64)),
            Self::Prod => fold(&|a, x| a.times(x), T::ONE),
            Self::Sum => sum(),
            Self::SumSquare => self.squares(row),
        }
    }

    fn squares<T: Number>(self, row: &[T]) -> T {
        row.iter().fold(T::ZERO, |a, x| a.plus(x.times(*x)))
    }
}

fn reduce(node: &Node<'_>, reduction: Reduction) -> Built {
    let (given, keep) = (node.ints("axes")?, node.flag("keepdims", true)?);
    let nothing = node.flag("noop_with_empty_axes", false)?;
    kernel(move |inputs, context| {
        let listed = ints(&given, inputs, 1)?.filter(|axes| !axes.is_empty());
        let x = inputs.take(0)?;
        let reduced = match listed {
            Some(listed) => axes(&listed, x.rank())?,
            None if nothing => return apply_each(x, reduction, context),
            None => (0..x.rank()).collect(),
        };
        let shape = x.shape().iter().enumerate();
        let shape =
            shape.filter_map(|(a, d)| if !reduced.contains(&a) { Some(*d) } else { keep.then_some(1) }).collect();
        Ok(vec![rows(x, &reduced, reduction, context)?.reshape(shape)?])
    })
}

/// Without axes, each element is a row of its own.
fn apply_each(x: Tensor, reduction: Reduction, context: &Context) -> Result<Vec<Tensor>, Failure> {
    let shape = x.shape().to_vec();
    let rank = x.rank();
    let wide = x.reshape(shape.iter().copied().chain([1]).collect())?;
    Ok(vec![rows(wide, &[rank], reduction, context)?.reshape(shape)?])
}

/// Reduces `axes`, brought to the end in ascending order.
fn rows(x: Tensor, axes: &[usize], reduction: Reduction, context: &Context) -> Result<Tensor, Failure> {
    let order: Vec<usize> = (0..x.rank()).filter(|a| !axes.contains(a)).chain(axes.iter().copied()).collect();
    let width: usize = axes.iter().map(|a| x.shape()[*a]).product();
    let count: usize = (0..x.rank()).filter(|a| !axes.contains(a)).map(|a| x.shape()[a]).product();
    let x = permute(&x, &order, context)?;
    match x.element_type() {
        ElementType::F32 => {
            let values = x.values::<f32>()?;
            let mut out = context.zeros::<f32>(count)?;
            parallel_parts(&mut out, 1, 16 * width, |first, part| {
                for (i, y) in part.iter_mut().enumerate() {
                    *y = reduction.narrow(&values[(first + i) * width..(first + i + 1) * width]);
                }
            });
            Tensor::new([count], out)
        }
        kind @ (ElementType::F16 | ElementType::Bf16) => {
            let all: Vec<usize> = (x.rank() - axes.len()..x.rank()).collect();
            cast(&rows(cast(&x, ElementType::F32, context)?, &all, reduction, context)?, kind, context)
        }
        ElementType::Bool if matches!(reduction, Reduction::Max | Reduction::Min) => {
            let values = x.values::<bool>()?;
            let row = |i: usize| &values[i * width..(i + 1) * width];
            let any = |i| if reduction == Reduction::Max { row(i).contains(&true) } else { !row(i).contains(&false) };
            Tensor::new([count], (0..count).map(any).collect::<Vec<bool>>())
        }
        kind => numeric!(kind, T => {
            let values = x.values::<T>()?;
            let mut out = context.reserve::<T>(count)?;
            if T::INTEGER && width == 0 && reduction == Reduction::Mean {
                return Err(failure::undefined("the mean of no integers"));
            }
            out.extend((0..count).map(|i| reduction.any(&values[i * width..(i + 1) * width])));
            Tensor::new([count], out)
        }, else Err(failure::wrong_type(format!("cannot reduce {kind}")))),
    }
}

/// Where the first element is that is `better` than all before; ties go to the lowest index, or the highest if asked.
fn arg(node: &Node<'_>, better: fn(f64, f64) -> bool) -> Built {
    let (given, keep, last) =
        (node.int("axis", 0)?, node.flag("keepdims", true)?, node.flag("select_last_index", false)?);
    fn places<T: Number>(
        x: &Tensor,
        at: usize,
        last: bool,
        greater: bool,
        context: &Context,
    ) -> Result<Vec<i64>, Failure> {
        let (outer, length, inner) = around(x.shape(), at);
        let values = x.values::<T>()?;
        if length == 0 {
            return Err(failure::undefined("the position of the greatest of no elements"));
        }
        let mut out = context.reserve::<i64>(outer * inner)?;
        for i in 0..outer * inner {
            let element = |j: usize| values[(i / inner * length + j) * inner + i % inner];
            let wins = |a: T, b: T| if greater { a > b } else { a < b };
            let better = |best: usize, j: usize| wins(element(j), element(best)) || last && element(j) == element(best);
            out.push((1..length).fold(0, |best, j| if better(best, j) { j } else { best }) as i64);
        }
        Ok(out)
    }
    let greater = better(1.0, 0.0);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let at = axis(given, x.rank())?;
        let kind = x.element_type();
        let out = numeric!(kind, T => places::<T>(x, at, last, greater, context)?, else return Err(failure::wrong_type(format!("cannot compare {kind}"))));
        let mut shape = x.shape().to_vec();
        if keep {
            shape[at] = 1;
        } else {
            shape.remove(at);
        }
        Ok(vec![Tensor::new(shape, out)?])
    })
}

/// Running sums, in order.
fn cum_sum(node: &Node<'_>) -> Built {
    let (exclusive, reverse) = (node.flag("exclusive", false)?, node.flag("reverse", false)?);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let at = axis(inputs.get(1)?.to_i64s()?.first().copied().unwrap_or(0), x.rank())?;
        let (outer, length, inner) = around(x.shape(), at);
        let kind = x.element_type();
        let y = numeric!(kind, T => {
            let values = x.values::<T>()?;
            let mut out = context.zeros::<T>(x.len())?;
            for i in 0..outer * inner {
                let mut sum = T::ZERO;
                for j in 0..length {
                    let j = if reverse { length - 1 - j } else { j };
                    let place = (i / inner * length + j) * inner + i % inner;
                    let next = sum.plus(values[place]);
                    out[place] = if exclusive { sum } else { next };
                    sum = next;
                }
            }
            Tensor::new(x.shape(), out)?
        }, else return Err(failure::wrong_type(format!("cannot sum {kind}"))));
        Ok(vec![y])
    })
}
