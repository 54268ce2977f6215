//! What the threads share: one lock, three bells, and the steps that more than one of them takes.

use crate::{
    compute::Compute,
    config::{Config, Event, Farewell, Head},
    counters::Counters,
    schedule::{Demand, Finished, Micros, Refused, Scheduler, TransactionId},
    store::Store,
    watchlist::{Deferral, Phase, Watched, Watchlist, tip_per_gas},
};
use alloy_primitives::Address;
use foreblock_precompile::{
    MODEL_REGISTRY_ADDRESS, ModelId, ModelSlot, Outcomes, Request, RequestId, gas, model_storage_key,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};
use tokio::sync::broadcast;

/// Reasons kept of requests and of transactions that were given up.
const REASONS_MAX: usize = 1_024;

/// The last things that were said of something, so many and no more.
pub(crate) struct Bounded<K, V> {
    known: HashMap<K, V>,
    order: VecDeque<K>,
    max: usize,
}

impl<K: Copy + Eq + std::hash::Hash, V: Clone> Bounded<K, V> {
    fn new(max: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), max }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.known.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.max {
            self.order.pop_front().map(|first| self.known.remove(&first));
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.known.get(key).cloned()
    }
}

pub(crate) struct State {
    pub(crate) scheduler: Scheduler,
    pub(crate) watchlist: Watchlist,
    pub(crate) head: Option<Arc<Head>>,
    /// Counts heads: what was simulated on another one is simulated again.
    pub(crate) generation: u64,
    /// Builders at work: speculation waits for them.
    pub(crate) building: usize,
    pub(crate) stopped: bool,
    /// Numbers the waits of calls, so that each is its own transaction to the scheduler.
    pub(crate) calls: u64,
    /// Requests of the block that is being prepared that were answered in time.
    pub(crate) promised: u64,
    /// Transactions that were given up or replaced; the last ones.
    pub(crate) farewells: Bounded<TransactionId, Farewell>,
    reasons: Bounded<RequestId, String>,
}

impl State {
    pub(crate) fn new(scheduler: Scheduler, watchlist: Watchlist) -> Self {
        Self {
            scheduler,
            watchlist,
            head: None,
            generation: 0,
            building: 0,
            stopped: false,
            calls: 0,
            promised: 0,
            farewells: Bounded::new(REASONS_MAX),
            reasons: Bounded::new(REASONS_MAX),
        }
    }

    /// Keeps why a request has no outcome.
    pub(crate) fn note_reason(&mut self, id: RequestId, reason: String) {
        self.reasons.insert(id, reason);
    }

