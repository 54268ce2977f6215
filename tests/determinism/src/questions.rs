//! Inputs that every machine makes up alike: integers from a counter, floats that need no rounding.

use anyhow::{Context, bail};
use foreblock_engine::{ElementType, Tensor, exact::ValueSpec};

/// What a free dimension that is not the batch becomes.
const FREE_DIM: usize = 8;

/// Rows `start..start + count` of an input; a row's values do not depend on what else is asked with it.
pub(crate) fn rows(spec: &ValueSpec, input: usize, start: usize, count: usize) -> anyhow::Result<Tensor> {
    let dims = spec.dims.as_ref().with_context(|| format!("input {} has no number of dimensions", spec.name))?;
    let mut shape: Vec<usize> = dims.iter().map(|dim| dim.unwrap_or(FREE_DIM)).collect();
    if let Some(None) = dims.first() {
        shape[0] = count;
    }
    let row_len = shape.iter().product::<usize>() / count;
    let values = (start..start + count).flat_map(|row| (0..row_len).map(move |at| number(input, row, at)));
    let tensor = match spec.element_type {
        // Between -2 and 2 in steps of 2^-10.
        ElementType::F32 => Tensor::new(shape, values.map(|n| (n % 4096) as f32 / 1024.0 - 2.0).collect()),
        ElementType::F64 => Tensor::new(shape, values.map(|n| (n % 4096) as f64 / 1024.0 - 2.0).collect()),
        ElementType::I64 => Tensor::new(shape, values.map(|n| (n % 100) as i64).collect()),
        ElementType::I32 => Tensor::new(shape, values.map(|n| (n % 100) as i32).collect()),
        ElementType::U8 => Tensor::new(shape, values.map(|n| n as u8).collect()),
        ElementType::Bool => Tensor::new(shape, values.map(|n| n % 2 == 1).collect()),
        ElementType::String => {
            Tensor::new(shape, values.map(|n| ((b'a' + (n % 6) as u8) as char).to_string()).collect())
        }
        other => bail!("input {} is {}: say in questions.rs how to make one up", spec.name, other.name()),
    };
    Ok(tensor?)
}

/// SplitMix64 of input, row and place.
fn number(input: usize, row: usize, at: usize) -> u64 {
    let seed = ((input as u64) << 56) ^ ((row as u64) << 40) ^ at as u64;
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // The upper half, which is mixed best.
    (mixed ^ (mixed >> 31)) >> 32
}
