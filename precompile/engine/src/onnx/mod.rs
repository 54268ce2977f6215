//! Reading ONNX files: the protobuf messages, limits, and tensors in them. Nothing here computes.

pub mod error;
mod file_buf;
pub mod limits;
pub mod proto;
pub mod tensors;

use std::{fs::File, path::Path};

use bytes::Bytes;
use prost::Message;

use file_buf::FileBuf;

pub use error::LoadError;
pub use limits::Limits;
use proto::ModelProto;

/// Decodes a file. Weights share the buffer `file`.
pub fn decode(file: Bytes, limits: &Limits) -> Result<ModelProto, LoadError> {
    check_size(file.len() as u64, limits)?;
    Ok(ModelProto::decode(file)?)
}

/// Decodes a file on the way from the disk: it is never in memory as a whole, and each weight can be freed alone.
pub fn open(path: &Path, limits: &Limits) -> Result<ModelProto, LoadError> {
    let read = |source| LoadError::Read { path: path.display().to_string(), source };
    let file = File::open(path).map_err(read)?;
    let size = file.metadata().map_err(read)?.len();
    check_size(size, limits)?;
    let mut stream = FileBuf::new(file, size as usize);
    let model = ModelProto::decode(&mut stream);
    stream.failure().map_err(read)?;
    Ok(model?)
}

fn check_size(size: u64, limits: &Limits) -> Result<(), LoadError> {
    if size > limits.file_bytes_max {
        return Err(LoadError::TooLarge { what: "the file's size in bytes", value: size, max: limits.file_bytes_max });
    }
    Ok(())
}
