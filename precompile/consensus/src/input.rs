//! The check that calldata's `input` is the one canonical `abi.encode(Tensor[])` of some tensors.
//!
//! One encoding for one meaning: otherwise the same question had many request ids. The walk allocates nothing, since it
//! runs on every call.
//!
//! | words | content |
//! | --- | --- |
//! | 0 | 0x20 |
//! | 1 | number of tensors, n |
//! | 2..2+n | offset of each tensor from word 2; they follow each other without gap |
//! | in a tensor: 0, 1, 2 | dtype; 0x60; offset of the data, 0x80 + 0x20 * rank |
//! | then | rank, the dimensions; length of the data in bytes, the data, zeros up to a whole word |

/// Most tensors in one input.
pub(crate) const MAX_TENSORS: usize = 64;
/// Most dimensions of one tensor.
pub(crate) const MAX_RANK: usize = 8;

const WORD: usize = 32;
const DTYPE_TEXT: usize = 11;
/// Bytes an element, by dtype number; text has no fixed width.
const WIDTHS: [usize; DTYPE_TEXT] = [32, 32, 1, 1, 2, 2, 4, 4, 8, 8, 1];

/// What is wrong with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The bytes end inside a tensor.
    #[error("the input ends early: encode it with abi.encode(Tensor[])")]
    Truncated,
    /// Bytes follow the last tensor.
    #[error("bytes follow the last tensor: encode it with abi.encode(Tensor[])")]
    Trailing,
    /// An offset is not where `abi.encode` puts it.
    #[error("an offset is not canonical: encode it with abi.encode(Tensor[])")]
    Offset,
    /// The padding after a tensor's data is not zero.
    #[error("the padding after a tensor's data is not zero: encode it with abi.encode(Tensor[])")]
    Padding,
    /// More tensors than allowed.
    #[error("more than 64 tensors")]
    TooManyTensors,
    /// More dimensions than allowed.
    #[error("a tensor of rank above 8")]
    RankTooHigh,
    /// A dtype that does not exist.
    #[error("a dtype above 11 (Text)")]
    UnknownDType,
    /// A dimension does not fit uint32.
    #[error("a dimension above uint32")]
    Dimension,
    /// The data's length is not the product of the shape times the element's width.
    #[error("a tensor's data does not fit its shape")]
    DataLength,
}

/// Whether `input` is the canonical `abi.encode(Tensor[])` of some tensors with data that fits their shapes.
pub fn check_input(input: &[u8]) -> Result<(), InputError> {
    let mut cursor = Cursor { rest: input };
    if cursor.word()? != WORD {
        return Err(InputError::Offset);
    }
    let count = cursor.word()?;
    if count > MAX_TENSORS {
        return Err(InputError::TooManyTensors);
    }
    let heads = cursor.take(count * WORD)?;
    let mut expected = count * WORD;
    for head in heads.chunks_exact(WORD) {
        if small(head)? != expected {
            return Err(InputError::Offset);
        }
        let before = cursor.rest.len();
        check_tensor(&mut cursor)?;
        expected += before - cursor.rest.len();
    }
    if cursor.rest.is_empty() { Ok(()) } else { Err(InputError::Trailing) }
}

/// Where the data of the first tensor begin, if that is an `Int` vector of `length`.
pub(crate) fn is_first_ints(tensors: &[u8], length: usize) -> Option<usize> {
    const DTYPE_INT: usize = 1;
    let word = |index: usize| small(tensors.get(index * WORD..(index + 1) * WORD)?).ok();
    let first = 2 + word(1).filter(|count| (1..=MAX_TENSORS).contains(count))?;
    // Its dtype, rank, only dimension and length in bytes; the offsets between them are always the same.
    let found = [word(first)?, word(first + 3)?, word(first + 4)?, word(first + 5)?];
    (found == [DTYPE_INT, 1, length, length * WORD]).then_some((first + 6) * WORD)
}

fn check_tensor(cursor: &mut Cursor<'_>) -> Result<(), InputError> {
    let dtype = cursor.word()?;
    if dtype > DTYPE_TEXT {
        return Err(InputError::UnknownDType);
    }
    if cursor.word()? != 3 * WORD {
        return Err(InputError::Offset);
    }
    let data_offset = cursor.word()?;
    let rank = cursor.word()?;
    if rank > MAX_RANK {
        return Err(InputError::RankTooHigh);
    }
    if data_offset != (4 + rank) * WORD {
        return Err(InputError::Offset);
    }
    let mut elements = 1u64;
    for _ in 0..rank {
        let dimension = u32::try_from(cursor.word()?).map_err(|_| InputError::Dimension)?;
        elements = elements.checked_mul(dimension.into()).ok_or(InputError::DataLength)?;
    }
    let len = cursor.word()?;
    let padded = cursor.take(len.checked_next_multiple_of(WORD).ok_or(InputError::Truncated)?)?;
    let (data, padding) = padded.split_at(len);
    if padding.iter().any(|byte| *byte != 0) {
        return Err(InputError::Padding);
    }
    check_data(dtype, rank, elements, data)
}

fn check_data(dtype: usize, rank: usize, elements: u64, data: &[u8]) -> Result<(), InputError> {
    let fits = match WIDTHS.get(dtype) {
        Some(width) => elements.checked_mul(*width as u64) == Some(data.len() as u64),
        None if rank == 0 => true,
        None => texts_fit(elements, data),
    };
    if fits { Ok(()) } else { Err(InputError::DataLength) }
}

