//! Normalisations: batch, layer, instance, group, root mean square, softmax.

use super::cast::cast;
use super::layout::permute;
use super::shape::axis;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::parallel_parts;
use crate::kernels::rows::{LayerNorm, LogSoftmax, RowWise, Softmax, each_row, moments};
use crate::tensor::{ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("BatchNormalization", 1..=LATEST, batch_normalization),
    Operator::onnx("GroupNormalization", 18..=LATEST, group_normalization),
    Operator::onnx("InstanceNormalization", 1..=LATEST, instance_normalization),
    Operator::onnx("LayerNormalization", 17..=LATEST, |node| layer_norm(node, true)),
    Operator::onnx("LogSoftmax", 1..=LATEST, |node| softmax(node, LogSoftmax)),
    Operator::onnx("RMSNormalization", 23..=LATEST, |node| layer_norm(node, false)),
    // ONNX Runtime's own, though exporters give it ONNX's domain.
    Operator::onnx("SimplifiedLayerNormalization", 1..=LATEST, simplified),
    Operator::onnx("Softmax", 1..=LATEST, |node| softmax(node, Softmax)),
];

/// Calls `f` on `x` as `f32`; other float types are converted there and back.
fn narrowed(
    x: Tensor,
    context: &Context,
    f: impl FnOnce(Tensor) -> Result<Tensor, Failure>,
) -> Result<Vec<Tensor>, Failure> {
    let kind = x.element_type();
    if !kind.is_float() {
        return Err(failure::wrong_type(format!("expected floats, got {kind}")));
    }
    let narrow = cast(&x, ElementType::F32, context)?;
    // Floats then belong to `f` alone, which writes to them where it would have to copy others.
    drop(x);
    let y = f(narrow)?;
    Ok(vec![cast(&y, kind, context)?])
}

fn softmax(node: &Node<'_>, function: impl RowWise + 'static) -> Built {
    // Before opset 13, all axes from the given one on were one row.
    let legacy = node.opset() < 13;
    let given = node.int("axis", if legacy { 1 } else { -1 })?;
    kernel(move |inputs, context| {
        narrowed(inputs.take(0)?, context, |x| {
            let at = if given == x.rank() as i64 { x.rank() } else { axis(given, x.rank())? };
            let by_rows = |x: Tensor, width: usize| {
                context.claim::<f32>(x.len())?;
                let shape = x.shape().to_vec();
                let mut values = x.into_values::<f32>()?;
                each_row(context.isa(), &mut values, width, function);
                Tensor::new(shape, values)
            };
            if legacy || at + 1 == x.rank() {
                let width = x.shape()[at..].iter().product();
                return by_rows(x, width);
            }
            let mut order: Vec<usize> = (0..x.rank()).collect();
            let last = order.remove(at.min(x.rank() - 1));
            order.push(last);
            let width = x.shape()[last];
            let back: Vec<usize> = (0..order.len()).map(|a| order.iter().position(|o| *o == a).unwrap_or(a)).collect();
            permute(&by_rows(permute(&x, &order, context)?, width)?, &back, context)
        })
    })
}

/// `values` of input `index` as `f32`; fails unless there are `count`.
fn parameters(
    inputs: &crate::graph::Inputs,
    index: usize,
    count: usize,
    context: &Context,
) -> Result<Vec<f32>, Failure> {
    let values = cast(inputs.get(index)?, ElementType::F32, context)?.into_values::<f32>()?;
    if values.len() == count {
        Ok(values)
    } else {
        Err(failure::wrong_shape(format!("expected {count} parameters, got {}", values.len())))
    }
}

/// `fma(x - mean, scale / sqrt(variance + epsilon), bias)` with the moments of the training.
fn batch_normalization(node: &Node<'_>) -> Built {
    let epsilon = node.float("epsilon", 1e-5)?;
    if node.int("training_mode", 0)? != 0 || (node.opset() < 7 && !node.flag("is_test", false)?) {
        return Err(node.error("training mode depends on what else is in the batch: export the model for inference"));
    }
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let channels = *x.shape().get(1).ok_or_else(|| failure::wrong_shape("expected images by channels"))?;
        let all = |index| parameters(inputs, index, channels, context);
        let (scale, bias, mean, variance) = (all(1)?, all(2)?, all(3)?, all(4)?);
        let factors: Vec<f32> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        narrowed(x, context, |x| {
            let (shape, plane) = (x.shape().to_vec(), x.shape()[2..].iter().product::<usize>());
            context.claim::<f32>(x.len())?;
            let mut values = x.into_values::<f32>()?;
            parallel_parts(&mut values, plane, 16, |first, part| {
                for (i, values) in part.chunks_exact_mut(plane.max(1)).enumerate() {
                    let c = (first + i) % channels;
                    affine(context, values, mean[c], factors[c], bias[c]);
                }
            });
            Tensor::new(shape, values)
        })
    })
}

/// `fma(x - mean, factor, bias)` for each element.
fn affine(context: &Context, values: &mut [f32], mean: f32, factor: f32, bias: f32) {
    #[derive(Clone, Copy)]
    struct Affine(f32, f32, f32);
    impl crate::kernels::math::Scalar for Affine {
        #[inline(always)]
        fn apply<F: crate::kernels::Fma>(self, x: f32) -> f32 {
            F::fma(x - self.0, self.1, self.2)
        }
    }
    crate::kernels::math::map(context.isa(), values, Affine(mean, factor, bias));
}

