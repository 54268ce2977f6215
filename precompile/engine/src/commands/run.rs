//! `model run`: the answer that a contract would get, to the last digit.

use std::io::Write;

use alloy_primitives::{Bytes, I256};
use foreblock_precompile::{
    ModelId, Outcome, Request, RequestId,
    abi::{DType, Tensor as WireTensor},
};
use serde::Serialize;

use super::{CommandError, thousands};
use crate::{
    Engine, Manifest,
    input::{self, Format},
    wire::{self, fixed::format_wad},
};

/// Most elements of an output that a table shows.
const ROWS_MAX: usize = 32;

/// What a model answers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The model's name.
    pub name: String,
    /// Its id.
    pub model_id: ModelId,
    /// Id of this request on chain.
    pub request_id: RequestId,
    /// What computed.
    pub engine: String,
    /// Gas of a run, without the terms for input and output.
    pub gas_per_run: u64,
    /// The outputs.
    pub outputs: Vec<NamedTensor>,
    /// `abi.encode(Tensor[])` that was asked.
    pub input: Bytes,
    /// `abi.encode(Tensor[])` that was answered.
    pub output: Bytes,
}

/// An output with its elements as texts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedTensor {
    /// Name in the graph.
    pub name: String,
    /// Wire type.
    pub dtype: String,
    /// Length of each dimension.
    pub shape: Vec<u32>,
    /// The elements as decimal numbers or texts.
    pub values: Vec<String>,
    /// The elements as a contract sees them: an `int256`, with 18 decimals where the type is `Wad`. Empty for texts.
    pub digits: Vec<String>,
}

/// Runs a model on what people typed and writes the answer as a table or JSON.
pub fn run(
    engine: &Engine,
    query: &str,
    content: &[u8],
    format: Option<Format>,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let manifest = engine.catalog().find(query)?.manifest;
    let tensors = input::parse(content, format.unwrap_or_else(|| Format::guess(content)), manifest.inputs())?;
    let answer = answer(engine, &manifest, wire::write(&tensors))?;
    write_answer(&answer, json, out)?;
    Ok(answer)
}

/// The answer to `abi.encode(Tensor[])`.
pub fn answer(engine: &Engine, manifest: &Manifest, input: Bytes) -> Result<Answer, CommandError> {
    let outcome = engine.run(manifest.id(), std::slice::from_ref(&input)).pop();
    let output = match outcome.ok_or_else(|| CommandError::Other("the engine gave no answer".into()))?? {
        Outcome::Output(output) => output,
        Outcome::Failed(failure) => return Err(CommandError::Failed(failure)),
    };
    let tensors = wire::read(&output).map_err(CommandError::Failed)?;
    let outputs = manifest.outputs().iter().zip(&tensors).map(|(spec, tensor)| named(&spec.name, tensor)).collect();
    Ok(Answer {
        name: manifest.name().into(),
        model_id: manifest.id(),
        request_id: Request::new(manifest.id(), input.clone()).id,
        engine: engine.facts(manifest.id()).map_or_else(|_| engine.engine_name(), |facts| facts.engine),
        gas_per_run: manifest.gas_per_run(),
        outputs,
        input,
        output,
    })
}

fn named(name: &str, tensor: &WireTensor) -> NamedTensor {
    let words =
        || tensor.data.chunks_exact(32).map(|word| I256::from_be_bytes::<32>(word.try_into().expect("32 bytes")));
    let (values, digits) = match tensor.dtype {
        DType::Wad => (words().map(format_wad).collect(), words().map(|word| word.to_string()).collect()),
        DType::Text => (texts(tensor), Vec::new()),
        _ => {
            let integers: Vec<String> = words().map(|word| word.to_string()).collect();
            (integers.clone(), integers)
        }
    };
    NamedTensor {
        name: name.into(),
        dtype: wire::dtype_name(tensor.dtype).into(),
        shape: tensor.shape.clone(),
        values,
        digits,
    }
}

fn texts(tensor: &WireTensor) -> Vec<String> {
    if tensor.shape.is_empty() {
        return vec![String::from_utf8_lossy(&tensor.data).into_owned()];
    }
    let (mut rest, mut found) = (&tensor.data[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (text, tail) = tail.split_at(tail.len().min(u32::from_be_bytes(*length) as usize));
        found.push(String::from_utf8_lossy(text).into_owned());
        rest = tail;
    }
    found
}

/// Writes an answer as a table, or as JSON.
pub fn write_answer(answer: &Answer, json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(answer).expect("texts and numbers"))?;
        return Ok(());
    }
    writeln!(
        out,
        "{} ({}), {}, {} gas a run",
        answer.name,
        answer.model_id,
        answer.engine,
        thousands(answer.gas_per_run)
    )?;
    writeln!(out, "request {}", answer.request_id)?;
    for tensor in &answer.outputs {
        writeln!(out, "\n{} {} {:?}", tensor.name, tensor.dtype, tensor.shape)?;
        let width = tensor.values.iter().take(ROWS_MAX).map(String::len).max().unwrap_or(0);
        for (index, value) in tensor.values.iter().take(ROWS_MAX).enumerate() {
            match tensor.digits.get(index).filter(|_| tensor.dtype == "Wad") {
                Some(digits) => writeln!(out, "  {:14} {value:width$}  {digits}", position(index, &tensor.shape))?,
                None => writeln!(out, "  {:14} {value}", position(index, &tensor.shape))?,
            }
        }
        if tensor.values.len() > ROWS_MAX {
            writeln!(out, "  … {} more (--json shows all)", tensor.values.len() - ROWS_MAX)?;
        }
    }
    Ok(())
}

/// Indices of an element: `[0, 3]`.
fn position(mut index: usize, shape: &[u32]) -> String {
    let mut indices = vec![0; shape.len()];
    for (slot, length) in indices.iter_mut().zip(shape).rev() {
        *slot = index % (*length).max(1) as usize;
        index /= (*length).max(1) as usize;
    }
    format!("{indices:?}")
}
