//! JSON, with numbers taken as they are written.

use std::collections::BTreeMap;

use foreblock_precompile::abi::{Tensor as WireTensor, TensorSpec};
use serde_json::value::RawValue;

use super::{Elements, InputError, wrong_shape};

/// Deepest nesting: what the wire carries.
const RANK_MAX: usize = 8;

pub(super) fn parse(text: &str, specs: &[TensorSpec]) -> Result<Vec<WireTensor>, InputError> {
    let root: &RawValue = from_json(text)?;
    if root.get().starts_with('{') {
        return by_name(from_json(text)?, specs);
    }
    if let [spec] = specs {
        return Ok(vec![tensor(root, spec)?]);
    }
    let parts: Vec<&RawValue> = if root.get().starts_with('[') { from_json(text)? } else { vec![root] };
    if parts.len() != specs.len() {
        return Err(wrong_inputs(specs, format!("a list of {}", parts.len())));
    }
    parts.into_iter().zip(specs).map(|(part, spec)| tensor(part, spec)).collect()
}

fn by_name(mut given: BTreeMap<String, &RawValue>, specs: &[TensorSpec]) -> Result<Vec<WireTensor>, InputError> {
    let names = given.keys().cloned().collect::<Vec<_>>().join(", ");
    let mut tensors = Vec::with_capacity(specs.len());
    for spec in specs {
        let part = given.remove(&spec.name).ok_or_else(|| wrong_inputs(specs, names.clone()))?;
        tensors.push(tensor(part, spec)?);
    }
    if given.is_empty() { Ok(tensors) } else { Err(wrong_inputs(specs, names)) }
}

fn wrong_inputs(specs: &[TensorSpec], got: String) -> InputError {
    InputError::Inputs { expected: specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", "), got }
}

fn tensor(root: &RawValue, spec: &TensorSpec) -> Result<WireTensor, InputError> {
    let mut elements = Elements::new(spec)?;
    let mut shape = Vec::new();
    collect(root, 0, &mut shape, &mut elements)?;
    elements.finish(shape)
}

/// Adds the elements of a nested list. `shape` grows on the way down to the first element; every later list must agree.
fn collect(
    value: &RawValue,
    depth: usize,
    shape: &mut Vec<usize>,
    elements: &mut Elements<'_>,
) -> Result<(), InputError> {
    let text = value.get();
    if !text.starts_with('[') {
        if shape.len() != depth {
            return Err(wrong_shape(elements.spec, "lists of different depth".into()));
        }
        return match text.as_bytes()[0] {
            b'"' => elements.push_text(&from_json::<String>(text)?),
            b'{' => Err(wrong_shape(elements.spec, "an object inside a list".into())),
            _ => elements.push_number(text),
        };
    }
    let parts: Vec<&RawValue> = from_json(text)?;
    if depth == shape.len() && elements.count == 0 && depth < RANK_MAX {
        shape.push(parts.len());
    }
    if shape.get(depth) != Some(&parts.len()) {
        return Err(wrong_shape(elements.spec, "lists of different length".into()));
    }
    parts.into_iter().try_for_each(|part| collect(part, depth + 1, shape, elements))
}

fn from_json<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, InputError> {
    serde_json::from_str(text).map_err(|error| InputError::Format { format: "JSON", reason: error.to_string() })
}
