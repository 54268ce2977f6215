//! Products of 8-bit integers: exact in any order, so that the order is whatever the processor likes best.
//!
//! The right operand has 8 bits an element, packed in panels of 16 columns, and its zero points are taken off afterwards:
//! `sum x (w - z) = sum x w - z sum x`. The left one has 16, its zero points taken off before, which may need 9; or, where
//! the processor multiplies bytes, 8, and they are taken off afterwards, too.

use super::bytes::{Left, PANEL, ROWS, Run, STEPS_MAX};
use super::dispatch::{Fma, Isa, Work};
use crate::pool;

/// Products of magnitudes up to 255 whose sum certainly fits 32 bits.
pub(crate) const PRODUCTS_MAX: usize = (i32::MAX as usize) / (255 * 255) / STEPS_MAX * STEPS_MAX;
/// Rows whose elements stay in the second-level cache while the panels pass.
const BLOCK: usize = 64;

/// The rows of a left operand: nested counts, the last one the fastest, and how far apart their elements are. Behind the
/// last row's last element there are at least [`STEPS_MAX`] less one more.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) counts: [usize; 4],
    pub(crate) strides: [usize; 4],
    /// Zero points that the elements still have, of the rows in turn; empty where they have none.
    pub(crate) zeros: &'a [i32],
}

impl<'a, T> Lines<'a, T> {
    /// Rows of a matrix, `stride` elements apart.
    pub(crate) fn matrix(values: &'a [T], rows: usize, stride: usize, zeros: &'a [i32]) -> Self {
        Self { values, counts: [1, 1, 1, rows], strides: [0, 0, 0, stride], zeros }
    }

    /// The zero point of a row.
    fn zero(&self, row: usize) -> i32 {
        row.checked_rem(self.zeros.len()).map_or(0, |index| self.zeros[index])
    }

    /// From the first element of a row on, `offset` further.
    pub(super) fn from(&self, row: usize, offset: usize) -> &'a [T] {
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
    values: Vec<i8>,
    /// Steps of k whose elements lie side by side.
    steps: usize,
    /// Of each column; empty where all are 0.
    zeros: Vec<i32>,
    /// Sums of the columns, zero points taken off.
    sums: Vec<i64>,
    columns: usize,
}

impl Panels {
    /// Packs `element(k, column)` for so many `steps` of k at once. `lengths` are the k of each run, one behind the other.
    /// `zeros` are the columns' zero points.
    pub(crate) fn new(
        columns: usize,
        lengths: &[usize],
        steps: usize,
        zeros: Vec<i32>,
        element: impl Fn(usize, usize) -> i8,
    ) -> Self {
        let depth = depth(lengths, steps);
        let mut values = vec![0; columns.next_multiple_of(PANEL) * depth];
        let mut sums = vec![0; columns];
        for (p, panel) in values.chunks_exact_mut((depth * PANEL).max(1)).enumerate() {
            let (mut at, mut k) = (0, 0);
            for length in lengths {
                for step in 0..*length {
                    let out = &mut panel[(at + step / steps * steps) * PANEL..][..steps * PANEL];
                    for column in p * PANEL..columns.min((p + 1) * PANEL) {
                        let value = element(k + step, column);
                        out[(column - p * PANEL) * steps + step % steps] = value;
                        sums[column] += i64::from(value) - i64::from(zeros[column]);
                    }
                }
                (at, k) = (at + length.next_multiple_of(steps), k + length);
            }
        }
        let zeros = if zeros.iter().all(|zero| *zero == 0) { Vec::new() } else { zeros };
        Self { values, steps, zeros, sums, columns }
    }

    /// Elements that they take at most, with whatever steps.
    pub(crate) fn len_max(columns: usize, lengths: &[usize]) -> usize {
        columns.next_multiple_of(PANEL) * depth(lengths, STEPS_MAX)
    }

    /// Steps of k whose elements lie side by side.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }
}

/// Elements of a column with what fills up the steps.
fn depth(lengths: &[usize], steps: usize) -> usize {
    lengths.iter().map(|length| length.next_multiple_of(steps)).sum()
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
pub(crate) struct Product<'a, T, O> {
    pub(crate) left: Lines<'a, T>,
    pub(crate) runs: &'a [Run],
    pub(crate) groups: &'a [Panels],
    pub(crate) group_stride: usize,
    pub(crate) finish: &'a O,
}

