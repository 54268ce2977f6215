//! What runs next: pure functions, time is an argument. No thread, clock, lock or channel.
//!
//! The rule stands in `docs/scheduling.md`. [`Scheduler`] is told of demands, blocks and ended batches, and says which batch
//! a worker runs next; the same calls give the same answers.

mod cost;
mod dispatch;
mod limits;
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

use crate::schedule::{oldest::Oldest, plan::Planned, work::Work};
use alloy_primitives::Address;
use foreblock_precompile::{ModelId, Request, RequestId};
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

    /// Takes one transaction's wish for a request.
    ///
    /// # Errors
    /// [`Refused`] at each bound. Nothing changed then.
    pub fn ask(&mut self, request: Request, demand: Demand, now_us: Micros) -> Result<Asked, Refused> {
        let asked = self.try_ask(request, demand, now_us);
        match asked {
            Ok(Asked::New) => self.counts.queued += 1,
            Ok(Asked::Merged) => self.counts.merged += 1,
            Ok(Asked::Known) => {}
            Err(_) => self.counts.refused += 1,
        }
        asked
    }

    fn try_ask(&mut self, request: Request, demand: Demand, now_us: Micros) -> Result<Asked, Refused> {
        let id = request.id;
        let known = self.work.get(&id);
        if known.is_some_and(|work| work.waiters.contains_key(&demand.transaction)) {
            return Ok(Asked::Known);
        }
        let waiting = self.senders.waiting(demand.sender);
        if waiting >= self.limits.sender_waiting_max {
            return Err(Refused::SenderFull { waiting, max: self.limits.sender_waiting_max });
        }
        if let Some(full) = known.map(|work| work.waiters.len()).filter(|waiters| *waiters >= self.limits.waiters_max) {
            return Err(Refused::RequestFull(full));
        }
        self.admit_transaction(&demand)?;
        let merged = known_or_new(self.work.contains_key(&id));
        let taken = self.payers.promise(demand.sender, demand.gas).and_then(|()| match merged {
            Asked::New => self
                .make_room_for(&request, &demand, now_us)
                .inspect_err(|_| self.payers.release(demand.sender, demand.gas)),
            _ => Ok(()),
        });
        if let Err(refused) = taken {
            self.forget_if_idle(demand.transaction);
            return Err(refused);
        }
        self.insert(request, demand);
        Ok(merged)
    }

    fn insert(&mut self, request: Request, demand: Demand) {
        let id = request.id;
        self.senders.wait(demand.sender);
        self.contracts.wait(demand.contract);
        if let Some(waiting) = self.transactions.get_mut(&demand.transaction) {
            waiting.requests.insert(id);
        }
        let work = self.work.entry(id).or_insert_with(|| {
            self.queue_bytes += request.input.len() + work::WORK_OVERHEAD_BYTES;
            Work::new(request)
        });
        self.by_age.remove(&(work.since_us(), id));
        work.waiters.insert(demand.transaction, demand);
        if work.state == State::Queued {
            self.by_age.insert((work.since_us(), id));
        }
        self.changed = true;
    }

    /// Locks a new transaction's funds. A transaction that is known keeps what it locked first.
    fn admit_transaction(&mut self, demand: &Demand) -> Result<(), Refused> {
        if self.transactions.contains_key(&demand.transaction) {
            return Ok(());
        }
        if self.transactions.len() >= 4 * self.limits.pieces_max {
            return Err(Refused::QueueFull { pieces: self.work.len(), bytes: self.queue_bytes });
        }
        self.payers.lock(demand.sender, demand.locked_gas);
        let waiting = Waiting {
            sender: demand.sender,
            contract: demand.contract,
            locked_gas: demand.locked_gas,
            requests: BTreeSet::new(),
        };
        self.transactions.insert(demand.transaction, waiting);
        Ok(())
    }

    fn forget_if_idle(&mut self, transaction: TransactionId) {
        let idle = self.transactions.get(&transaction).is_some_and(|waiting| waiting.requests.is_empty());
        if let Some(waiting) = idle.then(|| self.transactions.remove(&transaction)).flatten() {
            self.payers.unlock(waiting.sender, waiting.locked_gas);
        }
    }

    /// At the bound the lowest ranked work leaves, if the new one ranks higher.
    fn make_room_for(&mut self, request: &Request, demand: &Demand, now_us: Micros) -> Result<(), Refused> {
        let size = request.input.len() + work::WORK_OVERHEAD_BYTES;
        let max_bytes = self.limits.queue_bytes_max;
        if size > max_bytes {
            return Err(Refused::InputTooLarge { size_bytes: size, max_bytes });
        }
        let value_wei = demand.tip_wei as f64 * f64::from(demand.unchanged_ppm) / 1e6;
        let mine = rank(value_wei, self.costs.batch_us(request.model, 1), self.age_blocks(demand.since_us, now_us));
        while self.work.len() >= self.limits.pieces_max || self.queue_bytes + size > max_bytes {
            let full = Refused::QueueFull { pieces: self.work.len(), bytes: self.queue_bytes };
            let (theirs, victim) = self.worst(now_us).ok_or(full)?;
            if theirs >= mine {
                self.victims.push((theirs, victim));
                return Err(full);
            }
            let waiters = self.cancel(victim);
            self.counts.evicted += 1;
            self.dropped.push((victim, waiters));
        }
        Ok(())
    }

    /// Takes the worst queued work off the list of victims, made anew when it is used up.
    fn worst(&mut self, now_us: Micros) -> Option<(f64, RequestId)> {
        for fresh in [false, true] {
            if fresh {
                self.list_victims(now_us);
            }
            while let Some((rank, id)) = self.victims.pop() {
                if self.work.get(&id).is_some_and(|work| work.state == State::Queued) {
                    return Some((rank, id));
                }
            }
        }
        None
    }

    fn list_victims(&mut self, now_us: Micros) {
        let ranked = self.by_age.iter().map(|(since_us, id)| {
            let work = &self.work[id];
            let cost_us = self.costs.batch_us(work.request.model, 1);
            (rank(work.value_wei(), cost_us, self.age_blocks(*since_us, now_us)), *id)
        });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        self.victims = ranked.split_off(ranked.len() - ranked.len() / 16 - usize::from(!ranked.is_empty()));
    }

    fn age_blocks(&self, since_us: Micros, now_us: Micros) -> f64 {
        (now_us.saturating_sub(since_us) / self.slot.length_us.max(1)) as f64
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

    /// A transaction waits no more: it was dropped, replaced or expired. Returns the work that is cancelled with it.
    pub fn withdraw(&mut self, transaction: TransactionId) -> Vec<RequestId> {
        let Some(waiting) = self.transactions.remove(&transaction) else { return Vec::new() };
        self.payers.unlock(waiting.sender, waiting.locked_gas);
        let leave = |id: RequestId| self.leave(id, transaction, &waiting).then_some(id);
        waiting.requests.iter().copied().filter_map(leave).collect()
    }

    /// A transaction was included and paid `gas` for inference.
    pub fn included(&mut self, transaction: TransactionId, gas: u64) -> Vec<RequestId> {
        if let Some(waiting) = self.transactions.get(&transaction) {
            self.payers.pay(waiting.sender, gas);
            self.senders.included(waiting.sender);
            self.contracts.included(waiting.contract);
        }
        self.withdraw(transaction)
    }

    /// One transaction stops waiting for one request. True if the work is cancelled with it.
    fn leave(&mut self, id: RequestId, transaction: TransactionId, waiting: &Waiting) -> bool {
        self.senders.leave(waiting.sender);
        self.contracts.leave(waiting.contract);
        let Some(work) = self.work.get_mut(&id) else { return false };
        self.by_age.remove(&(work.since_us(), id));
        let Some(demand) = work.waiters.remove(&transaction) else { return false };
        if work.charged != Some(transaction) {
            self.payers.release(demand.sender, demand.gas);
        }
        if work.state != State::Queued {
            return false;
        }
        if work.waiters.is_empty() {
            self.remove_work(id);
            self.counts.cancelled += 1;
            return true;
        }
        self.by_age.insert((work.since_us(), id));
        false
    }

    /// Removes a piece of queued work with everybody who waits.
    fn cancel(&mut self, id: RequestId) -> Vec<TransactionId> {
        let waiters: Vec<_> = self.work.get(&id).map(|work| work.waiters.keys().copied().collect()).unwrap_or_default();
        for transaction in &waiters {
            if let Some(waiting) = self.transactions.get_mut(transaction) {
                waiting.requests.remove(&id);
                let waiting = waiting.clone();
                self.leave(id, *transaction, &waiting);
                self.forget_if_idle(*transaction);
            }
        }
        waiters
    }

    fn remove_work(&mut self, id: RequestId) -> Option<Work> {
        let work = self.work.remove(&id)?;
        self.queue_bytes -= work.size_bytes();
        self.by_age.remove(&(work.since_us(), id));
        self.changed = true;
        Some(work)
    }

    /// Where a request stands, if it is queued or running.
    pub fn place(&self, id: RequestId) -> Option<Place> {
        let work = self.work.get(&id)?;
        if let State::Running { worker } = work.state {
            let ends_us = self.running[worker].as_ref().map_or(0, |batch| batch.ends_us);
            return Some(Place { state: work.state, position: 0, block: self.slot.block_at(ends_us) });
        }
        let ahead = self.order.iter().skip(self.cursor).filter(|p| self.is_queued(p.id)).enumerate();
        let found = ahead.clone().find(|(_, planned)| planned.id == id);
        let (position, block) = found.map_or((ahead.count(), self.slot.block + 1), |(at, planned)| (at, planned.block));
        Some(Place { state: State::Queued, position, block })
    }

    fn is_queued(&self, id: RequestId) -> bool {
        self.work.get(&id).is_some_and(|work| work.state == State::Queued)
    }

    /// Predicted device time of what waits since `since_us` or longer, or runs: what the bound on the wait reckons with.
    pub fn older_work_us(&self, since_us: Micros) -> Micros {
        let cost_us = |model| self.costs.batch_us(model, 1);
        let older = self.by_age.iter().take_while(|(since, _)| *since <= since_us);
        let queued_us: Micros = older.map(|(_, id)| cost_us(self.work[id].request.model)).sum();
        let running = self.running.iter().flatten();
        queued_us + running.map(|batch| batch.ends_us - batch.started_us).sum::<Micros>()
    }

    /// Work removed from a full queue since the last call.
    pub fn take_dropped(&mut self) -> Vec<Dropped> {
        std::mem::take(&mut self.dropped)
    }

    /// Pieces of work in the queue or running.
    pub fn len(&self) -> usize {
        self.work.len()
    }

    /// Whether nothing waits or runs.
    pub fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    /// Bytes that the queue holds.
    pub fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The block that is being prepared.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// What is known of the models' cost.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// Where a payer stands.
    pub fn account(&self, payer: Address) -> Account {
        self.payers.account(payer)
    }

    /// How a sender is judged.
    pub fn standing(&self, sender: Address) -> Standing {
        self.senders.standing(sender)
    }

    /// Requests that are predicted to be ready for the block that is being prepared, and are not yet.
    pub fn admitted(&self) -> Vec<RequestId> {
        let now = |planned: &&Planned| planned.block == self.slot.block && self.is_queued(planned.id);
        let queued = self.order.iter().skip(self.cursor).filter(now).map(|planned| planned.id);
        let ends_in_time = |batch: &&Batch| batch.ends_us <= self.slot.seal_us;
        let running =
            self.running.iter().flatten().filter(ends_in_time).flat_map(|batch| batch.requests.iter().map(|r| r.id));
        queued.chain(running).collect()
    }
}

fn known_or_new(known: bool) -> Asked {
    if known { Asked::Merged } else { Asked::New }
}
