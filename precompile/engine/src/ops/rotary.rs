//! `RotaryEmbedding`: pairs of features turned by angles that depend on the position, by tables of the model.

use super::floats::{narrow, same_type, widen, widen_part};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::onnx::LoadError;
use crate::tensor::{ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[Operator::onnx("RotaryEmbedding", 23..=LATEST, rotary)];

fn rotary(node: &Node<'_>) -> Built {
    let interleaved = node.flag("interleaved", false)?;
    let size = |name: &str| -> Result<usize, LoadError> {
        let size = node.int(name, 0)?;
        usize::try_from(size).map_err(|_| node.error(format!("{name} is {size}")))
    };
    let rotary = Rotary { interleaved, rotated: size("rotary_embedding_dim")?, heads: size("num_heads")? };
    kernel(move |inputs, context| {
        let positions = inputs.optional(3).map(Tensor::to_i64s).transpose()?;
        let tables = [inputs.get(1)?, inputs.get(2)?];
        Ok(vec![rotary.turn(inputs.get(0)?, tables, positions.as_deref(), context)?])
    })
}

/// How features are turned.
#[derive(Clone, Copy)]
pub(super) struct Rotary {
    /// Pairs are neighbours; otherwise the first half of a head is paired with the second.
    pub(super) interleaved: bool,
    /// Features of a head that turn; 0 for all.
    pub(super) rotated: usize,
    /// Heads of a tensor that does not have them as an axis.
    pub(super) heads: usize,
}

impl Rotary {
    /// Turns `x`, [batch, heads, length, width] or [batch, length, features], by the tables' angles at these positions, one
    /// for each token; without positions each token has a row of its own.
    pub(super) fn turn(
        &self,
        x: &Tensor,
        [cos, sin]: [&Tensor; 2],
        positions: Option<&[i64]>,
        context: &Context,
    ) -> Result<Tensor, Failure> {
        let heads = self.heads;
        same_type(x, cos)?;
        same_type(x, sin)?;
        // Where element (batch, step, head, 0) lies.
        let (batch, length, heads, width, of_heads_first) = match *x.shape() {
            [b, h, s, d] => (b, s, h, d, true),
            [b, s, hidden] if heads > 0 && hidden.is_multiple_of(heads) => (b, s, heads, hidden / heads, false),
            _ => return Err(failure::wrong_shape(format!("the shape {:?} does not split into heads", x.shape()))),
        };
        let rotated = if self.rotated == 0 { width } else { self.rotated };
        let half = rotated / 2;
        if rotated > width
            || !rotated.is_multiple_of(2)
            || cos.shape() != sin.shape()
            || cos.shape().last() != Some(&half)
        {
            return Err(failure::wrong_shape(format!(
                "tables of the shape {:?} for {rotated} of {width}",
                cos.shape()
            )));
        }
        let rows = cos.len().checked_div(half).unwrap_or(0);
        let row = |token: usize| -> Result<usize, Failure> {
            let row = match positions {
                Some(positions) => usize::try_from(*positions.get(token).unwrap_or(&-1)).unwrap_or(usize::MAX),
                None => token,
            };
            if row < rows || half == 0 {
                Ok(row)
            } else {
                Err(failure::out_of_range(format!("position {token} is outside of the tables")))
            }
        };
        let mut values = widen(x, context)?;
        let f32s = x.element_type() != ElementType::F64;
        // Two products and a sum, each rounded to f32 unless the tensors are of doubles.
        let round = |v: f64| if f32s { f64::from(v as f32) } else { v };
        for token in 0..batch * length {
            let angles = row(token)? * half;
            let angles = angles..angles + half;
            let (cos, sin) = (widen_part(cos, angles.clone(), context)?, widen_part(sin, angles, context)?);
            for h in 0..heads {
                let from = match of_heads_first {
                    true => ((token / length * heads + h) * length + token % length) * width,
                    false => (token * heads + h) * width,
                };
                for i in 0..half {
                    let (a, b) = match self.interleaved {
                        true => (from + 2 * i, from + 2 * i + 1),
                        false => (from + i, from + half + i),
                    };
                    let (c, s) = (cos[i], sin[i]);
                    let (x, y) = (values[a], values[b]);
                    values[a] = round(c * x) - round(s * y);
                    values[b] = round(s * x) + round(c * y);
                }
            }
        }
        narrow(x.element_type(), x.shape(), values, context)
    }
}
