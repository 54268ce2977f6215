//! Tensors made from a few numbers: `Range`, `EyeLike`, `Trilu`, `CumProd`, window functions, `MelWeightMatrix`,
//! `AffineGrid`.

use std::f64::consts::PI;

use super::cast::cast;
use super::floats::{narrow, widen, widen_numbers};
use super::shape::{around, axis, count};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::math64;
use crate::tensor::{Data, Element, ElementType, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("AffineGrid", 20..=LATEST, affine_grid),
    Operator::onnx("BlackmanWindow", 17..=LATEST, |node| window(node, [0.42, -0.5, 0.08])),
    Operator::onnx("CumProd", 26..=LATEST, cumulative_product),
    Operator::onnx("EyeLike", 9..=LATEST, eye_like),
    Operator::onnx("HammingWindow", 17..=LATEST, |node| window(node, [25.0 / 46.0, -21.0 / 46.0, 0.0])),
    Operator::onnx("HannWindow", 17..=LATEST, |node| window(node, [0.5, -0.5, 0.0])),
    Operator::onnx("MelWeightMatrix", 17..=LATEST, mel_weights),
    Operator::onnx("Range", 11..=LATEST, range),
    Operator::onnx("Trilu", 14..=LATEST, trilu),
];

fn range(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let (start, limit, delta) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let steps = |start: f64, limit: f64, delta: f64| {
            let steps = ((limit - start) / delta).ceil();
            if steps.is_nan() || delta == 0.0 {
                return Err(failure::undefined("a range without a finite number of steps"));
            }
            Ok(if steps > 0.0 { steps.min(1e18) as usize } else { 0 })
        };
        macro_rules! integers {
            ($t:ty) => {{
                let (start, limit, delta) = (start.single::<$t>()?, limit.single::<$t>()?, delta.single::<$t>()?);
                let span = i128::from(limit) - i128::from(start);
                let by = i128::from(delta);
                if by == 0 {
                    return Err(failure::undefined("a range with steps of zero"));
                }
                let steps = if (span > 0) == (by > 0) { (span.abs() + by.abs() - 1) / by.abs() } else { 0 };
                let steps = usize::try_from(steps).unwrap_or(usize::MAX);
                let mut out = context.reserve::<$t>(steps)?;
                out.extend((0..steps).map(|i| start.wrapping_add(delta.wrapping_mul(i as $t))));
                Ok(vec![Tensor::vector(out)])
            }};
        }
        match start.data() {
            Data::I64(_) => integers!(i64),
            Data::I32(_) => integers!(i32),
            Data::I16(_) => integers!(i16),
            Data::F64(_) => {
                let (start, delta) = (start.single::<f64>()?, delta.single::<f64>()?);
                let count = steps(start, limit.single()?, delta)?;
                let mut out = context.reserve::<f64>(count)?;
                out.extend((0..count).map(|i| start + i as f64 * delta));
                Ok(vec![Tensor::vector(out)])
            }
            _ => {
                let kind = start.element_type();
                let one = |x: &Tensor| match widen(x, context)?[..] {
                    [one] => Ok(one),
                    _ => Err(failure::wrong_shape("expected one start, limit and step")),
                };
                let (start, limit, delta) = (one(start)?, one(limit)?, one(delta)?);
                let count = steps(start, limit, delta)?;
                let mut out = context.reserve::<f64>(count)?;
                // Products and sums of two narrow floats are exact in doubles: one rounding a value.
                out.extend((0..count).map(|i| start + i as f64 * delta));
                Ok(vec![narrow(kind, &[count], out, context)?])
            }
        }
    })
}

fn eye_like(node: &Node<'_>) -> Built {
    let offset = node.int("k", 0)?;
    let code = node.int("dtype", 0)?;
    let kind = i32::try_from(code).ok().and_then(ElementType::from_onnx);
    if code != 0 && kind.is_none() {
        return Err(node.error(format!("the element type {code} is not supported")));
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let [rows, columns] = *x.shape() else {
            return Err(failure::wrong_shape(format!("expected a matrix, got the shape {:?}", x.shape())));
        };
        let mut out = context.zeros::<u8>(x.len())?;
        for row in 0..rows {
            let column = (row as i64).checked_add(offset).and_then(|c| usize::try_from(c).ok());
            if let Some(column) = column.filter(|c| *c < columns) {
                out[row * columns + column] = 1;
            }
        }
        let kind = kind.unwrap_or(x.element_type());
        Ok(vec![cast(&Tensor::new([rows, columns], out)?, kind, context)?])
    })
}

