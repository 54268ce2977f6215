//! What is added to scores: masks, causality, windows and lengths.

use super::Attention;
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs};
use crate::ops::floats::widen;
use crate::ops::shape::broadcast_strides;
use crate::tensor::{Data, Tensor};

/// What is added to the scores before the softmax.
pub(super) struct Bias {
    mask: Option<(Vec<f32>, Vec<usize>, usize)>,
    /// For each batch: how many keys come before the first query.
    offsets: Option<Vec<i64>>,
    /// For each batch: how many keys count.
    lengths: Option<Vec<i64>>,
    causal: bool,
    window: (i64, i64),
}

impl Bias {
    pub(super) fn read(
        attention: &Attention,
        inputs: &Inputs,
        sizes: [usize; 4],
        past: usize,
        context: &Context,
    ) -> Result<Self, Failure> {
        let [batch, heads, queries, keys] = sizes;
        let mask = match inputs.optional(3) {
            None => None,
            Some(mask) => {
                let values = match mask.data() {
                    Data::Bool(v) => v.iter().map(|m| if *m { 0.0 } else { f32::NEG_INFINITY }).collect(),
                    _ => widen(mask, context)?.iter().map(|v| *v as f32).collect(),
                };
                let width = mask.shape().last().copied().unwrap_or(0);
                let wanted = [batch, heads, queries, width];
                let fits = (1..=4).contains(&mask.rank())
                    && (width <= keys || width == 1)
                    && mask.shape().iter().rev().zip(wanted.iter().rev()).all(|(m, w)| *m == 1 || m == w);
                if !fits {
                    return Err(failure::wrong_shape(format!("a mask of the shape {:?} for {sizes:?}", mask.shape())));
                }
                Some((values, broadcast_strides(mask.shape(), &wanted), width))
            }
        };
        let lengths = inputs.optional(6).map(Tensor::to_i64s).transpose()?;
        if lengths.as_ref().is_some_and(|l| l.len() != batch) {
            return Err(failure::wrong_shape(format!("expected {batch} lengths, one a batch")));
        }
        let offsets = match &lengths {
            Some(lengths) if inputs.optional(4).is_none() => {
                Some(lengths.iter().map(|l| l.saturating_sub(queries as i64)).collect())
            }
            _ => Some(vec![past as i64; batch]),
        };
        Ok(Self { mask, offsets, lengths, causal: attention.causal, window: attention.window })
    }

    /// Adds to the scores of a query; whether all of its keys are hidden.
    pub(super) fn add(&self, (b, h, i): (usize, usize, usize), row: &mut [f32]) -> bool {
        let plain = self.window == (-1, -1) && self.lengths.is_none();
        if let (true, false, Some((values, strides, width))) = (plain, self.causal, &self.mask)
            && (strides[3], *width) == (1, row.len())
        {
            let from = b * strides[0] + h * strides[1] + i * strides[2];
            let mut all = true;
            for (x, bias) in row.iter_mut().zip(&values[from..from + width]) {
                all &= *bias == f32::NEG_INFINITY;
                *x += bias;
            }
            return all;
        }
        let mut all = true;
        for (j, x) in row.iter_mut().enumerate() {
            let bias = self.at(b, h, i, j);
            all &= bias == f32::NEG_INFINITY;
            *x += bias;
        }
        all
    }

    fn at(&self, b: usize, h: usize, i: usize, j: usize) -> f32 {
        let mut bias = match &self.mask {
            None => 0.0,
            Some((_, _, width)) if j >= *width => f32::NEG_INFINITY,
            Some((values, strides, _)) => values[b * strides[0] + h * strides[1] + i * strides[2] + j * strides[3]],
        };
        let ahead = j as i64 - (i as i64).saturating_add(self.offsets.as_ref().map_or(0, |o| o[b]));
        let hidden = (self.causal && ahead > 0)
            || (self.window.0 >= 0 && -ahead > self.window.0)
            || (self.window.1 >= 0 && ahead > self.window.1)
            || self.lengths.as_ref().is_some_and(|l| j as i64 >= l[b]);
        if hidden {
            bias += f32::NEG_INFINITY;
        }
        bias
    }
}
