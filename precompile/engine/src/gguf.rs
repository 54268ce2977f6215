//! Models in llama.cpp's GGUF files: one file with weights in blocks, tokenizer and chat template becomes the files of a text
//! model.
//!
//! Weights are widened to `float` by the exact formula of their blocks, and the graph holds them as they came out: no
//! engine rounds differently from here on. What is computed is a function of the file alone, so everybody who converts
//! it gets the same model id.
//!
//! | architecture | blocks | tokenizer |
//! | --- | --- | --- |
//! | `llama`: rotary embedding, RMS norm, grouped keys and values, SwiGLU | F32, F16, Q4_0, Q4_1, Q8_0 | `gpt2` (byte-level BPE), split as `gpt-2` or `smollm` |

mod blocks;
mod llama;
mod read;
mod tokenizer;

use bytes::Bytes;
use serde_json::json;

use crate::{
    model_dir::Files,
    publish::GRAPH_FILE,
    text::{GENERATION_FILE, TEMPLATE_FILE, TOKENIZER_FILE},
};
use read::Gguf;

/// A file that is not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The bytes are no GGUF file, or one that was cut.
    #[error("not a GGUF file of version 2 or 3: {0}; fetch it again")]
    Format(String),
    /// Something that every such model says is not said.
    #[error("the file does not say {key}, or not as {expected}; convert the model again with a current llama.cpp")]
    Missing {
        /// Name in the metadata, or of a tensor.
        key: String,
        /// What was expected.
        expected: String,
    },
    /// Another kind of model.
    #[error("{what} is {found}, and only {expected} can be converted; export the model to ONNX instead")]
    Unsupported {
        /// What it is about.
        what: String,
        /// What the file has.
        found: String,
        /// What can be converted.
        expected: &'static str,
    },
}

/// The files of a text model whose conversations have at most `tokens_max` tokens: graph, tokenizer, template and
/// generation.
pub fn convert(file: &Bytes, tokens_max: usize) -> Result<Files, GgufError> {
    let gguf = Gguf::read(file)?;
    let shape = llama::Shape::read(&gguf, tokens_max)?;
    let mut files = Files::new();
    files.insert(TOKENIZER_FILE.into(), tokenizer::json(&gguf)?.into());
    if let Ok(template) = gguf.text("tokenizer.chat_template") {
        files.insert(TEMPLATE_FILE.into(), Bytes::copy_from_slice(template.as_bytes()));
    }
    let end = gguf.number("tokenizer.ggml.eos_token_id")?;
    let generation = match gguf.number("tokenizer.ggml.bos_token_id") {
        Ok(begin) => json!({ "bos_token_id": begin, "eos_token_id": end, "max_length": shape.positions }),
        Err(_) => json!({ "eos_token_id": end, "max_length": shape.positions }),
    };
    files.insert(GENERATION_FILE.into(), generation.to_string().into_bytes().into());
    files.insert(GRAPH_FILE.into(), llama::graph(&gguf, &shape)?);
    Ok(files)
}

#[cfg(test)]
mod tests;
