//! How an output travels in a block: the same tensors as `abi.encode(Tensor[])`, without its padding.
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | number of tensors |
//! | for each: 1, 1 | dtype, rank |
//! | 4 * rank | the dimensions, big-endian |
//! | Wad, Int: for each element 1 + n | n from 0 to 32, then the shortest two's complement, big-endian |
//! | other dtypes: 4 + n | n, big-endian, then the data |
//!
//! One number takes about 15 bytes instead of 352. Every output has one compact form and every compact form one output.

use crate::{
    abi::{DType, Tensor},
    check_input,
    input::{MAX_RANK, MAX_TENSORS},
};
use alloc::{vec, vec::Vec};
use alloy_primitives::Bytes;
use alloy_sol_types::SolValue;

const WORD: usize = 32;

/// The compact form of a canonical `abi.encode(Tensor[])`; `None` for other bytes. Reads the encoding where it stands: a builder does
/// this for each outcome of a block.
pub(crate) fn compact(output: &[u8]) -> Option<Vec<u8>> {
    check_input(output).ok()?;
    let count = count_at(output, 1)?;
    let mut out = Vec::with_capacity(output.len() / 4);
    out.push(count as u8);
    let mut tensor = output.get((2 + count) * WORD..)?;
    for _ in 0..count {
        let (dtype, rank) = (count_at(tensor, 0)? as u8, count_at(tensor, 3)?);
        out.extend([dtype, rank as u8]);
        let (head, rest) = tensor.split_at_checked((5 + rank) * WORD)?;
        head.chunks_exact(WORD).skip(4).take(rank).for_each(|dimension| out.extend(&dimension[WORD - 4..]));
        let len = count_at(head, 4 + rank)?;
        let data = rest.get(..len)?;
        if wide(DType::try_from(dtype).ok()?) {
            for word in data.chunks_exact(WORD) {
                let significant = &word[leading(word)..];
                out.push(significant.len() as u8);
                out.extend(significant);
            }
        } else {
            out.extend((len as u32).to_be_bytes());
            out.extend(data);
        }
        tensor = &rest[len.next_multiple_of(WORD)..];
    }
    Some(out)
}

/// The number in a word of an encoding that was checked: it fits.
fn count_at(encoded: &[u8], word: usize) -> Option<usize> {
    let low = encoded.get(word * WORD..(word + 1) * WORD)?.last_chunk::<8>()?;
    Some(u64::from_be_bytes(*low) as usize)
}

/// The output of a compact form; `None` for bytes that are none, or whose output is longer than `bytes_max`.
pub(crate) fn expand(compacted: &[u8], bytes_max: usize) -> Option<Bytes> {
    let (count, mut rest) = compacted.split_first()?;
    if usize::from(*count) > MAX_TENSORS {
        return None;
    }
    let mut left = bytes_max;
    let tensors = (0..*count).map(|_| tensor(&mut rest, &mut left)).collect::<Option<Vec<_>>>()?;
    let output = tensors.abi_encode();
    (rest.is_empty() && check_input(&output).is_ok()).then(|| output.into())
}

fn tensor(rest: &mut &[u8], left: &mut usize) -> Option<Tensor> {
    let [dtype, rank] = *take(rest, 2)? else { return None };
    let dtype = DType::try_from(dtype).ok().filter(|dtype| !matches!(dtype, DType::__Invalid))?;
    if usize::from(rank) > MAX_RANK {
        return None;
    }
    let dimension = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let shape: Vec<u32> = take(rest, 4 * usize::from(rank))?.chunks_exact(4).map(dimension).collect();
    let data = if wide(dtype) {
        let elements = shape.iter().try_fold(1usize, |product, dimension| product.checked_mul(*dimension as usize))?;
        // Every element takes a byte at least, so that a shape cannot promise more than there is.
        if elements > rest.len() {
            return None;
        }
        *left = left.checked_sub(elements.checked_mul(WORD)?)?;
        words(rest, elements)?
    } else {
        let len = dimension(take(rest, 4)?) as usize;
        *left = left.checked_sub(len)?;
        take(rest, len)?.to_vec()
    };
    Some(Tensor { dtype, shape, data: data.into() })
}

