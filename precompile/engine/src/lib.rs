//! How an answer is computed: ONNX graphs, tensors, and the exact engine, whose answers are equal byte for byte on
//! every machine because the order of every floating-point operation is specified.

#![deny(unsafe_code)]

pub mod catalog;
pub mod certify;
pub mod commands;
pub mod cuda;
pub mod engine;
pub mod exact;
pub mod failure;
pub mod fetch;
pub mod gguf;
pub mod golden;
pub mod graph;
pub mod input;
pub mod integer;
mod kernels;
pub mod manifest;
pub mod model_dir;
mod narrow;
pub mod onnx;
pub mod ops;
pub mod ort;
mod pool;
pub mod publish;
pub mod rewrite;
mod screen;
pub mod tensor;
pub mod text;
pub mod wire;

pub use catalog::Catalog;
pub use engine::{Engine, Facts, Kind, Unavailable};
pub use exact::{ExactModel, LoadOptions};
pub use failure::{Failure, FailureCode};
pub use kernels::Isa;
pub use manifest::Manifest;
pub use model_dir::ModelDir;
pub use onnx::{Limits, LoadError};
pub use ort::{OrtConfig, OrtError};
pub use pool::Pool;
pub use tensor::{ElementType, Tensor};
pub use text::{TextModel, TextRequest};
