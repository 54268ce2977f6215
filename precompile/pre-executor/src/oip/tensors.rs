//! The engine's tensors in the protocol's form, and back.

use super::messages::{Contents, InferTensor};
use foreblock_engine::{ElementType, Tensor, tensor::Data};
use std::sync::Arc;

/// A tensor that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadTensor {
    #[error(
        "tensor {name}: {datatype} is not supported over this protocol: expected BOOL, INT, UINT, FP32, FP64 or BYTES"
    )]
    Datatype { name: String, datatype: String },
    #[error("tensor {name} says shape {shape:?}, but holds {elements} elements")]
    Elements { name: String, shape: Vec<i64>, elements: usize },
    #[error("tensor {name} holds text that is not UTF-8")]
    Text { name: String },
    #[error("tensor {name}: a value does not fit {datatype}")]
    Range { name: String, datatype: String },
}

/// The protocol's name of an element type.
pub(super) fn datatype(kind: ElementType) -> &'static str {
    match kind {
        ElementType::Bool => "BOOL",
        ElementType::U8 => "UINT8",
        ElementType::U16 => "UINT16",
        ElementType::U32 => "UINT32",
        ElementType::U64 => "UINT64",
        ElementType::I8 => "INT8",
        ElementType::I16 => "INT16",
        ElementType::I32 => "INT32",
        ElementType::I64 => "INT64",
        ElementType::F16 => "FP16",
        ElementType::Bf16 => "BF16",
        ElementType::F32 => "FP32",
        ElementType::F64 => "FP64",
        ElementType::String => "BYTES",
    }
}

/// A tensor to send. Half floats have no typed form in the protocol.
pub(super) fn encode(name: &str, tensor: &Tensor) -> Result<InferTensor, BadTensor> {
    let datatype = datatype(tensor.element_type()).to_owned();
    let mut contents = Contents::default();
    match tensor.data() {
        Data::Bool(values) => contents.bools = values.to_vec(),
        Data::U8(values) => contents.uints = values.iter().map(|value| (*value).into()).collect(),
        Data::U16(values) => contents.uints = values.iter().map(|value| (*value).into()).collect(),
        Data::U32(values) => contents.uints = values.to_vec(),
        Data::U64(values) => contents.uint64s = values.to_vec(),
        Data::I8(values) => contents.ints = values.iter().map(|value| (*value).into()).collect(),
        Data::I16(values) => contents.ints = values.iter().map(|value| (*value).into()).collect(),
        Data::I32(values) => contents.ints = values.to_vec(),
        Data::I64(values) => contents.int64s = values.to_vec(),
        Data::F32(values) => contents.floats = values.to_vec(),
        Data::F64(values) => contents.doubles = values.to_vec(),
        Data::String(values) => contents.bytes = values.iter().map(|value| value.clone().into_bytes()).collect(),
        Data::F16(_) | Data::Bf16(_) => return Err(BadTensor::Datatype { name: name.to_owned(), datatype }),
    }
    let shape = tensor.shape().iter().map(|dimension| *dimension as i64).collect();
    Ok(InferTensor { name: name.to_owned(), datatype, shape, contents: Some(contents), ..Default::default() })
}

/// A tensor that came, typed, or raw (little-endian) as Triton sends it.
pub(super) fn decode(tensor: &InferTensor, raw: Option<&[u8]>) -> Result<Tensor, BadTensor> {
    let data = match raw {
        Some(raw) => from_raw(tensor, raw)?,
        None => from_contents(tensor)?,
    };
    let elements = count(&data);
    let wrong = || BadTensor::Elements { name: tensor.name.clone(), shape: tensor.shape.clone(), elements };
    let shape = tensor.shape.iter().map(|dimension| usize::try_from(*dimension).map_err(|_| wrong()));
    Tensor::from_data(shape.collect::<Result<_, _>>()?, data).map_err(|_| wrong())
}

fn from_contents(tensor: &InferTensor) -> Result<Data, BadTensor> {
    let contents = tensor.contents.clone().unwrap_or_default();
    let range = || BadTensor::Range { name: tensor.name.clone(), datatype: tensor.datatype.clone() };
    macro_rules! narrow {
        ($values:expr) => {
            Arc::new($values.iter().map(|value| (*value).try_into().map_err(|_| range())).collect::<Result<_, _>>()?)
        };
    }
    Ok(match tensor.datatype.as_str() {
        "BOOL" => Data::Bool(Arc::new(contents.bools)),
        "UINT8" => Data::U8(narrow!(contents.uints)),
        "UINT16" => Data::U16(narrow!(contents.uints)),
        "UINT32" => Data::U32(Arc::new(contents.uints)),
        "UINT64" => Data::U64(Arc::new(contents.uint64s)),
        "INT8" => Data::I8(narrow!(contents.ints)),
        "INT16" => Data::I16(narrow!(contents.ints)),
        "INT32" => Data::I32(Arc::new(contents.ints)),
        "INT64" => Data::I64(Arc::new(contents.int64s)),
        "FP32" => Data::F32(Arc::new(contents.floats)),
        "FP64" => Data::F64(Arc::new(contents.doubles)),
        "BYTES" => Data::String(Arc::new(texts(tensor, contents.bytes)?)),
        _ => return Err(unsupported(tensor)),
    })
}

fn from_raw(tensor: &InferTensor, raw: &[u8]) -> Result<Data, BadTensor> {
    macro_rules! words {
        ($variant:ident, $kind:ty) => {{
            let (words, rest) = raw.as_chunks::<{ size_of::<$kind>() }>();
            if !rest.is_empty() {
                let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
                return Err(BadTensor::Elements { name, shape, elements: words.len() });
            }
            Data::$variant(Arc::new(words.iter().map(|word| <$kind>::from_le_bytes(*word)).collect()))
        }};
    }
    Ok(match tensor.datatype.as_str() {
        "BOOL" => Data::Bool(Arc::new(raw.iter().map(|byte| *byte != 0).collect())),
        "UINT8" => Data::U8(Arc::new(raw.to_vec())),
        "UINT16" => words!(U16, u16),
        "UINT32" => words!(U32, u32),
        "UINT64" => words!(U64, u64),
        "INT8" => words!(I8, i8),
        "INT16" => words!(I16, i16),
        "INT32" => words!(I32, i32),
        "INT64" => words!(I64, i64),
        "FP32" => words!(F32, f32),
        "FP64" => words!(F64, f64),
        _ => return Err(unsupported(tensor)),
    })
}

fn texts(tensor: &InferTensor, bytes: Vec<Vec<u8>>) -> Result<Vec<String>, BadTensor> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| BadTensor::Text { name: tensor.name.clone() });
    bytes.into_iter().map(text).collect()
}

fn unsupported(tensor: &InferTensor) -> BadTensor {
    BadTensor::Datatype { name: tensor.name.clone(), datatype: tensor.datatype.clone() }
}

fn count(data: &Data) -> usize {
    match data {
        Data::F32(values) => values.len(),
        Data::U8(values) => values.len(),
        Data::I8(values) => values.len(),
        Data::U16(values) => values.len(),
        Data::I16(values) => values.len(),
        Data::I32(values) => values.len(),
        Data::I64(values) => values.len(),
        Data::String(values) => values.len(),
        Data::Bool(values) => values.len(),
        Data::F16(values) => values.len(),
        Data::F64(values) => values.len(),
        Data::U32(values) => values.len(),
        Data::U64(values) => values.len(),
        Data::Bf16(values) => values.len(),
    }
}
