//! Models that take text. Language models: from a request in tensors to an answer in tensors, by a decoder-only graph with key-value cache.
//!
//! An answer is a pure function of model and input. Logits are the exact engine's; choosing a token is integer arithmetic
//! (`sample`); a request's tokens are computed from its own tokens only, however many requests run beside it (`crew`).
//!
//! | file of the model | holds |
//! | --- | --- |
//! | `model.onnx` | the graph, laid out as Hugging Face's Optimum or onnxruntime-genai's builder exports it |
//! | `tokenizer.json` | a byte-level tokenizer |
//! | `chat_template.jinja` | how messages become a prompt; a model without one completes plain prompts only |
//! | `generation_config.json` | `eos_token_id`, `bos_token_id`, `max_length` |
//! | or `genai_config.json` | the same in onnxruntime-genai's form, and the names of the graph's inputs and outputs |

mod constraint;
mod crew;
mod decoder;
mod embedding;
mod generation;
mod layout;
mod model;
mod paths;
mod prompt;
mod request;
mod sample;
mod schema;
mod template;
mod vocabulary;

pub use embedding::{EMBEDDING_FILE, EMBEDDING_INPUT_BYTES_MAX, EmbeddingModel, embedding_input_specs};
pub use generation::Progress;
pub use model::{TextModel, Transcript};
pub use request::{
    Answer, Finish, INPUT_BYTES_MAX, OUTPUT_BYTES_MAX, TextRequest, input_specs, output_specs, sample_request,
};

/// Name of the tokenizer's file.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// Name of the chat template's file.
pub const TEMPLATE_FILE: &str = "chat_template.jinja";
/// Name of the file that says which tokens end an answer and how long a conversation may be.
pub const GENERATION_FILE: &str = "generation_config.json";

/// Name of the file that says it for graphs that onnxruntime-genai's builder exported.
pub const GENAI_FILE: &str = "genai_config.json";

/// Whether these files make a graph a language model.
pub fn is_text(files: &crate::model_dir::Files) -> bool {
    files.contains_key(GENERATION_FILE) || files.contains_key(GENAI_FILE)
}

#[cfg(test)]
mod tests;
