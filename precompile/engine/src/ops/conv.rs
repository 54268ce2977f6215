//! `Conv` and `ConvTranspose`: matrix products over patches, the bias added after.

use super::cast::cast;
use super::shape::count;
use super::window::{Placed, Window};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node, Tail};
use crate::kernels::depthwise::{Depthwise, depthwise};
use crate::kernels::gemm::{Operand, Packed, Product, Strided, multiply};
use crate::kernels::padded::{Layout, PaddedPatches};
use crate::kernels::parallel_parts;
use crate::kernels::patches::{AXES, Geometry, Patches};
use crate::onnx::LoadError;
use crate::tensor::{ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] =
    &[Operator::onnx("Conv", 1..=LATEST, conv), Operator::onnx("ConvTranspose", 1..=LATEST, conv_transpose)];

/// Weights of a convolution, one matrix a group.
struct Weights {
    /// Kernel in each spatial dimension.
    kernel: Vec<usize>,
    /// Input and output channels of a group.
    channels: usize,
    features: usize,
    groups: usize,
    /// Row-major `[groups * features, channels * kernel]`.
    values: Vec<f32>,
    packed: Vec<Packed>,
}

impl Weights {
    /// Of a tensor `[groups * features, channels, kernel...]`, or `[groups * channels, features, kernel...]`.
    fn new(tensor: &Tensor, groups: usize, transposed: bool, context_isa: crate::Isa) -> Result<Self, Failure> {
        let shape = tensor.shape();
        let wrong = || failure::wrong_shape(format!("weights of shape {shape:?} in {groups} groups"));
        if !(3..=2 + AXES).contains(&shape.len())
            || groups == 0
            || !shape[0].is_multiple_of(groups)
            || tensor.is_empty()
        {
            return Err(wrong());
        }
        let size: usize = shape[2..].iter().product();
        let (channels, features) =
            if transposed { (shape[0] / groups, shape[1]) } else { (shape[1], shape[0] / groups) };
        let values = tensor.values::<f32>()?;
        let values = if transposed { turned(values, groups, channels, features, size) } else { values.to_vec() };
        let k = channels * size;
        let pack = |group: &[f32]| {
            Packed::left(&Strided { data: group, line_stride: k, k_stride: 1 }, features, k, context_isa)
        };
        // Depthwise kernels are used as they are.
        let packed = if channels == 1 && features == 1 && !transposed {
            Vec::new()
        } else {
            values.chunks_exact(features * k).map(pack).collect()
        };
        let values = if packed.is_empty() || channels == 1 { values } else { Vec::new() };
        Ok(Self { kernel: shape[2..].to_vec(), channels, features, groups, values, packed })
    }
}

/// From `[groups, channels, features, size]` to `[groups, features, channels, size]`.
fn turned(values: &[f32], groups: usize, channels: usize, features: usize, size: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for group in 0..groups {
        for feature in 0..features {
            for channel in 0..channels {
                let start = ((group * channels + channel) * features + feature) * size;
                out.extend_from_slice(&values[start..start + size]);
            }
        }
    }
    out
}

/// The weights, if they are known at load.
fn constant_weights(node: &Node<'_>, groups: usize, transposed: bool) -> Result<Option<Weights>, LoadError> {
    if node.constant(1).is_none_or(|w| w.element_type() != ElementType::F32) {
        return Ok(None);
    }
    let Some(tensor) = node.absorb(1) else { return Ok(None) };
    Weights::new(&tensor, groups, transposed, node.isa()).map(Some).map_err(|f| node.failure(f))
}

/// Weights that are only known at run time: a copy and its packed form.
fn made_weights(tensor: &Tensor, groups: usize, transposed: bool, context: &Context) -> Result<Weights, Failure> {
    context.claim::<f32>(tensor.len().saturating_mul(2))?;
    Weights::new(tensor, groups, transposed, context.isa())
}

pub(super) fn groups(node: &Node<'_>) -> Result<usize, LoadError> {
    usize::try_from(node.int("group", 1)?).ok().filter(|g| *g > 0).ok_or_else(|| node.error("group must be positive"))
}

fn conv(node: &Node<'_>) -> Built {
    let (window, groups) = (Window::of(node)?, groups(node)?);
    let fixed = constant_weights(node, groups, false)?;
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let given = if fixed.is_none() { Some(inputs.take(1)?) } else { None };
        let bias = if inputs.optional(2).is_some() { Some(inputs.take(2)?) } else { None };
        let plain = x.element_type() == ElementType::F32;
        let tail = |shape: &[usize], plane: usize| if plain { inputs.tail(shape, plane, true) } else { None };
        with_floats(x, given, bias.as_ref(), context, |x, given, bias| {
            let made = given.map(|w| made_weights(w, groups, false, context)).transpose()?;
            let weights = fixed.as_ref().or(made.as_ref()).ok_or_else(|| failure::arity("the weights are missing"))?;
            let placed = window.place(&x.shape()[2.min(x.rank())..], &weights.kernel)?;
            run((x, bias), weights, placed, false, context, tail)
        })
    })
}

