//! Matrix products in one order: each element is a chain of FMAs over ascending k from +0.0, in blocks of 256, and the
//! blocks' sums are added in order. Tiles, vectors and threads divide rows and columns only, so they change no bit.
//!
//! Both operands are packed block by block: the left one in tiles of a few rows, the right one in panels of 16 columns,
//! k-major, so that the innermost loop reads both as streams. Constants are packed once, at load.

use std::ops::Range;

use super::dispatch::{self, Isa};
use super::micro::{Block, PANEL, Rows};
use crate::pool;

/// k of a block; part of the specification.
pub(crate) const BLOCK: usize = 256;
/// Rows whose packed tiles stay in the second-level cache.
const ROWS: usize = 96;
/// Rows whose output stays there from block to block.
const ROWS_WHOLE: usize = 2 * ROWS;
/// Tiles of a part of which one does not count.
const TILES_MANY: usize = 8;
/// Columns whose packed panels stay in the second-level cache.
const COLUMNS: usize = 128;

/// Something that can be packed: a matrix, or patches of an image.
pub(crate) trait Pack: Sync {
    /// Writes `out[k * width + i]`, for `k` in `k0..k0 + out.len() / width`: along line `line0 + i` for `i < lines`, zero
    /// for the other `i < width`. Lines are rows of a left operand, columns of a right one.
    fn pack(&self, line0: usize, lines: usize, width: usize, k0: usize, out: &mut [f32]);

    /// Elements `k0..k0 + depth` of a line, where they are neighbours in memory and packing them would gain nothing.
    fn line(&self, _line: usize, _k0: usize, _depth: usize) -> Option<&[f32]> {
        None
    }
}

/// A matrix in memory: element (line, k) is at `line * line_stride + k * k_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) line_stride: usize,
    pub(crate) k_stride: usize,
}

/// Elements of a left operand that stay in the first-level cache, packed or not.
const LINES_MAX: usize = 1 << 13;
/// Lines so many elements apart, or a multiple of it, would all be in the same places of the first-level cache.
const CONFLICTING: usize = 1 << 10;

impl Pack for Strided<'_> {
    fn line(&self, line: usize, k0: usize, depth: usize) -> Option<&[f32]> {
        let readable = self.k_stride == 1 && !self.line_stride.is_multiple_of(CONFLICTING);
        readable.then(|| &self.data[line * self.line_stride + k0..][..depth])
    }

    fn pack(&self, line0: usize, lines: usize, width: usize, k0: usize, out: &mut [f32]) {
        if self.line_stride == 1 {
            for (k, row) in out.chunks_exact_mut(width).enumerate() {
                let start = (k0 + k) * self.k_stride + line0;
                if let (true, Some(row), Some(line)) =
                    (lines == PANEL, row.first_chunk_mut::<PANEL>(), self.data[start..].first_chunk::<PANEL>())
                {
                    // Whole panels, as nearly all are, without a call.
                    *row = *line;
                    continue;
                }
                row[..lines].copy_from_slice(&self.data[start..start + lines]);
                row[lines..].fill(0.0);
            }
            return;
        }
        if width == 1 && self.k_stride == 1 {
            let start = line0 * self.line_stride + k0;
            return out.copy_from_slice(&self.data[start..start + out.len()]);
        }
        let depth = out.len() / width;
        for i in 0..width {
            let column = out[i..].iter_mut().step_by(width).take(depth);
            if i >= lines {
                column.for_each(|x| *x = 0.0);
                continue;
            }
            let line = &self.data[(line0 + i) * self.line_stride + k0 * self.k_stride..];
            if self.k_stride == 1 {
                column.zip(line).for_each(|(x, v)| *x = *v);
            } else {
                column.zip(line.iter().step_by(self.k_stride)).for_each(|(x, v)| *x = *v);
            }
        }
    }
}

/// An operand packed whole.
#[derive(Clone)]
pub(crate) struct Packed {
    /// Block after block, in each its tiles or panels.
    values: Vec<f32>,
    lines: usize,
    k: usize,
    width: usize,
}

impl Packed {
    /// Packs a left operand of `rows` rows for `isa`.
    pub(crate) fn left(source: &dyn Pack, rows: usize, k: usize, isa: Isa) -> Self {
        Self::new(source, rows, k, tile(isa))
    }

    /// Packs a right operand of `columns` columns.
    pub(crate) fn right(source: &dyn Pack, columns: usize, k: usize) -> Self {
        Self::new(source, columns, k, PANEL)
    }

    fn new(source: &dyn Pack, lines: usize, k: usize, width: usize) -> Self {
        let mut packed = Self { values: vec![0.0; Self::len(lines, k, width)], lines, k, width };
        for k0 in (0..k).step_by(BLOCK) {
            let depth = BLOCK.min(k - k0);
            let range = packed.block(k0);
            pack_lines(source, 0, lines, width, k0, depth, &mut packed.values[range]);
        }
        packed
    }