fn simplified(node: &Node<'_>) -> Built {
    if node.has_output(1) {
        return Err(node.error("statistics are for training: export the model for inference"));
    }
    layer_norm(node, false)
}

/// Root mean square normalisation of the last axis, times a scale.
pub(super) fn root_mean_square(x: Tensor, scale: &Tensor, epsilon: f32, context: &Context) -> Result<Tensor, Failure> {
    let shape = x.shape().to_vec();
    let width = shape.last().copied().unwrap_or(1);
    let scale = scale.values::<f32>()?;
    if scale.len() != width {
        return Err(failure::wrong_shape(format!("expected {width} parameters, got {}", scale.len())));
    }
    context.claim::<f32>(x.len())?;
    let mut values = x.into_values::<f32>()?;
    each_row(context.isa(), &mut values, width, LayerNorm { epsilon, scale, bias: None, centred: false });
    Tensor::new(shape, values)
}

fn layer_norm(node: &Node<'_>, centred: bool) -> Built {
    let (epsilon, given) = (node.float("epsilon", 1e-5)?, node.int("axis", -1)?);
    let statistics = node.has_output(1) || node.has_output(2);
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let at = axis(given, x.rank())?;
        let width: usize = x.shape()[at..].iter().product();
        let spread = |index: usize| -> Result<Vec<f32>, Failure> {
            let values = super::layout::expand(inputs.get(index)?, &x.shape()[at..], context)?;
            cast(&values, ElementType::F32, context)?.into_values::<f32>()
        };
        let scale = spread(1)?;
        let bias = if inputs.optional(2).is_some() { Some(spread(2)?) } else { None };
        let mut extra = Vec::new();
        if statistics {
            let rows = cast(&x, ElementType::F32, context)?.into_values::<f32>()?;
            let all: Vec<_> = rows.chunks_exact(width.max(1)).map(|row| moments(row, epsilon, centred)).collect();
            let shape: Vec<_> = x.shape().iter().enumerate().map(|(a, d)| if a < at { *d } else { 1 }).collect();
            extra.push(Tensor::new(shape.clone(), all.iter().map(|m| m.0).collect())?);
            extra.push(Tensor::new(shape, all.iter().map(|m| m.1).collect())?);
        }
        let mut outputs = narrowed(x, context, |x| {
            let shape = x.shape().to_vec();
            context.claim::<f32>(x.len())?;
            let mut values = x.into_values::<f32>()?;
            each_row(
                context.isa(),
                &mut values,
                width,
                LayerNorm { epsilon, scale: &scale, bias: bias.as_deref(), centred },
            );
            Tensor::new(shape, values)
        })?;
        outputs.extend(extra);
        Ok(outputs)
    })
}

/// Normalises groups of `channels / groups` channels by their own moments; `scale` and `bias` by channel.
fn by_group(
    x: Tensor,
    groups: usize,
    epsilon: f32,
    scale: &[f32],
    bias: &[f32],
    context: &Context,
) -> Result<Tensor, Failure> {
    let shape = x.shape().to_vec();
    let (channels, plane) = (shape[1], shape[2..].iter().product::<usize>());
    context.claim::<f32>(x.len())?;
    let mut values = x.into_values::<f32>()?;
    let width = channels / groups * plane;
    parallel_parts(&mut values, width, 32, |first, part| {
        for (i, group) in part.chunks_exact_mut(width.max(1)).enumerate() {
            let (mean, inverse) = moments(group, epsilon, true);
            let channel0 = (first + i) % groups * (channels / groups);
            for (c, values) in group.chunks_exact_mut(plane).enumerate() {
                affine(context, values, mean, inverse * scale[channel0 + c], bias[channel0 + c]);
            }
        }
    });
    Tensor::new(shape, values)
}

fn channels_of(x: &Tensor) -> Result<usize, Failure> {
    x.shape().get(1).copied().filter(|c| *c > 0).ok_or_else(|| failure::wrong_shape("expected images by channels"))
}

fn instance_normalization(node: &Node<'_>) -> Built {
    let epsilon = node.float("epsilon", 1e-5)?;
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let channels = channels_of(&x)?;
        let (scale, bias) = (parameters(inputs, 1, channels, context)?, parameters(inputs, 2, channels, context)?);
        narrowed(x, context, |x| by_group(x, channels, epsilon, &scale, &bias, context))
    })
}

fn group_normalization(node: &Node<'_>) -> Built {
    let (epsilon, groups) = (node.float("epsilon", 1e-5)?, node.int("num_groups", 0)?);
    let groups =
        usize::try_from(groups).ok().filter(|g| *g > 0).ok_or_else(|| node.error("num_groups must be positive"))?;
    let by_channel = node.opset() >= 21;
    kernel(move |inputs, context| {
        let x = inputs.take(0)?;
        let channels = channels_of(&x)?;
        if channels % groups != 0 {
            return Err(failure::wrong_shape(format!("{channels} channels in {groups} groups")));
        }
        let spread = |index| -> Result<Vec<f32>, Failure> {
            if by_channel {
                return parameters(inputs, index, channels, context);
            }
            let each = parameters(inputs, index, groups, context)?;
            Ok((0..channels).map(|c| each[c / (channels / groups)]).collect())
        };
        let (scale, bias) = (spread(1)?, spread(2)?);
        narrowed(x, context, |x| by_group(x, groups, epsilon, &scale, &bias, context))
    })
}
