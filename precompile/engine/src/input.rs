//! What people type for a model (JSON, CSV, `.npy`, hexadecimal) as the tensors that a contract would send.
//!
//! Decimal numbers become fixed point digit by digit, never through a float: `0.1` is exactly 10^17. Where a flat list
//! has as many numbers as a model's input, it takes that shape; this convenience is for people, a contract says its shapes.

mod csv;
mod json;
mod npy;

use alloy_primitives::I256;
use foreblock_precompile::abi::{DType, Tensor as WireTensor, TensorSpec};

use crate::{ElementType, wire, wire::fixed::parse_wad};

/// How an input is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A list for a model of one input, a list of lists in order, or an object by input names.
    Json,
    /// A row of the file is a row of the input; several inputs take their columns in order. A header is skipped.
    Csv,
    /// NumPy's array file, for a model of one input.
    Npy,
    /// `abi.encode(Tensor[])` as `0x…`.
    Hex,
}

impl Format {
    /// What content looks like.
    pub fn guess(content: &[u8]) -> Self {
        if content.starts_with(b"\x93NUMPY") {
            return Self::Npy;
        }
        match content.trim_ascii_start() {
            [b'[' | b'{', ..] => Self::Json,
            [b'0', b'x', ..] => Self::Hex,
            [b'"', ..] if content.trim_ascii_end().ends_with(b"\"") && !content.contains(&b',') => Self::Json,
            _ => Self::Csv,
        }
    }
}

