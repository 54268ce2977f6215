//! Images read between pixels: `GridSample` and `RoiAlign`, in doubles.

use super::floats::{narrow, same_type, widen};
use super::shape::count;
use super::{Built, LATEST, Operator, kernel};
use crate::failure;
use crate::graph::Node;

pub(super) const OPERATORS: &[Operator] =
    &[Operator::onnx("GridSample", 16..=LATEST, grid_sample), Operator::onnx("RoiAlign", 10..=LATEST, roi_align)];

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// How positions outside of the image are read.
#[derive(Clone, Copy)]
struct Edges {
    padding: Padding,
    corners: bool,
}

impl Edges {
    fn reflect(self, x: f64, length: f64) -> f64 {
        let (low, high) = if self.corners { (0.0, length - 1.0) } else { (-0.5, length - 0.5) };
        let range = high - low;
        if range <= 0.0 {
            return 0.0;
        }
        let bounce = |distance: f64| {
            let times = (distance / range).floor();
            (times % 2.0 == 0.0, distance - times * range)
        };
        match x {
            _ if x < low => {
                let (even, rest) = bounce(low - x);
                if even { low + rest } else { high - rest }
            }
            _ if x > high => {
                let (even, rest) = bounce(x - high);
                if even { high - rest } else { low + rest }
            }
            _ => x,
        }
    }

    /// From [-1, 1] to pixels, and back into the image unless zeros lie around it.
    fn position(self, x: f64, length: usize, mode: Mode) -> f64 {
        let n = length as f64;
        let at = if self.corners { (x + 1.0) / 2.0 * (n - 1.0) } else { ((x + 1.0) * n - 1.0) / 2.0 };
        let at = if mode == Mode::Nearest { at.round_ties_even() } else { at };
        match self.padding {
            Padding::Zeros => at,
            Padding::Border => at.clamp(0.0, n - 1.0),
            Padding::Reflection => self.reflect(at, n),
        }
    }

    /// The pixel that stands for a position, if one does.
    fn pixel(self, at: f64, length: usize) -> Option<usize> {
        let n = length as f64;
        let at = match self.padding {
            Padding::Zeros => at,
            Padding::Border => at.clamp(0.0, n - 1.0),
            Padding::Reflection => self.reflect(at, n).clamp(0.0, n - 1.0),
        };
        (at >= 0.0 && at <= n - 1.0).then_some(at as usize)
    }
}

/// Pixels and weights along one axis.
fn taps(edges: Edges, mode: Mode, x: f64, length: usize) -> Vec<(Option<usize>, f64)> {
    let at = edges.position(x, length, mode);
    let floor = at.floor();
    let ratio = at - floor;
    let tap = |offset: f64, weight: f64| (edges.pixel(floor + offset, length), weight);
    match mode {
        Mode::Nearest => vec![(edges.pixel(at.round_ties_even(), length), 1.0)],
        Mode::Linear => vec![tap(0.0, 1.0 - ratio), tap(1.0, ratio)],
        Mode::Cubic => {
            const A: f64 = -0.75;
            let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
            let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
            let weights = [far(ratio + 1.0), near(ratio), near(1.0 - ratio), far(2.0 - ratio)];
            weights.into_iter().zip([-1.0, 0.0, 1.0, 2.0]).map(|(w, offset)| tap(offset, w)).collect()
        }
    }
}

