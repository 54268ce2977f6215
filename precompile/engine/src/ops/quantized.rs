//! Products of integers: `MatMulInteger`, `ConvInteger`, `QLinearMatMul`, `QLinearConv`. Sums are exact in `i64`.

use super::floats::{widen, widen_numbers};
use super::quantize::{Spread, integers, quantized};
use super::shape::{broadcast, broadcast_strides, count, for_each_run};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::onnx::LoadError;
use crate::tensor::{Data, ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("ConvInteger", 10..=LATEST, conv_integer),
    Operator::onnx("MatMulInteger", 10..=LATEST, matmul_integer),
    Operator::onnx("QLinearConv", 10..=LATEST, conv_linear),
    Operator::onnx("QLinearMatMul", 10..=LATEST, matmul_linear),
];

/// An 8-bit (or 16-bit) tensor less its zero points, which lie along `axis` where there are several.
fn centred(x: &Tensor, zero: Option<&Tensor>, axis: usize, context: &Context) -> Result<Vec<i32>, Failure> {
    let mut out = context.reserve::<i32>(x.len())?;
    match x.data() {
        Data::U8(v) => out.extend(v.iter().map(|x| i32::from(*x))),
        Data::I8(v) => out.extend(v.iter().map(|x| i32::from(*x))),
        Data::U16(v) => out.extend(v.iter().map(|x| i32::from(*x))),
        Data::I16(v) => out.extend(v.iter().map(|x| i32::from(*x))),
        _ => return Err(failure::wrong_type(format!("expected narrow integers, got {}", x.element_type()))),
    }
    let Some(zero) = zero else { return Ok(out) };
    if zero.element_type() != x.element_type() {
        let (zero, x) = (zero.element_type(), x.element_type());
        return Err(failure::wrong_type(format!("a zero point of {zero} for a tensor of {x}")));
    }
    let zeros = widen_numbers(zero, context)?;
    if zeros.len() == 1 {
        out.iter_mut().for_each(|v| *v -= zeros[0] as i32);
        return Ok(out);
    }
    if x.rank() <= axis || zeros.len() != x.shape()[axis] {
        let (zero, x) = (zero.shape(), x.shape());
        return Err(failure::wrong_shape(format!("zero points of shape {zero:?} for the shape {x:?}")));
    }
    let inner: usize = x.shape()[axis + 1..].iter().product();
    out.iter_mut().enumerate().for_each(|(i, v)| *v -= zeros[i / inner % zeros.len()] as i32);
    Ok(out)
}

/// Shapes of a product of (stacks of) matrices.
struct Product {
    shape: Vec<usize>,
    m: usize,
    k: usize,
    n: usize,
}

impl Product {
    fn new(a: &[usize], b: &[usize]) -> Result<(Self, Vec<usize>, Vec<usize>), Failure> {
        let (left, right) = match (a.len(), b.len()) {
            (0, _) | (_, 0) => return Err(failure::wrong_shape("expected matrices, got a scalar")),
            (1, 1) => ([1, a[0]].to_vec(), [b[0], 1].to_vec()),
            (1, _) => ([1, a[0]].to_vec(), b.to_vec()),
            (_, 1) => (a.to_vec(), [b[0], 1].to_vec()),
            _ => (a.to_vec(), b.to_vec()),
        };
        let (m, k) = (left[left.len() - 2], left[left.len() - 1]);
        let n = right[right.len() - 1];
        if right[right.len() - 2] != k {
            return Err(failure::wrong_shape(format!("the shapes {a:?} and {b:?} do not multiply")));
        }
        let stack = broadcast(&[&left[..left.len() - 2], &right[..right.len() - 2]])?;
        let mut shape = stack.clone();
        if a.len() > 1 {
            shape.push(m);
        }
        if b.len() > 1 {
            shape.push(n);
        }
        count(&[&stack[..], &[m, n]].concat())?;
        Ok((Self { shape: stack, m, k, n }, shape, [left, right].concat()))
    }
}

