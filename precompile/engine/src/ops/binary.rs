//! Elementwise operators on two or more tensors, with broadcasting.

use super::number::{Number, numeric};
use super::shape::{broadcast, broadcast_strides, for_each_run, simplify, strides};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::kernels::{math, parallel_parts};
use crate::tensor::{Element, ElementType, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Add", 1..=LATEST, add),
    Operator::onnx("And", 1..=LATEST, and),
    Operator::onnx("Div", 1..=LATEST, div),
    Operator::onnx("Equal", 1..=LATEST, equal),
    Operator::onnx("Greater", 1..=LATEST, greater),
    Operator::onnx("GreaterOrEqual", 12..=LATEST, greater_or_equal),
    Operator::onnx("Less", 1..=LATEST, less),
    Operator::onnx("LessOrEqual", 12..=LATEST, less_or_equal),
    Operator::onnx("Max", 1..=LATEST, max),
    Operator::onnx("Mean", 1..=LATEST, mean),
    Operator::onnx("Min", 1..=LATEST, min),
    Operator::onnx("Mul", 1..=LATEST, mul),
    Operator::onnx("Or", 1..=LATEST, or),
    Operator::onnx("Pow", 1..=LATEST, pow),
    Operator::onnx("Sub", 1..=LATEST, sub),
    Operator::onnx("Sum", 1..=LATEST, sum),
    Operator::onnx("Where", 9..=LATEST, select),
    Operator::onnx("Xor", 1..=LATEST, xor),
];

/// `out[i] = f(out[i], other[i])`, where `other` broadcasts to the shape of `out`.
fn update<T: Copy + Send, U: Copy + Sync>(
    out: &mut [T],
    shape: &[usize],
    other: &[U],
    other_shape: &[usize],
    f: impl Fn(T, U) -> T + Send + Sync,
) {
    if out.is_empty() {
        return;
    }
    let (shape, [_, other_strides]) = simplify(shape, [&strides(shape), &broadcast_strides(other_shape, shape)]);
    let (first, inner) = (other_strides[0], shape[1..].iter().product());
    let last = *other_strides.last().expect("at least one axis");
    let run = if shape.len() == 1 { 1 } else { *shape.last().expect("at least one axis") };
    parallel_parts(out, inner, 8, |row0, part| {
        let rows = part.len() / inner.max(1);
        if shape.len() == 1 {
            let other = &other[row0 * first..];
            if first == 0 {
                part.iter_mut().for_each(|x| *x = f(*x, other[0]));
            } else {
                part.iter_mut().zip(other).for_each(|(x, y)| *x = f(*x, *y));
            }
            return;
        }
        let mut outer = shape.clone();
        outer[0] = rows;
        let mut runs = part.chunks_exact_mut(run);
        for_each_run(&outer, [&other_strides], |[offset]| {
            let other = &other[row0 * first + offset..];
            let Some(part) = runs.next() else { return };
            if last == 0 {
                part.iter_mut().for_each(|x| *x = f(*x, other[0]));
            } else {
                part.iter_mut().zip(other).for_each(|(x, y)| *x = f(*x, *y));
            }
        });
    });
}

/// `f` of each pair of elements, of tensors of one type that broadcast.
pub(crate) fn zip<T: Element + Copy, R: Element + Copy>(
    a: &Tensor,
    b: &Tensor,
    context: &Context,
    f: impl Fn(T, T) -> R + Send + Sync,
) -> Result<Tensor, Failure> {
    let shape = broadcast(&[a.shape(), b.shape()])?;
    let (a_values, b_values) = (a.values::<T>()?, b.values::<T>()?);
    let mut out = context.reserve::<R>(shape.iter().product())?;
    let strides = [&broadcast_strides(a.shape(), &shape)[..], &broadcast_strides(b.shape(), &shape)[..]];
    let (joined, [a_strides, b_strides]) = simplify(&shape, strides);
    let (length, a_step, b_step) = (joined[joined.len() - 1], a_strides[joined.len() - 1], b_strides[joined.len() - 1]);
    for_each_run(&joined, [&a_strides, &b_strides], |[i, j]| match (a_step, b_step) {
        (0, 0) => out.extend((0..length).map(|_| f(a_values[i], b_values[j]))),
        (0, _) => out.extend(b_values[j..j + length].iter().map(|y| f(a_values[i], *y))),
        (_, 0) => out.extend(a_values[i..i + length].iter().map(|x| f(*x, b_values[j]))),
        _ => out.extend(a_values[i..i + length].iter().zip(&b_values[j..j + length]).map(|(x, y)| f(*x, *y))),
    });
    Tensor::new(shape, out)
}

