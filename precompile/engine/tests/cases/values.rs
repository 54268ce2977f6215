//! Tensors as `onnx_node_cases.py` writes them.

use foreblock_engine::Tensor;
use foreblock_engine::tensor::Element;
use half::{bf16, f16};
use serde::Deserialize;

/// A value of `cases.json`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Strings { shape: Vec<usize>, strings: Vec<String> },
    Packed { dtype: String, shape: Vec<usize>, at: usize, bytes: usize },
    Other(serde::de::IgnoredAny),
}

impl Value {
    /// The tensor, its bytes among `tensors`; `None` for what is no tensor.
    pub(crate) fn tensor(&self, tensors: &[u8]) -> Option<Tensor> {
        match self {
            Value::Strings { shape, strings } => Tensor::new(shape.clone(), strings.clone()).ok(),
            Value::Packed { dtype, shape, at, bytes } => unpack(dtype, shape, tensors.get(*at..at + bytes)?),
            Value::Other(_) => None,
        }
    }
}

fn unpack(dtype: &str, shape: &[usize], bytes: &[u8]) -> Option<Tensor> {
    fn of<T: Element, const N: usize>(shape: &[usize], bytes: &[u8], read: fn([u8; N]) -> T) -> Option<Tensor> {
        let values = bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect();
        Tensor::new(shape, values).ok()
    }
    match dtype {
        "f32" => of(shape, bytes, f32::from_le_bytes),
        "f64" => of(shape, bytes, f64::from_le_bytes),
        "f16" => of(shape, bytes, f16::from_le_bytes),
        "bf16" => of(shape, bytes, bf16::from_le_bytes),
        "int8" => of(shape, bytes, i8::from_le_bytes),
        "int16" => of(shape, bytes, i16::from_le_bytes),
        "int32" => of(shape, bytes, i32::from_le_bytes),
        "int64" => of(shape, bytes, i64::from_le_bytes),
        "uint8" => of(shape, bytes, u8::from_le_bytes),
        "uint16" => of(shape, bytes, u16::from_le_bytes),
        "uint32" => of(shape, bytes, u32::from_le_bytes),
        "uint64" => of(shape, bytes, u64::from_le_bytes),
        "bool" => of(shape, bytes, |[b]: [u8; 1]| b != 0),
        _ => None,
    }
}
