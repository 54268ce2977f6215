//! Softmax, layer normalisation and reductions: rows, each in 16 lanes.

use super::{Built, Row, input, offloaded, or_cpu};
use crate::cuda::{DeviceTensor, Numbers};
use crate::graph::{Context, DeviceInputs, Node, Stop};
use crate::ops::shape::{axes, axis};

pub(super) const KERNELS: &[Row] = &[
    ("LayerNormalization", |node| layer_norm(node, true)),
    ("LogSoftmax", |node| softmax(node, true)),
    ("RMSNormalization", |node| layer_norm(node, false)),
    ("ReduceL1", |node| reduce(node, 4)),
    ("ReduceL2", |node| reduce(node, 3)),
    ("ReduceMax", |node| reduce(node, 5)),
    ("ReduceMean", |node| reduce(node, MEAN)),
    ("ReduceSum", |node| reduce(node, 0)),
    ("ReduceSumSquare", |node| reduce(node, 2)),
    ("Softmax", |node| softmax(node, false)),
];

/// The mean among the functions of the kernel `reduce`.
pub(super) const MEAN: usize = 1;
/// Rows of a block.
const ROWS: usize = 16;

fn softmax(node: &Node<'_>, logarithm: bool) -> Built {
    let legacy = node.opset() < 13;
    let given = node.int("axis", if legacy { 1 } else { -1 })?;
    offloaded(move |inputs, context| {
        let x = or_cpu!(input(inputs, 0)?);
        let at = or_cpu!(axis(given, x.shape().len()).ok());
        if !legacy && at + 1 != x.shape().len() {
            return Ok(None);
        }
        let width = x.shape()[at..].iter().product();
        context.claim::<f32>(x.len())?;
        let out = inputs.accelerator.allocate(x.shape().to_vec())?;
        let rows = x.len() / width;
        let numbers = Numbers::new(&[rows, width, usize::from(logarithm)], &[]);
        let blocks = [rows.div_ceil(ROWS), 1, 1];
        inputs.accelerator.launch("softmax", blocks, &out, [Some(&x), None, None], numbers)?;
        Ok(Some(out))
    })
}

fn layer_norm(node: &Node<'_>, centred: bool) -> Built {
    let (epsilon, given) = (node.float("epsilon", 1e-5)?, node.int("axis", -1)?);
    if node.has_output(1) || node.has_output(2) {
        return Ok(None);
    }
    let biased = node.has_input(2);
    offloaded(move |inputs, context| {
        let (x, scale) = (or_cpu!(input(inputs, 0)?), or_cpu!(input(inputs, 1)?));
        let bias = if biased { Some(or_cpu!(input(inputs, 2)?)) } else { None };
        let at = or_cpu!(axis(given, x.shape().len()).ok());
        let row = &x.shape()[at..];
        if scale.shape() != row || bias.as_ref().is_some_and(|bias| bias.shape() != row) {
            return Ok(None);
        }
        let width: usize = row.iter().product();
        context.claim::<f32>(x.len())?;
        let out = inputs.accelerator.allocate(x.shape().to_vec())?;
        let rows = x.len() / width;
        let choices = [rows, width, usize::from(centred), usize::from(bias.is_some())];
        let (blocks, numbers) = ([rows.div_ceil(ROWS), 1, 1], Numbers::new(&choices, &[epsilon]));
        inputs.accelerator.launch("layer_norm", blocks, &out, [Some(&x), Some(&scale), bias.as_ref()], numbers)?;
        Ok(Some(out))
    })
}

/// Function `function` of the kernel `reduce`, over the last axes.
fn reduce(node: &Node<'_>, function: usize) -> Built {
    let (given, keep) = (node.ints("axes")?, node.flag("keepdims", true)?);
    let nothing = node.flag("noop_with_empty_axes", false)?;
    let listed = match (&given, node.has_input(1)) {
        (Some(given), _) => Some(given.clone()),
        (None, false) => None,
        // Axes that are only known at run time are the CPU's.
        (None, true) => match node.constant(1).map(|axes| axes.to_i64s()) {
            Some(Ok(axes)) => Some(axes),
            _ => return Ok(None),
        },
    };
    let listed = listed.filter(|axes| !axes.is_empty());
    if listed.is_none() && nothing {
        return Ok(None);
    }
    offloaded(move |inputs, context| {
        let x = or_cpu!(input(inputs, 0)?);
        let rank = x.shape().len();
        let reduced = match &listed {
            Some(listed) => or_cpu!(axes(listed, rank).ok()),
            None => (0..rank).collect(),
        };
        if !reduced.iter().copied().eq(rank - reduced.len()..rank) {
            return Ok(None);
        }
        let first = rank - reduced.len();
        let mut shape = x.shape()[..first].to_vec();
        if keep {
            shape.extend(vec![1; reduced.len()]);
        }
        let width = x.shape()[first..].iter().product();
        reduce_rows(&x, width, function, shape, inputs, context).map(Some)
    })
}

/// Reduces rows of `width` to one element each.
pub(super) fn reduce_rows(
    x: &DeviceTensor,
    width: usize,
    function: usize,
    shape: Vec<usize>,
    inputs: &DeviceInputs<'_>,
    context: &Context,
) -> Result<DeviceTensor, Stop> {
    let rows = x.len() / width;
    context.claim::<f32>(rows)?;
    let out = inputs.accelerator.allocate(shape)?;
    let numbers = Numbers::new(&[rows, width, function], &[]);
    inputs.accelerator.launch("reduce", [rows.div_ceil(ROWS), 1, 1], &out, [Some(x), None, None], numbers)?;
    Ok(out)
}
