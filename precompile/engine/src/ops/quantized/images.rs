//! Convolutions of integers, with channels as the fastest axis on the way.

use super::{Bytes, Linear, Quantised, one, one_zero};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::kernels::bytes::{Left, STEPS_MAX, steps};
use crate::kernels::channels_last::{Layout, Pieces, channels_first, taps};
use crate::kernels::integers::{Finish, Panels, Product, Store};
use crate::kernels::patches::AXES;
use crate::kernels::{Isa, PANEL};
use crate::onnx::LoadError;
use crate::ops::conv::groups;
use crate::ops::floats::widen;
use crate::ops::quantize::integers;
use crate::ops::shape::count;
use crate::ops::window::Window;
use crate::ops::{Built, kernel};
use crate::tensor::{Element, Tensor};

/// Elements of a kernel of one channel up to which it is worth a loop of its own, and its sums fit 32 bits.
const TAPS_MAX: usize = 1024;

/// Weights of a convolution.
struct Weights {
    kernel: Vec<usize>,
    /// Input channels and features of a group.
    channels: usize,
    features: usize,
    pieces: Pieces,
    packed: Packed,
}

enum Packed {
    /// A matrix a group.
    Panels(Vec<Panels>),
    /// For each element of the kernel a pixel, zero points taken off.
    Taps(Vec<i16>),
}

impl Weights {
    fn new(tensor: &Tensor, zero: Option<&Tensor>, groups: usize, dilation: usize, isa: Isa) -> Result<Self, Failure> {
        let w = Quantised::new(tensor, zero, Some(0))?;
        let shape = tensor.shape();
        let fits = (3..=2 + AXES).contains(&shape.len()) && shape[0].is_multiple_of(groups) && !shape.contains(&0);
        if !fits {
            return Err(failure::wrong_shape(format!("weights of shape {shape:?} in {groups} groups")));
        }
        let (features, channels) = (shape[0] / groups, shape[1]);
        let size = shape[2..].iter().product::<usize>();
        let pieces = match (channels, features) {
            (1, 1) if groups > 1 && size <= TAPS_MAX => Pieces::Taps,
            _ if groups == 1 && dilation == 1 => Pieces::Rows,
            _ => Pieces::Pixels,
        };
        let (element, zeros) = w.signed();
        let zero = |feature: usize| if let [one] = zeros[..] { one } else { zeros[feature] };
        let packed = if pieces == Pieces::Taps {
            let pixel = groups.next_multiple_of(PANEL);
            let mut taps = vec![0; pixel * size];
            for (index, weight) in (0..groups * size).map(|index| (index, element(index))) {
                taps[index % size * pixel + index / size] = i16::from(weight) - zero(index / size) as i16;
            }
            Packed::Taps(taps)
        } else {
            let lengths = pieces.lengths(in_front(&shape[2..]), channels);
            let group = |group: usize| {
                let first = group * features;
                let zeros = (first..first + features).map(zero).collect();
                Panels::new(features, &lengths, steps(isa), zeros, |k, feature| {
                    element(((first + feature) * channels + k % channels) * size + k / channels)
                })
            };
            Packed::Panels((0..groups).map(group).collect())
        };
        Ok(Self { kernel: shape[2..].to_vec(), channels, features, pieces, packed })
    }
}

impl Weights {
    /// Elements that weights of `shape` take at most.
    fn len(shape: &[usize], groups: usize) -> Result<usize, Failure> {
        let features = shape.first().map_or(0, |all| all.div_ceil(groups).next_multiple_of(PANEL));
        let channels = shape.get(1).map_or(0, |channels| channels.next_multiple_of(STEPS_MAX));
        count(&[&[groups, features, channels], shape.get(2..).unwrap_or_default()].concat())
    }
}

/// Spatial dimensions, with ones in front.
fn in_front(dimensions: &[usize]) -> [usize; AXES] {
    let mut out = [1; AXES];
    out[AXES - dimensions.len()..].copy_from_slice(dimensions);
    out
}

/// A convolution of integers.
struct Convolution {
    window: Window,
    groups: usize,
    fixed: Option<Weights>,
}

impl Convolution {
    fn new(node: &Node<'_>, at: usize, zero: usize) -> Result<Self, LoadError> {
        let (window, groups) = (Window::of(node)?, groups(node)?);
        let zero_known = !node.has_input(zero) || node.constant(zero).is_some();
        let known = if zero_known { node.absorb(at) } else { None };
        let weights = |w: Tensor| Weights::new(&w, node.constant(zero), groups, window.last_dilation(), node.isa());
        let fixed = known.map(weights).transpose().map_err(|f| node.failure(f))?;
        Ok(Self { window, groups, fixed })
    }

