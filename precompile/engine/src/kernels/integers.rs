//! Products of 8-bit integers: exact in any order, so that the order is whatever the processor likes best.
//!
//! The left operand has 16 bits an element, as what is left of 8 bits without their zero point may need 9. The right one has
//! 8, packed in panels of 16 columns, and its zero points are taken off afterwards: `sum x (w - z) = sum x w - z sum x`.

use super::dispatch::{self, Fma, Isa, Work};
use super::pairs::{PANEL, Pairs, ROWS, Run, sums};
use crate::pool;

/// Pairs of products of magnitudes up to 255 whose sum certainly fits 32 bits.
pub(crate) const PAIRS_MAX: usize = (i32::MAX as usize) / (2 * 255 * 255);
/// Rows whose elements stay in the second-level cache while the panels pass.
const BLOCK: usize = 64;

/// The rows of a left operand: nested counts, the last one the fastest, and how far apart their elements are. Behind the
/// last row's last element there is at least one more.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub(crate) values: &'a [i16],
    pub(crate) counts: [usize; 4],
    pub(crate) strides: [usize; 4],
}

impl<'a> Lines<'a> {
    /// Rows of a matrix, `stride` elements apart.
    pub(crate) fn matrix(values: &'a [i16], rows: usize, stride: usize) -> Self {
        Self { values, counts: [1, 1, 1, rows], strides: [0, 0, 0, stride] }
    }

    /// From the first element of a row on, `offset` further.
    pub(super) fn from(&self, row: usize, offset: usize) -> &'a [i16] {
        let (mut rest, mut start) = (row, offset);
        for axis in (1..4).rev() {
            start += rest % self.counts[axis] * self.strides[axis];
            rest /= self.counts[axis];
        }
        &self.values[start + rest * self.strides[0]..]
    }
}

/// A right operand of `int8`, packed: the columns of one group.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    pairs: Vec<Pairs>,
    /// Of each column; empty where all are 0.
    zeros: Vec<i32>,
    columns: usize,
}

impl Panels {
    /// Packs `element(k, column)`. `lengths` are the k of each run, one behind the other. `zeros` are the columns' zero points.
    pub(crate) fn new(
        columns: usize,
        lengths: &[usize],
        zeros: Vec<i32>,
        element: impl Fn(usize, usize) -> i8,
    ) -> Self {
        let depth = depth(lengths);
        let mut pairs = vec![[0; 2 * PANEL]; columns.div_ceil(PANEL) * depth];
        for (p, panel) in pairs.chunks_exact_mut(depth.max(1)).enumerate() {
            let (mut at, mut k) = (0, 0);
            for length in lengths {
                for step in 0..*length {
                    let out = &mut panel[at + step / 2];
                    for column in p * PANEL..columns.min((p + 1) * PANEL) {
                        out[(column - p * PANEL) * 2 + step % 2] = element(k + step, column);
                    }
                }
                (at, k) = (at + length.div_ceil(2), k + length);
            }
        }
        let zeros = if zeros.iter().all(|zero| *zero == 0) { Vec::new() } else { zeros };
        Self { pairs, zeros, columns }
    }

    /// Elements that they take.
    pub(crate) fn len(columns: usize, lengths: &[usize]) -> usize {
        columns.div_ceil(PANEL) * depth(lengths) * 2 * PANEL
    }
}

/// Pairs of k.
fn depth(lengths: &[usize]) -> usize {
    lengths.iter().map(|length| length.div_ceil(2)).sum()
}

/// The sums of a row by a panel, zero points taken off.
#[derive(Clone, Copy)]
pub(crate) enum Totals<'a> {
    /// Modulo 2^32, and exact where all sums fit.
    Narrow(&'a [i32; PANEL]),
    /// Exact, of chains that may not fit.
    Wide(&'a [i64; PANEL]),
}

impl Totals<'_> {
    /// Modulo 2^32.
    #[inline(always)]
    pub(crate) fn narrow(self) -> [i32; PANEL] {
        match self {
            Self::Narrow(sums) => *sums,
            Self::Wide(sums) => {
                let mut out = [0; PANEL];
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum as i32);
                out
            }
        }
    }

    /// Exact.
    #[inline(always)]
    pub(crate) fn wide(self) -> [i64; PANEL] {
        match self {
            Self::Narrow(sums) => sums.map(i64::from),
            Self::Wide(sums) => *sums,
        }
    }
}

