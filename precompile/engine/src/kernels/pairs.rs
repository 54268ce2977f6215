//! The innermost loop of products of integers: a few rows by a panel of 16 columns, two steps of k at once.

use super::dispatch::{Fma, Sums};

/// Columns of a panel.
pub(crate) const PANEL: usize = 16;
/// Rows of a tile: their sums, a panel's two registers and a pair of the left operand fit 16 registers.
pub(crate) const ROWS: usize = 4;

/// Two steps of k of a panel: column `i` has `[2 * i]` and `[2 * i + 1]`.
pub(crate) type Pairs = [i8; 2 * PANEL];

/// Neighbours in memory of every row of a left operand, `offset` behind the row's first element. Where they are an odd
/// number, the element behind them is read, too, and multiplied by 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl Run {
    pub(crate) fn pairs(&self) -> usize {
        self.length.div_ceil(2)
    }
}

/// `R` rows by a panel, modulo 2^32. `lines` start at the rows' first elements; `panel` holds the pairs of all `runs`, one
/// behind the other.
#[inline(always)]
pub(crate) fn sums<F: Fma, const R: usize>(lines: [&[i16]; R], runs: &[Run], panel: &[Pairs]) -> [[i32; PANEL]; R] {
    let mut sums = [[Sums([0; 8]); 2]; R];
    let mut rest = panel;
    for run in runs {
        let (panel, after) = rest.split_at(run.pairs());
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

#[inline(always)]
fn widen(pairs: &Pairs, half: usize) -> [i16; PANEL] {
    let mut out = [0; PANEL];
    for i in 0..PANEL {
        out[i] = i16::from(pairs[half * PANEL + i]);
    }
    out
}
