//! Rarer normalisations and pools, computed in doubles: `LRN`, `LpNormalization`, `MeanVarianceNormalization`, `LpPool`,
//! `GlobalLpPool`.

use super::floats::{narrow, widen};
use super::shape::{around, axes, axis, count};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::Node;
use crate::kernels::math64;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("GlobalLpPool", 2..=LATEST, global_lp_pool),
    Operator::onnx("LRN", 1..=LATEST, lrn),
    Operator::onnx("LpNormalization", 1..=LATEST, lp_normalization),
    Operator::onnx("LpPool", 2..=LATEST, lp_pool),
    Operator::onnx("MeanVarianceNormalization", 9..=LATEST, mean_variance),
];

/// `x` to the power of `y`, by square roots where they serve.
fn power(x: f64, y: f64) -> f64 {
    if y == 0.75 {
        let root = x.sqrt();
        return root * root.sqrt();
    }
    math64::pow(x, y)
}

fn lrn(node: &Node<'_>) -> Built {
    let size = node.int("size", 0)?;
    let half = usize::try_from(size).ok().filter(|s| *s > 0);
    let size = half.ok_or_else(|| node.error(format!("size is {size}")))?;
    let (alpha, beta) = (f64::from(node.float("alpha", 0.0001)?), f64::from(node.float("beta", 0.75)?));
    let bias = f64::from(node.float("bias", 1.0)?);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let (outer, channels, inner) = around(x.shape(), axis(1, x.rank())?);
        let values = widen(x, context)?;
        let mut out = context.reserve::<f64>(values.len())?;
        for o in 0..outer {
            for c in 0..channels {
                let from = c.saturating_sub((size - 1) / 2);
                let to = c.saturating_add(size / 2).min(channels - 1);
                for i in 0..inner {
                    let at = |c: usize| values[(o * channels + c) * inner + i];
                    let sum = (from..=to).fold(0.0, |sum, c| at(c).mul_add(at(c), sum));
                    out.push(at(c) / power(bias + alpha / size as f64 * sum, beta));
                }
            }
        }
        Ok(vec![narrow(x.element_type(), x.shape(), out, context)?])
    })
}

fn lp_normalization(node: &Node<'_>) -> Built {
    let (along, p) = (node.int("axis", -1)?, node.int("p", 2)?);
    if !matches!(p, 1 | 2) {
        return Err(node.error(format!("p is {p}, expected 1 or 2")));
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let (outer, length, inner) = around(x.shape(), axis(along, x.rank())?);
        let mut values = widen(x, context)?;
        for o in 0..outer {
            for i in 0..inner {
                let at = |k: usize| (o * length + k) * inner + i;
                let norm = match p {
                    1 => (0..length).fold(0.0, |sum, k| sum + values[at(k)].abs()),
                    _ => (0..length).fold(0.0, |sum: f64, k| values[at(k)].mul_add(values[at(k)], sum)).sqrt(),
                };
                (0..length).for_each(|k| values[at(k)] = if norm == 0.0 { 0.0 } else { values[at(k)] / norm });
            }
        }
        Ok(vec![narrow(x.element_type(), x.shape(), values, context)?])
    })
}

/// `(x - mean) / sqrt(mean of squares - mean^2)` over some axes.
fn mean_variance(node: &Node<'_>) -> Built {
    let along = node.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let reduced = axes(&along, x.rank())?;
        let kept: Vec<usize> =
            x.shape().iter().enumerate().map(|(i, d)| if reduced.contains(&i) { 1 } else { *d }).collect();
        let groups = count(&kept)?;
        let (own, to) = (super::shape::strides(x.shape()), super::shape::broadcast_strides(&kept, x.shape()));
        let group = |at: usize| -> usize { (0..to.len()).map(|i| at / own[i] % x.shape()[i] * to[i]).sum() };
        let mut values = widen(x, context)?;
        let mut means = context.zeros::<f64>(groups)?;
        let mut squares = context.zeros::<f64>(groups)?;
        for (at, v) in values.iter().enumerate() {
            means[group(at)] += v;
        }
        let size = (values.len() / groups.max(1)) as f64;
        means.iter_mut().for_each(|m| *m /= size);
        for (at, v) in values.iter().enumerate() {
            let centred = v - means[group(at)];
            squares[group(at)] += centred * centred;
        }
        for (at, v) in values.iter_mut().enumerate() {
            *v = (*v - means[group(at)]) / ((squares[group(at)] / size).sqrt() + 1e-9);
        }
        Ok(vec![narrow(x.element_type(), x.shape(), values, context)?])
    })
}

fn root(sum: f64, p: i64) -> f64 {
    match p {
        1 => sum,
        2 => sum.sqrt(),
        _ => math64::pow(sum, 1.0 / p as f64),
    }
}

fn raised(x: f64, p: i64) -> f64 {
    math64::powi(x.abs(), p as u32)
}

fn exponent(node: &Node<'_>) -> Result<i64, crate::onnx::LoadError> {
    let p = node.int("p", 2)?;
    if (1..=64).contains(&p) { Ok(p) } else { Err(node.error(format!("p is {p}, expected 1 to 64"))) }
}

