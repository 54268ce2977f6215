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
    /// The same convolution with its rows along the last axis: an axis of length 1 behind the others, as convolutions
    /// over sequences have it, would make every row of one element. Neither outputs nor chains change their order.
    pub(crate) fn by_rows(mut self) -> Self {
        for _ in 1..AXES {
            let last = AXES - 1;
            if self.input[last] == 1 && self.output[last] == 1 && self.kernel[last] == 1 && self.pad[last] == 0 {
                for list in [&mut self.input, &mut self.output, &mut self.kernel, &mut self.pad] {
                    list.rotate_right(1);
                }
                self.stride.rotate_right(1);
                self.dilation.rotate_right(1);
            }
        }
        self
    }

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

    /// The input row that `run` reads at one row of the kernel; `image` is one channel.
    #[inline(always)]
    fn input_row<'b>(&self, image: &'b [f32], run: &Run, depth: usize, height: usize) -> Option<&'b [f32]> {
        let g = &self.geometry;
        let start = (g.source(0, run.depth, depth)? * g.input[1] + g.source(1, run.height, height)?) * g.input[2];
        Some(&image[start..start + g.input[2]])
    }

    /// Writes the elements of `run` at column `column` of the kernel.
    #[inline(always)]
    fn copy(&self, row: Option<&[f32]>, run: &Run, column: usize, out: &mut [f32]) {
        let g = &self.geometry;
        let Some(row) = row else { return out.fill(0.0) };
        if g.transposed {
            for (i, x) in out.iter_mut().enumerate() {
                *x = g.source(2, run.width + i, column).map_or(0.0, |i| row[i]);
            }
            return;
        }
        // Places from the first zero before the row on; those before the row and behind it are zero.
        let (step, pad) = (g.stride[2], g.pad[2]);
        let from = run.width * step + column * g.dilation[2];
        let full = from >= pad && from - pad + (out.len() - 1) * step < row.len();
        if full {
            let places = &row[from - pad..];
            match (step, out.first_chunk_mut::<16>(), places.first_chunk::<16>()) {
                // Whole panels, as nearly all are, without a call.
                (1, Some(out), Some(places)) => *out = *places,
                (1, _, _) => out.iter_mut().zip(places).for_each(|(x, v)| *x = *v),
                _ => out.iter_mut().zip(places.iter().step_by(step)).for_each(|(x, v)| *x = *v),
            }
            return;
        }
        for (i, x) in out.iter_mut().enumerate() {
            *x = (from + i * step).checked_sub(pad).and_then(|i| row.get(i)).copied().unwrap_or(0.0);
        }
    }
}

impl Pack for Patches<'_> {
    fn pack(&self, line0: usize, lines: usize, width: usize, k0: usize, out: &mut [f32]) {
        let g = &self.geometry;
        let plane: usize = g.input.iter().product();
        let runs = self.runs(line0, lines);
        let [_, rows, columns] = g.kernel;
        let size: usize = g.kernel.iter().product();
        let (mut channel, place) = (k0 / size, k0 % size);
        let [mut depth, mut height, mut column] = [place / columns / rows, place / columns % rows, place % columns];
        let mut panel = out.chunks_exact_mut(width);
        let mut lines_of: Vec<&mut [f32]> = Vec::with_capacity(columns);
        // All columns of one row of the kernel at a time: they read the same input rows.
        loop {
            lines_of.clear();
            lines_of.extend(panel.by_ref().take(columns - column));
            if lines_of.is_empty() {
                return;
            }
            let image = &self.image[channel * plane..(channel + 1) * plane];
            for run in &runs {
                let row = self.input_row(image, run, depth, height);
                for (i, line) in lines_of.iter_mut().enumerate() {
                    self.copy(row, run, column + i, &mut line[run.start..run.start + run.length]);
                }
            }
            lines_of.iter_mut().for_each(|line| line[lines..].fill(0.0));
            (column, height) = (0, height + 1);
            if height == rows {
                (height, depth) = (0, depth + 1);
            }
            if depth == g.kernel[0] {
                (depth, channel) = (0, channel + 1);
            }
        }
    }
}