/// What happens to sums on the way to memory.
pub(crate) trait Finish: Sync {
    type Out: Copy + Default + Send + Sync;

    /// Writes the outputs of `column` and those after it, 16 at most; `column` is a multiple of 16 within its group, and the
    /// groups' columns lie one behind the other.
    fn finish(&self, column: usize, sums: Totals<'_>, out: &mut [Self::Out]);
}

/// The sums themselves, modulo 2^32.
pub(crate) struct Store;

impl Finish for Store {
    type Out = i32;

    #[inline(always)]
    fn finish(&self, _: usize, sums: Totals<'_>, out: &mut [i32]) {
        let sums = sums.narrow();
        match out.first_chunk_mut::<PANEL>() {
            Some(out) => *out = sums,
            None => out.copy_from_slice(&sums[..out.len()]),
        }
    }
}

/// Products of all rows of `left` by each group's panels. Elements of a group's rows are `group_stride` behind those of the
/// group before, where `runs` say.
pub(crate) struct Product<'a, O> {
    pub(crate) left: Lines<'a>,
    pub(crate) runs: &'a [Run],
    pub(crate) groups: &'a [Panels],
    pub(crate) group_stride: usize,
    pub(crate) finish: &'a O,
}

impl<O: Finish> Product<'_, O> {
    /// Computes it into `out`: for each row the columns of all groups.
    pub(crate) fn multiply(&self, isa: Isa, out: &mut [O::Out]) {
        let width: usize = self.groups.iter().map(|group| group.columns).sum();
        if out.is_empty() {
            return;
        }
        let k: usize = self.runs.iter().map(|run| run.length).sum();
        if out.len() == width && self.groups.len() == 1 {
            // One row is divided by its panels.
            let (whole, pieces) = (out.len() / PANEL, pool::pieces(out.len() * k));
            if whole >= 2 && pieces > 1 {
                let step = whole.div_ceil(pieces) * PANEL;
                let parts = out.chunks_mut(step).enumerate().collect();
                return pool::each(
                    parts,
                    || (),
                    |(), (i, out): (usize, &mut [O::Out])| {
                        let width = out.len();
                        dispatch::run(isa, Part { product: self, row0: 0, column0: i * step, width, out });
                    },
                );
            }
        }
        super::parallel_parts(out, width, k, |row0, out| {
            dispatch::run(isa, Part { product: self, row0, column0: 0, width, out });
        });
    }
}

/// Some rows, or some columns of one, of a product.
struct Part<'a, 'b, O: Finish> {
    product: &'a Product<'b, O>,
    row0: usize,
    column0: usize,
    width: usize,
    out: &'a mut [O::Out],
}

impl<O: Finish> Work for Part<'_, '_, O> {
    type Output = ();

    #[inline(always)]
    fn run<F: Fma>(mut self) {
        let rows = self.out.len() / self.width;
        let cuts = cuts(self.product.runs);
        for block in (0..rows).step_by(BLOCK) {
            let mut column = 0;
            for (group, panels) in self.product.groups.iter().enumerate() {
                self.group::<F>(block..rows.min(block + BLOCK), group, panels, column, &cuts);
                column += panels.columns;
            }
        }
    }
}

