//! Fixed-order kernels. Nothing here knows of ONNX.

mod dispatch;
pub(crate) mod gemm;
#[cfg(test)]
mod gemm_tests;
pub(crate) mod math;
#[cfg(test)]
mod math_tests;
mod math_wide;
mod micro;
pub(crate) mod sum;

pub use dispatch::Isa;
pub(crate) use dispatch::{Fma, Work, run};
