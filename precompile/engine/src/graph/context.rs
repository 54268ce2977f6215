//! What every kernel of a run shares: memory and iterations left, what was computed, and how wide to compute.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::spares::Spares;
use crate::failure::{self, Failure};
use crate::kernels::Isa;
use crate::onnx::Limits;
use crate::tensor::{Data, ELEMENTS_MAX, Element, ElementType, Tensor};

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
    spares: Mutex<Spares>,
    /// Bytes of buffers that runs before left.
    inherited: u64,
}

impl Context {
    /// A context with all of the limits still to spend.
    pub fn new(isa: Isa, limits: &Limits) -> Self {
        Self::with_spares(isa, limits, Spares::default())
    }

    /// As [`Context::new`], with buffers of runs before.
    pub(crate) fn with_spares(isa: Isa, limits: &Limits, spares: Spares) -> Self {
        Self {
            isa,
            bytes_max: limits.run_bytes_max,
            iterations_left: AtomicU64::new(limits.iterations_max),
            live: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            macs: AtomicU64::new(0),
            inherited: spares.bytes(),
            spares: Mutex::new(spares),
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

    /// An empty buffer for `count` elements, counted against the run's memory until the operator returns.
    pub fn reserve<T: Element>(&self, count: usize) -> Result<Vec<T>, Failure> {
        self.claim::<T>(count)?;
        let spare = self.spare_of::<T>(count).map(|mut spare| {
            spare.clear();
            spare
        });
        Ok(spare.unwrap_or_else(|| Vec::with_capacity(count)))
    }

    /// As [`Context::reserve`], filled with zeros (false, empty strings).
    pub fn zeros<T: Element>(&self, count: usize) -> Result<Vec<T>, Failure> {
        self.claim::<T>(count)?;
        let spare = self.spare_of::<T>(count).map(|mut spare| {
            spare.clear();
            spare.resize(count, T::default());
            spare
        });
        Ok(spare.unwrap_or_else(|| vec![T::default(); count]))
    }

    /// As [`Context::zeros`], for who writes every element: what the buffer holds does not matter.
    pub(crate) fn room<T: Element>(&self, count: usize) -> Result<Vec<T>, Failure> {
        self.claim::<T>(count)?;
        Ok(self.claimed_room(count))
    }

    /// As [`Context::room`], of elements that are counted already.
    pub(crate) fn claimed_room<T: Element>(&self, count: usize) -> Vec<T> {
        let spare = self.spare_of::<T>(count).map(|mut spare| {
            spare.resize(count, T::default());
            spare
        });
        spare.unwrap_or_else(|| vec![T::default(); count])
    }

    /// Keeps the buffer of a value for others to write to, where nobody else holds it.
    pub(crate) fn recycle(&self, value: Tensor) {
        if value.size_bytes() < Spares::BYTES_MIN {
            return;
        }
        let (_, Data::F32(shared)) = value.into_parts() else { return };
        let Ok(values) = Arc::try_unwrap(shared) else { return };
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        // The value still counts as alive: together with it, all that is kept was alive at some time.
        if self.live().saturating_add(spares.bytes()) <= self.peak.load(Relaxed).max(self.inherited) {
            spares.keep(values);
        }
    }

    /// Buffers that nobody needs any more, for the next run.
    pub(crate) fn into_spares(self) -> Spares {
        self.spares.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare_of<T: Element>(&self, count: usize) -> Option<Vec<T>> {
        if T::TYPE != ElementType::F32 || ((count * size_of::<f32>()) as u64) < Spares::BYTES_MIN {
            return None;
        }
        let values = self.spares.lock().unwrap_or_else(PoisonError::into_inner).find(count)?;
        T::unwrap(f32::wrap(Arc::new(values))).and_then(Arc::into_inner)
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
        if live.saturating_add(self.inherited) > self.bytes_max {
            *self.spares.lock().unwrap_or_else(PoisonError::into_inner) = Spares::default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_by_a_run(count: usize) -> Spares {
        let context = Context::unbounded(Isa::Portable);
        let value = Tensor::vector(context.room::<f32>(count).unwrap());
        context.recycle(value);
        context.into_spares()
    }

    #[test]
    fn a_run_writes_to_what_the_run_before_left() {
        let spares = left_by_a_run(100_000);
        assert_eq!(spares.bytes(), 400_000);
        let context = Context::with_spares(Isa::Portable, &Limits::default(), spares);
        assert_eq!(context.zeros::<f32>(60_000).unwrap(), vec![0.0; 60_000]);
        assert_eq!(context.into_spares().bytes(), 0);
    }

    #[test]
    fn what_runs_left_is_part_of_the_memory_that_a_run_may_use() {
        let limits = Limits { run_bytes_max: 500_000, ..Limits::default() };
        let context = Context::with_spares(Isa::Portable, &limits, left_by_a_run(100_000));
        context.claim::<f32>(20_000).unwrap();
        assert_eq!(context.spares.lock().unwrap().bytes(), 400_000);
        context.claim::<f32>(20_000).unwrap();
        assert_eq!(context.spares.lock().unwrap().bytes(), 0, "freed where both are too much");
    }
}
