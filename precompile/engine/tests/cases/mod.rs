//! Cases exported by Python scripts: models, inputs, and the outputs to expect. `onnx_node_cases.py` describes the files.

mod values;

use std::path::{Path, PathBuf};

use foreblock_engine::tensor::Data;
use foreblock_engine::{ElementType, ExactModel, LoadOptions, Pool, Tensor};
use serde::Deserialize;
use values::Value;

/// `cases.json`.
#[derive(Deserialize)]
struct Index {
    cases: Vec<Case>,
}

/// A model with inputs and expected outputs.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub name: String,
    model: PathBuf,
    rtol: f64,
    pub atol: f64,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

/// What came of a case.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// The model was refused when it was loaded, with this message.
    Unsupported(String),
    Wrong(String),
}

/// All cases of a folder.
pub(crate) struct Cases {
    pub cases: Vec<Case>,
    folder: PathBuf,
    tensors: Vec<u8>,
}

impl Cases {
    /// Reads a folder; `None` where it holds no cases.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let index = std::fs::read(folder.join("cases.json")).ok()?;
        let index: Index = serde_json::from_slice(&index).expect("cases.json is as the script writes it");
        let tensors = std::fs::read(folder.join("tensors.bin")).expect("tensors.bin lies beside cases.json");
        Some(Self { cases: index.cases, folder: folder.to_owned(), tensors })
    }

    /// Loads the model of a case, runs it and compares.
    pub(crate) fn check(&self, case: &Case, pool: &Pool) -> Verdict {
        let model = match ExactModel::open(&self.folder.join(&case.model), &LoadOptions::default()) {
            Ok(model) => model,
            Err(error) => return Verdict::Unsupported(error.to_string()),
        };
        let inputs: Option<Vec<_>> = case.inputs.iter().map(|value| value.tensor(&self.tensors)).collect();
        let Some(inputs) = inputs else { return Verdict::Wrong("loads, but its inputs are no tensors".into()) };
        let outputs = match model.run_unchecked(inputs, pool) {
            Ok((outputs, _)) => outputs,
            Err(failure) => return Verdict::Wrong(format!("failed: {}", failure.reason)),
        };
        for (index, (value, got)) in case.outputs.iter().zip(&outputs).enumerate() {
            let Some(want) = value.tensor(&self.tensors) else { return Verdict::Wrong("expects no tensor".into()) };
            if let Err(difference) = compare(got, &want, case.rtol, case.atol) {
                return Verdict::Wrong(format!("output {index}: {difference}"));
            }
        }
        Verdict::Passed
    }
}

fn compare(got: &Tensor, want: &Tensor, rtol: f64, atol: f64) -> Result<(), String> {
    if got.element_type() != want.element_type() {
        return Err(format!("is of {}, expected {}", got.element_type(), want.element_type()));
    }
    if got.shape() != want.shape() {
        return Err(format!("has the shape {:?}, expected {:?}", got.shape(), want.shape()));
    }
    // Two units in the last place of narrow floats. The ONNX project's own runner allows as much for bfloat16; its
    // float16 answers are themselves rounded after each step, some farther from the true value than ours.
    let rtol = match got.element_type() {
        ElementType::Bf16 => rtol.max(f64::powi(2.0, -6)),
        ElementType::F16 => rtol.max(f64::powi(2.0, -9)),
        _ => rtol,
    };
    let (Some(got), Some(want)) = (numbers(got), numbers(want)) else {
        return if got.data() == want.data() {
            Ok(())
        } else {
            Err(format!("is {:?}, expected {:?}", got.data(), want.data()))
        };
    };
    for (index, (got, want)) in got.iter().zip(&want).enumerate() {
        let close = got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= atol + rtol * want.abs();
        if !close {
            return Err(format!("element {index} is {got}, expected {want}"));
        }
    }
    Ok(())
}

/// Floats and small integers as doubles; `None` where comparing must be exact.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    Some(match tensor.data() {
        Data::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::F64(v) => v.to_vec(),
        Data::F16(v) => v.iter().map(|x| x.to_f64()).collect(),
        Data::Bf16(v) => v.iter().map(|x| x.to_f64()).collect(),
        _ => return None,
    })
}