fn trilu(node: &Node<'_>) -> Built {
    let upper = node.flag("upper", true)?;
    kernel(move |inputs, context| {
        let offset = inputs.optional(1).map(|k| k.single::<i64>()).transpose()?.unwrap_or(0);
        let x = inputs.take(0)?;
        let [.., rows, columns] = *x.shape() else {
            return Err(failure::wrong_shape(format!("expected matrices, got the shape {:?}", x.shape())));
        };
        fn masked<T: Element>(
            _: &[T],
            x: Tensor,
            columns: usize,
            context: &Context,
            keep: impl Fn(usize, usize) -> bool,
        ) -> Result<Tensor, Failure> {
            context.claim::<T>(x.len())?;
            let shape = x.shape().to_vec();
            let mut values = x.into_values::<T>()?;
            for (at, value) in values.iter_mut().enumerate() {
                if !keep(at / columns, at % columns) {
                    *value = T::default();
                }
            }
            Tensor::new(shape, values)
        }
        let keep = |row: usize, column: usize| {
            let distance = (column as i64) - ((row % rows) as i64);
            if upper { distance >= offset } else { distance <= offset }
        };
        let data = x.data().clone();
        with_data!(&data, v => Ok(vec![masked(v, x, columns, context, keep)?]))
    })
}

fn cumulative_product(node: &Node<'_>) -> Built {
    let (exclusive, reverse) = (node.flag("exclusive", false)?, node.flag("reverse", false)?);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let along = match inputs.get(1)?.to_i64s()?[..] {
            [along] => axis(along, x.rank())?,
            _ => return Err(failure::wrong_shape("expected one axis")),
        };
        let around = around(x.shape(), along);
        macro_rules! products {
            ($t:ty, $one:expr, $mul:expr) => {{
                let values = x.values::<$t>()?;
                let mut out = context.zeros::<$t>(values.len())?;
                scan(values, &mut out, around, (exclusive, reverse), $one, $mul);
                Ok(vec![Tensor::new(x.shape(), out)?])
            }};
        }
        match x.data() {
            Data::F32(_) => products!(f32, 1.0, |a: f32, b: f32| a * b),
            Data::F64(_) => products!(f64, 1.0, |a: f64, b: f64| a * b),
            Data::I32(_) => products!(i32, 1, i32::wrapping_mul),
            Data::I64(_) => products!(i64, 1, i64::wrapping_mul),
            Data::U32(_) => products!(u32, 1, u32::wrapping_mul),
            Data::U64(_) => products!(u64, 1, u64::wrapping_mul),
            _ => Err(failure::wrong_type(format!("cannot multiply {}", x.element_type()))),
        }
    })
}

fn scan<T: Copy>(
    x: &[T],
    out: &mut [T],
    (outer, length, inner): (usize, usize, usize),
    (exclusive, reverse): (bool, bool),
    one: T,
    mul: impl Fn(T, T) -> T,
) {
    for o in 0..outer {
        for i in 0..inner {
            let mut product = one;
            for step in 0..length {
                let j = if reverse { length - 1 - step } else { step };
                let at = (o * length + j) * inner + i;
                let next = mul(product, x[at]);
                out[at] = if exclusive { product } else { next };
                product = next;
            }
        }
    }
}

/// `a0 + a1 cos(2 pi n / N) + a2 cos(4 pi n / N)`.
fn window(node: &Node<'_>, [a0, a1, a2]: [f64; 3]) -> Built {
    let periodic = node.flag("periodic", true)?;
    let code = node.int("output_datatype", 1)?;
    let kind = i32::try_from(code).ok().and_then(ElementType::from_onnx);
    let kind = kind.ok_or_else(|| node.error(format!("the element type {code} is not supported")))?;
    kernel(move |inputs, context| {
        let size = inputs.get(0)?.to_i64s()?;
        let size = match size[..] {
            [size] => usize::try_from(size).map_err(|_| failure::out_of_range(format!("a window of {size}")))?,
            _ => return Err(failure::wrong_shape("expected one size")),
        };
        let period = if periodic { size } else { size.saturating_sub(1) } as f64;
        let mut out = context.reserve::<f64>(size)?;
        for n in 0..size {
            let turn = if period > 0.0 { 2.0 * PI * n as f64 / period } else { 0.0 };
            out.push(a0 + a1 * math64::cos(turn) + a2 * math64::cos(2.0 * turn));
        }
        Ok(vec![cast(&Tensor::vector(out), kind, context)?])
    })
}

