//! The ONNX project's backend node tests: every operator on inputs that others chose.

#[path = "../../../precompile/engine/tests/cases/values.rs"]
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, keccak256};
use anyhow::{Context, ensure};
use foreblock_engine::{ExactModel, Isa, LoadOptions, Pool};
use serde::Deserialize;

use crate::answers;
use values::Value;

/// What is read of `cases.json`.
#[derive(Deserialize)]
struct Index {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    model: PathBuf,
    inputs: Vec<Value>,
}

/// Prints one digest a case of a folder; false where a setting changed an answer.
pub(crate) fn print(folder: &Path) -> anyhow::Result<bool> {
    let read = |name: &str| fs::read(folder.join(name)).with_context(|| format!("no {name} in {}", folder.display()));
    let index: Index = serde_json::from_slice(&read("cases.json")?).context("cases.json")?;
    let tensors = read("tensors.bin")?;
    let pools = [Pool::new(1), Pool::new(3)];
    let mut all_equal = true;
    for case in &index.cases {
        match digest(folder, case, &tensors, &pools) {
            Ok(digest) => println!("{digest} {}", case.name),
            Err(error) => {
                println!("FAILED {}: {error:#}", case.name);
                all_equal = false;
            }
        }
    }
    Ok(all_equal)
}

fn digest(folder: &Path, case: &Case, tensors: &[u8], pools: &[Pool]) -> anyhow::Result<B256> {
    let mut first = None;
    for isa in Isa::available() {
        for pool in pools {
            let digest = answer(folder, case, tensors, isa, pool)?;
            let expected = *first.get_or_insert(digest);
            ensure!(digest == expected, "{isa:?} or the number of threads changes the answer");
        }
    }
    first.context("no instruction set")
}

/// Of the outputs, or of the words that say why there are none: those must be equal everywhere, too.
fn answer(folder: &Path, case: &Case, tensors: &[u8], isa: Isa, pool: &Pool) -> anyhow::Result<B256> {
    let options = LoadOptions { isa: Some(isa), ..LoadOptions::default() };
    let model = match ExactModel::open(&folder.join(&case.model), &options) {
        Ok(model) => model,
        Err(refused) => return Ok(keccak256(refused.to_string())),
    };
    let inputs: Option<Vec<_>> = case.inputs.iter().map(|value| value.tensor(tensors)).collect();
    match model.run_unchecked(inputs.context("an input is no tensor")?, pool) {
        Ok((outputs, _)) => {
            let bytes = outputs.iter().map(answers::little_endian).collect::<Result<Vec<_>, _>>()?;
            Ok(keccak256(bytes.concat()))
        }
        Err(failure) => Ok(keccak256(failure.reason.as_bytes())),
    }
}
