//! Queries, keys and values as heads: split from what a graph holds, joined with what a cache held, and made tensors again.

use std::borrow::Cow;

use super::Round;
use crate::failure::{self, Failure};
use crate::graph::Context;
use crate::kernels::gemm::{Pack, Strided};
use crate::ops::floats::{narrow, widen};
use crate::ops::shape::count;
use crate::tensor::{Data, ElementType, Tensor};

/// The elements of a float tensor, as they are where that is what it holds.
fn floats<'a>(x: &'a Tensor, context: &Context) -> Result<Cow<'a, [f32]>, Failure> {
    if let Data::F32(values) = x.data() {
        return Ok(Cow::Borrowed(values));
    }
    let wide = widen(x, context)?;
    let mut values = context.reserve::<f32>(wide.len())?;
    values.extend(wide.iter().map(|v| *v as f32));
    Ok(Cow::Owned(values))
}

/// A tensor as [batch, heads, length, width].
pub(super) struct Heads<'a> {
    pub(super) values: Cow<'a, [f32]>,
    pub(super) shape: [usize; 4],
}

impl<'a> Heads<'a> {
    pub(super) fn read(x: &'a Tensor, heads: Option<usize>, context: &Context) -> Result<Self, Failure> {
        let narrow = floats(x, context)?;
        match heads {
            _ if x.rank() == 4 => {
                let s = x.shape();
                Ok(Self { values: narrow, shape: [s[0], s[1], s[2], s[3]] })
            }
            Some(heads) if x.rank() == 3 && x.shape()[2].is_multiple_of(heads) => {
                let (batch, length, width) = (x.shape()[0], x.shape()[1], x.shape()[2] / heads);
                let mut values = context.reserve::<f32>(x.len())?;
                for row in 0..batch * heads {
                    for step in 0..length {
                        let from = ((row / heads * length + step) * heads + row % heads) * width;
                        values.extend_from_slice(&narrow[from..from + width]);
                    }
                }
                Ok(Self { values: values.into(), shape: [batch, heads, length, width] })
            }
            _ => Err(failure::wrong_shape(format!("the shape {:?} does not split into heads", x.shape()))),
        }
    }

    /// With what came before it along the length.
    pub(super) fn after(self, past: Option<&Tensor>, context: &Context) -> Result<Self, Failure> {
        let Some(past) = past else { return Ok(self) };
        let [batch, heads, length, width] = self.shape;
        let before = Heads::read(past, None, context)?;
        let [b, h, earlier, w] = before.shape;
        if [b, h, w] != [batch, heads, width] {
            return Err(failure::wrong_shape(format!(
                "a cache of the shape {:?} before {:?}",
                before.shape, self.shape
            )));
        }
        let shape = [batch, heads, earlier + length, width];
        let mut values = context.reserve::<f32>(count(&shape)?)?;
        for row in 0..batch * heads {
            values.extend_from_slice(&before.values[row * earlier * width..(row + 1) * earlier * width]);
            values.extend_from_slice(&self.values[row * length * width..(row + 1) * length * width]);
        }
        Ok(Self { values: values.into(), shape })
    }

    pub(super) fn head(&self, index: usize) -> &[f32] {
        let size = self.shape[2] * self.shape[3];
        &self.values[index * size..(index + 1) * size]
    }

    pub(super) fn tensor(self, kind: ElementType, context: &Context) -> Result<Tensor, Failure> {
        to_tensor(kind, &self.shape, self.values.into_owned(), context)
    }
}

/// Lines of a matrix whose elements are multiplied by a factor, and rounded where there is something to round to.
pub(super) struct Scaled<'a> {
    pub(super) of: Strided<'a>,
    pub(super) factor: f32,
    pub(super) round: Option<Round>,
}

impl Pack for Scaled<'_> {
    fn pack(&self, line0: usize, lines: usize, width: usize, k0: usize, out: &mut [f32]) {
        self.of.pack(line0, lines, width, k0, out);
        let factor = self.factor;
        match self.round {
            Some(round) => out.iter_mut().for_each(|x| *x = round(*x * factor)),
            None => out.iter_mut().for_each(|x| *x *= factor),
        }
    }
}

pub(super) fn to_tensor(
    kind: ElementType,
    shape: &[usize],
    values: Vec<f32>,
    context: &Context,
) -> Result<Tensor, Failure> {
    if kind == ElementType::F32 {
        return Tensor::new(shape, values);
    }
    let mut wide = context.reserve::<f64>(values.len())?;
    wide.extend(values.iter().map(|v| f64::from(*v)));
    narrow(kind, shape, wide, context)
}
