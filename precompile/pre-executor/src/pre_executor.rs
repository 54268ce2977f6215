//! The one handle to all of it. Cheap to clone; callers never see a lock.

use crate::{
    compute::Compute,
    counters::{Counters, Metrics},
    reads::WriteSet,
    schedule::{Limits, Scheduler, Slot, TransactionId},
    scout::HeadState,
    scouting,
    shared::{Shared, State, unpaid},
    status::TransactionStatus,
    store::{Store, StoreError, StoreLimits},
    watchlist::{PendingTransaction, Phase, WatchLimits, Watchlist},
    workers,
};
use alloy_evm::EvmEnv;
use alloy_primitives::{Address, keccak256};
use foreblock_precompile::{ModelId, Outcome, Outcomes, PRECOMPILE_ADDRESS, Request, RequestId};
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::broadcast;

/// What a node decides once.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where outcomes are kept; in memory only where there is none.
    pub data_dir: Option<PathBuf>,
    /// Where the precompile stands.
    pub address: Address,
    /// Bounds of the scheduler.
    pub limits: Limits,
    /// Bounds of the watchlist.
    pub watch: WatchLimits,
    /// Bounds of the store.
    pub store: StoreLimits,
    /// Inferences of one `eth_call` that depend on one another.
    pub call_rounds_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            address: PRECOMPILE_ADDRESS,
            limits: Limits::default(),
            watch: WatchLimits::default(),
            store: StoreLimits::default(),
            call_rounds_max: 64,
        }
    }
}

/// The chain's head, as the next block sees it.
#[derive(Clone, Debug)]
pub struct Head {
    /// Number of the block that is being prepared.
    pub block: u64,
    /// Its environment, predicted: number, timestamp, base fee and prevrandao of the *next* block.
    pub env: EvmEnv,
    /// The state after the last block.
    pub state: HeadState,
    /// Time until the block is built.
    pub seal_in: Duration,
    /// Time between two blocks.
    pub slot: Duration,
    /// What the last block wrote; where it is not known, everything is simulated again.
    pub writes: Option<WriteSet>,
}

/// News, in the order in which they happened. Who is slow misses the oldest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All outcomes of a transaction are there, or it needs none: it can be included.
    Ready {
        /// The transaction.
        transaction: TransactionId,
    },
    /// An outcome is there.
    Outcome {
        /// Its request.
        request: RequestId,
    },
    /// A transaction is not for this block.
    Deferred {
        /// The transaction.
        transaction: TransactionId,
        /// Why, in words.
        reason: String,
    },
    /// A transaction was never ready, or had to leave a full watchlist: the pool should drop it.
    Expired {
        /// The transaction.
        transaction: TransactionId,
        /// Why, in words.
        reason: String,
    },
}

/// Why the pre-executor does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}; the system's limit on threads may be reached")]
    Thread(#[from] std::io::Error),
}

/// Why a call has no outcomes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The time is over.
    #[error("request {request} has no outcome after {} ms: ask again later", waited.as_millis())]
    Timeout {
        /// The first that is missing.
        request: RequestId,
        /// How long it was waited for.
        waited: Duration,
    },
    /// No worker could compute it.
    #[error("request {request} cannot be computed: {reason}")]
    Unavailable {
        /// The request.
        request: RequestId,
        /// What the workers said.
        reason: String,
    },
    /// The call makes too many inferences one after the other.
    #[error("more than {0} inferences depend on one another: split the call")]
    Rounds(u32),
}

/// Finds what pending transactions will ask, and computes it before the block is built.
#[derive(Clone)]
pub struct PreExecutor {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

/// Stops the threads when the last handle is gone.
struct Alive {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Alive {
    fn stop(&self) {
        self.shared.lock().stopped = true;
        for bell in [&self.shared.work, &self.shared.scout, &self.shared.news] {
            bell.notify_all();
        }
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.stop();
    }
}

impl PreExecutor {
    /// Opens the store and starts the threads.
    ///
    /// # Errors
    /// [`StartError`] if the data directory cannot be used or a thread cannot be started.
    pub fn start(config: Config, compute: Arc<dyn Compute>) -> Result<Self, StartError> {
        let store = match &config.data_dir {
            Some(directory) => Store::open(directory, config.store)?,
            None => Store::in_memory(config.store),
        };
        let second_us = 1_000_000;
        let slot = Slot { block: 0, start_us: 0, seal_us: second_us, length_us: second_us };
        let state = State::new(Scheduler::new(config.limits.clone(), slot), Watchlist::new(config.watch));
        let (events, _) = broadcast::channel(4_096);
        let shared = Arc::new(Shared::new(config, compute, Arc::new(store), state, events));
        let alive = Arc::new(Alive { shared: shared.clone(), threads: Mutex::default() });
        let handle = Self { shared: shared.clone(), _alive: alive.clone() };
        alive.threads.lock().extend(workers::start(&shared)?);
        alive.threads.lock().push(scouting::start(&shared)?);
        Ok(handle)
    }

