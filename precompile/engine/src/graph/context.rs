//! What every kernel of a run shares: memory and iterations left, what was computed, and how wide to compute.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::failure::{self, Failure};
use crate::kernels::Isa;
use crate::onnx::Limits;
use crate::tensor::{ELEMENTS_MAX, Element};

/// What a run costs, the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds of matrix products, convolutions and what is built on them.
    pub macs: u64,
    /// Bytes that the operators read and wrote.
    pub bytes: u64,
    /// Most bytes alive at once, constants aside.
    pub peak_bytes: u64,
}

/// Shared by the kernels of one run.
pub struct Context {
    isa: Isa,
    bytes_max: u64,
    iterations_left: AtomicU64,
    live: AtomicU64,
    peak: AtomicU64,
    moved: AtomicU64,
    macs: AtomicU64,
}

impl Context {
    /// A context with all of the limits still to spend.
    pub fn new(isa: Isa, limits: &Limits) -> Self {
        Self {
            isa,
            bytes_max: limits.run_bytes_max,
            iterations_left: AtomicU64::new(limits.iterations_max),
            live: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            macs: AtomicU64::new(0),
        }
    }

    /// For work whose memory other contexts count.
    pub(crate) fn unbounded(isa: Isa) -> Self {
        Self::new(isa, &Limits { run_bytes_max: u64::MAX, ..Limits::default() })
    }

    /// Instruction set to compute with; no result depends on it.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads at hand; no result depends on them.
    pub fn threads(&self) -> usize {
        if rayon::current_thread_index().is_some() { rayon::current_num_threads() } else { 1 }
    }

    /// An empty buffer for `count` elements, counted against the run's memory until the operator returns.
    pub fn reserve<T: Element>(&self, count: usize) -> Result<Vec<T>, Failure> {
        self.claim::<T>(count)?;
        Ok(Vec::with_capacity(count))
    }

    /// As [`Context::reserve`], filled with zeros (false, empty strings).
    pub fn zeros<T: Element>(&self, count: usize) -> Result<Vec<T>, Failure> {
        self.claim::<T>(count)?;
        Ok(vec![T::default(); count])
    }

    /// Counts `count` elements against the run's memory until the operator returns.
    pub fn claim<T: Element>(&self, count: usize) -> Result<(), Failure> {
        if count > ELEMENTS_MAX {
            return Err(failure::out_of_memory(format!("a tensor of {count} elements is too large")));
        }
        self.grow(count as u64 * T::TYPE.size_bytes() as u64)
    }

    /// Counts multiply-adds.
    pub fn count_macs(&self, macs: u64) {
        self.macs.fetch_add(macs, Relaxed);
    }

    /// Takes one iteration of a loop from those left.
    pub fn iterate(&self) -> Result<(), Failure> {
        let take = |left: u64| left.checked_sub(1);
        let taken = self.iterations_left.fetch_update(Relaxed, Relaxed, take);
        taken.map(drop).map_err(|_| failure::step_limit("the loops of the model iterate too often"))
    }

    /// What was spent so far.
    pub fn cost(&self) -> Cost {
        Cost { macs: self.macs.load(Relaxed), bytes: self.moved.load(Relaxed), peak_bytes: self.peak.load(Relaxed) }
    }

    pub(super) fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }

    pub(super) fn set_live(&self, bytes: u64) -> Result<(), Failure> {
        self.live.store(0, Relaxed);
        self.grow(bytes)
    }

    /// Counts bytes that an operator moves beside its inputs and outputs.
    pub(crate) fn count_moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Relaxed);
    }

    pub(super) fn grow(&self, bytes: u64) -> Result<(), Failure> {
        let live = self.live.fetch_add(bytes, Relaxed).saturating_add(bytes);
        self.peak.fetch_max(live, Relaxed);
        if live > self.bytes_max {
            let max = self.bytes_max;
            return Err(failure::out_of_memory(format!("the run needs more than the {max} bytes that it may use")));
        }
        Ok(())
    }
}
