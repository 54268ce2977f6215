//! What runs next: pure functions, time is an argument. No thread, clock, lock or channel.
//!
//! The rule stands in `docs/scheduling.md`. [`Scheduler`] is told of demands, blocks and ended batches, and says which batch
//! a worker runs next; the same calls give the same answers.

mod admit;
mod candidates;
mod cost;
mod dispatch;
mod leave;
mod limits;
mod look;
mod oldest;
pub mod plan;
mod quota;
mod work;

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;

pub use cost::{Costs, Prior};
pub use limits::{Limits, Slot};
pub use plan::rank;
pub use quota::{
    Account, BAN_SLACK, CONTRACT_COUNT, Entities, INCLUSION_RATE_FACTOR, MIN_INCLUSION_RATE_DENOMINATOR, Payers,
    SENDER_COUNT, Standing, THROTTLED_COUNT, THROTTLING_SLACK,
};
pub use work::{Asked, Batch, Demand, Ended, Finished, Place, Refused, State, TransactionId};

use crate::schedule::{oldest::Oldest, plan::Planned, quota::Odds, work::Work};
use alloy_primitives::Address;
use foreblock_precompile::{ModelId, RequestId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Microseconds since the scheduler's own zero.
pub type Micros = u64;

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pieces of work taken into the queue.
    pub queued: u64,
    /// Demands for work that was there already.
    pub merged: u64,
    /// Pieces of work cancelled before they ran, because nobody waited any more.
    pub cancelled: u64,
    /// Pieces of work that left a full queue.
    pub evicted: u64,
    /// Demands refused.
    pub refused: u64,
    /// Batches started.
    pub batches: u64,
    /// Requests in them.
    pub rows: u64,
    /// Pieces of work started as the oldest.
    pub oldest_runs: u64,
    /// Requests run again after a crash.
    pub retried: u64,
}

/// A transaction that asked, until it is included or withdrawn.
#[derive(Clone, Debug)]
struct Waiting {
    sender: Address,
    contract: Address,
    locked_gas: u64,
    requests: BTreeSet<RequestId>,
    /// Something was computed for it, and its payer was charged.
    computed: bool,
}

/// A request removed from a full queue, and who waited for it.
pub type Dropped = (RequestId, Vec<TransactionId>);

/// The queue, and the rule that empties it.
#[derive(Clone, Debug)]
pub struct Scheduler {
    limits: Limits,
    slot: Slot,
    costs: Costs,
    senders: Entities,
    contracts: Entities,
    /// What became of senders' and contracts' first transactions.
    newcomers: Odds,
    payers: Payers,
    work: HashMap<RequestId, Work>,
    transactions: HashMap<TransactionId, Waiting>,
    /// Queued work by age; what runs is not in it.
    by_age: BTreeSet<(Micros, RequestId)>,
    queue_bytes: usize,
    running: Vec<Option<Batch>>,
    /// Device time of this slot by model.
    used_us: HashMap<ModelId, Micros>,
    order: Vec<Planned>,
    /// Where in `order` each model's work stands, first at the end.
    order_by_model: BTreeMap<ModelId, Vec<usize>>,
    cursor: usize,
    changed: bool,
    planned_us: Micros,
    /// Lowest ranked work, worst at the end: who leaves a full queue.
    victims: Vec<(f64, RequestId)>,
    oldest: Oldest,
    dropped: Vec<Dropped>,
    counts: Counts,
}

impl Scheduler {
    /// An empty queue before its first block.
    pub fn new(limits: Limits, slot: Slot) -> Self {
        let workers = limits.workers.max(1);
        Self {
            costs: Costs::new(limits.models_max),
            senders: Entities::new(SENDER_COUNT, limits.entities_max),
            contracts: Entities::new(CONTRACT_COUNT, limits.entities_max),
            newcomers: Odds::GOOD,
            payers: Payers::new(limits.payers_max),
            limits: Limits { workers, ..limits },
            slot,
            work: HashMap::new(),
            transactions: HashMap::new(),
            by_age: BTreeSet::new(),
            queue_bytes: 0,
            running: vec![None; workers],
            used_us: HashMap::new(),
            order: Vec::new(),
            order_by_model: BTreeMap::new(),
            cursor: 0,
            changed: false,
            planned_us: 0,
            victims: Vec::new(),
            oldest: Oldest::default(),
            dropped: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// A new block is being prepared. Work keeps its age.
    pub fn set_slot(&mut self, slot: Slot, now_us: Micros) {
        self.slot = slot;
        self.used_us.clear();
        for batch in self.running.iter().flatten() {
            *self.used_us.entry(batch.model).or_default() += batch.ends_us.saturating_sub(now_us);
        }
        self.senders.decay(now_us);
        self.contracts.decay(now_us);
        self.changed = true;
        self.planned_us = 0;
    }

    /// States what is known of a model before it ran.
    pub fn describe(&mut self, model: ModelId, prior: Prior) {
        self.costs.describe(model, prior);
    }

    /// The builder missed this request: it runs before all but the oldest. False if nobody asked for it yet.
    pub fn ask_first(&mut self, id: RequestId) -> bool {
        let Some(work) = self.work.get_mut(&id) else { return false };
        if work.state == State::Queued && !work.asked_first {
            work.asked_first = true;
            self.changed = true;
            self.planned_us = 0;
        }
        true
    }

    /// Work removed from a full queue since the last call.
    pub fn take_dropped(&mut self) -> Vec<Dropped> {
        std::mem::take(&mut self.dropped)
    }
}