    /// Stops all threads and waits for them; batches that run are finished and stored. Dropping the last handle does
    /// the same.
    pub fn stop(&self) {
        self._alive.stop();
    }

    /// The outcomes, for calls, estimates and traces of pending work. Lookups are not counted.
    pub fn store(&self) -> Arc<Store> {
        self.shared.store.clone()
    }

    /// The outcomes for block building: hits and misses are counted, and what is missing is asked first.
    pub fn builder_outcomes(&self) -> Arc<dyn Outcomes> {
        Arc::new(BuilderOutcomes { shared: self.shared.clone() })
    }

    /// A new block is being prepared. Tell of [`Self::included`] and dropped transactions before.
    pub fn new_head(&self, head: Head) {
        let now_us = self.shared.now_us();
        let slot = Slot {
            block: head.block,
            start_us: now_us,
            seal_us: now_us + head.seal_in.as_micros() as u64,
            length_us: (head.slot.as_micros() as u64).max(1),
        };
        let mut state = self.shared.lock();
        state.scheduler.set_slot(slot, now_us);
        state.generation += 1;
        let expired = state.watchlist.new_head(head.block, head.writes.as_ref());
        state.head = Some(Arc::new(head));
        let blocks = self.shared.config.watch.blocks_max;
        expired.into_iter().for_each(|hash| self.expire(&mut state, hash, format!("not ready within {blocks} blocks")));
        drop(state);
        self.shared.scout.notify_one();
        self.shared.work.notify_all();
        self.shared.news.notify_all();
    }

    fn expire(&self, state: &mut State, hash: TransactionId, reason: String) {
        state.watchlist.remove(hash);
        state.scheduler.withdraw(hash);
        self.shared.say(Event::Expired { transaction: hash, reason });
    }

    /// Takes a transaction of the pool that can be executed, at once or after others of its sender.
    pub fn submit(&self, transaction: PendingTransaction) {
        let mut state = self.shared.lock();
        let (base_fee, block) = (state.base_fee(), state.scheduler.slot().block);
        if let Some(replaced) = transaction.replaces {
            state.scheduler.withdraw(replaced);
        }
        if let Some(hash) = state.watchlist.add(transaction, base_fee, block, self.shared.now_us()) {
            self.expire(&mut state, hash, "too many pending transactions, all with a higher tip".to_owned());
        }
        drop(state);
        self.shared.scout.notify_one();
    }

    /// A transaction left the pool: dropped, replaced or expired. Work that nobody else waits for is cancelled.
    pub fn drop_transaction(&self, hash: TransactionId) {
        let mut state = self.shared.lock();
        state.watchlist.remove(hash);
        state.scheduler.withdraw(hash);
        drop(state);
        self.shared.news.notify_all();
    }

    /// A transaction was included in a block and used `gas`.
    pub fn included(&self, hash: TransactionId, gas: u64) {
        let mut state = self.shared.lock();
        state.watchlist.remove(hash);
        state.scheduler.included(hash, gas);
        drop(state);
        self.shared.news.notify_all();
    }

    /// Speculation waits while the guard lives. Workers go on.
    pub fn building(&self) -> Building {
        let mut state = self.shared.lock();
        state.building += 1;
        let late = state.scheduler.admitted().len() as u64;
        Counters::add(&self.shared.counters.admitted_late, late);
        drop(state);
        Building { shared: self.shared.clone() }
    }

    /// Where a transaction stands, if it is watched.
    pub fn status(&self, hash: TransactionId) -> Option<TransactionStatus> {
        let state = self.shared.lock();
        let watched = state.watchlist.get(hash)?;
        Some(TransactionStatus::of(hash, watched, &state.scheduler, &self.shared.store, self.shared.now_us()))
    }

    /// Where all watched transactions stand, in the builder's order.
    pub fn pending(&self) -> Vec<TransactionStatus> {
        let (state, now_us) = (self.shared.lock(), self.shared.now_us());
        let status =
            |(hash, watched)| TransactionStatus::of(hash, watched, &state.scheduler, &self.shared.store, now_us);
        state.watchlist.in_order().map(status).collect()
    }