fn words(rest: &mut &[u8], elements: usize) -> Option<Vec<u8>> {
    let mut data = vec![0; elements * WORD];
    for word in data.chunks_exact_mut(WORD) {
        let len = usize::from(take(rest, 1)?[0]);
        let significant = take(rest, len).filter(|_| len <= WORD)?;
        if significant.first().is_some_and(|byte| byte & 0x80 != 0) {
            word.fill(0xff);
        }
        word[WORD - len..].copy_from_slice(significant);
        if leading(word) != WORD - len {
            return None;
        }
    }
    Some(data)
}

/// Bytes of a word that only extend its sign: zero takes none, everything else keeps its sign bit.
fn leading(word: &[u8]) -> usize {
    let sign = if word[0] & 0x80 == 0 { 0 } else { 0xff };
    let extension = word.iter().take_while(|byte| **byte == sign).count();
    let keeps_sign = word.get(extension).is_some_and(|byte| (byte ^ sign) & 0x80 == 0);
    match (extension, sign) {
        (WORD, 0) => WORD,
        (extension, _) if keeps_sign => extension,
        (extension, _) => extension - 1,
    }
}

fn wide(dtype: DType) -> bool {
    matches!(dtype, DType::Wad | DType::Int)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::I256;

    const MAX: usize = 1 << 20;

    fn wad(values: &[I256]) -> Bytes {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes::<32>()).collect();
        let shape = vec![values.len() as u32];
        vec![Tensor { dtype: DType::Wad, shape, data: data.into() }].abi_encode().into()
    }

    #[test]
    fn numbers_take_the_bytes_they_need() {
        for (name, value, len) in [
            ("zero", I256::ZERO, 0),
            ("one", I256::ONE, 1),
            ("minus one", I256::MINUS_ONE, 1),
            ("127", I256::try_from(127).unwrap(), 1),
            ("128 needs a sign bit", I256::try_from(128).unwrap(), 2),
            ("-128", I256::try_from(-128).unwrap(), 1),
            ("-129", I256::try_from(-129).unwrap(), 2),
            ("1.23e16", I256::try_from(12_300_000_000_000_000i64).unwrap(), 7),
            ("largest", I256::MAX, 32),
            ("smallest", I256::MIN, 32),
        ] {
            let output = wad(&[value]);
            let compacted = compact(&output).unwrap();
            assert_eq!(compacted.len(), 1 + 2 + 4 + 1 + len, "{name}");
            assert_eq!(expand(&compacted, MAX), Some(output), "{name}");
        }
    }

    #[test]
    fn all_kinds_of_tensors_come_back() {
        let tensor =
            |dtype, shape: &[u32], data: &[u8]| Tensor { dtype, shape: shape.to_vec(), data: data.to_vec().into() };
        for (name, tensors) in [
            ("none", vec![]),
            ("scalar", vec![tensor(DType::Int, &[], &[0; 32])]),
            ("zero-sized", vec![tensor(DType::Wad, &[0, 7], &[])]),
            ("mixed", vec![tensor(DType::Text, &[], b"hello"), tensor(DType::U16, &[2], &[0, 1, 2, 3])]),
        ] {
            let output = Bytes::from(tensors.abi_encode());
            assert_eq!(expand(&compact(&output).unwrap(), MAX), Some(output), "{name}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(compact(b"not an encoding"), None);
        let good = compact(&wad(&[I256::ONE])).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let longer = [&good[..7], &[2, 0, 1]].concat();
        for (name, bytes) in [
            ("empty", vec![]),
            ("truncated", good[..good.len() - 1].to_vec()),
            ("trailing", [good.clone(), vec![0]].concat()),
            ("too many tensors", with(0, 65)),
            ("a missing tensor", with(0, 2)),
            ("no such dtype", with(1, 12)),
            ("the rank is too high", with(2, 9)),
            ("a shape that promises more", with(3, 0xff)),
            ("33 bytes", with(7, 33)),
            ("not the shortest", longer),
            ("zero with a byte", [&good[..7], &[1, 0]].concat()),
        ] {
            assert_eq!(expand(&bytes, MAX), None, "{name}");
        }
        assert_eq!(expand(&good, 31), None, "longer than allowed");
    }

    #[test]
    fn no_two_forms_give_one_output() {
        let output = wad(&[I256::ONE, I256::MINUS_ONE, I256::try_from(-40_000).unwrap()]);
        let compacted = compact(&output).unwrap();
        for at in 0..compacted.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = compacted.clone();
                bytes[at] ^= flip;
                if let Some(expanded) = expand(&bytes, MAX) {
                    assert_eq!(compact(&expanded), Some(bytes), "byte {at}");
                }
            }
        }
    }
}
