//! Means, as integer sums: `sum(x - zero) * scale / (n * scale of the result)`.

use super::{Converter, Quantised, Target, attribute, input, label, number, operator};
use crate::{
    ElementType, Tensor,
    integer::NotInteger,
    onnx::proto::{AttributeProto, NodeProto, attribute_type},
};

/// Largest magnitude of 8 bits less a zero point of 8 bits.
const MOST: usize = 255;

impl Converter<'_> {
    /// The mean that an operator takes, global or of windows.
    pub(super) fn mean(&mut self, node: &NodeProto, x: &Quantised, target: &Target) -> Result<String, NotInteger> {
        let lengths = self.lengths(&x.name, &label(node))?;
        let rank = lengths.len();
        let last = number(node, "channels_last", 0) != 0;
        match operator(node) {
            "AveragePool" | "QLinearAveragePool" if last => {
                Err(NotInteger::Form(label(node), "windows lie on the last axes, behind the channels"))
            }
            "AveragePool" | "QLinearAveragePool" => self.window_means(node, x, &lengths, target),
            "ReduceMean" => {
                let axes = self.reduced(node, rank)?;
                self.axes_mean(node, x, &lengths, &axes, number(node, "keepdims", 1) != 0, target)
            }
            _ => {
                let spatial: Vec<usize> = if last { (1..rank.max(1) - 1).collect() } else { (2..rank).collect() };
                self.axes_mean(node, x, &lengths, &spatial, true, target)
            }
        }
    }

    /// The axes that a `ReduceMean` takes away, ascending.
    fn reduced(&self, node: &NodeProto, rank: usize) -> Result<Vec<usize>, NotInteger> {
        let form = |words| NotInteger::Form(label(node), words);
        let given = match input(node, 1) {
            "" => attribute(node, "axes").map(|axes| axes.ints.clone()).unwrap_or_default(),
            name => {
                let axes = self.constant(name).and_then(|axes| axes.to_i64s().ok());
                axes.ok_or_else(|| form("its axes are not constants"))?
            }
        };
        if given.is_empty() {
            return Err(form("a mean is over given axes"));
        }
        let axis = |axis: &i64| usize::try_from(if *axis < 0 { axis + rank as i64 } else { *axis }).ok();
        let axes: Option<Vec<usize>> = given.iter().map(|at| axis(at).filter(|at| *at < rank)).collect();
        let mut axes = axes.ok_or_else(|| form("an axis is not one of its input's"))?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    fn axes_mean(
        &mut self,
        node: &NodeProto,
        x: &Quantised,
        lengths: &[Option<usize>],
        axes: &[usize],
        keep: bool,
        target: &Target,
    ) -> Result<String, NotInteger> {
        let what = label(node);
        let counted: Option<Vec<usize>> = axes.iter().map(|axis| lengths[*axis]).collect();
        let depends = || NotInteger::Form(what.clone(), "a mean over the batch: rows must not depend on each other");
        let counted = counted.ok_or_else(depends)?;
        let count = terms(&counted, &what)?;
        let wide = self.checked(x, lengths.len(), axes, &counted);
        let wide = self.centred(&Quantised { name: wide, ..x.clone() });
        let list: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        let keep = int("keepdims", i64::from(keep));
        let sum = if self.opsets.get("").is_some_and(|version| *version < 13) {
            let axes = AttributeProto { ints: list, ..typed("axes", attribute_type::INTS) };
            self.emit.node("ReduceSum", &[&wide], vec![axes, keep])
        } else {
            let axes = self.emit.constant(&Tensor::vector(list));
            self.emit.node("ReduceSum", &[&wide, &axes], vec![keep])
        };
        self.emit.requantise(&[(sum, vec![x.scale / (count * target.scale)], vec![])], target, &what)
    }

    /// The same value, but no run goes on where an axis has another length than the mean was made for: a `Reshape` to that
    /// length, with all other axes as they are.
    fn checked(&mut self, x: &Quantised, rank: usize, axes: &[usize], lengths: &[usize]) -> String {
        axes.iter().zip(lengths).fold(x.name.clone(), |value, (axis, length)| {
            let mut shape = vec![0i64; rank];
            shape[*axis] = *length as i64;
            let shape = self.emit.constant(&Tensor::vector(shape));
            self.emit.node("Reshape", &[&value, &shape], vec![])
        })
    }

    /// Means of windows: a convolution of each channel with ones.
    fn window_means(
        &mut self,
        node: &NodeProto,
        x: &Quantised,
        lengths: &[Option<usize>],
        target: &Target,
    ) -> Result<String, NotInteger> {
        let what = label(node);
        let form = |words| NotInteger::Form(what.clone(), words);
        let list = |name| attribute(node, name).map(|attribute| attribute.ints.clone()).unwrap_or_default();
        let placing = attribute(node, "auto_pad").and_then(|mode| mode.s.clone()).unwrap_or_default();
        let padded = list("pads").iter().any(|pad| *pad != 0) || placing.starts_with(b"SAME");
        if padded && number(node, "count_include_pad", 0) == 0 {
            return Err(form("windows at the border count fewer elements; use count_include_pad, or no padding"));
        }
        if number(node, "ceil_mode", 0) != 0 {
            return Err(form("windows that pass the border count fewer elements; use ceil_mode 0"));
        }
        let kernel: Option<Vec<usize>> = list("kernel_shape").iter().map(|side| usize::try_from(*side).ok()).collect();
        let kernel = kernel.filter(|kernel| !kernel.is_empty()).ok_or_else(|| form("its kernel_shape is missing"))?;
        let count = terms(&kernel, &what)?;
        let channels = lengths.get(1).copied().flatten().ok_or_else(|| form("its channels are not a fixed number"))?;
        let shape = [&[channels, 1], &kernel[..]].concat();
        let ones = vec![1i8; shape.iter().product()];
        let ones = Tensor::new(shape, ones).map_err(|failure| NotInteger::Shape(what.clone(), failure))?;
        let ones = self.emit.constant(&ones);
        let kept =
            |name: Option<&str>| matches!(name, Some("auto_pad" | "dilations" | "kernel_shape" | "pads" | "strides"));
        let kept = node.attribute.iter().filter(|attribute| kept(attribute.name.as_deref()));
        let attributes = kept.cloned().chain([int("group", channels as i64)]).collect();
        let (x_zero, zero) = (self.emit.constant(&Tensor::scalar(x.zero)), self.emit.constant(&Tensor::scalar(0i8)));
        let sum = self.emit.node("ConvInteger", &[&x.name, &ones, &x_zero, &zero], attributes);
        self.emit.requantise(&[(sum, vec![x.scale / (count * target.scale)], vec![])], target, &what)
    }

    /// `value - zero`, in 32 bits.
    pub(super) fn centred(&mut self, x: &Quantised) -> String {
        let wide = self.emit.cast(&x.name, ElementType::I32);
        let zero = self.emit.constant(&Tensor::scalar(i32::from(x.zero)));
        self.emit.node("Sub", &[&wide, &zero], vec![])
    }
}

/// How many elements are added, if they can be in 32 bits.
fn terms(lengths: &[usize], what: &str) -> Result<f64, NotInteger> {
    let count = lengths.iter().fold(1usize, |count, length| count.saturating_mul(*length));
    match count {
        0 => Err(NotInteger::Form(what.into(), "the mean of nothing")),
        _ if count.saturating_mul(MOST) >= 1 << 31 => Err(NotInteger::Overflow(what.into(), count as u64)),
        _ => Ok(count as f64),
    }
}

fn typed(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind), ..Default::default() }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..typed(name, attribute_type::INT) }
}