    pub(crate) fn reason(&self, id: RequestId) -> String {
        self.reasons.get(&id).unwrap_or_else(|| "no worker answered".to_owned())
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.env.block_env.basefee)
    }
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) compute: Arc<dyn Compute>,
    pub(crate) store: Arc<Store>,
    pub(crate) counters: Counters,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) zero: Instant,
    state: Mutex<State>,
    /// Rings when a worker may find something to run.
    pub(crate) work: Condvar,
    /// Rings when the scout may find something to simulate.
    pub(crate) scout: Condvar,
    /// Rings when an outcome or a phase is new.
    pub(crate) news: Condvar,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        compute: Arc<dyn Compute>,
        store: Arc<Store>,
        state: State,
        events: broadcast::Sender<Event>,
    ) -> Self {
        Self {
            config,
            compute,
            store,
            counters: Counters::default(),
            events,
            zero: Instant::now(),
            state: Mutex::new(state),
            work: Condvar::new(),
            scout: Condvar::new(),
            news: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Now, on the scheduler's clock. Never 0: that is its beginning.
    pub(crate) fn now_us(&self) -> Micros {
        self.zero.elapsed().as_micros() as Micros + 1
    }

    /// Tells everybody; nobody may be listening.
    pub(crate) fn say(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Tells the scheduler what the engine knows of a model, once.
    pub(crate) fn describe(&self, model: ModelId) {
        if self.lock().scheduler.costs().knows(model) {
            return;
        }
        let prior = self.compute.prior(model).unwrap_or_default();
        self.lock().scheduler.describe(model, prior);
    }

    /// Asks the scheduler for what a transaction misses.
    pub(crate) fn ask(&self, state: &mut State, request: Request, demand: Demand) -> Result<(), Refused> {
        let transaction = demand.transaction;
        let asked = state.scheduler.ask(request, demand, self.now_us());
        for (_, waiters) in state.scheduler.take_dropped() {
            waiters.into_iter().for_each(|hash| self.defer(state, hash, Deferral::PushedOut));
        }
        match asked {
            Ok(_) => self.work.notify_one(),
            Err(refused) => {
                self.defer(state, transaction, Deferral::Refused(refused));
                return Err(refused);
            }
        };
        Ok(())
    }

    /// Asks once more for what a transaction misses. It may have come meanwhile.
    pub(crate) fn ask_again(&self, state: &mut State, hash: TransactionId) {
        let base_fee = state.base_fee();
        let Some(watched) = state.watchlist.get(hash) else { return };
        let Some(request) = watched.missing.clone() else { return };
        if self.store.get(request.id).is_some() {
            return state.watchlist.outcome_ready(hash, request.id);
        }
        let demand = demand(hash, watched, watched.gas, base_fee);
        let _ = self.ask(state, request, demand);
    }

    pub(crate) fn defer(&self, state: &mut State, hash: TransactionId, why: Deferral) {
        if state.watchlist.get(hash).is_none() {
            return;
        }
        let reason = why.to_string();
        state.watchlist.set_phase(hash, Phase::Deferred(why));
        self.say(Event::Deferred { transaction: hash, reason });
        self.news.notify_all();
    }

    /// Work ended: who waited goes on, and who waited for what was given up is deferred.
    pub(crate) fn finished(&self, state: &mut State, finished: &Finished) {
        state.promised += finished.done.len() as u64;
        for (request, waiters) in &finished.done {
            self.say(Event::Outcome { request: *request });
            waiters.iter().for_each(|hash| state.watchlist.outcome_ready(*hash, *request));
        }
        for (request, waiters) in &finished.given_up {
            let reason = state.reason(*request);
            for hash in waiters {
                self.defer(state, *hash, Deferral::Unavailable { request: *request, reason: reason.clone() });
            }
        }
        self.scout.notify_one();
        self.news.notify_all();
    }
}

/// A transaction's wish, as the scheduler sees it.
pub(crate) fn demand(hash: TransactionId, watched: &Watched, gas: u64, base_fee: u64) -> Demand {
    /// A fee cap far above the base fee locks at most this many times the gas limit.
    const FEE_HEADROOM_MAX: u128 = 4;
    let env = &watched.env;
    let headroom = (env.gas_price / u128::from(base_fee.max(1))).clamp(1, FEE_HEADROOM_MAX) as u64;
    Demand {
        transaction: hash,
        sender: env.caller,
        contract: env.kind.to().copied().unwrap_or(Address::ZERO),
        // A later transaction of a sender is worth nothing before the earlier ones are ready: it never ranks above them.
        tip_wei: tip_per_gas(env, base_fee).min(watched.place.0.0).saturating_mul(u128::from(env.gas_limit)),
        unchanged_ppm: watched.unchanged_ppm(),
        gas,
        locked_gas: env.gas_limit.saturating_mul(headroom),
        since_us: watched.since_us,
        expires_us: None,
        followup_us: 0,
    }
}

/// The wish of a call or of the builder, for whom nobody pays.
pub(crate) fn unpaid(transaction: TransactionId, now_us: Micros) -> Demand {
    Demand {
        transaction,
        sender: Address::ZERO,
        contract: Address::ZERO,
        tip_wei: 0,
        unchanged_ppm: 1_000_000,
        gas: 0,
        locked_gas: 0,
        since_us: now_us,
        expires_us: None,
        followup_us: 0,
    }
}

/// Inference gas of a request, from the registry's slot; what it costs at least where the slot cannot be read.
pub(crate) fn inference_gas(head: &Head, request: &Request) -> u64 {
    let slot = head.state.storage_ref(MODEL_REGISTRY_ADDRESS, model_storage_key(request.model).into());
    let slot = slot.ok().and_then(ModelSlot::unpack);
    let per_run = slot.and_then(|slot| slot.reserved_gas(&request.input)).unwrap_or(0);
    per_run.saturating_add(gas::BASE + gas::words(request.input.len(), gas::INPUT_WORD))
}
