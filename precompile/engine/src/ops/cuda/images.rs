//! Convolutions, pools and batch normalisation.

use super::products::grid;
use super::{Built, Row, input, offloaded, or_cpu};
use crate::cuda::Numbers;
use crate::graph::Node;
use crate::kernels::patches::AXES;
use crate::ops::conv::claim_laid_out;
use crate::ops::shape::count;
use crate::ops::window::{Placed, Window};
use crate::tensor::Tensor;

pub(super) const KERNELS: &[Row] = &[
    ("BatchNormalization", batch_normalization),
    ("Conv", convolution),
    ("GlobalAveragePool", |_| global_average_pool()),
    ("MaxPool", max_pool),
];

/// A window in the order in which the kernels read it.
fn numbers(first: [usize; 4], placed: &Placed) -> Numbers {
    let lists = [placed.input, placed.output, placed.kernel, placed.stride, placed.dilation, placed.pad];
    Numbers::new(&[&first[..], &lists.concat()[..]].concat(), &[])
}

fn convolution(node: &Node<'_>) -> Built {
    let (window, groups) = (Window::of(node)?, node.int("group", 1)? as usize);
    // Weights that are only known at run time are packed there, which counts.
    let Some(weights) = node.constant(1).map(|weights| weights.shape().to_vec()) else { return Ok(None) };
    let biased = node.has_input(2);
    offloaded(move |inputs, context| {
        let (x, w) = (or_cpu!(input(inputs, 0)?), or_cpu!(input(inputs, 1)?));
        let bias = if biased { Some(or_cpu!(input(inputs, 2)?)) } else { None };
        let (channels, features, rank) = (weights[1], weights[0] / groups, weights.len());
        let fits = x.shape().len() == rank
            && x.shape()[1] == groups * channels
            && bias.as_ref().is_none_or(|b| b.len() == weights[0]);
        if !fits {
            return Ok(None);
        }
        let placed = or_cpu!(window.place(&x.shape()[2..], &weights[2..]).ok());
        let geometry = placed.geometry(channels, false);
        let mut shape = vec![x.shape()[0], weights[0]];
        shape.extend(&placed.output[AXES - (rank - 2)..]);
        let total = or_cpu!(count(&shape).ok().filter(|total| *total > 0));
        let columns = placed.output.iter().product();
        let blocks = or_cpu!(grid(features, columns, x.shape()[0] * groups));
        context.count_macs(total as u64 * geometry.k() as u64);
        context.claim::<f32>(total)?;
        claim_laid_out([channels, features], geometry, x.len(), context)?;
        let out = inputs.accelerator.allocate(shape)?;
        let numbers = numbers([features, channels, groups, usize::from(bias.is_some())], &placed);
        inputs.accelerator.launch("convolution", blocks, &out, [Some(&w), Some(&x), bias.as_ref()], numbers)?;
        Ok(Some(out))
    })
}

fn max_pool(node: &Node<'_>) -> Built {
    let window = Window::of(node)?;
    if node.has_output(1) {
        return Ok(None);
    }
    offloaded(move |inputs, context| {
        let x = or_cpu!(input(inputs, 0)?);
        let [images, channels, spatial @ ..] = x.shape() else { return Ok(None) };
        let kernel = or_cpu!(window.kernel.as_deref().filter(|_| (1..=AXES).contains(&spatial.len())));
        let placed = or_cpu!(window.place(spatial, kernel).ok());
        let mut shape = vec![*images, *channels];
        shape.extend(&placed.output[AXES - spatial.len()..]);
        let total = or_cpu!(count(&shape).ok().filter(|total| *total > 0));
        context.claim::<f32>(total)?;
        let out = inputs.accelerator.allocate(shape)?;
        let numbers = numbers([images * channels, 0, 0, 0], &placed);
        inputs.accelerator.each("max_pool", total, &out, [Some(&x), None, None], numbers)?;
        Ok(Some(out))
    })
}

fn global_average_pool() -> Built {
    offloaded(|inputs, context| {
        let x = or_cpu!(input(inputs, 0)?);
        let [images, channels, spatial @ ..] = x.shape() else { return Ok(None) };
        if spatial.is_empty() {
            return Ok(None);
        }
        let shape = [&[*images, *channels][..], &vec![1; spatial.len()][..]].concat();
        super::rows::reduce_rows(&x, spatial.iter().product(), super::rows::MEAN, shape, inputs, context).map(Some)
    })
}

/// The moments are known at load, so that what the channels need is computed once.
fn batch_normalization(node: &Node<'_>) -> Built {
    let epsilon = node.float("epsilon", 1e-5)?;
    let constant = |index: usize| node.constant(index)?.values::<f32>().ok();
    let (Some(scale), Some(bias), Some(mean), Some(variance)) = (constant(1), constant(2), constant(3), constant(4))
    else {
        return Ok(None);
    };
    let channels = scale.len();
    if channels == 0 || [bias, mean, variance].iter().any(|values| values.len() != channels) {
        return Ok(None);
    }
    let channel = |c: usize| [mean[c], scale[c] / (variance[c] + epsilon).sqrt(), bias[c]];
    let table = Tensor::vector((0..channels).flat_map(channel).collect());
    offloaded(move |inputs, context| {
        let x = or_cpu!(input(inputs, 0)?);
        if x.shape().get(1) != Some(&channels) {
            return Ok(None);
        }
        let plane = x.shape()[2..].iter().product();
        context.claim::<f32>(x.len())?;
        let table = or_cpu!(inputs.accelerator.upload(&table)?);
        let out = inputs.accelerator.allocate(x.shape().to_vec())?;
        let numbers = Numbers::new(&[x.len(), plane, channels], &[]);
        inputs.accelerator.each("affine", x.len(), &out, [Some(&x), Some(&table), None], numbers)?;
        Ok(Some(out))
    })
}
