//! NumPy's array files.

use foreblock_precompile::abi::{DType, Tensor as WireTensor, TensorSpec};
use npyz::{NpyFile, Order, TypeChar};

use super::{Elements, InputError};
use crate::wire::fixed::float_to_wad;

pub(super) fn parse(content: &[u8], specs: &[TensorSpec]) -> Result<Vec<WireTensor>, InputError> {
    let [spec] = specs else {
        let expected = specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(InputError::Inputs { expected, got: "one array; use JSON for several inputs".into() });
    };
    let failed = |reason: String| InputError::Format { format: "a NumPy array file", reason };
    let file = NpyFile::new(content).map_err(|error| failed(error.to_string()))?;
    if file.order() == Order::Fortran {
        return Err(failed("it is in Fortran order: save numpy.ascontiguousarray(x)".into()));
    }
    let shape: Vec<usize> = file.shape().iter().map(|length| *length as usize).collect();
    let mut elements = Elements::new(spec)?;
    read(file, &mut elements)?;
    Ok(vec![elements.finish(shape)?])
}

fn read(file: NpyFile<&[u8]>, elements: &mut Elements<'_>) -> Result<(), InputError> {
    let failed = |reason: String| InputError::Format { format: "a NumPy array file", reason };
    let (kind, size) = match file.dtype() {
        npyz::DType::Plain(kind) => (kind.type_char(), kind.size_field()),
        other => return Err(failed(format!("the type {} is not supported: save a plain array", other.descr()))),
    };
    macro_rules! values {
        ($type:ty, $value:ident => $push:expr) => {{
            for $value in file.data::<$type>().map_err(|error| failed(error.to_string()))? {
                let $value = $value.map_err(|error| failed(error.to_string()))?;
                $push?;
            }
            Ok(())
        }};
    }
    match (kind, size) {
        (TypeChar::Float, 4) => values!(f32, value => push_float(elements, value.into())),
        (TypeChar::Float, 8) => values!(f64, value => push_float(elements, value)),
        (TypeChar::Int, 1) => values!(i8, value => elements.push_number(&value.to_string())),
        (TypeChar::Int, 2) => values!(i16, value => elements.push_number(&value.to_string())),
        (TypeChar::Int, 4) => values!(i32, value => elements.push_number(&value.to_string())),
        (TypeChar::Int, 8) => values!(i64, value => elements.push_number(&value.to_string())),
        (TypeChar::Uint, 1) => values!(u8, value => elements.push_number(&value.to_string())),
        (TypeChar::Uint, 2) => values!(u16, value => elements.push_number(&value.to_string())),
        (TypeChar::Uint, 4) => values!(u32, value => elements.push_number(&value.to_string())),
        (TypeChar::Uint, 8) => values!(u64, value => elements.push_number(&value.to_string())),
        (TypeChar::Bool, _) => values!(bool, value => elements.push_number(if value { "1" } else { "0" })),
        (other, size) => {
            Err(failed(format!("the type {other:?} of {size} bytes is not supported: save float32 or int64")))
        }
    }
}

/// A binary float is taken exactly, up to the 18 decimals of the wire.
fn push_float(elements: &mut Elements<'_>, value: f64) -> Result<(), InputError> {
    if elements.dtype != DType::Wad {
        return Err(elements.wrong_value(&format!("the float {value}")));
    }
    let wad = float_to_wad(value).ok_or_else(|| elements.wrong_value(&value.to_string()))?;
    elements.push_wad(wad);
    Ok(())
}
