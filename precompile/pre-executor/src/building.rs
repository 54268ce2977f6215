//! What a builder is given: outcomes, quiet, which transactions to leave alone, and what to do about a miss.

use crate::{
    counters::Counters,
    pre_executor::PreExecutor,
    schedule::TransactionId,
    shared::{Shared, demand, inference_gas},
    watchlist::Hold,
};
use foreblock_precompile::{ModelId, Outcome, Outcomes, Request, RequestId};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

impl PreExecutor {
    /// The outcomes for block building: hits and misses are counted.
    pub fn builder_outcomes(&self) -> Arc<dyn Outcomes> {
        Arc::new(BuilderOutcomes { shared: self.shared.clone() })
    }

    /// Speculation waits while the guard lives. Workers go on.
    pub fn building(&self) -> Building {
        let mut state = self.shared.lock();
        state.building += 1;
        let (slot, now_us) = (state.scheduler.slot(), self.shared.now_us());
        // A block that comes long before it was due breaks no promise.
        if now_us + slot.length_us / 32 >= slot.seal_us {
            let late = state.scheduler.admitted().len() as u64;
            Counters::add(&self.shared.counters.admitted_late, late);
            Counters::add(&self.shared.counters.admitted, late + std::mem::take(&mut state.promised));
        }
        drop(state);
        Building { shared: self.shared.clone() }
    }

    /// Whether a builder leaves a transaction alone, and why.
    pub fn hold(&self, hash: TransactionId) -> Option<Hold> {
        let state = self.shared.lock();
        let hold = state.watchlist.hold(hash, state.scheduler.slot().block)?;
        let there = |hold: &Hold| matches!(hold, Hold::Waits(id) if self.shared.store.get(*id).is_some());
        Some(hold).filter(|hold| !there(hold))
    }

    /// The builder ran a transaction and missed this request. It is computed at once where that takes less time than to skip the
    /// transaction; else it is asked before all but the oldest, until the builder missed the transaction too often. True if the
    /// outcome is there now.
    pub fn missed(&self, hash: TransactionId, request: &Request) -> bool {
        if self.shared.store.get(request.id).is_some() {
            return true;
        }
        self.shared.describe(request.model);
        if self.compute_at_once(hash, request) {
            return true;
        }
        let mut state = self.shared.lock();
        let block = state.scheduler.slot().block;
        let Some(first) = state.watchlist.missed(hash, request, block) else { return false };
        let Some(head) = state.head.clone() else { return false };
        let gas = inference_gas(&head, request);
        state.watchlist.priced(hash, gas);
        let Some(watched) = state.watchlist.get(hash) else { return false };
        let demand = demand(hash, watched, gas, state.base_fee());
        if self.shared.ask(&mut state, request.clone(), demand).is_ok() && first {
            state.scheduler.ask_first(request.id);
        }
        drop(state);
        self.shared.work.notify_one();
        false
    }

    /// Runs a model of microseconds on the builder's own thread, on the transaction's account.
    fn compute_at_once(&self, hash: TransactionId, request: &Request) -> bool {
        let shared = &self.shared;
        let mut state = shared.lock();
        let costs = state.scheduler.costs();
        let fast = costs.batch_late_us(request.model, 1) <= shared.config.at_once_us_max;
        let (Some(head), true) = (state.head.clone(), fast && shared.compute.at_once(request.model)) else {
            return false;
        };
        let base_fee = state.base_fee();
        let Some(watched) = state.watchlist.get(hash) else { return false };
        let demand = demand(hash, watched, inference_gas(&head, request), base_fee);
        if state.scheduler.charge(&demand).is_err() {
            return false;
        }
        drop(state);
        let run = || shared.compute.run(request.model, std::slice::from_ref(&request.input));
        let Some(Ok(outcome)) = catch_unwind(AssertUnwindSafe(run)).ok().and_then(|mut outcomes| outcomes.pop()) else {
            return false;
        };
        Counters::add(&shared.counters.at_once, 1);
        shared.store.show(&[(request.id, shared.compute.certified(request.id, outcome))]);
        true
    }
}

/// A builder is at work.
pub struct Building {
    shared: Arc<Shared>,
}

impl Drop for Building {
    fn drop(&mut self) {
        self.shared.lock().building -= 1;
        self.shared.scout.notify_one();
    }
}

impl std::fmt::Debug for Building {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Building")
    }
}

/// Counts hits and misses of real builds.
struct BuilderOutcomes {
    shared: Arc<Shared>,
}

impl Outcomes for BuilderOutcomes {
    fn get(&self, id: RequestId) -> Option<Outcome> {
        let found = self.shared.store.get(id);
        let counters = &self.shared.counters;
        Counters::add(if found.is_some() { &counters.build_hits } else { &counters.build_misses }, 1);
        found
    }

    fn id(&self, model: ModelId, input: &[u8]) -> RequestId {
        self.shared.store.id(model, input)
    }

    fn missing(&self, request: &Request) {
        self.shared.store.missing(request);
    }
}