/// The exact product of two stacks of matrices, and its shape.
fn product(
    a: &[i32],
    a_shape: &[usize],
    b: &[i32],
    b_shape: &[usize],
    context: &Context,
) -> Result<(Vec<i64>, Vec<usize>), Failure> {
    let (sizes, shape, _) = Product::new(a_shape, b_shape)?;
    let Product { shape: stack, m, k, n } = sizes;
    let outer = |shape: &[usize]| shape[..shape.len().saturating_sub(2)].to_vec();
    // One run a matrix: the stack's axes as they are, and one axis of length 1.
    let mut walked = stack.clone();
    walked.push(1);
    let step = |shape: &[usize], size: usize| {
        let mut strides: Vec<usize> = broadcast_strides(&outer(shape), &stack).iter().map(|s| s * size).collect();
        strides.push(0);
        strides
    };
    let (by_a, by_b) = (step(a_shape, m * k), step(b_shape, k * n));
    let mut out = context.zeros::<i64>(walked.iter().product::<usize>() * m * n)?;
    let mut matrices = out.chunks_mut((m * n).max(1));
    for_each_run(&walked, [&by_a, &by_b], |[from_a, from_b]| {
        let Some(y) = matrices.next() else { return };
        for (row, y) in y.chunks_mut(n.max(1)).enumerate() {
            for step in 0..k {
                let x = i64::from(a[from_a + row * k + step]);
                let weights = &b[from_b + step * n..from_b + (step + 1) * n];
                y.iter_mut().zip(weights).for_each(|(y, w)| *y += x * i64::from(*w));
            }
        }
    });
    context.count_macs((out.len() as u64).saturating_mul(k as u64));
    Ok((out, shape))
}

fn to_i32(values: &[i64], shape: Vec<usize>, context: &Context) -> Result<Vec<Tensor>, Failure> {
    let mut out = context.reserve::<i32>(values.len())?;
    out.extend(values.iter().map(|v| *v as i32));
    Ok(vec![Tensor::new(shape, out)?])
}

fn matmul_integer(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let left = centred(a, inputs.optional(2), a.rank().saturating_sub(2), context)?;
        let right = centred(b, inputs.optional(3), b.rank().saturating_sub(1), context)?;
        let (values, shape) = product(&left, a.shape(), &right, b.shape(), context)?;
        to_i32(&values, shape, context)
    })
}

fn one(inputs: &Inputs, index: usize, context: &Context) -> Result<f32, Failure> {
    match widen(inputs.get(index)?, context)?[..] {
        [one] => Ok(one as f32),
        _ => Err(failure::wrong_shape(format!("input {index}: expected one scale"))),
    }
}

fn one_zero(inputs: &Inputs, index: usize, context: &Context) -> Result<(f64, ElementType), Failure> {
    let tensor = inputs.get(index)?;
    match widen_numbers(tensor, context)?[..] {
        [one] => Ok((one, tensor.element_type())),
        _ => Err(failure::wrong_shape(format!("input {index}: expected one zero point"))),
    }
}

/// `round(sum * (scale_a * scale_b / scale_y)) + zero`: the product of the scales in doubles, one rounding to `f32`.
fn requantise(sum: i64, factor: f64, zero: f64, kind: ElementType) -> f64 {
    quantized((sum as f64 * factor) as f32, 1.0, zero, kind)
}

fn matmul_linear(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let (a, b) = (inputs.get(0)?, inputs.get(3)?);
        let left = centred(a, inputs.optional(2), a.rank().saturating_sub(2), context)?;
        let right = centred(b, inputs.optional(5), b.rank().saturating_sub(1), context)?;
        let (values, shape) = product(&left, a.shape(), &right, b.shape(), context)?;
        let (zero, kind) = one_zero(inputs, 7, context)?;
        let (a_scale, b_scale) = (one(inputs, 1, context)?, one(inputs, 4, context)?);
        let factor = f64::from(a_scale) * f64::from(b_scale) / f64::from(one(inputs, 6, context)?);
        let mut out = context.reserve::<f64>(values.len())?;
        out.extend(values.iter().map(|sum| requantise(*sum, factor, zero, kind)));
        Ok(vec![integers(kind, &shape, &out, context)?])
    })
}

