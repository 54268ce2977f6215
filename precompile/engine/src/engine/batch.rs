//! Many requests in one run, where that is faster and no row can notice.

use alloy_primitives::Bytes;
use foreblock_precompile::{Outcome, abi::TensorSpec};

use super::{Unavailable, model::Model};
use crate::{
    Tensor,
    tensor::{Data, Element},
    wire, with_data,
};

type Answer = Result<Outcome, Unavailable>;

/// The outcomes for `inputs`, in their order.
pub(super) fn run(model: &Model, inputs: &[Bytes]) -> Vec<Answer> {
    if let Some(answers) = model.texts(inputs) {
        return answers;
    }
    let mut decoded: Vec<_> = inputs.iter().map(|input| wire::decode_input(input, model.manifest.inputs())).collect();
    let mut answers: Vec<Option<Answer>> = vec![None; inputs.len()];
    if model.rows_max > 1 && inputs.len() > 1 && has_rows(model) {
        for group in groups(&decoded, model.rows_max) {
            for (index, answer) in group.iter().zip(run_group(model, &decoded, &group)) {
                answers[*index] = answer;
            }
        }
    }
    // What could not be merged, and what failed with others: each alone, so that no row's fault is another's.
    let mut alone = Vec::new();
    for (tensors, answer) in decoded.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
        match std::mem::replace(tensors, Ok(Vec::new())) {
            Ok(tensors) => alone.push((tensors, answer)),
            Err(failure) => *answer = Some(Ok(Outcome::Failed(failure))),
        }
    }
    let (runs, places): (Vec<_>, Vec<_>) = alone.into_iter().unzip();
    for (place, outcome) in places.into_iter().zip(model.outcomes(runs)) {
        *place = Some(outcome);
    }
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(Unavailable::Broke("no answer".into())))).collect()
}

type Decoded = Result<Vec<Tensor>, foreblock_precompile::Failure>;

/// Whether the first dimension of every input and output counts rows: all are free.
fn has_rows(model: &Model) -> bool {
    let free = |spec: &TensorSpec| spec.shape.first() == Some(&-1);
    model.manifest.inputs().iter().chain(model.manifest.outputs()).all(free)
}

/// Indices of requests to run together: equal shapes apart from the rows, at least two, at most `rows_max` rows.
fn groups(decoded: &[Decoded], rows_max: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, tensors) in decoded.iter().enumerate() {
        let Some((tensors, rows)) = tensors.as_ref().ok().and_then(|t| Some((t, rows(t)?))) else { continue };
        let shapes: Vec<&[usize]> = tensors.iter().map(|tensor| &tensor.shape()[1..]).collect();
        match groups.iter_mut().find(|group| group.shapes == shapes && group.rows + rows <= rows_max) {
            Some(group) => {
                group.rows += rows;
                group.members.push(index);
            }
            None => groups.push(Group { shapes, rows, members: vec![index] }),
        }
    }
    groups.into_iter().map(|group| group.members).filter(|members| members.len() > 1).collect()
}

struct Group<'a> {
    /// Shapes of the inputs without their rows.
    shapes: Vec<&'a [usize]>,
    rows: usize,
    members: Vec<usize>,
}

/// Rows of a request: the first dimension of all its tensors, where it is the same and not zero.
fn rows(tensors: &[Tensor]) -> Option<usize> {
    let first = *tensors.first()?.shape().first()?;
    (first > 0 && tensors.iter().all(|tensor| tensor.shape().first() == Some(&first))).then_some(first)
}

/// The answers of a group, `None` for each where the merged run had none.
fn run_group(model: &Model, decoded: &[Decoded], group: &[usize]) -> Vec<Option<Answer>> {
    let members: Vec<&Vec<Tensor>> = group.iter().filter_map(|index| decoded[*index].as_ref().ok()).collect();
    let counts: Vec<usize> = members.iter().filter_map(|tensors| rows(tensors)).collect();
    let merged = concat_rows(&members);
    let outputs = merged.and_then(|inputs| model.run(inputs).ok());
    let Some(parts) = outputs.and_then(|outputs| split_rows(&outputs, &counts)) else {
        return vec![None; group.len()];
    };
    parts.into_iter().map(|outputs| Some(model.conclude(Ok(outputs)))).collect()
}

/// The tensors of many requests as those of one: their rows one after the other.
pub(crate) fn concat_rows(members: &[&Vec<Tensor>]) -> Option<Vec<Tensor>> {
    let input = |index| concat(&members.iter().map(|tensors| &tensors[index]).collect::<Vec<_>>());
    (0..members.first()?.len()).map(input).collect()
}

fn concat(tensors: &[&Tensor]) -> Option<Tensor> {
    fn values<T: Element>(tensors: &[&Tensor]) -> Option<Data> {
        let parts: Vec<&[T]> = tensors.iter().map(|tensor| T::view(tensor.data())).collect::<Option<_>>()?;
        Some(T::wrap(std::sync::Arc::new(parts.concat())))
    }
    fn like<T: Element>(_: &[T], tensors: &[&Tensor]) -> Option<Data> {
        values::<T>(tensors)
    }
    let data = with_data!(tensors[0].data(), v => like(v, tensors))?;
    let mut shape = tensors[0].shape().to_vec();
    *shape.first_mut()? = tensors.iter().map(|tensor| tensor.shape()[0]).sum();
    Tensor::from_data(shape, data).ok()
}

/// For each request the outputs that are its rows.
pub(crate) fn split_rows(outputs: &[Tensor], counts: &[usize]) -> Option<Vec<Vec<Tensor>>> {
    let by_output: Vec<Vec<Tensor>> = outputs.iter().map(|output| split(output, counts)).collect::<Option<_>>()?;
    Some((0..counts.len()).map(|member| by_output.iter().map(|parts| parts[member].clone()).collect()).collect())
}

fn split(output: &Tensor, counts: &[usize]) -> Option<Vec<Tensor>> {
    fn part<T: Element>(values: &[T], from: usize, to: usize) -> Data {
        T::wrap(std::sync::Arc::new(values[from..to].to_vec()))
    }
    if output.shape().first() != Some(&counts.iter().sum()) {
        return None;
    }
    let width: usize = output.shape()[1..].iter().product();
    let mut from = 0;
    let mut parts = Vec::with_capacity(counts.len());
    for count in counts {
        let to = from + count * width;
        let mut shape = output.shape().to_vec();
        shape[0] = *count;
        parts.push(Tensor::from_data(shape, with_data!(output.data(), v => part(v, from, to))).ok()?);
        from = to;
    }
    Some(parts)
}
