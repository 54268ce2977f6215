//! Pixels moved about: `DepthToSpace`, `SpaceToDepth`, `CenterCropPad`, `Col2Im`, `MaxUnpool`.

use super::layout::view;
use super::shape::{axis, count, strides};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::tensor::{Data, Element, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("CenterCropPad", 18..=LATEST, center_crop_pad),
    Operator::onnx("Col2Im", 18..=LATEST, col2im),
    Operator::onnx("DepthToSpace", 1..=LATEST, depth_to_space),
    Operator::onnx("MaxUnpool", 9..=LATEST, max_unpool),
    Operator::onnx("SpaceToDepth", 1..=LATEST, space_to_depth),
];

/// The tensor seen as `split`, its axes reordered, under another shape.
fn permuted(
    x: &Tensor,
    split: &[usize],
    order: &[usize],
    shape: &[usize],
    context: &Context,
) -> Result<Tensor, Failure> {
    count(shape)?;
    let own = strides(split);
    let new = order.iter().map(|axis| split[*axis]).collect();
    let steps: Vec<usize> = order.iter().map(|axis| own[*axis]).collect();
    view(x, 0, new, &steps, context)?.reshape(shape.to_vec())
}

fn block_size(node: &Node<'_>) -> Result<usize, crate::onnx::LoadError> {
    let size = node.int("blocksize", 0)?;
    usize::try_from(size).ok().filter(|b| *b > 0).ok_or_else(|| node.error(format!("the block size is {size}")))
}

/// Whether depth is counted by column, row and then depth of a block.
fn columns_first(node: &Node<'_>) -> Result<bool, crate::onnx::LoadError> {
    match node.string("mode", "DCR")?.as_str() {
        "DCR" => Ok(false),
        "CRD" => Ok(true),
        other => Err(node.error(format!("unknown mode {other}"))),
    }
}

fn depth_to_space(node: &Node<'_>) -> Built {
    let b = block_size(node)?;
    let columns_first = columns_first(node)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let [n, c, h, w] = *x.shape() else { return Err(not_images(x)) };
        let area = b.checked_mul(b).filter(|area| c.is_multiple_of(*area));
        let depth = c / area.ok_or_else(|| failure::wrong_shape(format!("{c} channels do not make blocks of {b}")))?;
        let (split, order) = match columns_first {
            false => ([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2]),
            true => ([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3]),
        };
        let shape = [n, depth, h.saturating_mul(b), w.saturating_mul(b)];
        Ok(vec![permuted(x, &split, &order, &shape, context)?])
    })
}

fn not_images(x: &Tensor) -> Failure {
    failure::wrong_shape(format!("expected the shape [N, C, H, W], got {:?}", x.shape()))
}

fn space_to_depth(node: &Node<'_>) -> Built {
    let b = block_size(node)?;
    let columns_first = columns_first(node)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let [n, c, h, w] = *x.shape() else { return Err(not_images(x)) };
        if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
            return Err(failure::wrong_shape(format!("{h} x {w} pixels do not make blocks of {b}")));
        }
        let split = [n, c, h / b, b, w / b, b];
        let order = if columns_first { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
        let channels = c.saturating_mul(b).saturating_mul(b);
        let shape = [n, channels, h / b, w / b];
        Ok(vec![permuted(x, &split, &order, &shape, context)?])
    })
}

