//! Images of 8-bit integers, with their zero point around them (or 0, if it is taken off) and channels as the fastest axis:
//! what a window covers of a row is then one run of neighbours, and no patches have to be copied.

use super::bytes::{PANEL, Run, STEPS_MAX};
use super::dispatch::{self, Fma, Isa, Work};
use super::integers::{Finish, Lines, Totals};
use super::parallel_parts;
use super::patches::{AXES, Geometry};

/// What lies side by side of all that a window covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// A row of the window, where it takes all channels and skips nothing.
    Rows,
    /// The channels of a group.
    Pixels,
    /// One channel: for [`taps`], a pixel has so many that whole vectors fit.
    Taps,
}

impl Pieces {
    /// Lengths of the pieces of a window over `channels` of a group, in order of depth, height, width, channel.
    pub(crate) fn lengths(self, kernel: [usize; AXES], channels: usize) -> Vec<usize> {
        match self {
            Self::Rows => vec![kernel[2] * channels; kernel[0] * kernel[1]],
            Self::Pixels | Self::Taps => vec![channels; kernel.iter().product()],
        }
    }
}

/// How images lie in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    geometry: Geometry,
    images: usize,
    groups: usize,
    pieces: Pieces,
    /// Depth, height and width with all that windows reach.
    padded: [usize; AXES],
    /// Elements of a pixel.
    pixel: usize,
}

impl Layout {
    /// For `images` images of `groups` groups of channels.
    pub(crate) fn new(geometry: Geometry, images: usize, groups: usize, pieces: Pieces) -> Self {
        let padded = std::array::from_fn(|a| {
            let Geometry { input, output, kernel, stride, dilation, pad, .. } = geometry;
            let reach = output[a].saturating_sub(1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1;
            reach.max(input[a] + pad[a])
        });
        let channels = groups * geometry.channels;
        let pixel = if pieces == Pieces::Taps { channels.next_multiple_of(PANEL) } else { channels };
        Self { geometry, images, groups, pieces, padded, pixel }
    }

    /// Elements of all images; `None` where they are too many to count. A few more are read, but not used.
    pub(crate) fn len(&self) -> Option<usize> {
        let sizes = [self.images, self.pixel].into_iter().chain(self.padded);
        sizes.into_iter().try_fold(1usize, usize::checked_mul)?.checked_add(STEPS_MAX - 1)
    }

    /// Writes the images, whose channels are the slowest axis, into `out`, which holds what is around them.
    pub(crate) fn fill<T: Copy + Sync, U: Send>(&self, images: &[T], element: impl Fn(T) -> U + Sync, out: &mut [U]) {
        let Geometry { input, pad, .. } = self.geometry;
        let channels = self.groups * self.geometry.channels;
        let [depth, height, width] = self.padded;
        let plane: usize = input.iter().product();
        let line = width * self.pixel;
        let all = self.images * depth * height * line;
        if all == 0 {
            return;
        }
        parallel_parts(&mut out[..all], line, 8, |first, lines| {
            for (row, line) in lines.chunks_exact_mut(line).enumerate().map(|(i, line)| (first + i, line)) {
                let (image, z, y) = (row / height / depth, row / height % depth, row % height);
                let (Some(z), Some(y)) = (z.checked_sub(pad[0]), y.checked_sub(pad[1])) else { continue };
                if z >= input[0] || y >= input[1] {
                    continue;
                }
                for channel in 0..channels {
                    let start = (image * channels + channel) * plane + (z * input[1] + y) * input[2];
                    let own = line[pad[2] * self.pixel + channel..].iter_mut().step_by(self.pixel);
                    own.zip(&images[start..start + input[2]]).for_each(|(out, x)| *out = element(*x));
                }
            }
        });
    }

    /// The windows as rows of a product: one for each output element.
    pub(crate) fn lines<'a, T>(&self, values: &'a [T], zeros: &'a [i32]) -> Lines<'a, T> {
        let (Geometry { output, stride, .. }, [_, height, width]) = (self.geometry, self.padded);
        let (line, pixel) = (width * self.pixel, self.pixel);
        Lines {
            values,
            counts: [self.images, output[0], output[1], output[2]],
            strides: [
                self.padded.iter().product::<usize>() * pixel,
                stride[0] * height * line,
                stride[1] * line,
                stride[2] * pixel,
            ],
            zeros,
        }
    }

    /// The pieces of a window.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let Geometry { kernel, dilation, channels, .. } = self.geometry;
        let [_, height, width] = self.padded;
        let steps = if self.pieces == Pieces::Rows { 1 } else { kernel[2] };
        let mut lengths = self.pieces.lengths(kernel, channels).into_iter();
        let mut runs = Vec::with_capacity(lengths.len());
        for z in 0..kernel[0] {
            for y in 0..kernel[1] {
                let line = (z * dilation[0] * height + y * dilation[1]) * width;
                let pieces = (0..steps).zip(&mut lengths);
                runs.extend(pieces.map(|(x, length)| Run { offset: (line + x * dilation[2]) * self.pixel, length }));
            }
        }
        runs
    }
}

