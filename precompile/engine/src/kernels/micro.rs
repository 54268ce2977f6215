//! The innermost loops of a matrix product: a few rows by 16 columns in registers.

use std::ops::Range;

use super::dispatch::{Fma, Work};

/// Columns of a panel.
pub(super) const PANEL: usize = 16;

/// A vector register. Passed by value: arrays of arrays of floats spill, arrays of these do not.
#[derive(Clone, Copy)]
struct Lanes<const W: usize>([f32; W]);

impl<const W: usize> Lanes<W> {
    const ZERO: Self = Self([0.0; W]);

    #[inline(always)]
    fn load(values: &[f32]) -> Self {
        let mut lanes = Self::ZERO;
        lanes.0.copy_from_slice(&values[..W]);
        lanes
    }

    #[inline(always)]
    fn fma<F: Fma>(self, a: f32, b: Self) -> Self {
        let mut sum = Self::ZERO;
        for j in 0..W {
            sum.0[j] = F::fma(a, b.0[j], self.0[j]);
        }
        sum
    }
}

/// The rows of a left operand, over one block of k.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// Packed, `height` rows each, k-major.
    Tiles(&'a [f32]),
    /// Each where it is; more than one.
    Lines(&'a [&'a [f32]]),
}

/// A block of the output: all rows by all panels, over one block of k.
pub(super) struct Block<'a, 'b> {
    pub(super) rows: Rows<'a>,
    /// [`PANEL`] columns each, k-major.
    pub(super) panels: &'a [f32],
    /// Length of the chains.
    pub(super) depth: usize,
    /// Rows of a tile; the last tile may stand for fewer.
    pub(super) height: usize,
    /// First column to write in each row of `out`, and how many.
    pub(super) column: usize,
    pub(super) columns: usize,
    /// Whether to add to what is there (not in the first block).
    pub(super) add: bool,
    pub(super) out: &'a mut [&'b mut [f32]],
}

impl Work for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<F: Fma>(mut self) {
        if F::WIDE { self.sweep::<F, 16, 1>() } else { self.sweep::<F, 8, 2>() }
    }
}

impl Block<'_, '_> {
    #[inline(always)]
    fn sweep<F: Fma, const W: usize, const N: usize>(&mut self) {
        let count = self.columns.div_ceil(PANEL);
        let panels = self.panels;
        let mut first = 0;
        if let (Rows::Tiles(tiles), 1) = (self.rows, self.out.len()) {
            // A single row leaves registers idle: take four panels at once.
            while first + 4 <= count {
                self.row::<F, W, N, 4>(tiles, first);
                first += 4;
            }
        }
        if let (Rows::Lines(lines), true) = (self.rows, F::WIDE) {
            // Half as many rows as registers allow, for their addresses need registers, too: then two panels at once.
            while first + 2 <= count {
                self.lines::<F, W, 2>(lines, first);
                first += 2;
            }
        }
        for panel in first..count {
            let values = &panels[panel * PANEL * self.depth..(panel + 1) * PANEL * self.depth];
            for i in 0..self.tiles() {
                self.tile::<F, W, N>(values, self.tile_rows(i), panel);
            }
        }
    }

    fn tiles(&self) -> usize {
        self.out.len().div_ceil(self.height)
    }

    /// Rows of a tile. Where they are does not bind them to one, all have about equally many.
    fn tile_rows(&self, i: usize) -> Range<usize> {
        let rows = self.out.len();
        match self.rows {
            Rows::Tiles(_) => i * self.height..rows.min((i + 1) * self.height),
            Rows::Lines(_) => i * rows / self.tiles()..(i + 1) * rows / self.tiles(),
        }
    }

