//! Integer arithmetic by bits, and remainders: `BitShift`, `BitwiseAnd/Or/Xor/Not`, `Mod`.

use half::{bf16, f16};

use super::shape::{broadcast, broadcast_strides, for_each_run};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::narrow::to_f16;
use crate::tensor::{Data, Element, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("BitShift", 11..=LATEST, shift),
    Operator::onnx("BitwiseAnd", 18..=LATEST, and),
    Operator::onnx("BitwiseNot", 18..=LATEST, not),
    Operator::onnx("BitwiseOr", 18..=LATEST, or),
    Operator::onnx("BitwiseXor", 18..=LATEST, xor),
    Operator::onnx("Mod", 10..=LATEST, modulo),
];

/// `f` of the elements of two tensors of one type, broadcast.
pub(super) fn zip<T: Element, R: Element>(
    a: &Tensor,
    b: &Tensor,
    context: &Context,
    f: impl Fn(&T, &T) -> Result<R, Failure>,
) -> Result<Tensor, Failure> {
    zip_by(a, b, context, &f)
}

/// Dynamic, so that the loops exist once for a type and not once for an operator, too.
fn zip_by<T: Element, R: Element>(
    a: &Tensor,
    b: &Tensor,
    context: &Context,
    f: &dyn Fn(&T, &T) -> Result<R, Failure>,
) -> Result<Tensor, Failure> {
    let (left, right) = (a.values::<T>()?, b.values::<T>()?);
    let shape = broadcast(&[a.shape(), b.shape()])?;
    let mut out = context.reserve::<R>(shape.iter().product())?;
    let (by_left, by_right) = (broadcast_strides(a.shape(), &shape), broadcast_strides(b.shape(), &shape));
    let length = shape.last().copied().unwrap_or(1);
    let last = |strides: &[usize]| strides.last().copied().unwrap_or(0);
    let (step_left, step_right) = (last(&by_left), last(&by_right));
    let mut outcome = Ok(());
    for_each_run(&shape, [&by_left, &by_right], |[x, y]| {
        for i in 0..length {
            match f(&left[x + i * step_left], &right[y + i * step_right]) {
                Ok(value) => out.push(value),
                Err(failure) => {
                    outcome = Err(failure);
                    return;
                }
            }
        }
    });
    outcome?;
    Tensor::new(shape, out)
}

/// Runs `$body` for integers, with `$t` their type; fails for other tensors.
macro_rules! for_integers {
    ($x:expr, $t:ident => $body:expr) => {
        match $x.data() {
            Data::U8(_) => {
                type $t = u8;
                $body
            }
            Data::I8(_) => {
                type $t = i8;
                $body
            }
            Data::U16(_) => {
                type $t = u16;
                $body
            }
            Data::I16(_) => {
                type $t = i16;
                $body
            }
            Data::U32(_) => {
                type $t = u32;
                $body
            }
            Data::I32(_) => {
                type $t = i32;
                $body
            }
            Data::U64(_) => {
                type $t = u64;
                $body
            }
            Data::I64(_) => {
                type $t = i64;
                $body
            }
            _ => Err(failure::wrong_type(format!("expected integers, got {}", $x.element_type()))),
        }
    };
}

fn shift(node: &Node<'_>) -> Built {
    let left = match node.string("direction", "")?.as_str() {
        "LEFT" => true,
        "RIGHT" => false,
        other => return Err(node.error(format!("direction is {other:?}, expected LEFT or RIGHT"))),
    };
    kernel(move |inputs, context| {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        // By the width or more, what is left are the signs. A negative amount counts as such.
        let y = for_integers!(a, T => zip::<T, T>(a, b, context, |x, by| {
            let by = u32::try_from(i128::from(*by)).unwrap_or(u32::MAX);
            let shifted = if left { x.checked_shl(by) } else { x.checked_shr(by) };
            let negative = !left && i128::from(*x) < 0;
            Ok(shifted.unwrap_or(if negative { !0 } else { 0 }))
        }));
        Ok(vec![y?])
    })
}

fn and(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        Ok(vec![for_integers!(a, T => zip::<T, T>(a, b, context, |x, y| Ok(x & y)))?])
    })
}

fn or(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        Ok(vec![for_integers!(a, T => zip::<T, T>(a, b, context, |x, y| Ok(x | y)))?])
    })
}

fn xor(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        Ok(vec![for_integers!(a, T => zip::<T, T>(a, b, context, |x, y| Ok(x ^ y)))?])
    })
}

fn not(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let x = inputs.get(0)?;
        let y = for_integers!(x, T => {
            let mut out = context.reserve::<T>(x.len())?;
            out.extend(x.values::<T>()?.iter().map(|v| !v));
            Tensor::new(x.shape(), out)
        });
        Ok(vec![y?])
    })
}

/// The remainder with the sign of the divisor (Python's `%`), or with `fmod` that of the dividend (C's `fmod`).
fn modulo(node: &Node<'_>) -> Built {
    let fmod = node.flag("fmod", false)?;
    kernel(move |inputs, context| {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        // Remainders of doubles are exact, so narrower floats lose nothing.
        let float = |x: f64, y: f64| {
            let rest = x % y;
            if !fmod && rest != 0.0 && (rest < 0.0) != (y < 0.0) { rest + y } else { rest }
        };
        let y = match a.data() {
            Data::F32(_) => zip::<f32, f32>(a, b, context, |x, y| Ok(float(f64::from(*x), f64::from(*y)) as f32)),
            Data::F64(_) => zip::<f64, f64>(a, b, context, |x, y| Ok(float(*x, *y))),
            Data::F16(_) => zip::<f16, f16>(a, b, context, |x, y| Ok(to_f16(float(x.to_f64(), y.to_f64())))),
            Data::Bf16(_) => zip::<bf16, bf16>(a, b, context, |x, y| Ok(bf16::from_f64(float(x.to_f64(), y.to_f64())))),
            _ => for_integers!(a, T => zip::<T, T>(a, b, context, |x, y| {
                if *y == 0 {
                    return Err(failure::undefined("the remainder of a division by zero"));
                }
                let rest = x.wrapping_rem(*y);
                let opposite = rest != 0 && (i128::from(rest) < 0) != (i128::from(*y) < 0);
                Ok(if !fmod && opposite { rest.wrapping_add(*y) } else { rest })
            })),
        };
        Ok(vec![y?])
    })
}
