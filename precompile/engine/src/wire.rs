//! Tensors to and from the wire: `abi.encode(Tensor[])` of `IInference.sol` on one side, a model's tensors on the other.
//!
//! What a model's tensor accepts, and what it is returned as:
//!
//! | model's element type | accepts | returned as |
//! | --- | --- | --- |
//! | float, double, float16, bfloat16 | `Wad`, packed integers: to nearest, ties to even | `Wad`, rounded the same way |
//! | integers | packed integers, `Int`: in range or `Failed` | `Int` |
//! | bool | `Bool`, packed integers, `Int`: 0 or 1 | `Int` |
//! | string | `Text` | `Text` |
//!
//! Nothing saturates: out of range, NaN and the infinities are `Failed`. A failure is a pure function of model and
//! input, so its words are the same on every machine.

mod elements;
pub mod fixed;

use alloy_primitives::Bytes;
use alloy_sol_types::SolValue;
use foreblock_precompile::{
    Failure, FailureCode,
    abi::{DType, Tensor as WireTensor, TensorSpec},
    check_input,
};

use crate::tensor::{ElementType, Tensor};

/// The tensors of a request, as the model takes them.
///
/// `input` is `abi.encode(Tensor[])`; the precompile has checked that it is canonical, and it is checked again here,
/// since the same function serves callers without a chain. A dimension that the model leaves open is taken from the
/// request; nothing is guessed, a missing batch dimension neither.
pub fn decode_input(input: &[u8], specs: &[TensorSpec]) -> Result<Vec<Tensor>, Failure> {
    let tensors = read(input)?;
    if tensors.len() != specs.len() {
        let reason = format!("expected {} input tensors ({}), got {}", specs.len(), names(specs), tensors.len());
        return Err(Failure::new(FailureCode::WrongArity, reason));
    }
    let pairs = specs.iter().zip(&tensors).enumerate();
    pairs.map(|(index, (spec, wire))| to_model(wire, spec).map_err(|f| about("input", index, spec, f))).collect()
}

/// A model's outputs as `abi.encode(Tensor[])`, at most `bytes_max` long.
pub fn encode_output(outputs: &[Tensor], specs: &[TensorSpec], bytes_max: u32) -> Result<Bytes, Failure> {
    if outputs.len() != specs.len() {
        let reason = format!("expected {} output tensors ({}), got {}", specs.len(), names(specs), outputs.len());
        return Err(Failure::new(FailureCode::WrongArity, reason));
    }
    let least: u64 = outputs.iter().map(|tensor| tensor.len() as u64 * least_width(tensor.element_type())).sum();
    refuse_longer(least, bytes_max)?;
    let pairs = specs.iter().zip(outputs).enumerate();
    let tensors: Vec<WireTensor> = pairs
        .map(|(index, (spec, tensor))| {
            check_shape(spec, tensor.shape())
                .and_then(|()| to_wire(tensor))
                .map_err(|f| about("output", index, spec, f))
        })
        .collect::<Result<_, _>>()?;
    let encoded = tensors.abi_encode();
    refuse_longer(encoded.len() as u64, bytes_max)?;
    Ok(encoded.into())
}

/// The wire tensors of canonical `abi.encode(Tensor[])`.
pub fn read(bytes: &[u8]) -> Result<Vec<WireTensor>, Failure> {
    // The check first: only of canonical bytes is the decoder's memory bounded by their length.
    check_input(bytes).map_err(|error| Failure::new(FailureCode::WrongType, error.to_string()))?;
    Vec::<WireTensor>::abi_decode(bytes).map_err(|error| Failure::new(FailureCode::WrongType, error.to_string()))
}

/// `abi.encode(Tensor[])` of wire tensors: what a contract passes to `run`.
pub fn write(tensors: &[WireTensor]) -> Bytes {
    tensors.to_vec().abi_encode().into()
}

/// One tensor as the model returns it, without its limits.
pub fn to_wire(tensor: &Tensor) -> Result<WireTensor, Failure> {
    let shape = tensor.shape().iter().map(|&length| u32::try_from(length)).collect::<Result<Vec<u32>, _>>();
    let shape = shape.map_err(|_| Failure::new(FailureCode::OutputTooLarge, "a dimension does not fit uint32"))?;
    let (dtype, data) = elements::write(tensor)?;
    Ok(WireTensor { dtype, shape, data: data.into() })
}

/// One wire tensor as the model takes it.
fn to_model(wire: &WireTensor, spec: &TensorSpec) -> Result<Tensor, Failure> {
    let Some(kind) = ElementType::from_onnx(spec.elementType.into()) else {
        let reason = format!("the model's element type {} is not supported", spec.elementType);
        return Err(Failure::new(FailureCode::WrongType, reason));
    };
    let shape: Vec<usize> = wire.shape.iter().map(|&length| length as usize).collect();
    check_shape(spec, &shape)?;
    elements::read(wire, kind, shape)
}

fn check_shape(spec: &TensorSpec, shape: &[usize]) -> Result<(), Failure> {
    let fits = |(&wanted, &given): (&i64, &usize)| wanted < 0 || wanted as u64 == given as u64;
    if spec.shape.len() == shape.len() && spec.shape.iter().zip(shape).all(fits) {
        return Ok(());
    }
    let wanted =
        spec.shape.iter().map(|&n| if n < 0 { "?".into() } else { n.to_string() }).collect::<Vec<_>>().join(", ");
    Err(Failure::new(FailureCode::WrongShape, format!("expected shape [{wanted}], got {shape:?}")))
}

fn refuse_longer(size: u64, bytes_max: u32) -> Result<(), Failure> {
    if size <= u64::from(bytes_max) {
        return Ok(());
    }
    let reason = format!("the output takes at least {size} bytes, the model's limit is {bytes_max}");
    Err(Failure::new(FailureCode::OutputTooLarge, reason))
}

/// Bytes an element takes at least when encoded.
fn least_width(kind: ElementType) -> u64 {
    if kind == ElementType::String { 4 } else { 32 }
}

fn about(side: &str, index: usize, spec: &TensorSpec, failure: Failure) -> Failure {
    Failure::new(failure.code, format!("{side} {index} ({}): {}", spec.name, failure.reason))
}

fn names(specs: &[TensorSpec]) -> String {
    specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Name of a wire type as Solidity writes it.
pub fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Wad => "Wad",
        DType::Int => "Int",
        DType::U8 => "U8",
        DType::I8 => "I8",
        DType::U16 => "U16",
        DType::I16 => "I16",
        DType::U32 => "U32",
        DType::I32 => "I32",
        DType::U64 => "U64",
        DType::I64 => "I64",
        DType::Bool => "Bool",
        DType::Text => "Text",
        DType::__Invalid => "invalid",
    }
}

#[cfg(test)]
mod tests;