impl<O: Finish> Part<'_, '_, O> {
    #[inline(always)]
    fn group<F: Fma>(
        &mut self,
        rows: std::ops::Range<usize>,
        group: usize,
        panels: &Panels,
        column0: usize,
        cuts: &[Vec<Run>],
    ) {
        let offset = group * self.product.group_stride;
        let left = self.product.left;
        let ones: Vec<i64> = if panels.zeros.is_empty() {
            Vec::new()
        } else {
            rows.clone().map(|row| sum_of(left.from(self.row0 + row, offset), self.product.runs)).collect()
        };
        let depth = panels.pairs.len() / panels.columns.div_ceil(PANEL).max(1);
        let columns = panels.columns.min(self.column0 + self.width) - self.column0;
        for column in (0..columns).step_by(PANEL) {
            let own = self.column0 + column;
            let panel = &panels.pairs[own / PANEL * depth..][..depth];
            let last = PANEL.min(columns - column);
            let mut row = rows.start;
            while row < rows.end {
                let count = ROWS.min(rows.end - row);
                let mut lines: [&[i16]; ROWS] = [&[]; ROWS];
                for (r, line) in lines.iter_mut().enumerate().take(count) {
                    *line = left.from(self.row0 + row + r, offset);
                }
                let mut tile = match lines {
                    [a, ..] if count == 1 => tile::<F, 1>([a], panel, cuts),
                    [a, b, ..] if count == 2 => tile::<F, 2>([a, b], panel, cuts),
                    [a, b, c, _] if count == 3 => tile::<F, 3>([a, b, c], panel, cuts),
                    all => tile::<F, ROWS>(all, panel, cuts),
                };
                for r in 0..count {
                    if !panels.zeros.is_empty() {
                        tile.take_off(r, &panels.zeros[own..own + last], ones[row + r - rows.start]);
                    }
                    let start = (row + r) * self.width + column0 + column;
                    self.product.finish.finish(column0 + own, tile.row(r), &mut self.out[start..start + last]);
                }
                row += count;
            }
        }
    }
}

/// `R` rows by a panel, part by part of the chains.
#[inline(always)]
fn tile<F: Fma, const R: usize>(lines: [&[i16]; R], panel: &[Pairs], cuts: &[Vec<Run>]) -> Tile {
    if let [runs] = cuts {
        let mut narrow = [[0; PANEL]; ROWS];
        narrow[..R].copy_from_slice(&sums::<F, R>(lines, runs, panel));
        return Tile { narrow, wide: None };
    }
    let (mut wide, mut rest) = (Box::new([[0; PANEL]; ROWS]), panel);
    for runs in cuts {
        let (panel, after) = rest.split_at(runs.iter().map(Run::pairs).sum());
        rest = after;
        for (row, sums) in wide.iter_mut().zip(sums::<F, R>(lines, runs, panel)) {
            row.iter_mut().zip(sums).for_each(|(total, sum)| *total += i64::from(sum));
        }
    }
    Tile { narrow: [[0; PANEL]; ROWS], wide: Some(wide) }
}

/// Sums of up to [`ROWS`] rows by a panel.
struct Tile {
    narrow: [[i32; PANEL]; ROWS],
    /// Of chains that may not fit, instead.
    wide: Option<Box<[[i64; PANEL]; ROWS]>>,
}

impl Tile {
    #[inline(always)]
    fn row(&self, row: usize) -> Totals<'_> {
        match &self.wide {
            None => Totals::Narrow(&self.narrow[row]),
            Some(rows) => Totals::Wide(&rows[row]),
        }
    }

    /// Takes `zeros` times the sum of the row off.
    #[inline(always)]
    fn take_off(&mut self, row: usize, zeros: &[i32], ones: i64) {
        match &mut self.wide {
            None => {
                let sums = self.narrow[row].iter_mut().zip(zeros);
                sums.for_each(|(sum, zero)| *sum = sum.wrapping_sub(zero.wrapping_mul(ones as i32)));
            }
            Some(rows) => {
                rows[row].iter_mut().zip(zeros).for_each(|(sum, zero)| *sum -= i64::from(*zero) * ones);
            }
        }
    }
}

/// The sum of the elements that `runs` name.
fn sum_of(line: &[i16], runs: &[Run]) -> i64 {
    runs.iter().flat_map(|run| &line[run.offset..][..run.length]).map(|x| i64::from(*x)).sum()
}

/// The runs in parts of which each certainly fits 32 bits; long ones are divided.
fn cuts(runs: &[Run]) -> Vec<Vec<Run>> {
    let mut cuts = vec![Vec::new()];
    let mut room = PAIRS_MAX;
    for run in runs {
        let mut run = *run;
        while run.pairs() > room {
            let first = Run { length: 2 * room, ..run };
            run = Run { offset: run.offset + first.length, length: run.length - first.length };
            cuts.last_mut().expect("never empty").push(first);
            cuts.push(Vec::new());
            room = PAIRS_MAX;
        }
        room -= run.pairs();
        cuts.last_mut().expect("never empty").push(run);
    }
    cuts
}
