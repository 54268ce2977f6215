//! What can be seen from outside: places, promises, sizes, accounts.

use super::{Account, Batch, Costs, Counts, Micros, Place, Scheduler, Slot, Standing, State, plan::Planned};
use alloy_primitives::Address;
use foreblock_precompile::RequestId;
use std::collections::HashMap;

impl Scheduler {
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

    /// Whether a request is queued or running.
    pub fn holds(&self, id: RequestId) -> bool {
        self.work.contains_key(&id)
    }

    /// Where every request stands that is queued or running.
    pub fn places(&self) -> HashMap<RequestId, Place> {
        let queued = self.order.iter().skip(self.cursor).filter(|planned| self.is_queued(planned.id)).enumerate();
        let mut places: HashMap<_, _> = queued
            .map(|(position, planned)| (planned.id, Place { state: State::Queued, position, block: planned.block }))
            .collect();
        let planned = places.len();
        for (id, work) in &self.work {
            if let State::Running { worker } = work.state {
                let ends_us = self.running[worker].as_ref().map_or(0, |batch| batch.ends_us);
                places.insert(*id, Place { state: work.state, position: 0, block: self.slot.block_at(ends_us) });
            } else {
                let last = Place { state: State::Queued, position: planned, block: self.slot.block + 1 };
                places.entry(*id).or_insert(last);
            }
        }
        places
    }

    pub(super) fn is_queued(&self, id: RequestId) -> bool {
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
        let admitted = |batch: &&Batch| batch.block <= self.slot.block;
        let running =
            self.running.iter().flatten().filter(admitted).flat_map(|batch| batch.requests.iter().map(|r| r.id));
        queued.chain(running).collect()
    }
}
