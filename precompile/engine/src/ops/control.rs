//! `If`, and loops whose bound is known: `Loop` with a constant trip count, `Scan` over the elements of its inputs.

use super::layout::{permute, view};
use super::shape::{axis, count, strides};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node, Subgraph};
use crate::onnx::LoadError;
use crate::tensor::{Element, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("If", 1..=LATEST, if_node),
    Operator::onnx("Loop", 1..=LATEST, loop_node),
    Operator::onnx("Scan", 9..=LATEST, scan),
];

fn required(node: &Node<'_>, name: &str) -> Result<Subgraph, LoadError> {
    node.subgraph(name)?.ok_or_else(|| node.error(format!("the graph {name} is missing")))
}

fn if_node(node: &Node<'_>) -> Built {
    let (yes, no) = (required(node, "then_branch")?, required(node, "else_branch")?);
    if yes.outputs() < node.outputs() || no.outputs() < node.outputs() {
        return Err(node.error("a branch has fewer outputs than the node"));
    }
    kernel(move |inputs, context| {
        let branch = if inputs.get(0)?.single::<bool>()? { &yes } else { &no };
        branch.run(Vec::new(), inputs, context)
    })
}

fn loop_node(node: &Node<'_>) -> Built {
    let body = required(node, "body")?;
    let bound = node.constant(0).and_then(|m| m.single::<i64>().ok());
    let Some(bound) = bound else {
        return Err(node.error("the trip count must be a constant: loops without a static bound are refused"));
    };
    let carried = node.inputs().saturating_sub(2);
    if body.inputs() != carried + 2 || body.outputs() < carried + 1 || body.outputs() - 1 < node.outputs() {
        return Err(node.error("the body's inputs and outputs do not fit the node's"));
    }
    kernel(move |inputs, context| {
        let mut go_on = inputs.optional(1).map_or(Ok(true), Tensor::single::<bool>)?;
        let mut state = (2..inputs.len()).map(|i| inputs.take(i)).collect::<Result<Vec<_>, _>>()?;
        let mut scanned: Vec<Vec<Tensor>> = vec![Vec::new(); body.outputs() - 1 - carried];
        let mut index = 0;
        while go_on && index < bound {
            context.iterate()?;
            let mut arguments = vec![Tensor::scalar(index), Tensor::scalar(go_on)];
            arguments.append(&mut state);
            let mut results = body.run(arguments, inputs, context)?.into_iter();
            go_on = results.next().ok_or_else(|| failure::arity("the body gives no condition"))?.single::<bool>()?;
            state = results.by_ref().take(carried).collect();
            for (list, tensor) in scanned.iter_mut().zip(results) {
                keep(list, tensor, context)?;
            }
            index += 1;
        }
        for list in scanned {
            state.push(stack(list, 0, context)?);
        }
        Ok(state)
    })
}

/// Keeps what an iteration gives, counted against the run's memory.
fn keep(list: &mut Vec<Tensor>, tensor: Tensor, context: &Context) -> Result<(), Failure> {
    context.claim::<u8>(tensor.size_bytes().try_into().unwrap_or(usize::MAX))?;
    list.push(tensor);
    Ok(())
}

/// Tensors of one shape joined along a new axis.
fn stack(list: Vec<Tensor>, at: i64, context: &Context) -> Result<Tensor, Failure> {
    let Some(first) = list.first() else {
        // Without an iteration nothing is known of the elements.
        return Tensor::new([0], Vec::<f32>::new());
    };
    fn join<T: Element>(list: &[Tensor], total: usize, context: &Context, _: &[T]) -> Result<Tensor, Failure> {
        let mut out = context.reserve::<T>(total)?;
        for tensor in list {
            out.extend_from_slice(tensor.values::<T>()?);
        }
        Ok(Tensor::vector(out))
    }
    if let Some(other) = list.iter().find(|t| t.shape() != first.shape()) {
        return Err(failure::wrong_shape(format!(
            "iterations give the shapes {:?} and {:?}",
            first.shape(),
            other.shape()
        )));
    }
    let mut shape = vec![list.len()];
    shape.extend(first.shape());
    let joined = with_data!(first.data(), v => join(&list, count(&shape)?, context, v)?).reshape(shape)?;
    let to = axis(at, joined.rank())?;
    let mut order: Vec<usize> = (1..joined.rank()).collect();
    order.insert(to, 0);
    permute(&joined, &order, context)
}

/// One of the elements along `at`.
fn element(tensor: &Tensor, at: usize, index: usize, context: &Context) -> Result<Tensor, Failure> {
    let own = strides(tensor.shape());
    let offset = index * own[at];
    let drop =
        |values: &[usize]| values.iter().enumerate().filter(|(a, _)| *a != at).map(|(_, v)| *v).collect::<Vec<_>>();
    view(tensor, offset, drop(tensor.shape()), &drop(&own), context)
}

fn scan(node: &Node<'_>) -> Built {
    let body = required(node, "body")?;
    let scanned = usize::try_from(node.int("num_scan_inputs", 1)?).unwrap_or(0);
    let carried = node
        .inputs()
        .checked_sub(scanned)
        .filter(|_| scanned > 0)
        .ok_or_else(|| node.error("num_scan_inputs is wrong"))?;
    if body.inputs() != node.inputs() || body.outputs() < carried || body.outputs() < node.outputs() {
        return Err(node.error("the body's inputs and outputs do not fit the node's"));
    }
    let list = |name| node.ints(name).map(Option::unwrap_or_default);
    let (input_axes, output_axes) = (list("scan_input_axes")?, list("scan_output_axes")?);
    let (backwards_in, backwards_out) = (list("scan_input_directions")?, list("scan_output_directions")?);
    kernel(move |inputs, context| {
        let mut state = (0..carried).map(|i| inputs.take(i)).collect::<Result<Vec<_>, _>>()?;
        let sequences = (carried..inputs.len()).map(|i| inputs.take(i)).collect::<Result<Vec<_>, _>>()?;
        let at = |i: usize| axis(input_axes.get(i).copied().unwrap_or(0), sequences[i].rank());
        let axes = (0..sequences.len()).map(at).collect::<Result<Vec<_>, _>>()?;
        let length = sequences[0].shape()[axes[0]];
        if sequences.iter().zip(&axes).any(|(s, a)| s.shape()[*a] != length) {
            return Err(failure::wrong_shape("the sequences of a Scan differ in length"));
        }
        let mut lists: Vec<Vec<Tensor>> = vec![Vec::new(); body.outputs() - carried];
        for step in 0..length {
            context.iterate()?;
            let mut arguments = std::mem::take(&mut state);
            for (i, sequence) in sequences.iter().enumerate() {
                let index = if backwards_in.get(i) == Some(&1) { length - 1 - step } else { step };
                arguments.push(element(sequence, axes[i], index, context)?);
            }
            let mut results = body.run(arguments, inputs, context)?.into_iter();
            state = results.by_ref().take(carried).collect();
            for (list, tensor) in lists.iter_mut().zip(results) {
                keep(list, tensor, context)?;
            }
        }
        for (i, mut list) in lists.into_iter().enumerate() {
            if backwards_out.get(i) == Some(&1) {
                list.reverse();
            }
            state.push(stack(list, output_axes.get(i).copied().unwrap_or(0), context)?);
        }
        Ok(state)
    })
}