fn conv_transpose(node: &Node<'_>) -> Built {
    let (window, groups) = (Window::of(node)?, groups(node)?);
    let mut extra = [0; AXES];
    let given = node.ints("output_padding")?.unwrap_or_default();
    for (slot, value) in extra.iter_mut().rev().zip(given.iter().rev()) {
        *slot = usize::try_from(*value)
            .ok()
            .filter(|v| *v < 1 << 20)
            .ok_or_else(|| node.error("output_padding must not be negative"))?;
    }
    let wanted = match node.ints("output_shape")? {
        None => None,
        Some(shape) => Some(
            shape
                .iter()
                .map(|d| usize::try_from(*d))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| node.error("output_shape is negative"))?,
        ),
    };
    let fixed = constant_weights(node, groups, true)?;
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let given = if fixed.is_none() { Some(inputs.take(1)?) } else { None };
        let bias = if inputs.optional(2).is_some() { Some(inputs.take(2)?) } else { None };
        let plain = x.element_type() == ElementType::F32;
        let tail = |shape: &[usize], plane: usize| if plain { inputs.tail(shape, plane, true) } else { None };
        with_floats(x, given, bias.as_ref(), context, |x, given, bias| {
            let made = given.map(|w| made_weights(w, groups, true, context)).transpose()?;
            let weights = fixed.as_ref().or(made.as_ref()).ok_or_else(|| failure::arity("the weights are missing"))?;
            let placed = window.place_transposed(&x.shape()[2.min(x.rank())..], &weights.kernel, &extra, &wanted)?;
            run((x, bias), weights, placed, true, context, tail)
        })
    })
}

/// Calls `f` on `f32` tensors; 16-bit floats are converted there and back.
fn with_floats(
    x: Tensor,
    weights: Option<Tensor>,
    bias: Option<&Tensor>,
    context: &Context,
    f: impl FnOnce(&Tensor, Option<&Tensor>, Option<&Tensor>) -> Result<Tensor, Failure>,
) -> Result<Vec<Tensor>, Failure> {
    let kind = x.element_type();
    if !kind.is_float() || kind == ElementType::F64 {
        return Err(failure::wrong_type(format!("convolutions do not take {kind}")));
    }
    let narrow = |t: &Tensor| cast(t, ElementType::F32, context);
    let (image, weights, bias) =
        (narrow(&x)?, weights.as_ref().map(narrow).transpose()?, bias.map(narrow).transpose()?);
    drop(x);
    let out = f(&image, weights.as_ref(), bias.as_ref())?;
    context.recycle(image);
    Ok(vec![cast(&out, kind, context)?])
}

fn run(
    (x, bias): (&Tensor, Option<&Tensor>),
    weights: &Weights,
    placed: Placed,
    transposed: bool,
    context: &Context,
    tail: impl FnOnce(&[usize], usize) -> Option<Tail>,
) -> Result<Tensor, Failure> {
    let (images, features) = (x.shape()[0], weights.groups * weights.features);
    if x.shape()[1] != weights.groups * weights.channels {
        return Err(failure::wrong_shape(format!(
            "an image of shape {:?} for {} channels",
            x.shape(),
            weights.groups * weights.channels
        )));
    }
    let geometry = placed.geometry(weights.channels, transposed);
    let bias = bias.map(|b| b.values::<f32>()).transpose()?;
    if bias.is_some_and(|b| b.len() != features) {
        return Err(failure::wrong_shape(format!("expected a bias of {features} values")));
    }
    let mut shape = vec![images, features];
    shape.extend(&placed.output[AXES - (x.rank() - 2)..]);
    let total = count(&shape)?;
    context.count_macs(total as u64 * geometry.k() as u64);
    let image = x.values::<f32>()?;
    if x.is_empty() {
        return Tensor::new(shape, context.zeros::<f32>(total)?);
    }
    let mut out = context.room(total)?;
    let tail = tail(&shape, geometry.output.iter().product());
    let job = Job { image, weights, bias, geometry, tail: tail.as_ref() };
    let size = [weights.channels, weights.features];
    claim_laid_out(size, geometry, image.len(), context)?;
    if is_by_channel(size, geometry) {
        each_channel(&job, &mut out, context);
    } else {
        products(&job, &mut out, context);
    }
    Tensor::new(shape, out)
}

/// Whether a convolution of groups of `channels` to `features` is computed channel by channel, without a product.
fn is_by_channel([channels, features]: [usize; 2], geometry: Geometry) -> bool {
    channels == 1 && features == 1 && geometry.is_depthwise()
}