fn grid_sample(node: &Node<'_>) -> Built {
    let unknown = |name: &str, value: &str| node.error(format!("unknown {name} {value}"));
    let mode = match node.string("mode", "linear")?.as_str() {
        "linear" | "bilinear" => Mode::Linear,
        "nearest" => Mode::Nearest,
        "cubic" | "bicubic" => Mode::Cubic,
        other => return Err(unknown("mode", other)),
    };
    let padding = match node.string("padding_mode", "zeros")?.as_str() {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(unknown("padding_mode", other)),
    };
    let edges = Edges { padding, corners: node.flag("align_corners", false)? };
    kernel(move |inputs, context| {
        let (x, grid) = (inputs.get(0)?, inputs.get(1)?);
        let dims = x.rank().saturating_sub(2);
        let matches =
            dims > 0 && grid.rank() == x.rank() && grid.shape()[0] == x.shape()[0] && grid.shape()[dims + 1] == dims;
        if !matches || x.is_empty() {
            return Err(failure::wrong_shape(format!(
                "a grid of shape {:?} for images of {:?}",
                grid.shape(),
                x.shape()
            )));
        }
        let (values, points) = (widen(x, context)?, widen(grid, context)?);
        if points.iter().any(|p| !p.is_finite()) {
            return Err(failure::out_of_range("the grid holds NaN or infinity"));
        }
        let space = &x.shape()[2..];
        let mut shape = x.shape()[..2].to_vec();
        shape.extend_from_slice(&grid.shape()[1..=dims]);
        let mut out = context.reserve::<f64>(count(&shape)?)?;
        let (plane, channels): (usize, usize) = (space.iter().product(), x.shape()[1]);
        let places: usize = grid.shape()[1..=dims].iter().product();
        for n in 0..x.shape()[0] {
            // Offsets and weights of the pixels around each point: x belongs to the last axis.
            let around = |point: usize| {
                let at = &points[(n * places + point) * dims..][..dims];
                let mut all = vec![(Some(0usize), 1.0)];
                for (d, length) in space.iter().enumerate() {
                    let along = taps(edges, mode, at[dims - 1 - d], *length);
                    let join = |(offset, weight): &(Option<usize>, f64)| {
                        let (offset, weight) = (*offset, *weight);
                        along
                            .iter()
                            .map(move |(i, w)| (offset.zip(*i).map(|(o, i)| o * length + i), weight * w))
                            .collect::<Vec<_>>()
                    };
                    all = all.iter().flat_map(join).collect();
                }
                all
            };
            context.claim::<f64>(places.saturating_mul(2 << (2 * dims.min(8))))?;
            let taps: Vec<Vec<(Option<usize>, f64)>> = (0..places).map(around).collect();
            for c in 0..channels {
                let image = &values[(n * channels + c) * plane..][..plane];
                let read = |sum: f64, (offset, weight): &(Option<usize>, f64)| {
                    offset.map_or(sum, |o| weight.mul_add(image[o], sum))
                };
                out.extend(taps.iter().map(|taps| taps.iter().fold(0.0, read)));
            }
        }
        Ok(vec![narrow(x.element_type(), &shape, out, context)?])
    })
}

