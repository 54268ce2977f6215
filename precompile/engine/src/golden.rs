//! Golden vectors: inputs with the bytes that the model must answer. They are a file of the manifest, so whoever has the
//! model id has them, and a node whose machine computes anything else does not serve the model.

use alloy_primitives::Bytes;
use foreblock_precompile::Failure;
use serde::{Deserialize, Serialize};

use crate::model_dir::Files;

/// Name of the file with the golden vectors.
pub const GOLDEN_FILE: &str = "golden.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    input: Bytes,
    output: Bytes,
}

/// A golden vector that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// The file is no list of vectors.
    #[error("{GOLDEN_FILE}: {0}; expected a list of {{\"input\": \"0x…\", \"output\": \"0x…\"}}")]
    NotJson(String),
    /// The model has no answer where one is expected.
    #[error("golden vector {index}: no answer: {failure}")]
    Failed {
        /// Which.
        index: usize,
        /// Why.
        failure: Failure,
    },
    /// The model answers something else.
    #[error(
        "golden vector {index}: expected {expected}, computed {got}; this machine does not compute as specified, \
         so it does not serve the model"
    )]
    Differs {
        /// Which.
        index: usize,
        /// What must come.
        expected: Bytes,
        /// What came.
        got: Bytes,
    },
}

/// The file of golden vectors for these inputs.
pub fn make<I: AsRef<[u8]>>(
    inputs: &[I],
    run: impl Fn(&[u8]) -> Result<Bytes, Failure>,
) -> Result<bytes::Bytes, GoldenError> {
    let mut vectors = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let output = run(input.as_ref()).map_err(|failure| GoldenError::Failed { index, failure })?;
        vectors.push(Vector { input: input.as_ref().to_vec().into(), output });
    }
    let mut text = serde_json::to_vec_pretty(&vectors).expect("hexadecimal text");
    text.push(b'\n');
    Ok(text.into())
}

/// Checks a model against its golden vectors; the number of them, 0 for a model that has none.
pub fn check(files: &Files, run: impl Fn(&[u8]) -> Result<Bytes, Failure>) -> Result<usize, GoldenError> {
    let Some(text) = files.get(GOLDEN_FILE) else { return Ok(0) };
    let vectors: Vec<Vector> = serde_json::from_slice(text).map_err(|error| GoldenError::NotJson(error.to_string()))?;
    for (index, Vector { input, output: expected }) in vectors.iter().enumerate() {
        let got = run(input).map_err(|failure| GoldenError::Failed { index, failure })?;
        if got != *expected {
            return Err(GoldenError::Differs { index, expected: expected.clone(), got });
        }
    }
    Ok(vectors.len())
}
