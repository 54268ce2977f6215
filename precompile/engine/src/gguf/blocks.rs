//! Weights in blocks of 32: small integers, a scale, and in some a least value.
//!
//! | kind | bytes of a block | element |
//! | --- | --- | --- |
//! | Q4_0 | f16 `d`, 16 bytes of two 4-bit `q` | `(q - 8) * d` |
//! | Q4_1 | f16 `d`, f16 `m`, 16 bytes of two 4-bit `q` | `q * d + m` |
//! | Q8_0 | f16 `d`, 32 signed `q` | `q * d` |
//!
//! A product of an integer of 8 bits and an f16 is exact in `float`, so an element is rounded at most once, and no fused
//! operation would differ. The low halves of a block's bytes are its first 16 elements.

use half::f16;

use super::{GgufError, read::Info};

/// Elements of a block.
const BLOCK: usize = 32;

/// Adds the elements of one block.
type Widen = fn(&[u8], &mut Vec<f32>);

/// The first elements of `bytes`, as many as `info` has, as `float`.
pub(super) fn widen(name: &str, info: &Info, bytes: &[u8]) -> Result<Vec<f32>, GgufError> {
    let cut = || GgufError::Format(format!("{name} passes its end"));
    let count = info.dims.iter().try_fold(1usize, |product, length| product.checked_mul(*length)).ok_or_else(cut)?;
    let (size, elements, block): (usize, usize, Widen) = match info.kind {
        0 => (4, 1, |bytes, out| out.push(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))),
        1 => (2, 1, |bytes, out| out.push(half_at(bytes, 0))),
        2 => (2 + BLOCK / 2, BLOCK, |bytes, out| {
            let d = half_at(bytes, 0);
            nibbles(&bytes[2..], |q| (f32::from(q) - 8.0) * d, out);
        }),
        3 => (4 + BLOCK / 2, BLOCK, |bytes, out| {
            let (d, m) = (half_at(bytes, 0), half_at(bytes, 2));
            nibbles(&bytes[4..], |q| f32::from(q) * d + m, out);
        }),
        8 => (2 + BLOCK, BLOCK, |bytes, out| {
            let d = half_at(bytes, 0);
            out.extend(bytes[2..].iter().map(|q| f32::from(*q as i8) * d));
        }),
        kind => {
            return Err(GgufError::Unsupported {
                what: format!("the storage of {name}"),
                found: format!("kind {kind}"),
                expected: "F32, F16, Q4_0, Q4_1 and Q8_0",
            });
        }
    };
    if info.dims.first().is_some_and(|row| row % elements != 0) {
        return Err(GgufError::Format(format!("the rows of {name} are no whole blocks")));
    }
    let stored = (count / elements).checked_mul(size).and_then(|length| bytes.get(..length)).ok_or_else(cut)?;
    let mut out = Vec::with_capacity(count);
    stored.chunks_exact(size).for_each(|bytes| block(bytes, &mut out));
    Ok(out)
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

fn nibbles(bytes: &[u8], element: impl Fn(u8) -> f32, out: &mut Vec<f32>) {
    out.extend(bytes.iter().map(|byte| element(byte & 0xf)));
    out.extend(bytes.iter().map(|byte| element(byte >> 4)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widened(kind: u32, bytes: &[u8]) -> Vec<f32> {
        let count = if kind < 2 { 2 } else { BLOCK };
        widen("w", &Info::of(vec![count], kind), bytes).unwrap()
    }

    #[test]
    fn elements_follow_the_formula_of_their_block() {
        let (d, m) = (f16::from_f32(0.25), f16::from_f32(-1.5));
        let small: Vec<u8> = (0..16u8).map(|i| i | (15 - i) << 4).collect();
        let q4_1 = [&d.to_le_bytes()[..], &m.to_le_bytes(), &small].concat();
        let got = widened(3, &q4_1);
        assert_eq!((got[0], got[5], got[15], got[16], got[31]), (-1.5, -0.25, 2.25, 2.25, -1.5));
        let q4_0 = [&d.to_le_bytes()[..], &small].concat();
        let got = widened(2, &q4_0);
        assert_eq!((got[0], got[8], got[15], got[16]), (-2.0, 0.0, 1.75, 1.75));
        let q8_0: Vec<u8> = d.to_le_bytes().into_iter().chain((0..32).map(|i| (i as i8 * 4 - 64) as u8)).collect();
        let got = widened(8, &q8_0);
        assert_eq!((got[0], got[16], got[31]), (-16.0, 0.0, 15.0));
        assert_eq!(widened(0, &[1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()), [1.5, -2.0]);
        assert_eq!(widened(1, &[d.to_le_bytes(), m.to_le_bytes()].concat()), [0.25, -1.5]);
    }

    #[test]
    fn tensors_that_are_cut_or_stored_otherwise_say_so() {
        let error = |dims: Vec<usize>, kind: u32| widen("w", &Info::of(dims, kind), &[0; 20]).unwrap_err().to_string();
        assert!(error(vec![64], 3).contains("passes its end"));
        assert!(error(vec![usize::MAX, 2], 3).contains("passes its end"));
        assert!(error(vec![16], 3).contains("no whole blocks"));
        assert!(error(vec![32], 12).contains("kind 12"));
    }
}
