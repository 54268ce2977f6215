//! Reading ONNX files: the protobuf messages, limits, and tensors in them. Nothing here computes.

pub mod error;
pub mod limits;
pub mod proto;
pub mod tensors;

use bytes::Bytes;
use prost::Message;

pub use error::LoadError;
pub use limits::Limits;
use proto::ModelProto;

/// Decodes a file. Weights share the buffer `file`.
pub fn decode(file: Bytes, limits: &Limits) -> Result<ModelProto, LoadError> {
    if file.len() as u64 > limits.file_bytes_max {
        return Err(LoadError::TooLarge {
            what: "the file's size in bytes",
            value: file.len() as u64,
            max: limits.file_bytes_max,
        });
    }
    Ok(ModelProto::decode(file)?)
}