/// Convolutions of one channel a group and output: each element of a pixel by its own kernel. `weights` hold a pixel for each
/// of `runs`; `out` has, for each row of `left`, as many elements as there are channels.
pub(crate) fn taps<O: Finish>(
    isa: Isa,
    left: Lines<'_, i16>,
    runs: &[Run],
    weights: &[i16],
    channels: usize,
    finish: &O,
    out: &mut [O::Out],
) {
    struct Taps<'a, O: Finish> {
        left: Lines<'a, i16>,
        runs: &'a [Run],
        weights: &'a [i16],
        channels: usize,
        finish: &'a O,
        row0: usize,
        out: &'a mut [O::Out],
    }
    impl<O: Finish> Work for Taps<'_, O> {
        type Output = ();
        #[inline(always)]
        fn run<F: Fma>(self) {
            let pixel = self.channels.next_multiple_of(PANEL);
            for (i, row) in self.out.chunks_exact_mut(self.channels).enumerate() {
                let line = self.left.from(self.row0 + i, 0);
                for (column, out) in row.chunks_mut(PANEL).enumerate().map(|(i, out)| (i * PANEL, out)) {
                    let mut sums = [0i32; PANEL];
                    for (run, weights) in self.runs.iter().zip(self.weights.chunks_exact(pixel)) {
                        let (Some(x), Some(w)) = (
                            line[run.offset + column..].first_chunk::<PANEL>(),
                            weights[column..].first_chunk::<PANEL>(),
                        ) else {
                            unreachable!("pixels are padded to whole panels")
                        };
                        for i in 0..PANEL {
                            sums[i] = sums[i].wrapping_add(i32::from(x[i]) * i32::from(w[i]));
                        }
                    }
                    self.finish.finish(column, Totals::Narrow(&sums), out);
                }
            }
        }
    }
    parallel_parts(out, channels, 8 * runs.len(), |row0, out| {
        dispatch::run(isa, Taps { left, runs, weights, channels, finish, row0, out });
    });
}

/// Output elements whose channels are the fastest axis, with channels as the slowest one of each image.
pub(crate) fn channels_first<T: Copy + Send + Sync>(from: &[T], images: usize, channels: usize, out: &mut [T]) {
    /// So many pixels stay in the first-level cache.
    const PIXELS: usize = 64;
    let pixels = from.len() / images.max(1) / channels.max(1);
    if pixels == 0 {
        return;
    }
    parallel_parts(out, pixels, 8, |first, planes| {
        for block in (0..pixels).step_by(PIXELS) {
            let end = pixels.min(block + PIXELS);
            for (i, plane) in planes.chunks_exact_mut(pixels).enumerate() {
                let (image, channel) = ((first + i) / channels, (first + i) % channels);
                let from = &from[image * pixels * channels..][block * channels..end * channels];
                plane[block..end].iter_mut().zip(from[channel..].iter().step_by(channels)).for_each(|(to, x)| *to = *x);
            }
        }
    });
}
