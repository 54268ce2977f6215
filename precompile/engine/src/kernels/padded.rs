//! Images with their zeros around them, laid out so that neighbouring patches are neighbours in memory: then a line of a
//! panel is a plain copy, whatever the stride, and no element asks whether it lies in the image.

use super::micro::PANEL;
use super::parallel_parts;
use super::patches::{AXES, Geometry};

/// How many times larger than the image the laid out one may be, and how many elements more.
const LARGER_MAX: (usize, usize) = (3, 1 << 12);

/// Where the elements of a padded image are.
pub(crate) struct Layout {
    geometry: Geometry,
    /// Slices and rows of a channel.
    slices: usize,
    rows: usize,
    /// A row holds every `stride`th element from the first, then every `stride`th from the second, ...
    phases: usize,
    phase_length: usize,
    /// Where the patch of the first output element has its `k`th element.
    offsets: Vec<usize>,
}

impl Layout {
    /// None for transposed convolutions, and where there are many more zeros than elements.
    pub(crate) fn of(geometry: Geometry) -> Option<Self> {
        let mut layout = Self::sized(geometry)?;
        layout.offsets = (0..geometry.k()).map(|k| layout.offset(k)).collect();
        Some(layout)
    }

    /// As [`Layout::of`], without the offsets.
    fn sized(geometry: Geometry) -> Option<Self> {
        let Geometry { output, kernel, stride, dilation, .. } = geometry;
        let reach: [usize; AXES] = std::array::from_fn(|axis| (kernel[axis] - 1).saturating_mul(dilation[axis]));
        let extent =
            |axis: usize| output[axis].saturating_sub(1).saturating_mul(stride[axis]).saturating_add(reach[axis] + 1);
        let (slices, rows) = (extent(0), extent(1));
        let phases = stride[2].min(reach[2].saturating_add(1));
        let phase_length = output[2].saturating_add(reach[2] / stride[2]);
        let size = [slices, rows, phases, phase_length].into_iter().fold(1, usize::saturating_mul);
        let plain: usize = geometry.input.iter().product();
        if geometry.transposed || size > plain * LARGER_MAX.0 + LARGER_MAX.1 {
            return None;
        }
        Some(Self { geometry, slices, rows, phases, phase_length, offsets: Vec::new() })
    }

    fn row(&self) -> usize {
        self.phases * self.phase_length
    }

    fn channel(&self) -> usize {
        self.slices * self.rows * self.row()
    }

    /// Elements of all channels.
    fn image(&self) -> usize {
        self.geometry.channels * self.channel()
    }

    /// Elements of a channel as it came.
    fn plane(&self) -> usize {
        self.geometry.input.iter().product()
    }

    /// Elements that images of `length` elements take when they are laid out; none if they are not.
    pub(crate) fn elements(geometry: Geometry, length: usize) -> usize {
        Self::sized(geometry).map_or(0, |layout| layout.padded_len(length))
    }

    fn padded_len(&self, length: usize) -> usize {
        length / self.plane().max(1) * self.channel() + PANEL
    }

    fn offset(&self, k: usize) -> usize {
        let Geometry { kernel: [_, rows, columns], stride, dilation, .. } = self.geometry;
        let place = k % (self.geometry.kernel.iter().product::<usize>());
        let channel = k / self.geometry.kernel.iter().product::<usize>();
        let [z, y, x] = [place / columns / rows, place / columns % rows, place % columns];
        let along = x * dilation[2];
        let row = (channel * self.slices + z * dilation[0]) * self.rows + y * dilation[1];
        row * self.row() + along % stride[2] * self.phase_length + along / stride[2]
    }

    /// Lays out images, one after the other, in `values`: as many elements as [`Layout::elements`] says, whatever they hold.
    pub(crate) fn pad(&self, images: &[f32], mut values: Vec<f32>) -> Padded<'_> {
        let (plane, channel) = (self.plane(), self.channel());
        let end = self.padded_len(images.len()) - PANEL;
        values[end..].fill(0.0);
        parallel_parts(&mut values[..end], channel, 8, |first, part| {
            for (i, out) in part.chunks_exact_mut(channel).enumerate() {
                self.pad_channel(&images[(first + i) * plane..(first + i + 1) * plane], out);
            }
        });
        Padded { layout: self, values }
    }

    fn pad_channel(&self, plane: &[f32], out: &mut [f32]) {
        let Geometry { input: [depth, height, width], pad, stride, .. } = self.geometry;
        for (i, row) in out.chunks_exact_mut(self.row()).enumerate() {
            let (z, y) = ((i / self.rows).wrapping_sub(pad[0]), (i % self.rows).wrapping_sub(pad[1]));
            if z >= depth || y >= height {
                row.fill(0.0);
                continue;
            }
            let line = &plane[(z * height + y) * width..][..width];
            for (phase, out) in row.chunks_exact_mut(self.phase_length).enumerate() {
                // Places `j` of this phase for which `j * stride + phase` is in the image.
                let first = pad[2].saturating_sub(phase).div_ceil(stride[2]).min(out.len());
                let line = &line[(first * stride[2] + phase).saturating_sub(pad[2]).min(width)..];
                let inside = line.len().div_ceil(stride[2]).min(out.len() - first);
                let (before, rest) = out.split_at_mut(first);
                let (out, after) = rest.split_at_mut(inside);
                before.fill(0.0);
                after.fill(0.0);
                if stride[2] == 1 {
                    out.copy_from_slice(&line[..inside]);
                } else {
                    out.iter_mut().zip(line.iter().step_by(stride[2])).for_each(|(x, v)| *x = *v);
                }
            }
        }
    }
}

