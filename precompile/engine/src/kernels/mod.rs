//! Fixed-order kernels. Nothing here knows of ONNX.

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
pub(crate) mod patches;
pub(crate) mod rows;
pub(crate) mod sum;

use rayon::prelude::*;

pub(crate) use dispatch::Fma;
pub use dispatch::Isa;

/// Elements of elementwise work that are worth another thread.
const TASK_ELEMENTS: usize = 1 << 15;

/// Calls `work` on parts of `values` that are whole rows of `width`, with the index of the first row, on the threads of
/// the current pool. `weight` is how many times longer an element takes than an addition, in eighths. What `work` does
/// to a row must not depend on the part that it is in.
pub(crate) fn parallel_parts<T: Send>(
    values: &mut [T],
    width: usize,
    weight: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let threads = if rayon::current_thread_index().is_some() { rayon::current_num_threads() } else { 1 };
    let rows = values.len() / width.max(1);
    let parts = threads.min(rows).min(values.len() * weight / 8 / TASK_ELEMENTS + 1);
    if parts <= 1 {
        return work(0, values);
    }
    let step = rows.div_ceil(parts);
    on_threads(values, step, width, &work);
}

/// Dynamic, so that the machinery of threads is compiled once for a type and not once for an operator.
#[inline(never)]
fn on_threads<T: Send>(values: &mut [T], step: usize, width: usize, work: &(dyn Fn(usize, &mut [T]) + Send + Sync)) {
    values.par_chunks_mut(step * width).enumerate().for_each(|(i, part)| work(i * step, part));
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