/// As [`zip`], where the result is of the same type: in place where an operand has the result's shape.
pub(crate) fn combine<T: Element + Copy>(
    a: Tensor,
    b: Tensor,
    context: &Context,
    f: impl Fn(T, T) -> T + Send + Sync,
) -> Result<Tensor, Failure> {
    let shape = broadcast(&[a.shape(), b.shape()])?;
    if a.shape() == shape {
        context.claim::<T>(a.len())?;
        let mut out = a.into_values::<T>()?;
        update(&mut out, &shape, b.values::<T>()?, b.shape(), f);
        context.recycle(b);
        return Tensor::new(shape, out);
    }
    if b.shape() == shape {
        context.claim::<T>(b.len())?;
        let mut out = b.into_values::<T>()?;
        update(&mut out, &shape, a.values::<T>()?, a.shape(), |y, x| f(x, y));
        context.recycle(a);
        return Tensor::new(shape, out);
    }
    zip(&a, &b, context, f)
}

/// As [`combine`], by a function pointer: the loops exist once for each type instead of once for each operator.
pub(crate) fn pointwise<T: Element + Copy>(
    a: Tensor,
    b: Tensor,
    context: &Context,
    f: fn(T, T) -> T,
) -> Result<Tensor, Failure> {
    combine(a, b, context, f)
}

/// As [`zip`], by a function pointer.
fn compare<T: Element + Copy>(
    a: &Tensor,
    b: &Tensor,
    context: &Context,
    f: fn(T, T) -> bool,
) -> Result<Tensor, Failure> {
    zip(a, b, context, f)
}

fn unsuited(kind: ElementType) -> Failure {
    failure::wrong_type(format!("the operator does not take {kind}"))
}

/// Before opset 7, the second operand was broadcast along an axis only when asked to.
fn operands(inputs: &mut Inputs, legacy_axis: Option<i64>) -> Result<(Tensor, Tensor), Failure> {
    let (a, b) = (inputs.take(0)?, inputs.take(1)?);
    let Some(axis) = legacy_axis else { return Ok((a, b)) };
    let axis = super::shape::axis(axis, a.rank())?;
    let trailing = a.rank().saturating_sub(axis + b.rank());
    let shape = b.shape().iter().copied().chain(std::iter::repeat_n(1, trailing)).collect();
    Ok((a, b.reshape(shape)?))
}

fn legacy_axis(node: &Node<'_>) -> Result<Option<i64>, crate::onnx::LoadError> {
    Ok(if node.opset() < 7 && node.has("axis") { Some(node.int("axis", 0)?) } else { None })
}

macro_rules! arithmetic {
    ($($name:ident => $method:ident;)*) => {$(
        fn $name(node: &Node<'_>) -> Built {
            let axis = legacy_axis(node)?;
            kernel(move |inputs, context| {
                let (a, b) = operands(inputs, axis)?;
                let y = match a.element_type() {
                    ElementType::F32 => combine::<f32>(a, b, context, f32::$method)?,
                    // What quantised models compute between their products.
                    ElementType::I64 => combine::<i64>(a, b, context, i64::$method)?,
                    kind => numeric!(kind, T => pointwise::<T>(a, b, context, T::$method)?, else return Err(unsuited(kind))),
                };
                Ok(vec![y])
            })
        }
    )*};
}
arithmetic! {
    add => plus;
    sub => minus;
    mul => times;
}