    /// News from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Waits until a transaction is ready (true), or until it is known that it will not be for this block, is not
    /// watched any more, or the time is over (false).
    pub fn wait_ready(&self, hash: TransactionId, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            match state.watchlist.get(hash).map(|watched| &watched.phase) {
                Some(Phase::Ready) => return true,
                Some(Phase::Scouting | Phase::Waiting) if !state.stopped => {}
                _ => return false,
            }
            if self.shared.news.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
    }

    /// Waits until there is an outcome for each request, asking for those that are missing.
    ///
    /// # Errors
    /// [`Unresolved`] once the time is over or a request is given up.
    pub fn wait(&self, requests: &[Request], timeout: Duration) -> Result<(), Unresolved> {
        let started = Instant::now();
        let missing = |request: &&Request| self.shared.store.get(request.id).is_none();
        let missing: Vec<&Request> = requests.iter().filter(missing).collect();
        missing.iter().for_each(|request| self.shared.describe(request.model));
        let mut state = self.shared.lock();
        let mut asked = Vec::new();
        for request in &missing {
            state.calls += 1;
            let call = keccak256([request.id.as_slice(), &state.calls.to_be_bytes()].concat());
            let unavailable = |refused: crate::schedule::Refused| Unresolved::Unavailable {
                request: request.id,
                reason: refused.to_string(),
            };
            let demand = unpaid(call, self.shared.now_us());
            let taken = self.shared.ask(&mut state, (*request).clone(), demand).map_err(unavailable);
            asked.push(call);
            if let Err(error) = taken {
                asked.iter().for_each(|call| drop(state.scheduler.withdraw(*call)));
                return Err(error);
            }
        }
        let result = loop {
            let Some(first) = missing.iter().find(|request| self.shared.store.get(request.id).is_none()) else {
                break Ok(());
            };
            if state.stopped || state.scheduler.place(first.id).is_none() {
                break Err(Unresolved::Unavailable { request: first.id, reason: state.reason(first.id) });
            }
            if self.shared.news.wait_until(&mut state, started + timeout).timed_out() {
                break Err(Unresolved::Timeout { request: first.id, waited: started.elapsed() });
            }
        };
        asked.iter().for_each(|call| drop(state.scheduler.withdraw(*call)));
        result
    }

    /// Runs a call until it misses no outcome. `run` returns the request that aborted it, if one did.
    ///
    /// # Errors
    /// [`Unresolved`] once the time or the rounds are over, or a request is given up.
    pub fn resolve<T>(&self, timeout: Duration, mut run: impl FnMut() -> Result<T, Request>) -> Result<T, Unresolved> {
        let deadline = Instant::now() + timeout;
        let rounds_max = self.shared.config.call_rounds_max;
        for _ in 0..=rounds_max {
            match run() {
                Ok(done) => return Ok(done),
                Err(request) => self.wait(&[request], deadline.saturating_duration_since(Instant::now()))?,
            }
        }
        Err(Unresolved::Rounds(rounds_max))
    }

    /// All numbers, now.
    pub fn metrics(&self) -> Metrics {
        let state = self.shared.lock();
        Metrics {
            transactions: state.watchlist.len() as u64,
            queue: state.scheduler.len() as u64,
            queue_bytes: state.scheduler.queue_bytes() as u64,
            schedule: state.scheduler.counts(),
            watch: state.watchlist.counts(),
            ..Metrics::of(&self.shared.counters)
        }
    }
}

impl std::fmt::Debug for PreExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreExecutor").field("config", &self.shared.config).finish_non_exhaustive()
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

/// Counts hits and misses of real builds, and has what is missing asked first.
struct BuilderOutcomes {
    shared: Arc<Shared>,
}

impl Outcomes for BuilderOutcomes {
    fn get(&self, id: RequestId) -> Option<Outcome> {
        let found = self.shared.store.get(id);
        if found.is_some() {
            Counters::add(&self.shared.counters.build_hits, 1);
        }
        found
    }

    fn id(&self, model: ModelId, input: &[u8]) -> RequestId {
        self.shared.store.id(model, input)
    }

    fn missing(&self, request: &Request) {
        Counters::add(&self.shared.counters.build_misses, 1);
        self.shared.store.missing(request);
        let mut state = self.shared.lock();
        if !state.scheduler.ask_first(request.id) {
            let demand = unpaid(request.id, self.shared.now_us());
            let _ = self.shared.ask(&mut state, request.clone(), demand);
            state.scheduler.ask_first(request.id);
        }
        drop(state);
        self.shared.work.notify_one();
    }
}