impl<T: Left, O: Finish> Product<'_, T, O> {
    /// Computes it into `out`: for each row the columns of all groups. These are packed for the steps of `T`.
    pub(crate) fn multiply(&self, isa: Isa, out: &mut [O::Out]) {
        assert!(self.groups.iter().all(|group| group.steps == T::STEPS), "packed for another left operand");
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
                        T::run(isa, Part { product: self, row0: 0, column0: i * step, width, out });
                    },
                );
            }
        }
        super::parallel_parts(out, width, k, |row0, out| {
            T::run(isa, Part { product: self, row0, column0: 0, width, out });
        });
    }
}

/// Some rows, or some columns of one, of a product.
struct Part<'a, 'b, T, O: Finish> {
    product: &'a Product<'b, T, O>,
    row0: usize,
    column0: usize,
    width: usize,
    out: &'a mut [O::Out],
}

impl<T: Left, O: Finish> Work for Part<'_, '_, T, O> {
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

impl<T: Left, O: Finish> Part<'_, '_, T, O> {
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
        // Where rows begin takes divisions: not for each panel again.
        let lines: Vec<&[T]> = rows.clone().map(|row| left.from(self.row0 + row, offset)).collect();
        let ones: Vec<i64> = if panels.zeros.is_empty() {
            Vec::new()
        } else {
            lines.iter().map(|line| sum_of(line, self.product.runs)).collect()
        };
        let size = panels.values.len() / panels.columns.div_ceil(PANEL).max(1);
        let columns = panels.columns.min(self.column0 + self.width) - self.column0;
        for column in (0..columns).step_by(PANEL) {
            let own = self.column0 + column;
            let panel = &panels.values[own / PANEL * size..][..size];
            let last = PANEL.min(columns - column);
            let mut row = rows.start;
            while row < rows.end {
                let count = ROWS.min(rows.end - row);
                let mut tile = match lines[row - rows.start..] {
                    [a] => tile::<F, T, 1>([a], panel, cuts),
                    [a, b] => tile::<F, T, 2>([a, b], panel, cuts),
                    [a, b, c] => tile::<F, T, 3>([a, b, c], panel, cuts),
                    [a, b, c, d, ..] => tile::<F, T, ROWS>([a, b, c, d], panel, cuts),
                    [] => unreachable!("there is a row"),
                };
                for r in 0..count {
                    let zero = left.zero(self.row0 + row + r);
                    if zero != 0 {
                        tile.take_off(r, &panels.sums[own..own + last], i64::from(zero));
                    }
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
fn tile<F: Fma, T: Left, const R: usize>(lines: [&[T]; R], panel: &[i8], cuts: &[Vec<Run>]) -> Tile {
    if let [runs] = cuts {
        let mut narrow = [[0; PANEL]; ROWS];
        narrow[..R].copy_from_slice(&T::sums::<F, R>(lines, runs, panel));
        return Tile { narrow, wide: None };
    }
    let (mut wide, mut rest) = (Box::new([[0; PANEL]; ROWS]), panel);
    for runs in cuts {
        let (panel, after) = rest.split_at(runs.iter().map(|run| run.length.next_multiple_of(T::STEPS) * PANEL).sum());
        rest = after;
        for (row, sums) in wide.iter_mut().zip(T::sums::<F, R>(lines, runs, panel)) {
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

    /// Takes `factor` times what each column has off.
    #[inline(always)]
    fn take_off<T: Copy + Into<i64>>(&mut self, row: usize, columns: &[T], factor: i64) {
        match &mut self.wide {
            None => {
                let sums = self.narrow[row].iter_mut().zip(columns);
                sums.for_each(|(sum, own)| *sum = sum.wrapping_sub(((*own).into() as i32).wrapping_mul(factor as i32)));
            }
            Some(rows) => rows[row].iter_mut().zip(columns).for_each(|(sum, own)| *sum -= (*own).into() * factor),
        }
    }
}

/// The sum of the elements that `runs` name.
fn sum_of<T: Left>(line: &[T], runs: &[Run]) -> i64 {
    runs.iter().flat_map(|run| &line[run.offset..][..run.length]).map(|x| x.value()).sum()
}

/// The runs in parts of which each certainly fits 32 bits; long ones are divided.
fn cuts(runs: &[Run]) -> Vec<Vec<Run>> {
    let mut cuts = vec![Vec::new()];
    let mut room = PRODUCTS_MAX;
    for run in runs {
        let mut run = *run;
        while run.length > room {
            let first = Run { length: room, ..run };
            run = Run { offset: run.offset + first.length, length: run.length - first.length };
            cuts.last_mut().expect("never empty").push(first);
            cuts.push(Vec::new());
            room = PRODUCTS_MAX;
        }
        // Whatever fills up the last steps is multiplied by 0.
        room -= run.length.next_multiple_of(STEPS_MAX);
        cuts.last_mut().expect("never empty").push(run);
    }
    cuts
}