fn roi_align(node: &Node<'_>) -> Built {
    let half_pixel = node
        .string("coordinate_transformation_mode", if node.opset() < 16 { "output_half_pixel" } else { "half_pixel" })?;
    let shift = if half_pixel == "half_pixel" { 0.5 } else { 0.0 };
    let average = match node.string("mode", "avg")?.as_str() {
        "avg" => true,
        "max" => false,
        other => return Err(node.error(format!("unknown mode {other}"))),
    };
    let size = |name: &str| -> Result<usize, crate::onnx::LoadError> {
        let size = node.int(name, 1)?;
        usize::try_from(size)
            .ok()
            .filter(|s| (1..1 << 16).contains(s))
            .ok_or_else(|| node.error(format!("{name} is {size}")))
    };
    let (height, width) = (size("output_height")?, size("output_width")?);
    let ratio =
        usize::try_from(node.int("sampling_ratio", 0)?).map_err(|_| node.error("sampling_ratio is negative"))?;
    let scale = f64::from(node.float("spatial_scale", 1.0)?);
    kernel(move |inputs, context| {
        let (x, rois) = (inputs.get(0)?, inputs.get(1)?);
        let batches = inputs.get(2)?.to_i64s()?;
        same_type(x, rois)?;
        let [n, channels, h, w] = *x.shape() else {
            return Err(failure::wrong_shape(format!("expected the shape [N, C, H, W], got {:?}", x.shape())));
        };
        if rois.shape() != [batches.len(), 4] || x.is_empty() {
            return Err(failure::wrong_shape(format!(
                "regions of shape {:?} for {} images",
                rois.shape(),
                batches.len()
            )));
        }
        let (values, boxes) = (widen(x, context)?, widen(rois, context)?);
        let shape = [batches.len(), channels, height, width];
        let mut out = context.reserve::<f64>(count(&shape)?)?;
        for (batch, corners) in batches.iter().zip(boxes.chunks(4)) {
            let batch = usize::try_from(*batch).ok().filter(|b| *b < n);
            let batch = batch.ok_or_else(|| failure::out_of_range(format!("an image of {n} is out of range")))?;
            if corners.iter().any(|c| c.is_nan() || c.abs() > 1e9) {
                return Err(failure::out_of_range("a region's corner is no coordinate"));
            }
            let [x0, y0, x1, y1] = [0, 1, 2, 3].map(|i| corners[i] * scale - shift);
            let least = if shift == 0.0 { 1.0 } else { f64::NEG_INFINITY };
            let (roi_h, roi_w) = ((y1 - y0).max(least), (x1 - x0).max(least));
            let (bin_h, bin_w) = (roi_h / height as f64, roi_w / width as f64);
            let grid = |bin: f64| if ratio > 0 { ratio } else { bin.ceil().clamp(0.0, 65_536.0) as usize };
            let (grid_h, grid_w) = (grid(bin_h), grid(bin_w));
            context.count_macs((channels * height * width * 4) as u64 * (grid_h as u64 * grid_w as u64));
            for c in 0..channels {
                let image = &values[(batch * channels + c) * h * w..][..h * w];
                for py in 0..height {
                    for px in 0..width {
                        let (mut sum, mut most) = (0.0, None::<f64>);
                        for iy in 0..grid_h {
                            let y = y0 + py as f64 * bin_h + (iy as f64 + 0.5) * bin_h / grid_h as f64;
                            for ix in 0..grid_w {
                                let x = x0 + px as f64 * bin_w + (ix as f64 + 0.5) * bin_w / grid_w as f64;
                                let terms = bilinear(image, (h, w), (y, x));
                                let value = terms.iter().fold(0.0, |a, b| a + b);
                                sum += value;
                                let largest =
                                    terms.into_iter().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a });
                                most = Some(most.map_or(largest, |m| if largest > m { largest } else { m }));
                            }
                        }
                        let samples = (grid_h * grid_w).max(1) as f64;
                        out.push(if average { sum / samples } else { most.unwrap_or(0.0) });
                    }
                }
            }
        }
        Ok(vec![narrow(x.element_type(), &shape, out, context)?])
    })
}

/// The four weighted neighbours of a point; zeros where it is outside of the image by more than a pixel.
fn bilinear(image: &[f64], (h, w): (usize, usize), (y, x): (f64, f64)) -> [f64; 4] {
    if y < -1.0 || y > h as f64 || x < -1.0 || x > w as f64 {
        return [0.0; 4];
    }
    let split = |at: f64, length: usize| {
        let at = if at > 0.0 { at } else { 0.0 };
        let low = at as usize;
        if low >= length - 1 { (length - 1, length - 1, 0.0) } else { (low, low + 1, at - low as f64) }
    };
    let ((y0, y1, fy), (x0, x1, fx)) = (split(y, h), split(x, w));
    let at = |y: usize, x: usize| image[y * w + x];
    [
        (1.0 - fy) * (1.0 - fx) * at(y0, x0),
        (1.0 - fy) * fx * at(y0, x1),
        fy * (1.0 - fx) * at(y1, x0),
        fy * fx * at(y1, x1),
    ]
}