/// Counts what a convolution of `length` elements in groups of `channels` to `features` lays out with zeros, on a device
/// that needs none of it too: the memory that a run takes decides whether it fails. Far zeros can make this much larger
/// than image and output.
pub(super) fn claim_laid_out(
    [channels, features]: [usize; 2],
    geometry: Geometry,
    length: usize,
    context: &Context,
) -> Result<(), Failure> {
    let elements = if is_by_channel([channels, features], geometry) {
        let [height, width] = geometry.padded_shape();
        height.saturating_mul(width)
    } else if geometry.is_pointwise() {
        0
    } else {
        Layout::elements(geometry, length)
    };
    context.claim::<f32>(elements)
}

/// What is convolved with what.
#[derive(Clone, Copy)]
struct Job<'a> {
    image: &'a [f32],
    weights: &'a Weights,
    bias: Option<&'a [f32]>,
    geometry: Geometry,
    /// What is done to the output's elements in the end.
    tail: Option<&'a Tail>,
}

fn each_channel(job: &Job<'_>, out: &mut [f32], context: &Context) {
    let Job { image, weights, bias, geometry, tail } = *job;
    let (plane, result): (usize, usize) = (geometry.input.iter().product(), geometry.output.iter().product());
    let [height, width] = geometry.padded_shape();
    if result == 0 {
        return;
    }
    parallel_parts(out, result, 8 * geometry.k(), |first, part| {
        let mut padded = vec![0.0; height * width];
        for (i, out) in part.chunks_exact_mut(result).enumerate() {
            let (place, channel) = (first + i, (first + i) % weights.groups);
            geometry.pad_channel(&image[place * plane..(place + 1) * plane], &mut padded);
            let kernel = &weights.values[channel * geometry.k()..(channel + 1) * geometry.k()];
            depthwise(
                context.isa(),
                Depthwise { geometry, padded: &padded, kernel, bias: bias.map(|b| b[channel]), out },
            );
            if let Some(tail) = tail {
                tail.apply(context.isa(), place, 0, out);
            }
        }
    });
}

fn products(job: &Job<'_>, out: &mut [f32], context: &Context) {
    let Job { image, weights, bias, geometry, tail } = *job;
    let plane: usize = geometry.input.iter().product();
    let (rows, columns, k) = (weights.features, geometry.output.iter().product(), geometry.k());
    let single = [];
    let packed = if weights.packed.is_empty() { &single[..] } else { &weights.packed[..] };
    let made: Vec<Packed>;
    let packed = if packed.is_empty() {
        // Depthwise weights whose geometry the direct loop does not take.
        let pack = |w: &[f32]| Packed::left(&Strided { data: w, line_stride: k, k_stride: 1 }, rows, k, context.isa());
        made = weights.values.chunks_exact(rows * k).map(pack).collect();
        &made[..]
    } else {
        packed
    };
    let size = weights.channels * plane;
    let sources: Vec<Patches<'_>> = image.chunks_exact(size.max(1)).map(|image| Patches { image, geometry }).collect();
    let flat: Vec<Strided<'_>> =
        sources.iter().map(|s| Strided { data: s.image, line_stride: 1, k_stride: plane }).collect();
    let layout = if geometry.is_pointwise() { None } else { Layout::of(geometry) };
    let room = || context.claimed_room(Layout::elements(geometry, image.len()));
    let padded = layout.as_ref().map(|layout| layout.pad(image, room()));
    let laid_out: Vec<PaddedPatches<'_>> =
        padded.iter().flat_map(|padded| (0..sources.len()).map(|i| padded.patches(i))).collect();
    let ends: Vec<_> = (0..sources.len())
        .map(|i| {
            move |row: usize, column: usize, values: &mut [f32]| {
                if let Some(bias) = bias {
                    let b = bias[i % weights.groups * rows + row];
                    values.iter_mut().for_each(|x| *x += b);
                }
                if let Some(tail) = tail {
                    tail.apply(context.isa(), i * rows + row, column, values);
                }
            }
        })
        .collect();
    let product = |i: usize| {
        let group = i % weights.groups;
        let right = match laid_out.get(i) {
            _ if geometry.is_pointwise() => Operand::Source(&flat[i]),
            Some(patches) => Operand::Source(patches),
            None => Operand::Source(&sources[i]),
        };
        Product { left: Operand::Packed(&packed[group]), right, rows, columns, k, finish: Some(&ends[i]) }
    };
    let all: Vec<_> = (0..sources.len()).map(product).collect();
    multiply(context.isa(), &all, out);
    if let Some(padded) = padded {
        context.recycle(Tensor::vector(padded.values));
    }
}