/// Where a convolution's window goes.
pub(super) struct Window {
    pads: Option<Vec<i64>>,
    strides: Option<Vec<i64>>,
    dilations: Option<Vec<i64>>,
    auto_pad: String,
    group: usize,
}

impl Window {
    fn read(node: &Node<'_>) -> Result<Self, LoadError> {
        let group = usize::try_from(node.int("group", 1)?).ok().filter(|g| *g > 0);
        let auto_pad = node.string("auto_pad", "NOTSET")?;
        if !["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(&auto_pad.as_str()) {
            return Err(node.error(format!("unknown auto_pad {auto_pad}")));
        }
        Ok(Self {
            pads: node.ints("pads")?,
            strides: node.ints("strides")?,
            dilations: node.ints("dilations")?,
            auto_pad,
            group: group.ok_or_else(|| node.error("group is not positive"))?,
        })
    }

    /// Padding before, stride, dilation and output length of each axis.
    fn axes(&self, input: &[usize], window: &[usize]) -> Result<Vec<[i64; 4]>, Failure> {
        let dims = input.len();
        let list = |given: &Option<Vec<i64>>, length: usize, default: i64, least: i64| match given {
            None => Ok(vec![default; length]),
            Some(v) if v.len() == length && v.iter().all(|x| (least..1 << 30).contains(x)) => Ok(v.clone()),
            Some(v) => Err(failure::wrong_shape(format!("expected {length} lengths, got {v:?}"))),
        };
        let mut pads = list(&self.pads, 2 * dims, 0, 0)?;
        let (steps, dilations) = (list(&self.strides, dims, 1, 1)?, list(&self.dilations, dims, 1, 1)?);
        let mut axes = Vec::with_capacity(dims);
        for d in 0..dims {
            let (length, reach) = (input[d] as i64, dilations[d] * (window[d] as i64 - 1) + 1);
            if self.auto_pad.starts_with("SAME") {
                let places = (length + steps[d] - 1) / steps[d];
                let total = ((places - 1) * steps[d] + reach - length).max(0);
                pads[d] = if self.auto_pad == "SAME_UPPER" { total / 2 } else { total - total / 2 };
                pads[dims + d] = total - pads[d];
            } else if self.auto_pad == "VALID" {
                (pads[d], pads[dims + d]) = (0, 0);
            }
            let span = length + pads[d] + pads[dims + d] - reach;
            if span < 0 {
                return Err(failure::wrong_shape(format!("a window of {reach} over {length} elements")));
            }
            axes.push([pads[d], steps[d], dilations[d], span / steps[d] + 1]);
        }
        Ok(axes)
    }
}