fn mel_weights(node: &Node<'_>) -> Built {
    let code = node.int("output_datatype", 1)?;
    let kind = i32::try_from(code).ok().and_then(ElementType::from_onnx);
    let kind = kind.ok_or_else(|| node.error(format!("the element type {code} is not supported")))?;
    kernel(move |inputs, context| {
        let one = |index: usize| match widen_numbers(inputs.get(index)?, context)?[..] {
            [one] => Ok(one),
            _ => Err(failure::wrong_shape(format!("input {index} is not one number"))),
        };
        let (bins, length, rate, low, high) = (one(0)?, one(1)?, one(2)?, one(3)?, one(4)?);
        if !(bins >= 1.0 && length >= 1.0 && rate > 0.0 && low >= 0.0 && high > low) {
            return Err(failure::out_of_range("bins, lengths and frequencies must be positive and ascending"));
        }
        let (bins, spectrum) = (bins.min(1e9) as usize, (length / 2.0).floor().min(1e9) as usize + 1);
        let mel = |hertz: f64| 2595.0 * math64::ln(1.0 + hertz / 700.0) / std::f64::consts::LN_10;
        let hertz = |mel: f64| 700.0 * (math64::pow(10.0, mel / 2595.0) - 1.0);
        let step = (mel(high) - mel(low)) / (bins + 2) as f64;
        let edge = |i: usize| ((length + 1.0) * hertz(mel(low) + i as f64 * step) / rate).floor();
        let mut out = context.zeros::<f64>(count(&[spectrum, bins])?)?;
        for bin in 0..bins {
            let (left, middle, right) = (edge(bin), edge(bin + 1), edge(bin + 2));
            let mut set = |at: f64, value: f64| {
                if at >= 0.0 && at < spectrum as f64 {
                    out[at as usize * bins + bin] = value;
                }
            };
            if middle == left {
                set(middle, 1.0);
            } else {
                let mut at = left;
                while at <= middle && at < spectrum as f64 {
                    set(at, (at - left) / (middle - left));
                    at += 1.0;
                }
            }
            let mut at = middle;
            while right > middle && at < right && at < spectrum as f64 {
                set(at, (right - at) / (right - middle));
                at += 1.0;
            }
        }
        Ok(vec![cast(&Tensor::new([spectrum, bins], out)?, kind, context)?])
    })
}

fn affine_grid(node: &Node<'_>) -> Built {
    let corners = node.flag("align_corners", false)?;
    kernel(move |inputs, context| {
        let theta = inputs.get(0)?;
        let size = inputs.get(1)?.to_i64s()?;
        let size: Vec<usize> = size.iter().map(|s| usize::try_from(*s).unwrap_or(usize::MAX)).collect();
        let dims = size.len().saturating_sub(2);
        if !matches!(dims, 2 | 3) || theta.shape() != [size[0], dims, dims + 1] {
            let shape = theta.shape();
            return Err(failure::wrong_shape(format!("transforms of shape {shape:?} for the size {size:?}")));
        }
        let space = &size[2..];
        let mut shape = vec![size[0]];
        shape.extend_from_slice(space);
        shape.push(dims);
        let mut out = context.reserve::<f64>(count(&shape)?)?;
        let values = widen(theta, context)?;
        let points: usize = space.iter().product();
        let coordinate = |index: usize, length: usize| match (corners, length) {
            (true, 1) => 0.0,
            (true, _) => -1.0 + 2.0 * index as f64 / (length - 1) as f64,
            (false, _) => -1.0 + (2.0 * index as f64 + 1.0) / length as f64,
        };
        let strides = super::shape::strides(space);
        for matrix in values.chunks(dims * (dims + 1)) {
            for point in 0..points {
                for row in matrix.chunks(dims + 1) {
                    // x belongs to the last axis.
                    let term = |k: usize| {
                        let axis = dims - 1 - k;
                        row[k] * coordinate(point / strides[axis] % space[axis], space[axis])
                    };
                    out.push((0..dims).fold(0.0, |sum, k| sum + term(k)) + row[dims]);
                }
            }
        }
        Ok(vec![narrow(theta.element_type(), &shape, out, context)?])
    })
}