fn global_lp_pool(node: &Node<'_>) -> Built {
    let p = exponent(node)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        if x.rank() < 3 {
            return Err(failure::wrong_shape(format!("expected the shape [N, C, ...], got {:?}", x.shape())));
        }
        let area: usize = x.shape()[2..].iter().product();
        let mut shape = x.shape()[..2].to_vec();
        shape.resize(x.rank(), 1);
        let values = widen(x, context)?;
        let mut out = context.reserve::<f64>(count(&shape)?)?;
        if area == 0 {
            out.resize(count(&shape)?, 0.0);
        }
        out.extend(
            values.chunks(area.max(1)).map(|plane| root(plane.iter().fold(0.0, |sum, v| sum + raised(*v, p)), p)),
        );
        Ok(vec![narrow(x.element_type(), &shape, out, context)?])
    })
}

/// A pool's geometry as attributes give it.
struct Geometry {
    window: Vec<i64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
    auto_pad: String,
    ceil: bool,
}

impl Geometry {
    fn read(node: &Node<'_>) -> Result<Self, crate::onnx::LoadError> {
        let window = node.ints("kernel_shape")?.ok_or_else(|| node.error("kernel_shape is missing"))?;
        let dims = window.len();
        let strides = node.ints("strides")?.unwrap_or_else(|| vec![1; dims]);
        let dilations = node.ints("dilations")?.unwrap_or_else(|| vec![1; dims]);
        let pads = node.ints("pads")?.unwrap_or_else(|| vec![0; 2 * dims]);
        let positive = |v: &[i64]| v.len() == dims && v.iter().all(|x| (1..1 << 24).contains(x));
        let padded = pads.len() == 2 * dims && pads.iter().all(|x| (0..1 << 24).contains(x));
        if dims == 0 || !positive(&window) || !positive(&strides) || !positive(&dilations) || !padded {
            return Err(node.error("kernel_shape, strides, dilations and pads do not fit each other"));
        }
        let auto_pad = node.string("auto_pad", "NOTSET")?;
        Ok(Self { window, strides, dilations, pads, auto_pad, ceil: node.flag("ceil_mode", false)? })
    }

    /// Padding before and number of places of axis `d`.
    fn places(&self, d: usize, length: i64) -> Result<(i64, i64), Failure> {
        let reach = self.dilations[d] * (self.window[d] - 1) + 1;
        let step = self.strides[d];
        if self.auto_pad.starts_with("SAME") {
            let places = (length + step - 1) / step;
            let total = ((places - 1) * step + reach - length).max(0);
            let upper = self.auto_pad == "SAME_UPPER";
            return Ok((if upper { total / 2 } else { total - total / 2 }, places));
        }
        let (before, after) = match self.auto_pad.as_str() {
            "VALID" => (0, 0),
            _ => (self.pads[d], self.pads[self.window.len() + d]),
        };
        let span = length + before + after - reach;
        if span < 0 {
            return Err(failure::wrong_shape(format!("a window of {reach} over {length} elements")));
        }
        let mut places = span / step + 1;
        if self.ceil && span % step != 0 && places * step < length + before {
            places += 1;
        }
        Ok((before, places))
    }
}

fn lp_pool(node: &Node<'_>) -> Built {
    let p = exponent(node)?;
    let geometry = Geometry::read(node)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let dims = geometry.window.len();
        if x.rank() != dims + 2 {
            return Err(failure::wrong_shape(format!("a window of {dims} axes over the shape {:?}", x.shape())));
        }
        let space = &x.shape()[2..];
        let places = (0..dims).map(|d| geometry.places(d, space[d] as i64)).collect::<Result<Vec<_>, _>>()?;
        let mut shape = x.shape()[..2].to_vec();
        shape.extend(places.iter().map(|(_, n)| *n as usize));
        let values = widen(x, context)?;
        let mut out = context.reserve::<f64>(count(&shape)?)?;
        let (area, plane): (usize, usize) = (shape[2..].iter().product(), space.iter().product());
        let taps = geometry.window.iter().try_fold(1i64, |a, b| a.checked_mul(*b)).unwrap_or(i64::MAX);
        // Offset of a tap within a plane, none in the padding.
        let offset = |place: usize, tap: i64| -> Option<usize> {
            let (mut place, mut tap, mut offset, mut stride) = (place as i64, tap, 0i64, 1i64);
            for d in (0..dims).rev() {
                let (before, count) = places[d];
                let at =
                    place % count * geometry.strides[d] - before + tap % geometry.window[d] * geometry.dilations[d];
                if !(0..space[d] as i64).contains(&at) {
                    return None;
                }
                offset += at * stride;
                stride *= space[d] as i64;
                place /= count;
                tap /= geometry.window[d];
            }
            Some(offset as usize)
        };
        for image in values.chunks(plane.max(1)) {
            for place in 0..area {
                let term = |tap: i64| offset(place, tap).map_or(0.0, |at| raised(image[at], p));
                out.push(root((0..taps).fold(0.0, |sum, tap| sum + term(tap)), p));
            }
        }
        Ok(vec![narrow(x.element_type(), &shape, out, context)?])
    })
}