fn texts_fit(elements: u64, mut data: &[u8]) -> bool {
    // Every text takes four bytes, so a huge count ends the walk at once.
    for _ in 0..elements {
        let Some((len, rest)) = data.split_first_chunk::<4>() else { return false };
        let Some(rest) = rest.get(u32::from_be_bytes(*len) as usize..) else { return false };
        data = rest;
    }
    data.is_empty()
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], InputError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(InputError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<usize, InputError> {
        small(self.take(WORD)?)
    }
}

/// A word that counts something; whatever does not fit 63 bits counts more than there can be.
fn small(word: &[u8]) -> Result<usize, InputError> {
    // By whole registers: this is most of what a call costs before its lookup.
    let [a, b, c, low] = word.as_chunks().0 else { return Err(InputError::Truncated) };
    let [a, b, c, low] = [a, b, c, low].map(|bytes| u64::from_be_bytes(*bytes));
    Ok(if a | b | c == 0 && low <= i64::MAX as u64 { low as usize } else { usize::MAX >> 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{DType, Tensor};
    use alloy_primitives::{Bytes, U256};
    use alloy_sol_types::SolValue;

    fn tensor(dtype: DType, shape: &[u32], data: Vec<u8>) -> Tensor {
        Tensor { dtype, shape: shape.to_vec(), data: Bytes::from(data) }
    }

    fn encoded() -> Vec<u8> {
        vec![tensor(DType::Wad, &[1, 2], vec![7; 64]), tensor(DType::Text, &[], b"hello".to_vec())].abi_encode()
    }

    #[test]
    fn canonical_encodings_pass() {
        let texts = [&[0, 0, 0, 2][..], b"hi", &[0, 0, 0, 0]].concat();
        for (name, tensors) in [
            ("none", vec![]),
            ("scalar", vec![tensor(DType::Int, &[], vec![0; 32])]),
            ("zero-sized", vec![tensor(DType::Wad, &[0, 5], vec![])]),
            ("packed", vec![tensor(DType::U8, &[3], vec![1, 2, 3]), tensor(DType::I64, &[2], vec![0; 16])]),
            ("texts", vec![tensor(DType::Text, &[2], texts)]),
        ] {
            assert_eq!(check_input(&tensors.abi_encode()), Ok(()), "{name}");
        }
        assert_eq!(check_input(&encoded()), Ok(()));
    }

    #[test]
    fn each_defect_is_named() {
        let with = |at: usize, value: U256| {
            let mut bytes = encoded();
            bytes[at * 32..at * 32 + 32].copy_from_slice(&value.to_be_bytes::<32>());
            bytes
        };
        let truncated = encoded()[..encoded().len() - 32].to_vec();
        let trailing = [encoded(), vec![0; 32]].concat();
        let mut padding = encoded();
        *padding.last_mut().unwrap() = 1;
        for (name, bytes, error) in [
            ("empty", vec![], InputError::Truncated),
            ("truncated", truncated, InputError::Truncated),
            ("trailing", trailing, InputError::Trailing),
            ("padding", padding, InputError::Padding),
            ("first offset", with(0, U256::from(64)), InputError::Offset),
            ("count", with(1, U256::from(65)), InputError::TooManyTensors),
            ("huge count", with(1, U256::MAX), InputError::TooManyTensors),
            ("tensor offset", with(2, U256::from(96)), InputError::Offset),
            ("dtype", with(4, U256::from(12)), InputError::UnknownDType),
            ("shape offset", with(5, U256::from(128)), InputError::Offset),
            ("data offset", with(6, U256::from(128)), InputError::Offset),
            ("rank", with(7, U256::from(9)), InputError::RankTooHigh),
            ("dimension", with(8, U256::from(1u64 << 32)), InputError::Dimension),
            ("huge dimension", with(8, U256::MAX), InputError::Dimension),
            ("product", with(8, U256::from(3)), InputError::DataLength),
            ("data length", with(10, U256::MAX), InputError::Truncated),
        ] {
            assert_eq!(check_input(&bytes), Err(error), "{name}");
        }
    }

    #[test]
    fn texts_must_fill_the_data() {
        for (name, data) in [
            ("short length", vec![0, 0, 0]),
            ("length beyond the end", vec![0, 0, 0, 9, b'x']),
            ("bytes left over", vec![0, 0, 0, 0, 1]),
        ] {
            let input = vec![tensor(DType::Text, &[1], data)].abi_encode();
            assert_eq!(check_input(&input), Err(InputError::DataLength), "{name}");
        }
        let huge = vec![tensor(DType::Text, &[u32::MAX, u32::MAX], vec![0; 4])].abi_encode();
        assert_eq!(check_input(&huge), Err(InputError::DataLength));
    }

    #[test]
    fn accepts_exactly_what_a_decoder_encodes_again() {
        // Every single-byte change of an encoding is either refused or itself canonical.
        let original = encoded();
        for at in 0..original.len() {
            for value in [0, 1, 0x20, 0x60, 0xff] {
                let mut bytes = original.clone();
                bytes[at] = value;
                let again = Vec::<Tensor>::abi_decode(&bytes).map(|tensors| tensors.abi_encode());
                if check_input(&bytes).is_ok() {
                    assert_eq!(again.as_deref(), Ok(&bytes[..]), "byte {at} = {value:#x}");
                }
            }
        }
    }
}