    #[inline(always)]
    fn tile<F: Fma, const W: usize, const N: usize>(&mut self, panel: &[f32], rows: Range<usize>, index: usize) {
        let row = rows.start;
        macro_rules! rows {
            ($($rows:literal)*) => {
                match rows.len() {
                    $($rows => {
                        let sums = match self.rows {
                            Rows::Tiles(tiles) => {
                                let tile = &tiles[row * self.depth..(row + self.height) * self.depth];
                                chains::<F, W, N, $rows>(tile, self.height, panel)
                            }
                            Rows::Lines(lines) => chains_of_lines::<F, W, N, $rows>(&lines[row..], [panel; N]),
                        };
                        for (i, sum) in sums.iter().enumerate() {
                            self.store(row + i, index, &spread(*sum));
                        }
                    })*
                    _ => unreachable!("tiles have at most 12 rows"),
                }
            };
        }
        if F::WIDE { rows!(1 2 3 4 5 6 7 8 9 10 11 12) } else { rows!(1 2 3 4 5 6) }
    }

    /// All rows by the `P` panels from `first`, where a register holds a panel's columns.
    #[inline(always)]
    fn lines<F: Fma, const W: usize, const P: usize>(&mut self, lines: &[&[f32]], first: usize) {
        let size = PANEL * self.depth;
        let mut panels: [&[f32]; P] = [&[]; P];
        for (p, panel) in panels.iter_mut().enumerate() {
            *panel = &self.panels[(first + p) * size..(first + p + 1) * size];
        }
        for i in 0..self.tiles() {
            let rows = self.tile_rows(i);
            let row = rows.start;
            macro_rules! rows {
                ($($rows:literal)*) => {
                    match rows.len() {
                        $($rows => {
                            let sums = chains_of_lines::<F, W, P, $rows>(&lines[row..], panels);
                            for (i, sums) in sums.iter().enumerate() {
                                for p in 0..P {
                                    self.store(row + i, first + p, &spread([sums[p]]));
                                }
                            }
                        })*
                        _ => unreachable!("tiles of lines have at most 6 rows"),
                    }
                };
            }
            rows!(1 2 3 4 5 6)
        }
    }

    /// Row 0 by `P` panels from `first`.
    #[inline(always)]
    fn row<F: Fma, const W: usize, const N: usize, const P: usize>(&mut self, tiles: &[f32], first: usize) {
        let size = PANEL * self.depth;
        let panels: [&[[f32; PANEL]]; P] =
            std::array::from_fn(|p| self.panels[(first + p) * size..(first + p + 1) * size].as_chunks::<PANEL>().0);
        let mut sums = [[Lanes::<W>::ZERO; N]; P];
        for (k, a) in tiles.iter().step_by(self.height).take(self.depth).enumerate() {
            for p in 0..P {
                for n in 0..N {
                    sums[p][n] = sums[p][n].fma::<F>(*a, Lanes::load(&panels[p][k][n * W..]));
                }
            }
        }
        let sums: [[f32; PANEL]; P] = std::array::from_fn(|p| spread(sums[p]));
        for (p, sum) in sums.iter().enumerate() {
            self.store(0, first + p, sum);
        }
    }

    #[inline(always)]
    fn store(&mut self, row: usize, panel: usize, sums: &[f32; PANEL]) {
        let start = panel * PANEL;
        let width = PANEL.min(self.columns - start);
        let out = &mut self.out[row][self.column + start..self.column + start + width];
        match (self.add, out.first_chunk_mut::<PANEL>()) {
            (false, Some(out)) => *out = *sums,
            (false, None) => out.copy_from_slice(&sums[..width]),
            (true, Some(out)) => out.iter_mut().zip(sums).for_each(|(x, sum)| *x += sum),
            (true, None) => out.iter_mut().zip(sums).for_each(|(x, sum)| *x += sum),
        }
    }
}

/// Registers as memory; by value and with fixed indices, so that the sums stay in registers until here.
#[inline(always)]
fn spread<const W: usize, const N: usize>(sums: [Lanes<W>; N]) -> [f32; PANEL] {
    let mut out = [0.0; PANEL];
    for n in 0..N {
        out[n * W..(n + 1) * W].copy_from_slice(&sums[n].0);
    }
    out
}