    /// The outputs made of exact sums, and their shape.
    fn run<O: Finish<Out: Element>>(
        &self,
        [x, x_zero, w, w_zero]: [usize; 4],
        finish: &O,
        inputs: &Inputs,
        context: &Context,
    ) -> Result<(Vec<O::Out>, Vec<usize>), Failure> {
        let tensor = inputs.get(x)?;
        let x = Quantised::new(tensor, inputs.optional(x_zero), None)?;
        let made = match &self.fixed {
            Some(_) => None,
            None => {
                let w = inputs.get(w)?;
                context.claim::<i16>(Weights::len(w.shape(), self.groups)?)?;
                let (zero, dilation) = (inputs.optional(w_zero), self.window.last_dilation());
                Some(Weights::new(w, zero, self.groups, dilation, context.isa())?)
            }
        };
        let weights = self.fixed.as_ref().or(made.as_ref()).expect("known, or made here");
        let wanted = [weights.channels * self.groups];
        if tensor.rank() != weights.kernel.len() + 2 || tensor.shape()[1..2] != wanted {
            let shape = tensor.shape();
            return Err(failure::wrong_shape(format!("an image of shape {shape:?} for {wanted:?} channels")));
        }
        let placed = self.window.place(&tensor.shape()[2..], &weights.kernel)?;
        let features = weights.features * self.groups;
        let mut shape = vec![tensor.shape()[0], features];
        shape.extend(&placed.output[AXES - weights.kernel.len()..]);
        let layout = Layout::new(placed.unturned(weights.channels), tensor.shape()[0], self.groups, weights.pieces);
        let total = count(&shape)?;
        let macs = weights.channels * weights.kernel.iter().product::<usize>();
        context.count_macs((total as u64).saturating_mul(macs as u64));
        let out = self.over(&layout, &x, weights, finish, total, context)?;
        if placed.output == [1; AXES] {
            return Ok((out, shape));
        }
        let mut turned = context.zeros::<O::Out>(total)?;
        channels_first(&out, shape[0], features, &mut turned);
        Ok((turned, shape))
    }

    /// The outputs with channels as the fastest axis.
    fn over<O: Finish<Out: Element>>(
        &self,
        layout: &Layout,
        x: &Quantised<'_>,
        weights: &Weights,
        finish: &O,
        total: usize,
        context: &Context,
    ) -> Result<Vec<O::Out>, Failure> {
        let too_many = || failure::out_of_memory("an image with its padding has too many elements");
        let length = layout.len().ok_or_else(too_many)?;
        // The same on every processor.
        context.claim::<i16>(length)?;
        let mut out = context.zeros::<O::Out>(total)?;
        let (runs, isa) = (layout.runs(), context.isa());
        match &weights.packed {
            Packed::Taps(weights) => {
                let values = centred(layout, x, length);
                taps(isa, layout.lines(&values, &[]), &runs, weights, self.groups, finish, &mut out);
            }
            Packed::Panels(groups) if steps(isa) == u8::STEPS => {
                let zeros = x.unsigned_zeros();
                let mut values = vec![zeros[0] as u8; length];
                match x.values {
                    Bytes::Signed(image) => layout.fill(image, |v| v.cast_unsigned() ^ 0x80, &mut values),
                    Bytes::Unsigned(image) => layout.fill(image, |v| v, &mut values),
                }
                let left = layout.lines(&values, &zeros);
                Product { left, runs: &runs, groups, group_stride: weights.channels, finish }.multiply(isa, &mut out);
            }
            Packed::Panels(groups) => {
                let values = centred(layout, x, length);
                let left = layout.lines(&values, &[]);
                Product { left, runs: &runs, groups, group_stride: weights.channels, finish }.multiply(isa, &mut out);
            }
        }
        Ok(out)
    }
}

/// Images less their zero point, with zeros around them.
fn centred(layout: &Layout, x: &Quantised<'_>, length: usize) -> Vec<i16> {
    let (mut values, zero) = (vec![0; length], x.zero(0));
    match x.values {
        Bytes::Signed(image) => layout.fill(image, |v| i16::from(v) - zero, &mut values),
        Bytes::Unsigned(image) => layout.fill(image, |v| i16::from(v) - zero, &mut values),
    }
    values
}

pub(super) fn conv_integer(node: &Node<'_>) -> Built {
    let convolution = Convolution::new(node, 1, 3)?;
    kernel(move |inputs, context| {
        const OPERANDS: [usize; 4] = [0, 2, 1, 3];
        if let Some(finish) = inputs.requantise() {
            let (values, shape) = convolution.run(OPERANDS, &*finish, inputs, context)?;
            return Ok(vec![Tensor::new(shape, values)?]);
        }
        let (values, shape) = convolution.run(OPERANDS, &Store, inputs, context)?;
        Ok(vec![Tensor::new(shape, values)?])
    })
}

pub(super) fn conv_linear(node: &Node<'_>) -> Built {
    let convolution = Convolution::new(node, 3, 5)?;
    kernel(move |inputs, context| {
        let channels = match &convolution.fixed {
            Some(weights) => weights.features * convolution.groups,
            None => inputs.get(3)?.shape().first().copied().unwrap_or(0),
        };
        let bias = match inputs.optional(8) {
            Some(bias) => bias.values::<i32>()?.to_vec(),
            None => Vec::new(),
        };
        if inputs.optional(8).is_some() && bias.len() != channels {
            return Err(failure::wrong_shape(format!("{} biases for {channels} channels", bias.len())));
        }
        let (zero, kind) = one_zero(inputs, 7, context)?;
        let w_scale = inputs.get(4)?;
        if w_scale.len() != 1 && w_scale.shape() != [channels] {
            let came = w_scale.shape();
            return Err(failure::wrong_shape(format!("scales of shape {came:?} for {channels} slices")));
        }
        let scale = f64::from(one(inputs, 1, context)?) / f64::from(one(inputs, 6, context)?);
        let factors = widen(w_scale, context)?.into_iter().map(|w| scale * w).collect();
        let finish = Linear { bias, factors, zero, kind };
        let (values, shape) = convolution.run([0, 2, 3, 5], &finish, inputs, context)?;
        Ok(vec![integers(kind, &shape, &values, context)?])
    })
}
