//! `Cast` and `CastLike`: between all element types.

use super::number::{Number, numeric};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::tensor::{ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] =
    &[Operator::onnx("Cast", 1..=LATEST, cast_node), Operator::onnx("CastLike", 15..=LATEST, cast_like)];

fn cast_node(node: &Node<'_>) -> Built {
    // Before opset 6, `to` was the name of the type.
    let kind = if node.opset() < 6 {
        let name = node.string("to", "")?.to_lowercase();
        (0..17).filter_map(ElementType::from_onnx).find(|kind| kind.name() == name)
    } else {
        ElementType::from_onnx(node.int("to", 0)? as i32)
    };
    let kind = kind.ok_or_else(|| node.error("the type to cast to is not supported; use a type up to 64 bits"))?;
    kernel(move |inputs, context| Ok(vec![cast(inputs.get(0)?, kind, context)?]))
}

fn cast_like(_: &Node<'_>) -> Built {
    kernel(|inputs, context| Ok(vec![cast(inputs.get(0)?, inputs.get(1)?.element_type(), context)?]))
}

/// `tensor` with elements of type `to`. Floats become integers truncated and saturated, NaN 0; integers wrap.
pub(crate) fn cast(tensor: &Tensor, to: ElementType, context: &Context) -> Result<Tensor, Failure> {
    let from = tensor.element_type();
    if from == to {
        return Ok(tensor.clone());
    }
    let shape = tensor.shape().to_vec();
    match (from, to) {
        (ElementType::String, ElementType::Bool) => Err(failure::wrong_type("strings cannot be cast to bool")),
        (ElementType::Bool, ElementType::String) => {
            text(tensor, context, |b: bool| if b { "True" } else { "False" }.to_owned())
        }
        (ElementType::String, _) => numeric!(to, T => parse::<T>(tensor, context), else unreachable!("handled above")),
        (_, ElementType::String) => {
            numeric!(from, T => text(tensor, context, |x: T| format_number(x)), else unreachable!("handled above"))
        }
        (ElementType::Bool, _) => numeric!(to, T => {
            let mut out = context.reserve::<T>(tensor.len())?;
            out.extend(tensor.values::<bool>()?.iter().map(|b| if *b { T::ONE } else { T::ZERO }));
            Tensor::new(shape, out)
        }, else unreachable!("equal types were returned")),
        (_, ElementType::Bool) => numeric!(from, T => {
            let mut out = context.reserve::<bool>(tensor.len())?;
            out.extend(tensor.values::<T>()?.iter().map(|x| *x != T::ZERO));
            Tensor::new(shape, out)
        }, else unreachable!("handled above")),
        _ => numeric!(from, T => numbers::<T>(tensor, to, context), else unreachable!("handled above")),
    }
}

fn numbers<T: Number>(tensor: &Tensor, to: ElementType, context: &Context) -> Result<Tensor, Failure> {
    let values = tensor.values::<T>()?;
    numeric!(to, U => {
        let mut out = context.reserve::<U>(values.len())?;
        out.extend(values.iter().map(|x| x.cast::<U>()));
        Tensor::new(tensor.shape(), out)
    }, else unreachable!("handled by the caller"))
}

fn format_number<T: Number>(x: T) -> String {
    if T::INTEGER {
        return if T::TYPE == ElementType::U64 { (x.to_i64() as u64).to_string() } else { x.to_i64().to_string() };
    }
    if T::TYPE == ElementType::F64 { x.to_f64().to_string() } else { (x.to_f64() as f32).to_string() }
}

fn text<T: crate::tensor::Element + Copy>(
    tensor: &Tensor,
    context: &Context,
    f: impl Fn(T) -> String,
) -> Result<Tensor, Failure> {
    let mut out = context.reserve::<String>(tensor.len())?;
    out.extend(tensor.values::<T>()?.iter().map(|x| f(*x)));
    Tensor::new(tensor.shape(), out)
}

fn parse<T: Number>(tensor: &Tensor, context: &Context) -> Result<Tensor, Failure> {
    let mut out = context.reserve::<T>(tensor.len())?;
    for text in tensor.values::<String>()? {
        let trimmed = text.trim();
        let whole = trimmed.parse::<i64>().ok().filter(|_| T::INTEGER).map(T::from_i64);
        let number = whole.or_else(|| trimmed.parse::<f64>().ok().map(T::from_f64));
        out.push(number.ok_or_else(|| failure::out_of_range(format!("{text:?} is no number")))?);
    }
    Tensor::new(tensor.shape(), out)
}
