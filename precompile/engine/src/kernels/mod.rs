//! Fixed-order kernels. Nothing here knows of ONNX.

mod dispatch;

pub use dispatch::Isa;
