//! Float tensors of any width as doubles, for operators that are too rare to be written for `f32` alone: they compute in
//! doubles by basic operations and `kernels::math64`, and round once.

use std::ops::Range;

use half::bf16;

use crate::failure::{self, Failure};
use crate::graph::Context;
use crate::narrow::to_f16;
use crate::tensor::{Data, Element, ElementType, Tensor};

/// The elements of a float tensor.
pub(super) fn widen(x: &Tensor, context: &Context) -> Result<Vec<f64>, Failure> {
    widen_part(x, 0..x.len(), context)
}

/// Some elements of a float tensor, which must have them.
pub(super) fn widen_part(x: &Tensor, part: Range<usize>, context: &Context) -> Result<Vec<f64>, Failure> {
    let mut out = context.reserve::<f64>(part.len())?;
    match x.data() {
        Data::F32(v) => out.extend(v[part].iter().map(|x| f64::from(*x))),
        Data::F64(v) => out.extend_from_slice(&v[part]),
        Data::F16(v) => out.extend(v[part].iter().map(|x| x.to_f64())),
        Data::Bf16(v) => out.extend(v[part].iter().map(|x| x.to_f64())),
        _ => return Err(failure::wrong_type(format!("expected floats, got {}", x.element_type()))),
    }
    Ok(out)
}

/// The elements of a tensor of floats or integers; integers beyond 2^53 are rounded.
pub(super) fn widen_numbers(x: &Tensor, context: &Context) -> Result<Vec<f64>, Failure> {
    let mut out = context.reserve::<f64>(x.len())?;
    match x.data() {
        Data::U8(v) => out.extend(v.iter().map(|x| f64::from(*x))),
        Data::I8(v) => out.extend(v.iter().map(|x| f64::from(*x))),
        Data::U16(v) => out.extend(v.iter().map(|x| f64::from(*x))),
        Data::I16(v) => out.extend(v.iter().map(|x| f64::from(*x))),
        Data::I32(v) => out.extend(v.iter().map(|x| f64::from(*x))),
        Data::U32(v) => out.extend(v.iter().map(|x| f64::from(*x))),
        Data::I64(v) => out.extend(v.iter().map(|x| *x as f64)),
        Data::U64(v) => out.extend(v.iter().map(|x| *x as f64)),
        _ => return widen(x, context),
    }
    Ok(out)
}

/// A float tensor of type `kind`: every value rounded once.
pub(super) fn narrow(
    kind: ElementType,
    shape: &[usize],
    values: Vec<f64>,
    context: &Context,
) -> Result<Tensor, Failure> {
    fn of<T: Element>(shape: &[usize], v: &[f64], round: fn(f64) -> T, context: &Context) -> Result<Tensor, Failure> {
        let mut out = context.reserve::<T>(v.len())?;
        out.extend(v.iter().map(|x| round(*x)));
        Tensor::new(shape, out)
    }
    match kind {
        ElementType::F64 => Tensor::new(shape, values),
        ElementType::F32 => of(shape, &values, |x| x as f32, context),
        ElementType::F16 => of(shape, &values, to_f16, context),
        ElementType::Bf16 => of(shape, &values, bf16::from_f64, context),
        _ => Err(failure::wrong_type(format!("expected floats, got {kind}"))),
    }
}

/// A float tensor with `f` applied to each element.
pub(super) fn map(x: &Tensor, context: &Context, f: impl Fn(f64) -> f64) -> Result<Tensor, Failure> {
    let mut values = widen(x, context)?;
    values.iter_mut().for_each(|v| *v = f(*v));
    narrow(x.element_type(), x.shape(), values, context)
}

/// Fails unless the tensors are of one type.
pub(super) fn same_type(a: &Tensor, b: &Tensor) -> Result<(), Failure> {
    let (left, right) = (a.element_type(), b.element_type());
    if left == right {
        return Ok(());
    }
    Err(failure::wrong_type(format!("expected inputs of one type, got {left} and {right}")))
}
