//! Elements to and from the wire, one tensor at a time.

use alloy_primitives::I256;
use foreblock_precompile::{
    Failure, FailureCode,
    abi::{DType, Tensor as WireTensor},
};
use half::{bf16, f16};

use super::{
    dtype_name,
    fixed::{Float, float_to_wad, wad_to_float},
};
use crate::tensor::{Data, Element, ElementType, Tensor};

const WORD: usize = 32;

/// The elements of `wire` as `kind`. Its data fill its shape: `check_input` has seen to that.
pub(super) fn read(wire: &WireTensor, kind: ElementType, shape: Vec<usize>) -> Result<Tensor, Failure> {
    match kind {
        ElementType::F32 => tensor(shape, floats::<f32>(wire, kind)?),
        ElementType::F64 => tensor(shape, floats::<f64>(wire, kind)?),
        ElementType::F16 => tensor(shape, floats::<f16>(wire, kind)?),
        ElementType::Bf16 => tensor(shape, floats::<bf16>(wire, kind)?),
        ElementType::U8 => tensor(shape, integers::<u8>(wire, kind)?),
        ElementType::I8 => tensor(shape, integers::<i8>(wire, kind)?),
        ElementType::U16 => tensor(shape, integers::<u16>(wire, kind)?),
        ElementType::I16 => tensor(shape, integers::<i16>(wire, kind)?),
        ElementType::U32 => tensor(shape, integers::<u32>(wire, kind)?),
        ElementType::I32 => tensor(shape, integers::<i32>(wire, kind)?),
        ElementType::U64 => tensor(shape, integers::<u64>(wire, kind)?),
        ElementType::I64 => tensor(shape, integers::<i64>(wire, kind)?),
        ElementType::Bool => tensor(shape, booleans(wire, kind)?),
        ElementType::String => {
            let texts = texts(wire, kind)?;
            tensor(shape, texts)
        }
    }
}

/// The elements of a model's output as wire data.
pub(super) fn write(tensor: &Tensor) -> Result<(DType, Vec<u8>), Failure> {
    let words = |word: &dyn Fn(usize) -> Result<I256, Failure>| {
        let mut data = Vec::with_capacity(tensor.len() * WORD);
        for index in 0..tensor.len() {
            data.extend_from_slice(&word(index)?.to_be_bytes::<WORD>());
        }
        Ok(data)
    };
    macro_rules! floats {
        ($v:ident) => {
            (DType::Wad, words(&|index| wad(index, $v[index]))?)
        };
    }
    macro_rules! integers {
        ($v:ident) => {
            (DType::Int, words(&|index| Ok(I256::try_from($v[index]).expect("64 bits fit 256")))?)
        };
    }
    Ok(match tensor.data() {
        Data::F32(v) => floats!(v),
        Data::F64(v) => floats!(v),
        Data::F16(v) => floats!(v),
        Data::Bf16(v) => floats!(v),
        Data::U8(v) => integers!(v),
        Data::I8(v) => integers!(v),
        Data::U16(v) => integers!(v),
        Data::I16(v) => integers!(v),
        Data::U32(v) => integers!(v),
        Data::I32(v) => integers!(v),
        Data::U64(v) => integers!(v),
        Data::I64(v) => integers!(v),
        Data::Bool(v) => (DType::Int, words(&|index| Ok(if v[index] { I256::ONE } else { I256::ZERO }))?),
        Data::String(v) => (DType::Text, write_texts(v, tensor.rank())?),
    })
}

fn tensor<T: Element>(shape: Vec<usize>, values: Vec<T>) -> Result<Tensor, Failure> {
    Tensor::new(shape, values).map_err(|failure| Failure::new(FailureCode::WrongShape, failure.reason))
}

fn wad<F: Float>(index: usize, value: F) -> Result<I256, Failure> {
    float_to_wad(value).ok_or_else(|| {
        let value = value.to_f64();
        if value.is_finite() {
            Failure::new(
                FailureCode::OutputTooLarge,
                format!("element {index} is {value:e}, beyond int256 with 18 decimals"),
            )
        } else {
            let name = if value.is_nan() { "NaN" } else { "infinite" };
            Failure::new(FailureCode::NotFinite, format!("element {index} is {name}"))
        }
    })
}

fn floats<F: Float>(wire: &WireTensor, kind: ElementType) -> Result<Vec<F>, Failure> {
    if wire.dtype != DType::Wad {
        if !is_packed_integer(wire.dtype) {
            return Err(wrong_type(wire.dtype, kind, "Wad or packed integers"));
        }
        return mapped(wire, kind, |index, value| {
            F::from_integer(value).ok_or_else(|| out_of_range(index, value, kind))
        });
    }
    let words = wire.data.chunks_exact(WORD).enumerate();
    words
        .map(|(index, word)| wad_to_float(signed(word)).ok_or_else(|| out_of_range(index, wad_text(word), kind)))
        .collect()
}

