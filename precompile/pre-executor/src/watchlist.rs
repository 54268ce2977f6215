//! Which pending transaction is simulated next, and what is known of each. Pure: no thread, clock or EVM.

mod moved;
mod readers;
mod watched;

pub use watched::{
    Deferral, Hold, MISSES_MAX, NewHead, PendingTransaction, Phase, Place, WatchCounts, WatchLimits, Watched,
};

use crate::{
    reads::{ReadSet, WriteSet},
    schedule::{Micros, TransactionId},
    scout::{Found, Simulation},
    watchlist::{
        moved::Cause,
        readers::{Readers, Writers},
    },
};
use alloy_primitives::Address;
use foreblock_precompile::{Request, RequestId};
use revm::{context::TxEnv, context_interface::Transaction};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// All pending transactions.
#[derive(Debug)]
pub struct Watchlist {
    limits: WatchLimits,
    watched: HashMap<TransactionId, Watched>,
    order: BTreeSet<Place>,
    todo: BTreeSet<Place>,
    by_sender: HashMap<Address, BTreeMap<u64, TransactionId>>,
    readers: Readers,
    writers: Writers,
    /// What transactions changed that were included since the last head: what the block made of it is not known yet.
    unsettled: HashSet<crate::reads::StateKey>,
    /// Places of those that left since the scout last asked.
    departed: Vec<Place>,
    hot: HashMap<Cause, u32>,
    seen: u64,
    counts: WatchCounts,
}

impl Watchlist {
    /// An empty list.
    pub fn new(limits: WatchLimits) -> Self {
        Self {
            limits,
            watched: HashMap::new(),
            order: BTreeSet::new(),
            todo: BTreeSet::new(),
            by_sender: HashMap::new(),
            readers: Readers::default(),
            writers: Writers::default(),
            unsettled: HashSet::new(),
            departed: Vec::new(),
            hot: HashMap::new(),
            seen: 0,
            counts: WatchCounts::default(),
        }
    }

    /// What is known of a transaction.
    pub fn get(&self, hash: TransactionId) -> Option<&Watched> {
        self.watched.get(&hash)
    }

    /// All transactions in the builder's order.
    pub fn in_order(&self) -> impl Iterator<Item = (TransactionId, &Watched)> {
        self.order.iter().filter_map(|(_, _, hash)| Some((*hash, self.watched.get(hash)?)))
    }

    /// Counts of simulations so far.
    pub fn counts(&self) -> WatchCounts {
        self.counts
    }

    /// Whether none is watched.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// How many are watched.
    pub fn len(&self) -> usize {
        self.watched.len()
    }

    /// Takes a transaction. Returns the one that leaves for it at the bound, which may be itself.
    pub fn add(&mut self, tx: PendingTransaction, base_fee: u64, block: u64, now_us: Micros) -> Option<TransactionId> {
        if self.watched.contains_key(&tx.hash) {
            return None;
        }
        let replaced = tx.replaces.and_then(|hash| self.remove(hash));
        let (since_us, since_block) = replaced.map_or((now_us, block), |old| (old.since_us, old.since_block));
        self.seen += 1;
        let chain = self.by_sender.entry(tx.env.caller).or_default();
        // A builder takes a sender's transactions in the order of their nonces, however much the later ones pay.
        let before = chain.range(..tx.env.nonce).next_back().and_then(|(_, hash)| self.watched.get(hash));
        let tip = tip_per_gas(&tx.env, base_fee).min(before.map_or(u128::MAX, |before| before.place.0.0));
        chain.insert(tx.env.nonce, tx.hash);
        let place = (Reverse(tip), self.seen, tx.hash);
        let watched = Watched {
            env: tx.env,
            since_us,
            since_block,
            phase: Phase::Scouting,
            calls: Vec::new(),
            missing: None,
            gas: 0,
            changes: None,
            volatile: false,
            simulations: 0,
            misses: 0,
            held_until: 0,
            missed_in: None,
            goes_on: false,
            rounds: 0,
            reads: ReadSet::default(),
            place,
            moved: 0,
            stayed: 0,
        };
        self.watched.insert(tx.hash, watched);
        self.order.insert(place);
        self.todo.insert(place);
        let last = (self.watched.len() > self.limits.transactions_max)
            .then(|| self.order.last().map(|place| place.2))
            .flatten();
        last.inspect(|hash| drop(self.remove(*hash)))
    }