fn center_crop_pad(node: &Node<'_>) -> Built {
    let along = node.ints("axes")?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let wanted = inputs.get(1)?.to_i64s()?;
        let axes = match &along {
            Some(axes) => axes.iter().map(|a| axis(*a, x.rank())).collect::<Result<Vec<_>, _>>()?,
            None => (0..x.rank()).collect(),
        };
        if axes.len() != wanted.len() {
            return Err(failure::wrong_shape(format!("{} lengths for {} axes", wanted.len(), axes.len())));
        }
        let mut shape = x.shape().to_vec();
        for (axis, length) in axes.iter().zip(&wanted) {
            let bad = || failure::out_of_range(format!("the length {length} is negative or too large"));
            shape[*axis] = usize::try_from(*length).map_err(|_| bad())?;
        }
        let size = count(&shape)?;
        // Where the old tensor begins in the new one, or the new in the old.
        let shift = |old: usize, new: usize| if old > new { (old - new) / 2 } else { (new - old) / 2 };
        fn moved<T: Element>(
            values: &[T],
            old: &[usize],
            new: &[usize],
            size: usize,
            shift: impl Fn(usize, usize) -> usize,
            context: &Context,
        ) -> Result<Vec<T>, Failure> {
            let mut out = context.zeros::<T>(size)?;
            let (from, to) = (strides(old), strides(new));
            let common: Vec<usize> = old.iter().zip(new).map(|(a, b)| *a.min(b)).collect();
            let base = |strides: &[usize], own: &[usize], other: &[usize]| -> usize {
                (0..own.len()).map(|i| if own[i] > other[i] { shift(own[i], other[i]) * strides[i] } else { 0 }).sum()
            };
            let (base_from, base_to) = (base(&from, old, new), base(&to, new, old));
            let length = common.last().copied().unwrap_or(1);
            super::shape::for_each_run(&common, [&from, &to], |[a, b]| {
                out[base_to + b..base_to + b + length].clone_from_slice(&values[base_from + a..base_from + a + length]);
            });
            Ok(out)
        }
        with_data!(x.data(), v => {
            let out = moved(v.as_slice(), x.shape(), &shape, size, shift, context)?;
            Ok(vec![Tensor::new(shape, out)?])
        })
    })
}

/// A list of as many lengths as there are spatial axes.
fn lengths(given: &Option<Vec<i64>>, count: usize, default: i64, name: &str) -> Result<Vec<i64>, Failure> {
    match given {
        None => Ok(vec![default; count]),
        Some(values) if values.len() == count && values.iter().all(|v| (0..1 << 30).contains(v)) => Ok(values.clone()),
        Some(values) => Err(failure::wrong_shape(format!("{name} is {values:?}, expected {count} lengths"))),
    }
}

fn col2im(node: &Node<'_>) -> Built {
    let (dilations, pads, steps) = (node.ints("dilations")?, node.ints("pads")?, node.ints("strides")?);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let image = inputs.get(1)?.to_i64s()?;
        let block = inputs.get(2)?.to_i64s()?;
        let dims = image.len();
        let image = lengths(&Some(image), dims, 0, "image_shape")?;
        let block = lengths(&Some(block), dims, 0, "block_shape")?;
        let dilations = lengths(&dilations, dims, 1, "dilations")?;
        let pads = lengths(&pads, 2 * dims, 0, "pads")?;
        let steps = lengths(&steps, dims, 1, "strides")?;
        let [n, rows, columns] = *x.shape() else { return Err(not_images(x)) };
        let window: i64 = block.iter().try_fold(1i64, |a, b| a.checked_mul(*b)).unwrap_or(0);
        let span = |d: usize| image[d] + pads[d] + pads[dims + d] - dilations[d] * (block[d] - 1) - 1;
        let places: Vec<i64> = (0..dims).map(|d| if span(d) < 0 { 0 } else { span(d) / steps[d].max(1) + 1 }).collect();
        let total = places.iter().try_fold(1i64, |a, b| a.checked_mul(*b));
        if window < 1 || rows as i64 % window != 0 || total != Some(columns as i64) || dims == 0 {
            let shape = x.shape();
            return Err(failure::wrong_shape(format!("columns of shape {shape:?} do not make images of {image:?}")));
        }
        let channels = rows / window as usize;
        let mut shape = vec![n, channels];
        shape.extend(image.iter().map(|d| *d as usize));
        let area = count(&shape[2..])?;
        let mut out = context.zeros::<f64>(count(&shape)?)?;
        let values = super::floats::widen(x, context)?;
        for (at, value) in values.iter().enumerate() {
            let (column, row) = (at % columns, at / columns % rows);
            let (mut cell, mut place, mut offset, mut stride) = (row as i64 % window, column as i64, 0i64, 1i64);
            let mut inside = true;
            for d in (0..dims).rev() {
                let at = place % places[d] * steps[d] - pads[d] + cell % block[d] * dilations[d];
                inside &= (0..image[d]).contains(&at);
                offset += at * stride;
                stride *= image[d];
                cell /= block[d];
                place /= places[d];
            }
            if inside {
                let plane = at / (columns * rows) * channels + row / window as usize;
                out[plane * area + offset as usize] += value;
            }
        }
        Ok(vec![super::floats::narrow(x.element_type(), &shape, out, context)?])
    })
}