fn integers<T: TryFrom<i128>>(wire: &WireTensor, kind: ElementType) -> Result<Vec<T>, Failure> {
    if wire.dtype != DType::Int && !is_packed_integer(wire.dtype) {
        return Err(wrong_type(wire.dtype, kind, "packed integers or Int"));
    }
    mapped(wire, kind, |index, value| T::try_from(value).map_err(|_| out_of_range(index, value, kind)))
}

fn booleans(wire: &WireTensor, kind: ElementType) -> Result<Vec<bool>, Failure> {
    if !matches!(wire.dtype, DType::Int | DType::Bool) && !is_packed_integer(wire.dtype) {
        return Err(wrong_type(wire.dtype, kind, "Bool, packed integers or Int"));
    }
    mapped(wire, kind, |index, value| match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(out_of_range(index, value, kind)),
    })
}

fn texts(wire: &WireTensor, kind: ElementType) -> Result<Vec<String>, Failure> {
    if wire.dtype != DType::Text {
        return Err(wrong_type(wire.dtype, kind, "Text"));
    }
    let text = |index: usize, bytes: &[u8]| {
        let checked = String::from_utf8(bytes.to_vec());
        checked.map_err(|_| Failure::new(FailureCode::InvalidText, format!("text {index} is not UTF-8")))
    };
    if wire.shape.is_empty() {
        return Ok(vec![text(0, &wire.data)?]);
    }
    let (mut rest, mut found) = (&wire.data[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let Some((bytes, tail)) = tail.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        found.push(text(found.len(), bytes)?);
        rest = tail;
    }
    Ok(found)
}

fn write_texts(texts: &[String], rank: usize) -> Result<Vec<u8>, Failure> {
    if rank == 0 {
        return Ok(texts.concat().into_bytes());
    }
    let mut data = Vec::new();
    for text in texts {
        let length = u32::try_from(text.len());
        let length =
            length.map_err(|_| Failure::new(FailureCode::OutputTooLarge, "a text does not fit uint32 bytes"))?;
        data.extend_from_slice(&length.to_be_bytes());
        data.extend_from_slice(text.as_bytes());
    }
    Ok(data)
}

/// Every integer of a packed, `Bool` or `Int` tensor, through `map`.
fn mapped<T>(
    wire: &WireTensor,
    kind: ElementType,
    map: impl Fn(usize, i128) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    macro_rules! packed {
        ($int:ty) => {
            wire.data
                .chunks_exact(size_of::<$int>())
                .enumerate()
                .map(|(index, bytes)| {
                    map(index, <$int>::from_be_bytes(bytes.try_into().expect("an exact chunk")).into())
                })
                .collect()
        };
    }
    match wire.dtype {
        DType::U8 | DType::Bool => packed!(u8),
        DType::I8 => packed!(i8),
        DType::U16 => packed!(u16),
        DType::I16 => packed!(i16),
        DType::U32 => packed!(u32),
        DType::I32 => packed!(i32),
        DType::U64 => packed!(u64),
        DType::I64 => packed!(i64),
        _ => {
            let words = wire.data.chunks_exact(WORD).map(signed).enumerate();
            // No element type holds more than 64 bits.
            let small = |index, value| i128::try_from(value).map_err(|_| out_of_range(index, value, kind));
            words.map(|(index, word)| small(index, word).and_then(|value| map(index, value))).collect()
        }
    }
}

fn signed(word: &[u8]) -> I256 {
    I256::from_be_bytes::<WORD>(word.try_into().expect("a word of 32 bytes"))
}

fn wad_text(word: &[u8]) -> String {
    format!("{} * 10^-18", signed(word))
}

fn is_packed_integer(dtype: DType) -> bool {
    use DType::{I8, I16, I32, I64, U8, U16, U32, U64};
    matches!(dtype, U8 | I8 | U16 | I16 | U32 | I32 | U64 | I64)
}

fn wrong_type(dtype: DType, kind: ElementType, accepted: &str) -> Failure {
    let reason = format!("dtype {} cannot stand for {kind}: pass {accepted}", dtype_name(dtype));
    Failure::new(FailureCode::WrongType, reason)
}

fn out_of_range(index: usize, value: impl std::fmt::Display, kind: ElementType) -> Failure {
    Failure::new(FailureCode::OutOfRange, format!("element {index} is {value}, out of range of {kind}"))
}
