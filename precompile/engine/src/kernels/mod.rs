//! Fixed-order kernels. Nothing here knows of ONNX.

pub(crate) mod bytes;
pub(crate) mod channels_last;
pub(crate) mod depthwise;
mod dispatch;
pub(crate) mod forest;
pub(crate) mod fused;
pub(crate) mod gemm;
#[cfg(test)]
mod gemm_tests;
pub(crate) mod integers;
pub(crate) mod math;
pub(crate) mod math64;
#[cfg(test)]
mod math_tests;
mod math_wide;
mod micro;
pub(crate) mod padded;
pub(crate) mod patches;
pub(crate) mod requantise;
pub(crate) mod rows;
pub(crate) mod sum;

pub(crate) use bytes::{PANEL, Run};
pub(crate) use dispatch::Fma;
pub use dispatch::Isa;

use crate::pool;

/// Calls `work` on parts of `values` that are whole rows of `width`, with the index of the first row, on the threads of
/// the current pool. `weight` is how many multiply-adds of a matrix product take as long as one element: 8 for the addition
/// of two in memory. What `work` does to a row must not depend on the part that it is in.
pub(crate) fn parallel_parts<T: Send>(
    values: &mut [T],
    width: usize,
    weight: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let rows = values.len() / width.max(1);
    let parts = pool::pieces(values.len() * weight).min(rows);
    if parts <= 1 {
        return work(0, values);
    }
    let step = rows.div_ceil(parts);
    on_threads(values, step, width, &work);
}

/// Dynamic, so that the machinery of threads is compiled once for a type and not once for an operator.
#[inline(never)]
fn on_threads<T: Send>(values: &mut [T], step: usize, width: usize, work: &(dyn Fn(usize, &mut [T]) + Send + Sync)) {
    let parts = values.chunks_mut(step * width).enumerate().collect();
    pool::each(parts, || (), |(), (i, part): (usize, &mut [T])| work(i * step, part));
}

/// As [`parallel_parts`], where the index does not matter.
pub(crate) fn parallel_rows<T: Send>(
    values: &mut [T],
    width: usize,
    weight: usize,
    work: impl Fn(&mut [T]) + Send + Sync,
) {
    parallel_parts(values, width, weight, |_, part| work(part));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;

    #[test]
    fn parts_know_where_they_are() {
        const WIDTH: usize = 7;
        let rows = 1 << 18;
        for threads in [1, 2, 3, 16] {
            let mut values = vec![0; rows * WIDTH];
            Pool::new(threads).run(|| {
                assert_eq!(pool::pieces(values.len() * 8) > 1, threads > 1, "enough to be divided");
                parallel_parts(&mut values, WIDTH, 8, |first, part| {
                    part.chunks_exact_mut(WIDTH).enumerate().for_each(|(i, row)| row.fill(first + i));
                });
            });
            assert!(values.chunks_exact(WIDTH).enumerate().all(|(i, row)| row == [i; WIDTH]), "{threads} threads");
        }
    }
}