fn max_unpool(node: &Node<'_>) -> Built {
    let window = node.ints("kernel_shape")?.ok_or_else(|| node.error("kernel_shape is missing"))?;
    let (pads, steps) = (node.ints("pads")?, node.ints("strides")?);
    kernel(move |inputs, context| {
        let (x, indices) = (inputs.get(0)?, inputs.get(1)?);
        let places = indices.values::<i64>()?;
        if x.shape() != indices.shape() || x.rank() < 3 {
            return Err(failure::wrong_shape(format!("{:?} values with {:?} indices", x.shape(), indices.shape())));
        }
        let dims = x.rank() - 2;
        let window = lengths(&Some(window.clone()), dims, 1, "kernel_shape")?;
        let pads = lengths(&pads, 2 * dims, 0, "pads")?;
        let steps = lengths(&steps, dims, 1, "strides")?;
        let mut natural = x.shape()[..2].to_vec();
        for d in 0..dims {
            let length = (x.shape()[d + 2] as i64 - 1) * steps[d] + window[d] - pads[d] - pads[dims + d];
            let bad = || failure::wrong_shape("the pads are larger than the output");
            natural.push(usize::try_from(length).map_err(|_| bad())?);
        }
        let shape = match inputs.optional(2) {
            None => natural.clone(),
            Some(given) => {
                let given: Vec<usize> = given.to_i64s()?.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
                if given.len() != x.rank() {
                    return Err(failure::wrong_shape(format!("the output shape {given:?} is of another rank")));
                }
                given
            }
        };
        let size = count(&shape)?;
        // Indices count in the natural output; a larger one keeps their coordinates.
        let (old, new) = (strides(&natural), strides(&shape));
        let mut to = context.reserve::<i64>(places.len())?;
        for place in places {
            let natural_size: usize = count(&natural)?;
            let place = usize::try_from(*place).ok().filter(|p| *p < natural_size);
            let place = place.ok_or_else(|| failure::out_of_range("an index outside of the output"))?;
            let mut offset = 0;
            for d in 0..shape.len() {
                let at = place / old[d] % natural[d];
                if at >= shape[d] {
                    return Err(failure::out_of_range("an index outside of the output"));
                }
                offset += at * new[d];
            }
            to.push(offset as i64);
        }
        fn spread<T: Element>(x: &[T], to: &[i64], size: usize, context: &Context) -> Result<Vec<T>, Failure> {
            let mut out = context.zeros::<T>(size)?;
            x.iter().zip(to).for_each(|(value, at)| out[*at as usize] = value.clone());
            Ok(out)
        }
        match x.data() {
            Data::F32(v) => Ok(vec![Tensor::new(shape, spread(v, &to, size, context)?)?]),
            Data::F64(v) => Ok(vec![Tensor::new(shape, spread(v, &to, size, context)?)?]),
            Data::F16(v) => Ok(vec![Tensor::new(shape, spread(v, &to, size, context)?)?]),
            _ => Err(failure::wrong_type(format!("expected floats, got {}", x.element_type()))),
        }
    })
}
