//! The numbers that bound the scheduler.

use super::Micros;

/// Bounds and shares of the scheduler. What happens at each bound stands in `docs/scheduling.md`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Workers that run batches, at least 1.
    pub workers: usize,
    /// Pieces of work in the queue. At the bound the lowest ranking one leaves, if the new one ranks higher.
    pub pieces_max: usize,
    /// Bytes of inputs in the queue; the same rule.
    pub queue_bytes_max: usize,
    /// Transactions that wait for one request.
    pub waiters_max: usize,
    /// Requests of one sender that wait; more are refused.
    pub sender_waiting_max: usize,
    /// Longest batch, in rows.
    pub batch_rows_max: usize,
    /// Part of a slot that one batch may take, so that a batch never blocks the queue for long.
    pub batch_slot_divisor: u64,
    /// Requests of a model that gains nothing from running together are handed to a worker together while they take no longer
    /// than this: the way there and back costs as much as many runs of a small model.
    pub quick_us: Micros,
    /// The oldest get one part in this many of the capacity.
    pub oldest_divisor: u64,
    /// One model takes at most one part in this many of a slot while others wait.
    pub model_divisor: u64,
    /// Share of the predicted time that is added before admission, in percent.
    pub margin_percent: u64,
    /// A plan is made anew at most this often.
    pub replan_us: Micros,
    /// Failed runs after which a request is given up.
    pub crashes_max: u32,
    /// Wait after the first failed run; doubled each time.
    pub backoff_us: Micros,
    /// Senders and contracts remembered each.
    pub entities_max: usize,
    /// Payers remembered.
    pub payers_max: usize,
    /// Models whose cost is remembered.
    pub models_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 1,
            pieces_max: 8_192,
            queue_bytes_max: 64 << 20,
            waiters_max: 1_024,
            sender_waiting_max: 256,
            batch_rows_max: 64,
            batch_slot_divisor: 16,
            quick_us: 1_000,
            oldest_divisor: 8,
            model_divisor: 4,
            margin_percent: 2,
            replan_us: 2_000,
            crashes_max: 3,
            backoff_us: 50_000,
            entities_max: 65_536,
            payers_max: 65_536,
            models_max: 1_024,
        }
    }
}

/// The block that is being prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub block: u64,
    /// When it starts; for the first block after a start, now.
    pub start_us: Micros,
    /// When its content is fixed: an answer that comes later is for the next block.
    pub seal_us: Micros,
    /// Time between two blocks.
    pub length_us: Micros,
}

impl Slot {
    /// First block that still takes an answer which is there at `at_us`.
    pub fn block_at(&self, at_us: Micros) -> u64 {
        match at_us.checked_sub(self.seal_us) {
            None | Some(0) => self.block,
            Some(late) => self.block + late.div_ceil(self.length_us.max(1)),
        }
    }
}