    /// A new block is being prepared: simulates who would see something else than it saw (everything where `writes` is unknown),
    /// what reads the block itself, and what was deferred for a reason that another simulation may take away.
    pub fn new_head(&mut self, block: u64, writes: Option<&WriteSet>) -> NewHead {
        self.hot.clear();
        self.departed.clear();
        let old = |(hash, watched): (&TransactionId, &Watched)| {
            let over = block.saturating_sub(watched.since_block) > self.limits.blocks_max;
            (over && watched.is_stuck()).then_some(*hash)
        };
        let mut expired: Vec<_> = self.watched.iter().filter_map(old).collect();
        expired.sort_unstable();
        let unsettled = std::mem::take(&mut self.unsettled);
        let moved = writes.map(|writes| self.moved_by_block(writes, unsettled));
        let mut ask_again = Vec::new();
        for place in self.order.clone() {
            let Some(watched) = self.watched.get_mut(&place.2) else { continue };
            (watched.simulations, watched.rounds) = (0, 0);
            let again = match &moved {
                None => true,
                Some(moved) => watched.volatile || moved.contains_key(&place.2),
            };
            let stuck = matches!(watched.phase, Phase::Deferred(_) | Phase::Invalid(_));
            if !again && watched.asks_again() {
                watched.phase = Phase::Waiting;
                ask_again.push(place.2);
            } else if again || stuck {
                let cause = moved.as_ref().and_then(|moved| moved.get(&place.2)).copied();
                self.simulate_again(place, cause);
            } else if watched.phase != Phase::Scouting {
                watched.stayed += 1;
                self.counts.kept += 1;
            }
        }
        NewHead { expired, ask_again }
    }

    /// Keeps what the missing request of a transaction costs.
    pub fn priced(&mut self, hash: TransactionId, gas: u64) {
        if let Some(watched) = self.watched.get_mut(&hash) {
            watched.gas = gas;
        }
    }

    /// The transactions that waited too long where no blocks come.
    pub fn too_old(&self, now_us: Micros) -> Vec<TransactionId> {
        let old = |watched: &Watched| now_us.saturating_sub(watched.since_us) > self.limits.age_max_us;
        let stuck = self.watched.iter().filter(|(_, watched)| old(watched) && watched.is_stuck());
        stuck.map(|(hash, _)| *hash).collect()
    }

    /// The builder of `block` ran a transaction and missed an outcome that no simulation had asked for: it waits for that one
    /// now. True while it may be asked before others; nothing if the transaction is not watched.
    pub fn missed(&mut self, hash: TransactionId, request: &Request, block: u64) -> Option<bool> {
        let watched = self.watched.get_mut(&hash)?;
        if watched.missing.as_ref().is_none_or(|missing| missing.id != request.id) {
            watched.moved += 1;
            watched.missing = Some(request.clone());
        }
        watched.note_miss(block);
        watched.phase = Phase::Waiting;
        let (place, changes, first) = (watched.place, watched.changes.take(), watched.misses < MISSES_MAX);
        self.todo.remove(&place);
        self.departed.push(place);
        self.effects(place, changes.as_deref(), None);
        Some(first)
    }

    /// Whether the builder of `block` leaves a transaction alone, and why. It may wait for a request that was answered meanwhile.
    pub fn hold(&self, hash: TransactionId, block: u64) -> Option<Hold> {
        let watched = self.watched.get(&hash)?;
        if watched.held_until > block {
            return Some(Hold::BackedOff { misses: watched.misses, until: watched.held_until });
        }
        watched.awaited().map(Hold::Waits)
    }