fn div(node: &Node<'_>) -> Built {
    let axis = legacy_axis(node)?;
    kernel(move |inputs, context| {
        let (a, b) = operands(inputs, axis)?;
        let kind = a.element_type();
        let y = numeric!(kind, T => {
            if T::INTEGER && b.values::<T>()?.contains(&T::ZERO) {
                return Err(failure::undefined("integer division by zero"));
            }
            match T::TYPE {
                ElementType::F32 => combine::<f32>(a, b, context, f32::over)?,
                ElementType::I64 => combine::<i64>(a, b, context, i64::over)?,
                _ => pointwise::<T>(a, b, context, T::over)?,
            }
        }, else return Err(unsuited(kind)));
        Ok(vec![y])
    })
}

macro_rules! variadic {
    ($($name:ident => |$a:ident, $b:ident| $f:expr;)*) => {$(
        fn $name(_: &Node<'_>) -> Built {
            kernel(|inputs, context| {
                let mut y = inputs.take(0)?;
                for i in 1..inputs.len() {
                    let (kind, x) = (y.element_type(), inputs.take(i)?);
                    y = numeric!(kind, T => pointwise::<T>(y, x, context, |$a: T, $b: T| $f)?, else return Err(unsuited(kind)));
                }
                Ok(vec![y])
            })
        }
    )*};
}
variadic! {
    max => |a, b| if a > b { a } else { b };
    min => |a, b| if a < b { a } else { b };
    sum => |a, b| a.plus(b);
}

fn mean(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let count = inputs.len();
        let mut y = inputs.take(0)?;
        for i in 1..count {
            let (kind, x) = (y.element_type(), inputs.take(i)?);
            y = numeric!(kind, T => pointwise::<T>(y, x, context, T::plus)?, else return Err(unsuited(kind)));
        }
        let kind = y.element_type();
        let y = numeric!(kind, T => pointwise::<T>(y, Tensor::scalar(T::from_i64(count as i64)), context, T::over)?, else return Err(unsuited(kind)));
        Ok(vec![y])
    })
}

macro_rules! logic {
    ($($name:ident => $f:expr;)*) => {$(
        fn $name(node: &Node<'_>) -> Built {
            let axis = legacy_axis(node)?;
            kernel(move |inputs, context| {
                let (a, b) = operands(inputs, axis)?;
                Ok(vec![combine::<bool>(a, b, context, $f)?])
            })
        }
    )*};
}
logic! {
    and => |a, b| a & b;
    or => |a, b| a | b;
    xor => |a, b| a ^ b;
}

macro_rules! comparison {
    ($($name:ident => |$a:ident, $b:ident| $f:expr;)*) => {$(
        fn $name(node: &Node<'_>) -> Built {
            let axis = legacy_axis(node)?;
            kernel(move |inputs, context| {
                let (a, b) = operands(inputs, axis)?;
                let y = numeric!(a.element_type(), T => compare::<T>(&a, &b, context, |$a, $b| $f)?, else return Err(unsuited(a.element_type())));
                Ok(vec![y])
            })
        }
    )*};
}
comparison! {
    greater => |a, b| a > b;
    greater_or_equal => |a, b| a >= b;
    less => |a, b| a < b;
    less_or_equal => |a, b| a <= b;
}

fn equal(node: &Node<'_>) -> Built {
    let axis = legacy_axis(node)?;
    kernel(move |inputs, context| {
        let (a, b) = operands(inputs, axis)?;
        let y = match a.element_type() {
            ElementType::Bool => zip::<bool, bool>(&a, &b, context, |a, b| a == b)?,
            ElementType::String => {
                let (shape, [x, y]) = gathered::<String, 2>([&a, &b], context)?;
                Tensor::new(shape, x.iter().zip(&y).map(|(x, y)| x == y).collect())?
            }
            kind => {
                numeric!(kind, T => compare::<T>(&a, &b, context, |a, b| a == b)?, else return Err(unsuited(kind)))
            }
        };
        Ok(vec![y])
    })
}