/// Images laid out.
pub(crate) struct Padded<'a> {
    layout: &'a Layout,
    /// With room for a panel behind the last one.
    pub(crate) values: Vec<f32>,
}

impl Padded<'_> {
    /// The patches of one image.
    pub(crate) fn patches(&self, image: usize) -> PaddedPatches<'_> {
        let size = self.layout.image();
        PaddedPatches { layout: self.layout, image: &self.values[image * size..(image + 1) * size + PANEL] }
    }
}

/// The patches of one image. Lines are output elements, k runs over channels, then the kernel.
pub(crate) struct PaddedPatches<'a> {
    layout: &'a Layout,
    image: &'a [f32],
}

impl super::gemm::Pack for PaddedPatches<'_> {
    fn pack(&self, line0: usize, lines: usize, width: usize, k0: usize, out: &mut [f32]) {
        let Geometry { output: [_, rows, columns], stride, .. } = self.layout.geometry;
        // Where in the panel neighbours of one output row begin, and where in the image they are.
        let mut runs = [(0, 0); PANEL];
        let mut count = 0;
        let mut start = 0;
        while start < lines {
            let line = line0 + start;
            let (z, y, x) = (line / columns / rows, line / columns % rows, line % columns);
            let row = z * stride[0] * self.layout.rows + y * stride[1];
            runs[count] = (start, row * self.layout.row() + x);
            count += 1;
            start += (columns - x).min(lines - start);
        }
        let depth = out.len() / width;
        for (k, offset) in self.layout.offsets[k0..k0 + depth].iter().enumerate() {
            // Whole panels: what one writes beyond its run, the next one or the next line writes again.
            for (start, base) in &runs[..count] {
                let (out, places) = (&mut out[k * width + start..], &self.image[offset + base..]);
                match (out.first_chunk_mut::<PANEL>(), places.first_chunk::<PANEL>()) {
                    (Some(out), Some(places)) => *out = *places,
                    _ => copy_end(out, places),
                }
            }
            out[k * width + lines..(k + 1) * width].fill(0.0);
        }
    }
}

/// Apart, so that the copies of whole panels stay a few instructions.
#[cold]
#[inline(never)]
fn copy_end(out: &mut [f32], places: &[f32]) {
    out.iter_mut().zip(places).for_each(|(x, v)| *x = *v);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gemm::Pack;
    use crate::kernels::patches::Patches;

    fn geometry(
        input: [usize; 3],
        kernel: [usize; 3],
        stride: [usize; 3],
        dilation: [usize; 3],
        pad: [usize; 3],
    ) -> Geometry {
        let output =
            std::array::from_fn(|a| (input[a] + 2 * pad[a] - (kernel[a] - 1) * dilation[a] - 1) / stride[a] + 1);
        Geometry { channels: 3, input, output, kernel, stride, dilation, pad, transposed: false }
    }

    #[test]
    fn lines_are_those_of_the_plain_image() {
        for geometry in [
            geometry([1, 7, 7], [1, 3, 3], [1, 1, 1], [1, 1, 1], [0, 1, 1]),
            geometry([1, 21, 37], [1, 7, 7], [1, 2, 2], [1, 1, 1], [0, 3, 3]),
            geometry([1, 20, 19], [1, 1, 1], [1, 2, 2], [1, 1, 1], [0, 0, 0]),
            geometry([5, 6, 9], [2, 3, 2], [2, 1, 3], [1, 2, 2], [1, 0, 2]),
            geometry([1, 1, 40], [1, 1, 5], [1, 1, 1], [1, 1, 3], [0, 0, 6]),
        ] {
            let image: Vec<f32> = (1..=3 * geometry.input.iter().product::<usize>()).map(|i| i as f32).collect();
            let layout = Layout::of(geometry).expect("few zeros");
            let padded = layout.pad(&image, vec![f32::NAN; Layout::elements(geometry, image.len())]);
            let (plain, padded) = (Patches { image: &image, geometry }, padded.patches(0));
            let (lines, k) = (geometry.output.iter().product::<usize>(), geometry.k());
            for line0 in (0..lines).step_by(PANEL) {
                for (k0, depth) in [(0, k), (k / 2, k - k / 2), (k - 1, 1)] {
                    let mut panels = [vec![f32::NAN; depth * PANEL], vec![f32::NAN; depth * PANEL]];
                    plain.pack(line0, PANEL.min(lines - line0), PANEL, k0, &mut panels[0]);
                    padded.pack(line0, PANEL.min(lines - line0), PANEL, k0, &mut panels[1]);
                    assert_eq!(panels[0], panels[1], "{geometry:?} from {line0}, {k0}");
                }
            }
        }
    }

    #[test]
    fn far_zeros_are_not_laid_out() {
        let mut far = geometry([1, 4, 4], [1, 3, 3], [1, 1, 1], [1, 1, 1], [0, 1 << 14, 1 << 14]);
        assert!(Layout::of(far).is_none());
        far.dilation = [1, usize::MAX / 2, usize::MAX / 2];
        assert!(Layout::of(far).is_none());
    }
}
