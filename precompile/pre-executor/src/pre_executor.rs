//! The one handle to all of it. Cheap to clone; callers never see a lock.

use crate::{
    compute::Compute,
    config::{Config, Event, Farewell, Head, StartError},
    counters::Metrics,
    schedule::{Scheduler, Slot, TransactionId},
    scouting,
    shared::{Shared, State},
    status::TransactionStatus,
    store::Store,
    watchlist::{PendingTransaction, Phase, Watchlist},
    workers,
};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::broadcast;

/// Finds what pending transactions will ask, and computes it before the block is built.
#[derive(Clone)]
pub struct PreExecutor {
    pub(crate) shared: Arc<Shared>,
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
        let news = state.watchlist.new_head(head.block, head.writes.as_ref());
        state.head = Some(Arc::new(head));
        let blocks = self.shared.config.watch.blocks_max;
        news.ask_again.into_iter().for_each(|hash| self.shared.ask_again(&mut state, hash));
        news.expired
            .into_iter()
            .for_each(|hash| self.expire(&mut state, hash, format!("not ready within {blocks} blocks")));
        drop(state);
        self.shared.scout.notify_one();
        self.shared.work.notify_all();
        self.shared.news.notify_all();
    }

    fn expire(&self, state: &mut State, hash: TransactionId, reason: String) {
        state.watchlist.remove(hash);
        state.scheduler.withdraw(hash);
        state.farewells.insert(hash, Farewell::Expired(reason.clone()));
        self.shared.say(Event::Expired { transaction: hash, reason });
    }

    /// Gives transactions up that waited too long although no block came. To be called now and then.
    pub fn sweep(&self) {
        let mut state = self.shared.lock();
        let now_us = self.shared.now_us();
        let seconds = self.shared.config.watch.age_max_us / 1_000_000;
        for hash in state.watchlist.too_old(now_us) {
            self.expire(&mut state, hash, format!("not ready within {seconds} seconds"));
        }
    }

    /// Why a transaction is not watched any more, if it was one of the last that were given up or replaced.
    pub fn farewell(&self, hash: TransactionId) -> Option<Farewell> {
        self.shared.lock().farewells.get(&hash)
    }

    /// Takes a transaction of the pool that can be executed, at once or after others of its sender.
    pub fn submit(&self, transaction: PendingTransaction) {
        let mut state = self.shared.lock();
        let (base_fee, block) = (state.base_fee(), state.scheduler.slot().block);
        if let Some(replaced) = transaction.replaces {
            state.scheduler.withdraw(replaced);
            state.farewells.insert(replaced, Farewell::Replaced(transaction.hash));
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
        state.watchlist.included(hash);
        state.scheduler.included(hash, gas);
        drop(state);
        self.shared.news.notify_all();
    }

    /// Where a transaction stands, if it is watched.
    pub fn status(&self, hash: TransactionId) -> Option<TransactionStatus> {
        let state = self.shared.lock();
        let watched = state.watchlist.get(hash)?;
        let (place, slot) = (|id| state.scheduler.place(id), state.scheduler.slot());
        Some(TransactionStatus::of(hash, watched, place, slot, &self.shared.store, self.shared.now_us()))
    }

    /// Where the first `limit` watched transactions stand, in the builder's order.
    pub fn pending(&self, limit: usize) -> Vec<TransactionStatus> {
        let (state, now_us) = (self.shared.lock(), self.shared.now_us());
        let places = state.scheduler.places();
        let place = |id| places.get(&id).copied();
        let slot = state.scheduler.slot();
        let status = |(hash, watched)| TransactionStatus::of(hash, watched, place, slot, &self.shared.store, now_us);
        state.watchlist.in_order().take(limit).map(status).collect()
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
