//! Convolutions as matrix products over patches: weights on the left, the patches of one image and group on the right.

use super::gemm::Pack;

/// Spatial dimensions at most: shorter ones are 1.
pub(crate) const AXES: usize = 3;

/// Shapes of a convolution; the spatial ones are depth, height, width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Input channels of a group.
    pub(crate) channels: usize,
    pub(crate) input: [usize; AXES],
    pub(crate) output: [usize; AXES],
    pub(crate) kernel: [usize; AXES],
    pub(crate) stride: [usize; AXES],
    pub(crate) dilation: [usize; AXES],
    /// Zeros before the first element.
    pub(crate) pad: [usize; AXES],
    /// Whether the stride spreads the input (transposed convolution) instead of skipping in it.
    pub(crate) transposed: bool,
}

impl Geometry {
    /// Length of a patch: channels by kernel.
    pub(crate) fn k(&self) -> usize {
        self.channels * self.kernel.iter().product::<usize>()
    }

    /// Whether patches are the image itself.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1; AXES] && self.stride == [1; AXES] && self.pad == [0; AXES] && self.input == self.output
    }

    /// Where in the input the kernel's element `k` of the output's element `o` is, along one axis.
    fn source(&self, axis: usize, o: usize, k: usize) -> Option<usize> {
        let (pad, stride, offset) = (self.pad[axis], self.stride[axis], k * self.dilation[axis]);
        if self.transposed {
            let spread = (o + pad).checked_sub(offset)?;
            return (spread % stride == 0 && spread / stride < self.input[axis]).then_some(spread / stride);
        }
        (o * stride + offset).checked_sub(pad).filter(|i| *i < self.input[axis])
    }
}

/// The patches of one image's group of channels. Lines are output elements, k runs over channels, then the kernel.
pub(crate) struct Patches<'a> {
    pub(crate) image: &'a [f32],
    pub(crate) geometry: Geometry,
}

/// Neighbouring output elements of one row.
struct Run {
    depth: usize,
    height: usize,
    width: usize,
    /// Place in the panel.
    start: usize,
    length: usize,
}

impl Patches<'_> {
    fn runs(&self, line0: usize, lines: usize) -> Vec<Run> {
        let [_, rows, row] = self.geometry.output;
        let mut runs = Vec::with_capacity(4);
        let mut start = 0;
        while start < lines {
            let line = line0 + start;
            let width = line % row;
            let length = (row - width).min(lines - start);
            runs.push(Run { depth: line / row / rows, height: line / row % rows, width, start, length });
            start += length;
        }
        runs
    }

    /// Writes the elements of `run` at one place of the kernel; `image` is one channel.
    fn copy(&self, image: &[f32], run: &Run, at: [usize; AXES], out: &mut [f32]) {
        let g = &self.geometry;
        let (Some(z), Some(y)) = (g.source(0, run.depth, at[0]), g.source(1, run.height, at[1])) else {
            return out.fill(0.0);
        };
        let start = (z * g.input[1] + y) * g.input[2];
        let row = &image[start..start + g.input[2]];
        if g.transposed || g.stride[2] != 1 {
            for (i, x) in out.iter_mut().enumerate() {
                *x = g.source(2, run.width + i, at[2]).map_or(0.0, |i| row[i]);
            }
            return;
        }
        // Input elements from - pad on: those before the row and behind it are zero.
        let from = run.width + at[2] * g.dilation[2];
        let before = g.pad[2].saturating_sub(from).min(out.len());
        let first = (from + before).saturating_sub(g.pad[2]).min(row.len());
        let count = (row.len() - first).min(out.len() - before);
        out[..before].fill(0.0);
        out[before..before + count].copy_from_slice(&row[first..first + count]);
        out[before + count..].fill(0.0);
    }
}

impl Pack for Patches<'_> {
    fn pack(&self, line0: usize, lines: usize, width: usize, k0: usize, out: &mut [f32]) {
        let g = &self.geometry;
        let plane: usize = g.input.iter().product();
        let runs = self.runs(line0, lines);
        let [_, rows, columns] = g.kernel;
        let size: usize = g.kernel.iter().product();
        for (k, row) in out.chunks_exact_mut(width).enumerate() {
            let (channel, place) = ((k0 + k) / size, (k0 + k) % size);
            let at = [place / columns / rows, place / columns % rows, place % columns];
            let image = &self.image[channel * plane..(channel + 1) * plane];
            for run in &runs {
                self.copy(image, run, at, &mut row[run.start..run.start + run.length]);
            }
            row[lines..].fill(0.0);
        }
    }
}
