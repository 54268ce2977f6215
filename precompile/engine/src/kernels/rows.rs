//! Rows normalised each by itself: softmax and layer normalisation.

use super::dispatch::{self, Fma, Isa, Work};
use super::math::{Exp, Log, Scalar};
use super::sum::{max16, sum_by, sum16};

/// Something done to rows of equal length, in place.
pub(crate) trait RowWise: Copy + Send + Sync {
    /// Does it to one row.
    fn row<F: Fma>(self, row: &mut [f32]);
}

/// Applies `function` to each row of `width`.
pub(crate) fn each_row<R: RowWise>(isa: Isa, values: &mut [f32], width: usize, function: R) {
    struct Rows<'a, R>(&'a mut [f32], usize, R);
    impl<R: RowWise> Work for Rows<'_, R> {
        type Output = ();
        #[inline(always)]
        fn run<F: Fma>(self) {
            for row in self.0.chunks_exact_mut(self.1.max(1)) {
                self.2.row::<F>(row);
            }
        }
    }
    super::parallel_rows(values, width, 64, |part| dispatch::run(isa, Rows(part, width, function)));
}

/// `e^(x - max) / sum`.
#[derive(Clone, Copy)]
pub(crate) struct Softmax;

impl RowWise for Softmax {
    #[inline(always)]
    fn row<F: Fma>(self, row: &mut [f32]) {
        let max = max16(row);
        row.iter_mut().for_each(|x| *x = Exp.apply::<F>(*x - max));
        let sum = sum16(row);
        row.iter_mut().for_each(|x| *x /= sum);
    }
}

/// `(x - max) - log(sum e^(x - max))`.
#[derive(Clone, Copy)]
pub(crate) struct LogSoftmax;

impl RowWise for LogSoftmax {
    #[inline(always)]
    fn row<F: Fma>(self, row: &mut [f32]) {
        let max = max16(row);
        let sum = sum_by(row, |x| Exp.apply::<F>(x - max));
        let log = Log.apply::<F>(sum);
        row.iter_mut().for_each(|x| *x = (*x - max) - log);
    }
}

/// `fma((x - mean) * (1 / sqrt(variance + epsilon)), scale, bias)`; mean and variance by fixed-order sums.
#[derive(Clone, Copy)]
pub(crate) struct LayerNorm<'a> {
    pub(crate) epsilon: f32,
    pub(crate) scale: &'a [f32],
    pub(crate) bias: Option<&'a [f32]>,
    /// Whether the mean is taken off first; without, it is the root-mean-square norm.
    pub(crate) centred: bool,
}

/// Mean (0 unless `centred`) and `1 / sqrt(variance + epsilon)` of a row.
#[inline(always)]
pub(crate) fn moments(row: &[f32], epsilon: f32, centred: bool) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = if centred { sum16(row) / count } else { 0.0 };
    let variance = sum_by(row, |x| (x - mean) * (x - mean)) / count;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

impl RowWise for LayerNorm<'_> {
    #[inline(always)]
    fn row<F: Fma>(self, row: &mut [f32]) {
        let (mean, inverse) = moments(row, self.epsilon, self.centred);
        match self.bias {
            Some(bias) => {
                for ((x, scale), bias) in row.iter_mut().zip(self.scale).zip(bias) {
                    *x = F::fma((*x - mean) * inverse, *scale, *bias);
                }
            }
            None => row.iter_mut().zip(self.scale).for_each(|(x, scale)| *x = (*x - mean) * inverse * scale),
        }
    }
}
