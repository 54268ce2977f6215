//! Windows that slide over images: what convolutions and pools have in common.

use super::shape::count;
use crate::failure::{self, Failure};
use crate::graph::Node;
use crate::kernels::patches::{AXES, Geometry};
use crate::onnx::LoadError;

/// How zeros are put around an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Given,
    SameUpper,
    SameLower,
    None,
}

/// Attributes of a sliding window.
#[derive(Clone)]
pub(super) struct Window {
    padding: Padding,
    pub(super) kernel: Option<Vec<usize>>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    pads: Option<Vec<usize>>,
    ceil: bool,
}

/// A window over one image; axes before the spatial ones have length 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) input: [usize; AXES],
    pub(super) output: [usize; AXES],
    pub(super) kernel: [usize; AXES],
    pub(super) stride: [usize; AXES],
    pub(super) dilation: [usize; AXES],
    pub(super) pad: [usize; AXES],
    pub(super) pad_end: [usize; AXES],
}

impl Placed {
    /// The convolution over `channels` of a group.
    pub(super) fn geometry(&self, channels: usize, transposed: bool) -> Geometry {
        Geometry { transposed, ..self.unturned(channels) }.by_rows()
    }

    /// As [`Placed::geometry`], with axes as they are.
    pub(super) fn unturned(&self, channels: usize) -> Geometry {
        let Placed { input, output, kernel, stride, dilation, pad, .. } = *self;
        Geometry { channels, input, output, kernel, stride, dilation, pad, transposed: false }
    }
}

impl Window {
    /// Reads the attributes.
    pub(super) fn of(node: &Node<'_>) -> Result<Self, LoadError> {
        let padding = match node.string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => Padding::Given,
            "SAME_UPPER" => Padding::SameUpper,
            "SAME_LOWER" => Padding::SameLower,
            "VALID" => Padding::None,
            other => return Err(node.error(format!("auto_pad {other} is unknown"))),
        };
        let list = |name: &str, least: i64| -> Result<Option<Vec<usize>>, LoadError> {
            let Some(values) = node.ints(name)? else { return Ok(None) };
            let fits = |v: &i64| usize::try_from(*v).ok().filter(|_| (least..1 << 20).contains(v));
            let wrong = || node.error(format!("{name} {values:?} are not all between {least} and 2^20"));
            values.iter().map(fits).collect::<Option<Vec<_>>>().map(Some).ok_or_else(wrong)
        };
        Ok(Self {
            padding,
            kernel: list("kernel_shape", 1)?,
            strides: list("strides", 1)?,
            dilations: list("dilations", 1)?,
            pads: list("pads", 0)?,
            ceil: node.flag("ceil_mode", false)?,
        })
    }

    /// Distance of neighbours along the last axis.
    pub(super) fn last_dilation(&self) -> usize {
        self.dilations.as_ref().and_then(|all| all.last()).copied().unwrap_or(1)
    }

    fn spread(list: &Option<Vec<usize>>, rank: usize, offset: usize, default: usize) -> Result<[usize; AXES], Failure> {
        let mut out = [default; AXES];
        let Some(list) = list else { return Ok(out) };
        if list.len() < offset + rank {
            return Err(failure::wrong_shape(format!("{} values for {rank} spatial dimensions", list.len())));
        }
        out[AXES - rank..].copy_from_slice(&list[offset..offset + rank]);
        Ok(out)
    }

    /// The window over images with the spatial dimensions `spatial`.
    pub(super) fn place(&self, spatial: &[usize], kernel: &[usize]) -> Result<Placed, Failure> {
        let mut placed = self.unplaced(spatial, kernel)?;
        for axis in 0..AXES {
            let reach = (placed.kernel[axis] - 1) * placed.dilation[axis] + 1;
            let (input, stride) = (placed.input[axis], placed.stride[axis]);
            if matches!(self.padding, Padding::SameUpper | Padding::SameLower) {
                let output = input.div_ceil(stride);
                let total = (output.saturating_sub(1) * stride + reach).saturating_sub(input);
                let before = if self.padding == Padding::SameUpper { total / 2 } else { total.div_ceil(2) };
                (placed.pad[axis], placed.pad_end[axis], placed.output[axis]) = (before, total - before, output);
                continue;
            }
            let padded = input + placed.pad[axis] + placed.pad_end[axis];
            let Some(span) = padded.checked_sub(reach) else {
                return Err(failure::wrong_shape(format!(
                    "a window of {reach} does not fit the padded length {padded}"
                )));
            };
            let mut output = if self.ceil { span.div_ceil(stride) } else { span / stride } + 1;
            // A window may not start in the zeros behind the image.
            if self.ceil && (output - 1) * stride >= input + placed.pad[axis] {
                output -= 1;
            }
            placed.output[axis] = output;
        }
        count(&placed.output)?;
        Ok(placed)
    }

    /// The window of a transposed convolution: its output is what a convolution would turn into `spatial`.
    pub(super) fn place_transposed(
        &self,
        spatial: &[usize],
        kernel: &[usize],
        extra: &[usize; AXES],
        wanted: &Option<Vec<usize>>,
    ) -> Result<Placed, Failure> {
        let mut placed = self.unplaced(spatial, kernel)?;
        let rank = spatial.len();
        for (axis, extra) in extra.iter().enumerate() {
            let reach = (placed.kernel[axis] - 1) * placed.dilation[axis] + 1 + extra;
            let full = placed.stride[axis] * placed.input[axis].saturating_sub(1) + reach;
            let wanted = wanted
                .as_ref()
                .and_then(|w| w.get((w.len().checked_sub(rank)? + axis).checked_sub(AXES - rank)?))
                .copied();
            let same = matches!(self.padding, Padding::SameUpper | Padding::SameLower);
            let wanted =
                wanted.filter(|_| axis >= AXES - rank).or(same.then_some(placed.input[axis] * placed.stride[axis]));
            if let Some(wanted) = wanted {
                let total = full.saturating_sub(wanted);
                let before = if self.padding == Padding::SameUpper { total / 2 } else { total - total / 2 };
                (placed.pad[axis], placed.pad_end[axis], placed.output[axis]) = (before, total - before, wanted);
                continue;
            }
            let pads = placed.pad[axis] + placed.pad_end[axis];
            let too_much = || failure::wrong_shape(format!("the padding {pads} is more than the output {full}"));
            placed.output[axis] = full.checked_sub(pads).filter(|o| *o > 0).ok_or_else(too_much)?;
        }
        count(&placed.output)?;
        Ok(placed)
    }

    fn unplaced(&self, spatial: &[usize], kernel: &[usize]) -> Result<Placed, Failure> {
        let rank = spatial.len();
        if rank == 0 || rank > AXES || kernel.len() != rank || kernel.contains(&0) {
            return Err(failure::wrong_shape(format!("a window of {kernel:?} over images of {spatial:?}")));
        }
        let front = |values: &[usize]| {
            let mut out = [1; AXES];
            out[AXES - rank..].copy_from_slice(values);
            out
        };
        let pads = if self.padding == Padding::Given { &self.pads } else { &None };
        Ok(Placed {
            input: front(spatial),
            output: [1; AXES],
            kernel: front(kernel),
            stride: Self::spread(&self.strides, rank, 0, 1)?,
            dilation: Self::spread(&self.dilations, rank, 0, 1)?,
            pad: Self::spread(pads, rank, 0, 0)?,
            pad_end: Self::spread(pads, rank, rank, 0)?,
        })
    }
}