    /// Elements that a packed operand takes.
    pub(crate) fn len(lines: usize, k: usize, width: usize) -> usize {
        lines.next_multiple_of(width) * k
    }

    fn block(&self, k0: usize) -> Range<usize> {
        let lines = self.lines.next_multiple_of(self.width);
        lines * k0..lines * (k0 + BLOCK.min(self.k - k0))
    }

    /// Packed lines from `line0`, a multiple of the width, of the block at `k0`.
    fn from(&self, line0: usize, k0: usize) -> &[f32] {
        let range = self.block(k0);
        &self.values[range][line0 * BLOCK.min(self.k - k0)..]
    }

    /// Length of the chains.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Rows or columns.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }
}

/// Rows of a tile: as many as leave registers for the panel.
fn tile(isa: Isa) -> usize {
    match isa {
        Isa::Avx512Vnni | Isa::Avx512 => 12,
        Isa::Avx2 => 6,
        Isa::Portable => 4,
    }
}

/// Rows of a tile of lines, whose addresses take registers, too.
const LINES_TILE: usize = 6;

/// Rows of each of the tiles of at most `most` that `rows` rows take: about equally many, so that the last one is not nearly
/// empty.
fn even_tile(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most))
}

fn pack_lines(source: &dyn Pack, line0: usize, lines: usize, width: usize, k0: usize, depth: usize, out: &mut [f32]) {
    for (i, chunk) in out.chunks_exact_mut(width * depth).enumerate().take(lines.div_ceil(width)) {
        let first = i * width;
        source.pack(line0 + first, width.min(lines - first), width, k0, chunk);
    }
}

/// Rows of a left operand to read where they are, if they are few enough.
fn lines_of(source: &dyn Pack, first: usize, count: usize, k0: usize, depth: usize) -> Option<Vec<&[f32]>> {
    if count == 1 || count * depth > LINES_MAX {
        return None;
    }
    (first..first + count).map(|line| source.line(line, k0, depth)).collect()
}

/// What happens to elements once their chain is complete: bias, activation. What happens to a row must not depend on those
/// beside it. A function of row, first column and elements is one.
pub(crate) trait Finish: Sync {
    /// Does it to `columns` of each of `rows`, of which the first is row `row0` and column `column0` of the output.
    fn finish(&self, row0: usize, column0: usize, rows: &mut [&mut [f32]], columns: Range<usize>);
}

impl<F: Fn(usize, usize, &mut [f32]) + Sync> Finish for F {
    fn finish(&self, row0: usize, column0: usize, rows: &mut [&mut [f32]], columns: Range<usize>) {
        for (i, row) in rows.iter_mut().enumerate() {
            self(row0 + i, column0, &mut row[columns.clone()]);
        }
    }
}

/// One product of `rows` x `k` and `k` x `columns`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) left: Operand<'a>,
    pub(crate) right: Operand<'a>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) k: usize,
    pub(crate) finish: Option<&'a dyn Finish>,
}

/// An operand, packed before or on the way.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    /// Packed before, for the instruction set at hand.
    Packed(&'a Packed),
    /// To be packed block by block.
    Source(&'a dyn Pack),
}

/// A part of a product: some rows by some columns of its output.
struct Task<'a> {
    product: Product<'a>,
    row0: usize,
    column0: usize,
    /// Rows of the output, each as long as the columns of this part.
    out: Vec<&'a mut [f32]>,
}