/// `sums[r] + a[r] * b`. The compiler does not unroll loops over more than about a hundred lanes, and with AVX-512 makes
/// gathers of what is left of them, at a fiftieth of the speed: so there are two.
#[inline(always)]
fn step<F: Fma, const W: usize, const N: usize, const R: usize>(
    sums: &mut [[Lanes<W>; N]; R],
    a: [f32; R],
    b: [Lanes<W>; N],
) {
    let half = 96 / W / N;
    for r in 0..R.min(half) {
        for n in 0..N {
            sums[r][n] = sums[r][n].fma::<F>(a[r], b[n]);
        }
    }
    for r in half..R {
        for n in 0..N {
            sums[r][n] = sums[r][n].fma::<F>(a[r], b[n]);
        }
    }
}

/// `R` rows of a tile by a panel: one FMA chain for each element.
#[inline(always)]
fn chains<F: Fma, const W: usize, const N: usize, const R: usize>(
    tile: &[f32],
    height: usize,
    panel: &[f32],
) -> [[Lanes<W>; N]; R] {
    let mut sums = [[Lanes::<W>::ZERO; N]; R];
    for (a, b) in tile.chunks_exact(height).zip(panel.as_chunks::<PANEL>().0) {
        let Some(a) = a.first_chunk::<R>() else { break };
        let mut lanes = [Lanes::<W>::ZERO; N];
        for n in 0..N {
            lanes[n] = Lanes::load(&b[n * W..]);
        }
        step::<F, W, N, R>(&mut sums, *a, lanes);
    }
    sums
}

/// Steps of k whose elements are found with one check.
const STEPS: usize = 8;

/// As [`chains`], of the first `R` of `lines`, where they are. Register `n` is of the columns of `panels[n]`: all are the same
/// one where it takes several.
#[inline(always)]
fn chains_of_lines<F: Fma, const W: usize, const N: usize, const R: usize>(
    lines: &[&[f32]],
    panels: [&[f32]; N],
) -> [[Lanes<W>; N]; R] {
    let mut sums = [[Lanes::<W>::ZERO; N]; R];
    let mut whole: [&[[[f32; PANEL]; STEPS]]; N] = [&[]; N];
    let mut rest: [&[[f32; PANEL]]; N] = [&[]; N];
    for n in 0..N {
        (whole[n], rest[n]) = panels[n].as_chunks::<PANEL>().0.as_chunks::<STEPS>();
    }
    let mut chunks: [&[[f32; STEPS]]; R] = [&[]; R];
    let mut tails: [&[f32]; R] = [&[]; R];
    for r in 0..R {
        (chunks[r], tails[r]) = lines[r].as_chunks::<STEPS>();
    }
    for i in 0..whole[0].len() {
        let mut a = [&[0.0; STEPS]; R];
        for r in 0..R {
            a[r] = &chunks[r][i];
        }
        let mut panel = [&[[0.0; PANEL]; STEPS]; N];
        for n in 0..N {
            panel[n] = &whole[n][i];
        }
        for k in 0..STEPS {
            let (mut left, mut lanes) = ([0.0; R], [Lanes::<W>::ZERO; N]);
            for r in 0..R {
                left[r] = a[r][k];
            }
            for n in 0..N {
                lanes[n] = Lanes::load(&panel[n][k][n * W % PANEL..]);
            }
            step::<F, W, N, R>(&mut sums, left, lanes);
        }
    }
    for k in 0..rest[0].len() {
        let (mut left, mut lanes) = ([0.0; R], [Lanes::<W>::ZERO; N]);
        for r in 0..R {
            left[r] = tails[r][k];
        }
        for n in 0..N {
            lanes[n] = Lanes::load(&rest[n][k][n * W % PANEL..]);
        }
        step::<F, W, N, R>(&mut sums, left, lanes);
    }
    sums
}
