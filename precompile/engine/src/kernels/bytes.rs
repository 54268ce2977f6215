//! The innermost loops of products of 8-bit integers: a few rows by a panel of 16 columns, several steps of k at once.
//!
//! Which loop is the fastest depends on the instruction set; what comes out does not.

use super::dispatch::{self, Fma, Isa, Sums, Work};

/// Columns of a panel.
pub(crate) const PANEL: usize = 16;
/// Rows of a tile: their sums, a panel's registers and what is multiplied by them fit 16 registers.
pub(crate) const ROWS: usize = 4;
/// Most steps of k at once: so many less one elements behind a run may be read.
pub(crate) const STEPS_MAX: usize = 4;

/// Neighbours in memory of every row of a left operand, `offset` behind the row's first element. Where their number is no
/// multiple of the steps at once, the elements behind them are read, too, and multiplied by 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// An element of a left operand.
pub(crate) trait Left: Copy + Default + Send + Sync + 'static {
    /// Steps of k at once. A panel holds the elements of a column's steps one behind the other.
    const STEPS: usize;

    /// The element.
    fn value(self) -> i64;

    /// Runs work that calls [`Left::sums`].
    fn run<W: Work>(isa: Isa, work: W) -> W::Output;

    /// `R` rows by a panel, modulo 2^32. `lines` start at the rows' first elements; `panel` holds the steps of all `runs`,
    /// one behind the other.
    fn sums<F: Fma, const R: usize>(lines: [&[Self]; R], runs: &[Run], panel: &[i8]) -> [[i32; PANEL]; R];
}

/// Steps of k at once with the fastest loop.
pub(crate) fn steps(isa: Isa) -> usize {
    if isa.takes_quads() { u8::STEPS } else { i16::STEPS }
}

/// Elements less their zero points: these may need 9 bits.
impl Left for i16 {
    const STEPS: usize = 2;

    fn value(self) -> i64 {
        self.into()
    }

    #[inline(always)]
    fn run<W: Work>(isa: Isa, work: W) -> W::Output {
        dispatch::run(isa, work)
    }

    #[inline(always)]
    fn sums<F: Fma, const R: usize>(lines: [&[i16]; R], runs: &[Run], panel: &[i8]) -> [[i32; PANEL]; R] {
        let mut sums = [[Sums([0; 8]); 2]; R];
        let mut rest = panel.as_chunks::<{ 2 * PANEL }>().0;
        for run in runs {
            let (panel, after) = rest.split_at(run.length.div_ceil(2));
            rest = after;
            let mut left: [&[[i16; 2]]; R] = [&[]; R];
            for r in 0..R {
                left[r] = &lines[r][run.offset..].as_chunks::<2>().0[..panel.len()];
            }
            for (i, pairs) in panel.iter().enumerate() {
                let wide = [widen(pairs, 0), widen(pairs, 1)];
                for r in 0..R {
                    for half in 0..2 {
                        sums[r][half] = F::add_pairs(sums[r][half], left[r][i], &wide[half]);
                    }
                }
            }
        }
        let mut out = [[0; PANEL]; R];
        for r in 0..R {
            out[r][..8].copy_from_slice(&sums[r][0].0);
            out[r][8..].copy_from_slice(&sums[r][1].0);
        }
        out
    }
}

#[inline(always)]
fn widen(pairs: &[i8; 2 * PANEL], half: usize) -> [i16; PANEL] {
    let mut out = [0; PANEL];
    for i in 0..PANEL {
        out[i] = i16::from(pairs[half * PANEL + i]);
    }
    out
}

/// Elements as they are, those of `int8` moved by 128: their zero points are taken off the sums.
impl Left for u8 {
    const STEPS: usize = 4;

    fn value(self) -> i64 {
        self.into()
    }

    #[inline(always)]
    fn run<W: Work>(isa: Isa, work: W) -> W::Output {
        dispatch::run_on_bytes(isa, work)
    }

    #[inline(always)]
    fn sums<F: Fma, const R: usize>(lines: [&[u8]; R], runs: &[Run], panel: &[i8]) -> [[i32; PANEL]; R] {
        let mut sums = [Sums([0; PANEL]); R];
        let mut rest = panel.as_chunks::<{ 4 * PANEL }>().0;
        for run in runs {
            let (panel, after) = rest.split_at(run.length.div_ceil(4));
            rest = after;
            let mut left: [&[[u8; 4]]; R] = [&[]; R];
            for r in 0..R {
                left[r] = &lines[r][run.offset..].as_chunks::<4>().0[..panel.len()];
            }
            for (i, quads) in panel.iter().enumerate() {
                for r in 0..R {
                    sums[r] = F::add_quads(sums[r], left[r][i], quads);
                }
            }
        }
        let mut out = [[0; PANEL]; R];
        for r in 0..R {
            out[r] = sums[r].0;
        }
        out
    }
}
