//! `Resize` and `Upsample`: along one axis after the other, in doubles; nearest picks elements of any type.

use super::floats::{narrow, widen, widen_numbers};
use super::shape::{around, axis, count};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::onnx::LoadError;
use crate::tensor::{Element, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("Resize", 10..=10, |node| build(node, Inputs10::Scales)),
    Operator::onnx("Resize", 11..=LATEST, |node| build(node, Inputs10::All)),
    Operator::onnx("Upsample", 7..=8, |node| build(node, Inputs10::Attribute)),
    Operator::onnx("Upsample", 9..=10, |node| build(node, Inputs10::Scales)),
];

/// Where a version finds its scales.
#[derive(Clone, Copy, PartialEq)]
enum Inputs10 {
    Attribute,
    Scales,
    All,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    HalfPixelForNearest,
    AlignCorners,
    Asymmetric,
    CropAndResize,
}

#[derive(Clone, Copy, PartialEq)]
enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

#[derive(Clone, Copy, PartialEq)]
enum Aspect {
    Stretch,
    NotLarger,
    NotSmaller,
}

struct Resize {
    mode: Mode,
    coordinates: Coordinates,
    rounding: Rounding,
    aspect: Aspect,
    cubic: f64,
    exclude_outside: bool,
    antialias: bool,
    extrapolation: f64,
    axes: Option<Vec<i64>>,
    version: Inputs10,
    scales: Option<Vec<f32>>,
}

/// What the output takes along one axis.
struct Along {
    axis: usize,
    input: usize,
    output: usize,
    scale: f64,
    roi: (f64, f64),
}

/// For one output position: input positions with weights, or nothing where it lies outside of the region.
type Taps = Option<Vec<(usize, f64)>>;

impl Resize {
    fn read(node: &Node<'_>, version: Inputs10) -> Result<Self, LoadError> {
        let unknown = |name: &str, value: &str| node.error(format!("unknown {name} {value}"));
        let old = version != Inputs10::All;
        let mode = match node.string("mode", "nearest")?.as_str() {
            "nearest" => Mode::Nearest,
            "linear" | "bilinear" => Mode::Linear,
            "cubic" => Mode::Cubic,
            other => return Err(unknown("mode", other)),
        };
        let transform = node.string("coordinate_transformation_mode", "half_pixel")?;
        let coordinates = match transform.as_str() {
            _ if old => Coordinates::Asymmetric,
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "tf_half_pixel_for_nn" => Coordinates::HalfPixelForNearest,
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "tf_crop_and_resize" => Coordinates::CropAndResize,
            other => return Err(unknown("coordinate_transformation_mode", other)),
        };
        let rounding = match node.string("nearest_mode", "round_prefer_floor")?.as_str() {
            _ if old => Rounding::Floor,
            "round_prefer_floor" => Rounding::PreferFloor,
            "round_prefer_ceil" => Rounding::PreferCeil,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            other => return Err(unknown("nearest_mode", other)),
        };
        let aspect = match node.string("keep_aspect_ratio_policy", "stretch")?.as_str() {
            "stretch" => Aspect::Stretch,
            "not_larger" => Aspect::NotLarger,
            "not_smaller" => Aspect::NotSmaller,
            other => return Err(unknown("keep_aspect_ratio_policy", other)),
        };
        Ok(Self {
            mode,
            coordinates,
            rounding,
            aspect,
            cubic: f64::from(node.float("cubic_coeff_a", -0.75)?),
            exclude_outside: node.flag("exclude_outside", false)?,
            antialias: node.flag("antialias", false)?,
            extrapolation: f64::from(node.float("extrapolation_value", 0.0)?),
            axes: node.ints("axes")?,
            version,
            scales: node.floats("scales")?,
        })
    }

