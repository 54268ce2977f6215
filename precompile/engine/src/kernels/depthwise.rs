//! Convolutions with one input channel a group: the same chains as the product over patches, without the patches.

use super::dispatch::{self, Fma, Isa, Work};
use super::gemm::BLOCK;
use super::patches::Geometry;

/// One channel of an image by one kernel, two spatial dimensions, into `out`.
pub(crate) struct Depthwise<'a> {
    pub(crate) geometry: Geometry,
    /// The channel with its zeros around it: `padded_shape` elements.
    pub(crate) padded: &'a [f32],
    pub(crate) kernel: &'a [f32],
    pub(crate) bias: Option<f32>,
    pub(crate) out: &'a mut [f32],
}

impl Geometry {
    /// Whether [`Depthwise`] computes it: one block of k, no depth, not transposed.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.channels == 1
            && self.kernel[0] == 1
            && self.input[0] == 1
            && self.pad[0] == 0
            && !self.transposed
            && self.k() <= BLOCK
    }

    /// Height and width of a channel with all zeros that the kernel reaches.
    pub(crate) fn padded_shape(&self) -> [usize; 2] {
        [1, 2].map(|a| {
            let reach = (self.output[a] - 1) * self.stride[a] + (self.kernel[a] - 1) * self.dilation[a] + 1;
            reach.max(self.input[a] + self.pad[a])
        })
    }

    /// Writes a channel with its zeros.
    pub(crate) fn pad_channel(&self, channel: &[f32], out: &mut [f32]) {
        let width = self.padded_shape()[1];
        out.fill(0.0);
        for (row, line) in channel.chunks_exact(self.input[2].max(1)).zip(out.chunks_exact_mut(width).skip(self.pad[1]))
        {
            line[self.pad[2]..self.pad[2] + row.len()].copy_from_slice(row);
        }
    }
}

impl Work for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<F: Fma>(self) {
        let g = &self.geometry;
        let width = g.padded_shape()[1];
        let [_, rows, columns] = g.kernel;
        for (y, out) in self.out.chunks_exact_mut(g.output[2]).enumerate() {
            out.fill(0.0);
            for row in 0..rows {
                let line = &self.padded[(y * g.stride[1] + row * g.dilation[1]) * width..][..width];
                for column in 0..columns {
                    let weight = self.kernel[row * columns + column];
                    let line = &line[column * g.dilation[2]..];
                    if g.stride[2] == 1 {
                        for (sum, x) in out.iter_mut().zip(line) {
                            *sum = F::fma(weight, *x, *sum);
                        }
                    } else {
                        for (sum, x) in out.iter_mut().zip(line.iter().step_by(g.stride[2])) {
                            *sum = F::fma(weight, *x, *sum);
                        }
                    }
                }
            }
            if let Some(bias) = self.bias {
                out.iter_mut().for_each(|x| *x += bias);
            }
        }
    }
}

/// Computes it with `isa`.
pub(crate) fn depthwise(isa: Isa, work: Depthwise<'_>) {
    dispatch::run(isa, work);
}