    /// Puts a transaction in line again, within the bounds of a block.
    fn simulate_again(&mut self, place: Place, cause: Option<Cause>) {
        if let Some(cause) = cause {
            let count = self.hot.entry(cause).or_default();
            *count += 1;
            if *count > self.limits.hot_slot_max {
                return self.set_phase(place.2, Phase::Deferred(Deferral::HotSlot));
            }
        }
        if self.watched[&place.2].simulations >= self.limits.simulations_max {
            return self.set_phase(place.2, Phase::Deferred(Deferral::Simulations(self.limits.simulations_max)));
        }
        self.set_phase(place.2, Phase::Scouting);
        self.todo.insert(place);
    }

    /// Says where a transaction stands.
    pub fn set_phase(&mut self, hash: TransactionId, phase: Phase) {
        if let Some(watched) = self.watched.get_mut(&hash) {
            watched.phase = phase;
        }
    }

    /// An outcome is there: the transaction goes on if that is the one it waited for.
    pub fn outcome_ready(&mut self, hash: TransactionId, id: RequestId) {
        let waits = |watched: &&mut Watched| {
            watched.phase == Phase::Waiting && watched.missing.as_ref().is_some_and(|missing| missing.id == id)
        };
        let Some(watched) = self.watched.get_mut(&hash).filter(waits) else { return };
        watched.rounds += 1;
        if watched.rounds > self.limits.rounds_max {
            watched.phase = Phase::Deferred(Deferral::Rounds(self.limits.rounds_max));
            return;
        }
        watched.goes_on = true;
        watched.phase = Phase::Scouting;
        self.todo.insert(watched.place);
    }

    /// The next transaction to simulate, in the builder's order.
    #[allow(clippy::should_implement_trait)] // it is no iterator: what comes next depends on what was recorded
    pub fn next(&mut self) -> Option<(Place, TxEnv)> {
        let place = self.todo.pop_first()?;
        let watched = self.watched.get_mut(&place.2)?;
        if std::mem::take(&mut watched.goes_on) {
            self.counts.rounds += 1;
        } else {
            watched.simulations += 1;
            self.counts.simulations += 1;
        }
        Some((place, watched.env.clone()))
    }

    /// Whether any is to be simulated.
    pub fn has_next(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Simulates again without counting: the head changed while it was simulated.
    pub fn put_back(&mut self, hash: TransactionId) {
        let Some(watched) = self.watched.get_mut(&hash) else { return };
        watched.simulations = watched.simulations.saturating_sub(1);
        watched.phase = Phase::Scouting;
        self.todo.insert(watched.place);
    }

    /// Keeps what a simulation found. Returns the request to ask for, if one is missing.
    pub fn record(&mut self, hash: TransactionId, simulation: Simulation) -> Option<Request> {
        let watched = self.watched.get_mut(&hash)?;
        self.readers.remove(hash, &watched.reads);
        self.readers.add(hash, &simulation.reads);
        let mut calls: Vec<_> = simulation.used.iter().map(|used| (used.id, used.model)).collect();
        let missing = match &simulation.found {
            Found::Missing(request) => Some(request.clone()),
            _ => None,
        };
        calls.extend(missing.as_ref().map(|request| (request.id, request.model)));
        // The first calls are the same when nothing that they depend on moved.
        let same = calls.iter().zip(&watched.calls).all(|(new, old)| new == old);
        match watched.calls.is_empty() {
            false if same => watched.stayed += 1,
            false => watched.moved += 1,
            true => {}
        }
        watched.calls = calls;
        watched.reads = simulation.reads;
        watched.volatile = simulation.volatile;
        watched.missing = missing.clone();
        let before = watched.changes.take();
        watched.phase = match simulation.found {
            Found::Missing(_) => Phase::Waiting,
            Found::Invalid(reason) => Phase::Invalid(reason),
            Found::Complete { changes, .. } => {
                watched.changes = Some(Arc::new(changes));
                Phase::Ready
            }
        };
        let (place, now) = (watched.place, watched.changes.clone());
        self.effects(place, before.as_deref(), now.as_deref());
        missing
    }
}

/// What the producer earns for a unit of gas.
pub fn tip_per_gas(env: &TxEnv, base_fee: u64) -> u128 {
    env.effective_gas_price(u128::from(base_fee)).saturating_sub(u128::from(base_fee))
}