    fn plan(&self, x: &Tensor, inputs: &Inputs, context: &Context) -> Result<Vec<Along>, Failure> {
        let shape = x.shape();
        let axes: Vec<usize> = match &self.axes {
            Some(axes) => axes.iter().map(|a| axis(*a, shape.len())).collect::<Result<_, _>>()?,
            None => (0..shape.len()).collect(),
        };
        let list = |index: usize| match inputs.optional(index).filter(|t| !t.is_empty()) {
            Some(tensor) => widen_numbers(tensor, context).map(Some),
            None => Ok(None),
        };
        let (roi, scales, sizes) = match self.version {
            Inputs10::Attribute => {
                (None, self.scales.as_ref().map(|s| s.iter().map(|v| f64::from(*v)).collect()), None)
            }
            Inputs10::Scales => (None, list(1)?, None),
            Inputs10::All => (list(1)?, list(2)?, list(3)?),
        };
        let n = axes.len();
        let roi = roi
            .filter(|_| self.coordinates == Coordinates::CropAndResize)
            .unwrap_or_else(|| (0..2 * n).map(|i| if i < n { 0.0 } else { 1.0 }).collect());
        let given: &Vec<f64> =
            scales.as_ref().or(sizes.as_ref()).ok_or_else(|| failure::arity("no scales and no sizes"))?;
        if given.len() != n || roi.len() != 2 * n || given.iter().any(|v| !(*v > 0.0 && *v < 2_147_483_648.0)) {
            return Err(failure::wrong_shape(format!("scales, sizes or region do not fit {n} axes of {shape:?}")));
        }
        let ratio = |i: usize| given[i] / shape[axes[i]] as f64;
        let kept = match self.aspect {
            _ if scales.is_some() => None,
            Aspect::Stretch => None,
            Aspect::NotLarger => (0..n).map(ratio).reduce(f64::min),
            Aspect::NotSmaller => (0..n).map(ratio).reduce(f64::max),
        };
        let mut plan = Vec::new();
        for (i, axis) in axes.iter().enumerate() {
            let input = shape[*axis];
            let (scale, output) = match (&scales, kept) {
                (Some(_), _) => (given[i], (given[i] * input as f64).floor()),
                (None, Some(scale)) => (scale, (scale * input as f64 + 0.5).floor()),
                (None, None) => (ratio(i), given[i]),
            };
            if input == 0 || output >= 2_147_483_648.0 {
                return Err(failure::wrong_shape(format!("cannot resize {input} elements by {scale}")));
            }
            plan.push(Along { axis: *axis, input, output: output as usize, scale, roi: (roi[i], roi[n + i]) });
        }
        Ok(plan)
    }

    /// Where output position `x` lies in the input; nothing outside of the region.
    fn origin(&self, x: usize, along: &Along) -> Option<f64> {
        let (x, input) = (x as f64, along.input as f64);
        let width = along.scale * input;
        Some(match self.coordinates {
            Coordinates::AlignCorners if width == 1.0 => 0.0,
            Coordinates::AlignCorners => x * (input - 1.0) / (width - 1.0),
            Coordinates::Asymmetric => x / along.scale,
            Coordinates::PytorchHalfPixel if along.output == 1 => -0.5,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (x + 0.5) / along.scale - 0.5,
            Coordinates::HalfPixelForNearest => (x + 0.5) / along.scale,
            Coordinates::HalfPixelSymmetric => {
                let offset = input / 2.0 * (1.0 - along.output as f64 / width);
                offset + (x + 0.5) / along.scale - 0.5
            }
            Coordinates::CropAndResize => {
                let (from, to) = along.roi;
                let at = match along.output {
                    1 => (to - from) * (input - 1.0) / 2.0,
                    _ => x * (to - from) * (input - 1.0) / (width - 1.0),
                };
                let at = at + from * (input - 1.0);
                if at < 0.0 || at > input - 1.0 {
                    return None;
                }
                at
            }
        })
    }

    fn nearest(&self, at: f64, input: usize) -> usize {
        let (floor, ceil) = (at.floor(), at.ceil());
        let index = match self.rounding {
            _ if floor == at => at,
            Rounding::PreferFloor if at - floor <= 0.5 => floor,
            Rounding::PreferCeil if at - floor < 0.5 => floor,
            Rounding::Floor => floor,
            _ => ceil,
        };
        index.clamp(0.0, (input - 1) as f64) as usize
    }

    fn cubic_at(&self, x: f64) -> f64 {
        let (a, x) = (self.cubic, x.abs());
        match x {
            _ if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            _ if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            _ => 0.0,
        }
    }