/// The exact convolution of centred tensors, and its shape.
fn convolve(
    x: &[i32],
    x_shape: &[usize],
    w: &[i32],
    w_shape: &[usize],
    window: &Window,
    context: &Context,
) -> Result<(Vec<i64>, Vec<usize>), Failure> {
    let group = window.group;
    let fits = x_shape.len() == w_shape.len()
        && x_shape.len() > 2
        && x_shape[1] == w_shape[1].saturating_mul(group)
        && w_shape[0].is_multiple_of(group)
        && !w_shape.contains(&0);
    if !fits {
        return Err(failure::wrong_shape(format!("weights of shape {w_shape:?} for the shape {x_shape:?}")));
    }
    let axes = window.axes(&x_shape[2..], &w_shape[2..])?;
    let mut shape = vec![x_shape[0], w_shape[0]];
    shape.extend(axes.iter().map(|[.., length]| *length as usize));
    let (area, taps) = (count(&shape[2..])?, w_shape[2..].iter().product::<usize>());
    let plane: usize = x_shape[2..].iter().product();
    let mut out = context.zeros::<i64>(count(&shape)?)?;
    let (in_group, out_group) = (w_shape[1], w_shape[0] / group);
    // Offset of each tap for each place, or none in the padding.
    let offset = |place: usize, tap: usize| -> Option<usize> {
        let (mut place, mut tap, mut offset, mut stride) = (place as i64, tap as i64, 0i64, 1i64);
        for (d, [pad, step, dilation, length]) in axes.iter().enumerate().rev() {
            let kernel = w_shape[2 + d] as i64;
            let at = place % length * step - pad + tap % kernel * dilation;
            if !(0..x_shape[2 + d] as i64).contains(&at) {
                return None;
            }
            offset += at * stride;
            stride *= x_shape[2 + d] as i64;
            place /= length;
            tap /= kernel;
        }
        Some(offset as usize)
    };
    for place in 0..area {
        let reach: Vec<(usize, usize)> = (0..taps).filter_map(|tap| Some((tap, offset(place, tap)?))).collect();
        for n in 0..x_shape[0] {
            for m in 0..w_shape[0] {
                let mut sum = 0i64;
                for c in 0..in_group {
                    let from = (n * x_shape[1] + m / out_group * in_group + c) * plane;
                    let weights = (m * in_group + c) * taps;
                    for (tap, offset) in &reach {
                        sum += i64::from(x[from + offset]) * i64::from(w[weights + tap]);
                    }
                }
                out[(n * w_shape[0] + m) * area + place] = sum;
            }
        }
    }
    context.count_macs((out.len() as u64).saturating_mul((in_group * taps) as u64));
    Ok((out, shape))
}

fn conv_integer(node: &Node<'_>) -> Built {
    let window = Window::read(node)?;
    kernel(move |inputs, context| {
        let (x, w) = (inputs.get(0)?, inputs.get(1)?);
        let (left, right) = (centred(x, inputs.optional(2), 1, context)?, centred(w, inputs.optional(3), 0, context)?);
        let (values, shape) = convolve(&left, x.shape(), &right, w.shape(), &window, context)?;
        to_i32(&values, shape, context)
    })
}

fn conv_linear(node: &Node<'_>) -> Built {
    let window = Window::read(node)?;
    kernel(move |inputs, context| {
        let (x, w) = (inputs.get(0)?, inputs.get(3)?);
        let (left, right) = (centred(x, inputs.optional(2), 1, context)?, centred(w, inputs.optional(5), 0, context)?);
        let (mut values, shape) = convolve(&left, x.shape(), &right, w.shape(), &window, context)?;
        let channel = |i: usize| i / shape[2..].iter().product::<usize>() % shape[1];
        if let Some(bias) = inputs.optional(8) {
            let bias = bias.values::<i32>()?;
            if bias.len() != shape[1] {
                return Err(failure::wrong_shape(format!("{} biases for {} channels", bias.len(), shape[1])));
            }
            values.iter_mut().enumerate().for_each(|(i, v)| *v += i64::from(bias[channel(i)]));
        }
        let (zero, kind) = one_zero(inputs, 7, context)?;
        let spread = Spread::new(&shape, inputs.get(4)?, 1, 0)?;
        let w_scales = widen(inputs.get(4)?, context)?;
        let scale = f64::from(one(inputs, 1, context)?) / f64::from(one(inputs, 6, context)?);
        let mut out = context.reserve::<f64>(values.len())?;
        let scaled = |(i, sum): (usize, &i64)| requantise(*sum, scale * w_scales[spread.at(i)], zero, kind);
        out.extend(values.iter().enumerate().map(scaled));
        Ok(vec![integers(kind, &shape, &out, context)?])
    })
}
