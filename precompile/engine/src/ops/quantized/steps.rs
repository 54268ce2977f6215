//! What else graphs of integers do to `int8`, where several of their steps are one.

use crate::failure::Failure;
use crate::graph::{Context, Inputs};
use crate::kernels::requantise::{Other, Rounding, Term, add, look_up};
use crate::ops::Kernel;
use crate::ops::layout::expand;
use crate::ops::shape::broadcast;
use crate::tensor::Tensor;

/// Two tensors of `int8`, each by its scale, as their sum.
pub(crate) fn added(terms: [Term; 2], rounding: Rounding) -> Kernel {
    Box::new(move |inputs: &mut Inputs, context: &Context| -> Result<Vec<Tensor>, Failure> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let shape = broadcast(&[a.shape(), b.shape()])?;
        let (a, b) = (expand(a, &shape, context)?, expand(b, &shape, context)?);
        let mut out = context.zeros::<i8>(a.len())?;
        add(context.isa(), a.values()?, terms[0], Other::Term(b.values()?, terms[1]), rounding, &mut out);
        Ok(vec![Tensor::new(shape, out)?])
    })
}

/// A tensor of `int8` by its scale, and constants of `int64` that broadcast.
pub(crate) fn moved(term: Term, addend: Tensor, rounding: Rounding) -> Kernel {
    Box::new(move |inputs: &mut Inputs, context: &Context| -> Result<Vec<Tensor>, Failure> {
        let x = inputs.get(0)?;
        let shape = broadcast(&[x.shape(), addend.shape()])?;
        let x = expand(x, &shape, context)?;
        let ones = addend.shape().iter().take_while(|length| **length == 1).count();
        let addend =
            if shape.ends_with(&addend.shape()[ones..]) { addend.clone() } else { expand(&addend, &shape, context)? };
        let mut out = context.zeros::<i8>(x.len())?;
        if !out.is_empty() {
            add(context.isa(), x.values()?, term, Other::Constants(addend.values()?), rounding, &mut out);
        }
        Ok(vec![Tensor::new(shape, out)?])
    })
}

/// The entry of each element of `int8`, from -128 on.
pub(crate) fn looked_up(table: Box<[i8; 256]>) -> Kernel {
    Box::new(move |inputs: &mut Inputs, context: &Context| -> Result<Vec<Tensor>, Failure> {
        let x = inputs.take(0)?;
        context.claim::<i8>(x.len())?;
        let shape = x.shape().to_vec();
        let mut values = x.into_values::<i8>()?;
        look_up(&table, &mut values);
        Ok(vec![Tensor::new(shape, values)?])
    })
}
