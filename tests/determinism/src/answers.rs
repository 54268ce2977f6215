//! All answers of a model as one digest.

use alloy_primitives::{B256, Keccak256};
use anyhow::ensure;
use foreblock_engine::{ExactModel, Pool, Tensor, tensor::Data};
use half::{bf16, f16};

use crate::{ROWS, questions};

/// Asks all questions, `batch` at a time. The bytes are digested output by output, row by row, so that the batch size does
/// not show.
pub(crate) fn digest(model: &ExactModel, pool: &Pool, batch: usize) -> anyhow::Result<B256> {
    let mut outputs = vec![Vec::new(); model.outputs().len()];
    for start in (0..ROWS).step_by(batch) {
        let count = batch.min(ROWS - start);
        let specs = model.inputs().iter().enumerate();
        let inputs = specs.map(|(at, spec)| questions::rows(spec, at, start, count)).collect::<Result<_, _>>()?;
        let (answers, _) = model.run_unchecked(inputs, pool)?;
        ensure!(answers.len() == outputs.len(), "{} outputs, expected {}", answers.len(), outputs.len());
        for (bytes, answer) in outputs.iter_mut().zip(&answers) {
            bytes.extend(little_endian(answer)?);
        }
    }
    let mut hasher = Keccak256::new();
    outputs.iter().for_each(|bytes| hasher.update(bytes));
    Ok(hasher.finalize())
}

/// The bytes of a tensor. A NaN counts as one value: processors choose its sign, and no answer with NaN is ever given.
pub(crate) fn little_endian(tensor: &Tensor) -> anyhow::Result<Vec<u8>> {
    macro_rules! bytes {
        ($values:expr) => {
            $values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
    }
    macro_rules! floats {
        ($values:expr, $nan:expr) => {
            $values.iter().flat_map(|x| if x.is_nan() { $nan } else { *x }.to_le_bytes()).collect()
        };
    }
    Ok(match tensor.data() {
        Data::F32(values) => floats!(values, f32::NAN),
        Data::F64(values) => floats!(values, f64::NAN),
        Data::F16(values) => floats!(values, f16::NAN),
        Data::Bf16(values) => floats!(values, bf16::NAN),
        Data::I8(values) => bytes!(values),
        Data::I16(values) => bytes!(values),
        Data::I32(values) => bytes!(values),
        Data::I64(values) => bytes!(values),
        Data::U8(values) => values.to_vec(),
        Data::U16(values) => bytes!(values),
        Data::U32(values) => bytes!(values),
        Data::U64(values) => bytes!(values),
        Data::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
        Data::String(values) => values.iter().flat_map(|text| [text.as_bytes(), &[0]].concat()).collect(),
    })
}