    fn taps(&self, x: usize, along: &Along) -> Taps {
        let at = self.origin(x, along)?;
        if self.mode == Mode::Nearest {
            return Some(vec![(self.nearest(at, along.input), 1.0)]);
        }
        // The distance from the left neighbour is in (0, 1].
        let left = at.ceil() - 1.0;
        let ratio = at - left;
        let reach = if self.mode == Mode::Linear { 1.0 } else { 2.0 };
        let scale = if self.antialias { along.scale.min(1.0) } else { 1.0 };
        let first = ((-reach / scale).floor() + 1.0).max(-1e6) as i64;
        let weight = |offset: i64| {
            let distance = (offset as f64 - ratio) * scale;
            match self.mode {
                Mode::Linear => (1.0 - distance.abs()).clamp(0.0, 1.0),
                _ => self.cubic_at(distance),
            }
        };
        let mut taps = Vec::new();
        let mut sum = 0.0;
        for offset in first..2 - first {
            let index = left + offset as f64;
            let inside = index >= 0.0 && index <= (along.input - 1) as f64;
            let weight = if self.exclude_outside && !inside { 0.0 } else { weight(offset) };
            sum += weight;
            taps.push((index.clamp(0.0, (along.input - 1) as f64) as usize, weight));
        }
        if self.antialias || self.exclude_outside {
            taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        Some(taps)
    }
}

/// Elements of any type at the taps of nearest.
fn gather<T: Element>(
    x: &[T],
    around: (usize, usize, usize),
    taps: &[usize],
    context: &Context,
) -> Result<Vec<T>, Failure> {
    let (outer, length, inner) = around;
    let mut out = context.reserve::<T>(outer.saturating_mul(taps.len()).saturating_mul(inner))?;
    for o in 0..outer {
        for at in taps {
            let from = (o * length + at) * inner;
            out.extend_from_slice(&x[from..from + inner]);
        }
    }
    Ok(out)
}

fn blend(x: &[f64], around: (usize, usize, usize), taps: &[Taps], context: &Context) -> Result<Vec<f64>, Failure> {
    let (outer, length, inner) = around;
    let mut out = context.reserve::<f64>(outer.saturating_mul(taps.len()).saturating_mul(inner))?;
    for o in 0..outer {
        for taps in taps {
            let taps = taps.as_deref().unwrap_or_default();
            for i in 0..inner {
                out.push(taps.iter().fold(0.0, |sum, (at, w)| w.mul_add(x[(o * length + at) * inner + i], sum)));
            }
        }
    }
    Ok(out)
}

fn build(node: &Node<'_>, version: Inputs10) -> Built {
    let resize = Resize::read(node, version)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let plan = resize.plan(x, inputs, context)?;
        let mut shape = x.shape().to_vec();
        plan.iter().for_each(|along| shape[along.axis] = along.output);
        count(&shape)?;
        let moved = |along: &&Along| along.input != along.output || along.scale != 1.0 || along.roi != (0.0, 1.0);
        if resize.mode == Mode::Nearest && resize.coordinates != Coordinates::CropAndResize {
            let mut y = x.clone();
            for along in plan.iter().filter(moved) {
                let at = |x: usize| resize.origin(x, along).map_or(0, |at| resize.nearest(at, along.input));
                context.claim::<i64>(along.output)?;
                let taps: Vec<usize> = (0..along.output).map(at).collect();
                let sizes = around(y.shape(), along.axis);
                let mut shape = y.shape().to_vec();
                shape[along.axis] = along.output;
                y = with_data!(y.data(), v => Tensor::new(shape, gather(v, sizes, &taps, context)?)?);
            }
            return Ok(vec![y]);
        }
        let mut values = widen(x, context)?;
        let mut now = x.shape().to_vec();
        let mut outside = Vec::new();
        for along in plan.iter().filter(moved) {
            context.claim::<f64>(along.output.saturating_mul(8))?;
            let taps: Vec<Taps> = (0..along.output).map(|x| resize.taps(x, along)).collect();
            values = blend(&values, around(&now, along.axis), &taps, context)?;
            now[along.axis] = along.output;
            outside.push((along.axis, taps.iter().map(Option::is_none).collect::<Vec<bool>>()));
        }
        let own = super::shape::strides(&shape);
        for (axis, outside) in outside.iter().filter(|(_, outside)| outside.contains(&true)) {
            let out_there = |at: usize| outside[at / own[*axis] % shape[*axis]];
            values.iter_mut().enumerate().filter(|(at, _)| out_there(*at)).for_each(|(_, v)| *v = resize.extrapolation);
        }
        Ok(vec![narrow(x.element_type(), &shape, values, context)?])
    })
}