/// Computes `products`, each into its `rows * columns` elements of `out`, on the threads of the current pool.
pub(crate) fn multiply(isa: Isa, products: &[Product<'_>], out: &mut [f32]) {
    let tasks_wanted = pool::pieces(products.iter().map(|p| p.rows * p.columns * p.k).sum());
    let mut tasks = Vec::new();
    let mut rest = out;
    for product in products {
        let (part, tail) = rest.split_at_mut(product.rows * product.columns);
        rest = tail;
        if product.k == 0 || part.is_empty() {
            finish_empty(product, part);
            continue;
        }
        split(*product, part, isa, tasks_wanted.div_ceil(products.len()), &mut tasks);
    }
    if tasks_wanted <= 1 {
        let mut scratch = Scratch::default();
        tasks.into_iter().for_each(|task| task.run(isa, &mut scratch));
    } else {
        pool::each(tasks, Scratch::default, |scratch, task| task.run(isa, scratch));
    }
}

/// Chains without elements are +0.0.
fn finish_empty(product: &Product<'_>, out: &mut [f32]) {
    out.fill(0.0);
    if let Some(finish) = product.finish {
        for (row, values) in out.chunks_exact_mut(product.columns.max(1)).enumerate() {
            finish.finish(row, 0, &mut [values], 0..product.columns);
        }
    }
}

/// Divides a product into about `parts` parts, along whichever side packs the least twice.
fn split<'a>(product: Product<'a>, out: &'a mut [f32], isa: Isa, parts: usize, tasks: &mut Vec<Task<'a>>) {
    let (tile, Product { rows, columns, .. }) = (tile(isa), product);
    let (tiles, panels) = (rows.div_ceil(tile), columns.div_ceil(PANEL));
    let prefer_rows = matches!(product.right, Operand::Packed(_));
    let by_rows = if prefer_rows { tiles >= parts } else { panels < parts && tiles > panels };
    // Each part packs the right operand for itself: then no more of them than threads.
    let parts = if by_rows && !prefer_rows { parts.div_ceil(pool::PIECES) } else { parts };
    let (row_parts, column_parts) = if by_rows { (parts, 1) } else { (1, parts) };
    let row_parts = if prefer_rows { row_parts.max(rows.div_ceil(ROWS_WHOLE)) } else { row_parts };
    // Tiles that are packed already stay whole, and where there are many, one more or less makes no difference.
    let whole = matches!(product.left, Operand::Packed(_)) || tiles >= row_parts * TILES_MANY;
    let row_cuts = cuts(rows, if whole { tile } else { 1 }, row_parts);
    let column_cuts = cuts(columns, PANEL, column_parts);
    let (first, across) = (tasks.len(), column_cuts.len() - 1);
    for row in row_cuts.windows(2) {
        for column in column_cuts.windows(2) {
            let out = Vec::with_capacity(row[1] - row[0]);
            tasks.push(Task { product, row0: row[0], column0: column[0], out });
        }
    }
    let mut down = 0;
    for (row, mut values) in out.chunks_exact_mut(columns).enumerate() {
        down += usize::from(row == row_cuts[down + 1]);
        for (i, column) in column_cuts.windows(2).enumerate() {
            let (part, rest) = values.split_at_mut(column[1] - column[0]);
            values = rest;
            tasks[first + down * across + i].out.push(part);
        }
    }
}

/// From 0 to `length`, in at most `parts` about equal parts of whole units, but for the last unit.
pub(super) fn cuts(length: usize, unit: usize, parts: usize) -> Vec<usize> {
    let units = length.div_ceil(unit);
    let parts = parts.clamp(1, units);
    (0..=parts).map(|i| (i * units / parts * unit).min(length)).collect()
}

/// Room for the packed blocks of one thread.
#[derive(Default)]
struct Scratch {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Task<'_> {
    fn run(mut self, isa: Isa, scratch: &mut Scratch) {
        let columns = self.out[0].len();
        // Whatever is packed on the way is packed once a block if the other operand's loop is inside.
        let step = match (self.product.left, self.product.right) {
            (_, Operand::Source(_)) => COLUMNS,
            (_, Operand::Packed(_)) => columns,
        };
        for column in (0..columns).step_by(step) {
            self.columns(isa, column, step.min(columns - column), scratch);
        }
    }

    fn columns(&mut self, isa: Isa, column: usize, columns: usize, scratch: &mut Scratch) {
        let (product, rows) = (self.product, self.out.len());
        let Scratch { left, right } = scratch;
        let row_step = if matches!(product.left, Operand::Packed(_)) { rows } else { ROWS };
        for k0 in (0..product.k).step_by(BLOCK) {
            let depth = BLOCK.min(product.k - k0);
            let panels = match product.right {
                Operand::Packed(packed) => packed.from(self.column0 + column, k0),
                Operand::Source(source) => {
                    right.resize(columns.next_multiple_of(PANEL) * depth, 0.0);
                    pack_lines(source, self.column0 + column, columns, PANEL, k0, depth, right);
                    right.as_slice()
                }
            };
            for row in (0..rows).step_by(row_step) {
                let count = row_step.min(rows - row);
                let lines;
                let (rows, height) = match product.left {
                    Operand::Packed(packed) => (Rows::Tiles(packed.from(self.row0 + row, k0)), packed.width),
                    Operand::Source(source) => {
                        lines = lines_of(source, self.row0 + row, count, k0, depth);
                        if let Some(lines) = &lines {
                            (Rows::Lines(lines), even_tile(count, tile(isa).min(LINES_TILE)))
                        } else {
                            let height = even_tile(count, tile(isa));
                            left.resize(count.next_multiple_of(height) * depth, 0.0);
                            pack_lines(source, self.row0 + row, count, height, k0, depth, left);
                            (Rows::Tiles(left), height)
                        }
                    }
                };
                let out = &mut self.out[row..row + count];
                dispatch::run(isa, Block { rows, panels, depth, height, column, columns, add: k0 > 0, out });
                if let Some(finish) = product.finish.filter(|_| k0 + depth == product.k) {
                    finish.finish(self.row0 + row, self.column0 + column, out, column..column + columns);
                }
            }
        }
    }
}