/// All operands repeated to their common shape.
fn gathered<T: Element, const N: usize>(
    tensors: [&Tensor; N],
    context: &Context,
) -> Result<(Vec<usize>, [Vec<T>; N]), Failure> {
    let shape = broadcast(&tensors.map(Tensor::shape))?;
    let mut out: [Vec<T>; N] = std::array::from_fn(|_| Vec::new());
    for (out, tensor) in out.iter_mut().zip(tensors) {
        *out = super::layout::strided_copy(
            tensor.values::<T>()?,
            0,
            &shape,
            &broadcast_strides(tensor.shape(), &shape),
            context,
        )?;
    }
    Ok((shape, out))
}

/// `Where`: elements of the second where the first is true, else of the third.
fn select(_: &Node<'_>) -> Built {
    fn choose<T: Element>(
        condition: &Tensor,
        x: &Tensor,
        y: &Tensor,
        context: &Context,
        _: &[T],
    ) -> Result<Tensor, Failure> {
        let shape = broadcast(&[condition.shape(), x.shape(), y.shape()])?;
        let (conditions, xs, ys) = (condition.values::<bool>()?, x.values::<T>()?, y.values::<T>()?);
        let all = [condition, x, y].map(|t| broadcast_strides(t.shape(), &shape));
        let (joined, strides) = simplify(&shape, [&all[0], &all[1], &all[2]]);
        let mut out = context.reserve::<T>(shape.iter().product())?;
        let last = joined.len() - 1;
        let step = [strides[0][last], strides[1][last], strides[2][last]];
        for_each_run(&joined, [&strides[0], &strides[1], &strides[2]], |[c, i, j]| {
            let pick = |n: usize| if conditions[c + n * step[0]] { &xs[i + n * step[1]] } else { &ys[j + n * step[2]] };
            out.extend((0..joined[last]).map(|n| pick(n).clone()));
        });
        Tensor::new(shape, out)
    }
    kernel(|inputs, context| {
        let (condition, x, y) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        Ok(vec![with_data!(x.data(), v => choose(condition, x, y, context, v)?)])
    })
}

fn integer_power<T: Number>(mut base: T, mut exponent: i64) -> T {
    if exponent < 0 {
        return T::from_f64(1.0 / integer_power(base, exponent.saturating_neg()).to_f64());
    }
    let mut power = T::ONE;
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power.times(base);
        }
        base = base.times(base);
        exponent >>= 1;
    }
    power
}

/// The result has the type of the base.
fn pow(node: &Node<'_>) -> Built {
    let axis = legacy_axis(node)?;
    kernel(move |inputs, context| {
        let (a, b) = operands(inputs, axis)?;
        let kind = a.element_type();
        let integers = !kind.is_float() && !b.element_type().is_float();
        let y = if integers {
            let b = super::cast::cast(&b, ElementType::I64, context)?;
            let (shape, [exponents]) = (broadcast(&[a.shape(), b.shape()])?, [b]);
            let a = super::layout::expand(&a, &shape, context)?;
            let exponents = super::layout::expand(&exponents, &shape, context)?;
            numeric!(kind, T => {
                let pairs = a.values::<T>()?.iter().zip(exponents.values::<i64>()?);
                Tensor::new(shape, pairs.map(|(x, n)| integer_power(*x, *n)).collect())?
            }, else return Err(unsuited(kind)))
        } else if matches!(kind, ElementType::F32 | ElementType::F16 | ElementType::Bf16) {
            let (a, b) =
                (super::cast::cast(&a, ElementType::F32, context)?, super::cast::cast(&b, ElementType::F32, context)?);
            super::cast::cast(&combine::<f32>(a, b, context, math::pow)?, kind, context)?
        } else {
            let (a, b) =
                (super::cast::cast(&a, ElementType::F64, context)?, super::cast::cast(&b, ElementType::F64, context)?);
            super::cast::cast(&combine::<f64>(a, b, context, libm::pow)?, kind, context)?
        };
        Ok(vec![y])
    })
}