/// An input that is not one of the model's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputError {
    /// The text breaks the format's rules.
    #[error("the input is not {format}: {reason}")]
    Format {
        /// Which format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The wrong inputs are given.
    #[error("the model takes {expected}; the input gives {got}")]
    Inputs {
        /// Names of the model's inputs.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A value is not of the input's type.
    #[error("input {name}: expected {expected}, got {got}")]
    Value {
        /// Name of the input.
        name: String,
        /// What would be right.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The values do not fill the input's shape.
    #[error("input {name}: expected shape {expected}, got {got}")]
    Shape {
        /// Name of the input.
        name: String,
        /// The model's, `?` where it is free.
        expected: String,
        /// What is there.
        got: String,
    },
}

/// Reads an input for a model with these inputs.
pub fn parse(content: &[u8], format: Format, specs: &[TensorSpec]) -> Result<Vec<WireTensor>, InputError> {
    match format {
        Format::Json => json::parse(text(content, "JSON")?, specs),
        Format::Csv => csv::parse(text(content, "CSV")?, specs),
        Format::Npy => npy::parse(content, specs),
        Format::Hex => hex(text(content, "hexadecimal")?),
    }
}

fn text<'a>(content: &'a [u8], format: &'static str) -> Result<&'a str, InputError> {
    std::str::from_utf8(content).map_err(|error| InputError::Format { format, reason: error.to_string() })
}

fn hex(text: &str) -> Result<Vec<WireTensor>, InputError> {
    let failed = |reason: String| InputError::Format { format: "abi.encode(Tensor[])", reason };
    let bytes: alloy_primitives::Bytes = text.trim().parse().map_err(|_| failed("not hexadecimal digits".into()))?;
    wire::read(&bytes).map_err(|failure| failed(failure.reason))
}

/// Elements of one input, as they are read.
struct Elements<'a> {
    spec: &'a TensorSpec,
    dtype: DType,
    data: Vec<u8>,
    count: usize,
}

impl<'a> Elements<'a> {
    /// Elements for an input: fixed point for floats, else the packed type of the same width.
    fn new(spec: &'a TensorSpec) -> Result<Self, InputError> {
        let dtype = match ElementType::from_onnx(spec.elementType.into()) {
            Some(kind) if kind.is_float() => DType::Wad,
            Some(ElementType::U8) => DType::U8,
            Some(ElementType::I8) => DType::I8,
            Some(ElementType::U16) => DType::U16,
            Some(ElementType::I16) => DType::I16,
            Some(ElementType::U32) => DType::U32,
            Some(ElementType::I32) => DType::I32,
            Some(ElementType::U64) => DType::U64,
            Some(ElementType::I64) => DType::I64,
            Some(ElementType::Bool) => DType::Bool,
            Some(ElementType::String) => DType::Text,
            _ => {
                let (expected, got) = ("a known element type".into(), spec.elementType.to_string());
                return Err(InputError::Value { name: spec.name.clone(), expected, got });
            }
        };
        Ok(Self { spec, dtype, data: Vec::new(), count: 0 })
    }

    /// Adds an element that is written as a number, or as `true` or `false`.
    fn push_number(&mut self, written: &str) -> Result<(), InputError> {
        let written = written.trim();
        let pushed = match self.dtype {
            DType::Wad => parse_wad(written).map(|wad| self.data.extend(wad.to_be_bytes::<32>())),
            DType::Text => None,
            _ => integer(written).and_then(|value| self.push_integer(value)),
        };
        self.count += 1;
        pushed.ok_or_else(|| self.wrong_value(written))
    }

    /// Adds a text.
    fn push_text(&mut self, written: &str) -> Result<(), InputError> {
        if self.dtype != DType::Text {
            return Err(self.wrong_value(&format!("{written:?}")));
        }
        // A single text without dimensions has no length; `finish` takes it away again.
        self.data.extend((written.len() as u32).to_be_bytes());
        self.data.extend(written.as_bytes());
        self.count += 1;
        Ok(())
    }

    /// Adds a WAD that was computed elsewhere.
    fn push_wad(&mut self, wad: I256) {
        self.data.extend(wad.to_be_bytes::<32>());
        self.count += 1;
    }

    fn push_integer(&mut self, value: i128) -> Option<()> {
        macro_rules! push {
            ($int:ty) => {
                self.data.extend(<$int>::try_from(value).ok()?.to_be_bytes())
            };
        }
        match self.dtype {
            DType::U8 => push!(u8),
            DType::I8 => push!(i8),
            DType::U16 => push!(u16),
            DType::I16 => push!(i16),
            DType::U32 => push!(u32),
            DType::I32 => push!(i32),
            DType::U64 => push!(u64),
            DType::I64 => push!(i64),
            DType::Bool => self.data.push(u8::try_from(value).ok().filter(|bit| *bit < 2)?),
            _ => return None,
        }
        Some(())
    }

    fn wrong_value(&self, got: &str) -> InputError {
        let kind = ElementType::from_onnx(self.spec.elementType.into()).map_or("known", ElementType::name);
        let expected = match self.dtype {
            DType::Wad => format!("a decimal number of up to 59 digits before and 18 after the point ({kind})"),
            DType::Text => "a text in quotes".into(),
            DType::Bool => "true or false".into(),
            _ => format!("an integer of type {kind}"),
        };
        InputError::Value { name: self.spec.name.clone(), expected, got: got.into() }
    }

    /// The tensor. `given` is the shape that was written; a flat list takes the model's shape where it fills it.
    fn finish(mut self, given: Vec<usize>) -> Result<WireTensor, InputError> {
        let shape = match given.len() {
            0 | 1 => fill(&self.spec.shape, self.count),
            _ => Some(given.clone()).filter(|given| fits(&self.spec.shape, given)),
        };
        let shape = shape.ok_or_else(|| wrong_shape(self.spec, format!("{given:?}")))?;
        if self.dtype == DType::Text && shape.is_empty() {
            self.data.drain(..4);
        }
        let shape = shape.into_iter().map(|length| length as u32).collect();
        Ok(WireTensor { dtype: self.dtype, shape, data: self.data.into() })
    }
}

fn integer(written: &str) -> Option<i128> {
    match written {
        "true" => Some(1),
        "false" => Some(0),
        _ => written.parse().ok(),
    }
}

fn wrong_shape(spec: &TensorSpec, got: String) -> InputError {
    let dims = spec.shape.iter().map(|&n| if n < 0 { "?".into() } else { n.to_string() }).collect::<Vec<_>>();
    InputError::Shape { name: spec.name.clone(), expected: format!("[{}]", dims.join(", ")), got }
}

fn fits(spec: &[i64], given: &[usize]) -> bool {
    spec.len() == given.len() && spec.iter().zip(given).all(|(&wanted, &n)| wanted < 0 || wanted as usize == n)
}

/// The model's shape filled with `count` elements: one free dimension takes what is left, further ones are 1.
fn fill(spec: &[i64], count: usize) -> Option<Vec<usize>> {
    let known: usize = spec.iter().filter(|length| **length >= 0).map(|length| *length as usize).product();
    let mut left = if known > 0 && count.is_multiple_of(known) { count / known } else { return None };
    let mut shape = Vec::with_capacity(spec.len());
    // The last free dimension is the long one: a sequence in a batch of one.
    let last_free = spec.iter().rposition(|length| *length < 0);
    for (axis, length) in spec.iter().enumerate() {
        shape.push(match length {
            0.. => *length as usize,
            _ if Some(axis) == last_free => std::mem::replace(&mut left, 1),
            _ => 1,
        });
    }
    (left == 1).then_some(shape)
}

#[cfg(test)]
mod tests;
