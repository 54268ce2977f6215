//! `BitCast`: the same bits as another type.

use half::{bf16, f16};

use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::Node;
use crate::tensor::{Data, Element, ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[Operator::onnx("BitCast", 26..=LATEST, bit_cast)];

fn wanted(node: &Node<'_>) -> Result<ElementType, crate::onnx::LoadError> {
    let code = node.int("to", 0)?;
    let kind = i32::try_from(code).ok().and_then(ElementType::from_onnx);
    kind.ok_or_else(|| node.error(format!("the element type {code} is not supported")))
}

fn little_endian(x: &Tensor) -> Result<Vec<u8>, Failure> {
    fn bytes<T: Copy, const N: usize>(v: &[T], write: fn(T) -> [u8; N]) -> Vec<u8> {
        v.iter().flat_map(|x| write(*x)).collect()
    }
    Ok(match x.data() {
        Data::F32(v) => bytes(v, f32::to_le_bytes),
        Data::U8(v) => v.to_vec(),
        Data::I8(v) => bytes(v, i8::to_le_bytes),
        Data::U16(v) => bytes(v, u16::to_le_bytes),
        Data::I16(v) => bytes(v, i16::to_le_bytes),
        Data::I32(v) => bytes(v, i32::to_le_bytes),
        Data::I64(v) => bytes(v, i64::to_le_bytes),
        Data::Bool(v) => v.iter().map(|x| u8::from(*x)).collect(),
        Data::F16(v) => bytes(v, f16::to_le_bytes),
        Data::F64(v) => bytes(v, f64::to_le_bytes),
        Data::U32(v) => bytes(v, u32::to_le_bytes),
        Data::U64(v) => bytes(v, u64::to_le_bytes),
        Data::Bf16(v) => bytes(v, bf16::to_le_bytes),
        Data::String(_) => return Err(failure::wrong_type("text has no fixed width")),
    })
}

fn from_bytes<T: Element, const N: usize>(
    shape: &[usize],
    raw: &[u8],
    read: fn([u8; N]) -> T,
) -> Result<Tensor, Failure> {
    Tensor::new(shape, raw.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect::<Vec<T>>())
}

fn bit_cast(node: &Node<'_>) -> Built {
    let kind = wanted(node)?;
    if kind == ElementType::String {
        return Err(node.error("text has no fixed width"));
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        if x.element_type().size_bytes() != kind.size_bytes() {
            let from = x.element_type();
            return Err(failure::wrong_type(format!("{from} and {kind} differ in width")));
        }
        context.claim::<u8>(x.len().saturating_mul(2 * kind.size_bytes()))?;
        let (raw, shape) = (little_endian(x)?, x.shape());
        let y = match kind {
            ElementType::F32 => from_bytes(shape, &raw, f32::from_le_bytes),
            ElementType::U8 => from_bytes(shape, &raw, u8::from_le_bytes),
            ElementType::I8 => from_bytes(shape, &raw, i8::from_le_bytes),
            ElementType::U16 => from_bytes(shape, &raw, u16::from_le_bytes),
            ElementType::I16 => from_bytes(shape, &raw, i16::from_le_bytes),
            ElementType::I32 => from_bytes(shape, &raw, i32::from_le_bytes),
            ElementType::I64 => from_bytes(shape, &raw, i64::from_le_bytes),
            ElementType::Bool => from_bytes(shape, &raw, |[b]: [u8; 1]| b != 0),
            ElementType::F16 => from_bytes(shape, &raw, f16::from_le_bytes),
            ElementType::F64 => from_bytes(shape, &raw, f64::from_le_bytes),
            ElementType::U32 => from_bytes(shape, &raw, u32::from_le_bytes),
            ElementType::U64 => from_bytes(shape, &raw, u64::from_le_bytes),
            ElementType::Bf16 => from_bytes(shape, &raw, bf16::from_le_bytes),
            ElementType::String => Err(failure::wrong_type("text has no fixed width")),
        };
        Ok(vec![y?])
    })
}
