//! Whose input moved: who would see another value now than its simulation saw.

use super::{Phase, Place, Watched, Watchlist};
use crate::{
    reads::{StateKey, WriteSet},
    schedule::TransactionId,
};
use alloy_primitives::U256;
use revm::state::EvmState;
use std::collections::{HashMap, HashSet};

/// Why a transaction is simulated again: what it read that moved, or nothing in particular for one that read more than is kept.
pub(super) type Cause = Option<StateKey>;

impl Watchlist {
    /// Forgets a transaction that will not be included: who comes later no more sees what it changes.
    pub fn remove(&mut self, hash: TransactionId) -> Option<Watched> {
        let gone = self.forget(hash)?;
        self.effects(gone.place, gone.changes.as_deref(), None);
        self.departed.push(gone.place);
        Some(gone)
    }

    /// Forgets a transaction that was included. What it really changed comes with the next head.
    pub fn included(&mut self, hash: TransactionId) -> Option<Watched> {
        let gone = self.forget(hash)?;
        self.unsettled.extend(self.writers.put(gone.place, gone.changes.as_deref(), None));
        Some(gone)
    }

    fn forget(&mut self, hash: TransactionId) -> Option<Watched> {
        let gone = self.watched.remove(&hash)?;
        self.order.remove(&gone.place);
        self.todo.remove(&gone.place);
        self.readers.remove(hash, &gone.reads);
        if let Some(chain) = self.by_sender.get_mut(&gone.env.caller) {
            if chain.get(&gone.env.nonce) == Some(&hash) {
                chain.remove(&gone.env.nonce);
            }
            if chain.is_empty() {
                self.by_sender.remove(&gone.env.caller);
            }
        }
        Some(gone)
    }

    /// Places whose transactions left for good since the last call or head: their effects are not there any more.
    pub fn take_departed(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.departed)
    }

    /// A transaction now changes other things, or the same to other values: who comes later and would see that runs again.
    pub(super) fn effects(&mut self, place: Place, before: Option<&EvmState>, now: Option<&EvmState>) {
        let different = self.writers.put(place, before, now);
        let moved = self.moved(different, Some(place), |_| None);
        let later = moved.into_iter().filter(|(hash, _)| self.watched[hash].phase != Phase::Scouting);
        let mut later: Vec<_> = later.map(|(hash, cause)| (self.watched[&hash].place, cause)).collect();
        later.sort_unstable_by_key(|(place, _)| *place);
        later.into_iter().for_each(|(place, cause)| self.simulate_again(place, Some(cause)));
    }

    /// Who sees another state after a block that wrote this and included who was to change what is `unsettled`.
    pub(super) fn moved_by_block(
        &self,
        writes: &WriteSet,
        mut unsettled: HashSet<StateKey>,
    ) -> HashMap<TransactionId, Cause> {
        unsettled.extend(writes.values.keys());
        self.moved(unsettled.into_iter().collect(), None, |key| writes.values.get(key).copied())
    }

    /// Everyone behind `place` (or everyone) who read one of these and would see something else now, with the first such thing. What
    /// stands in the state itself is not known but for what `base` says; a value that is not known counts as another one.
    fn moved(
        &self,
        mut keys: Vec<StateKey>,
        place: Option<Place>,
        base: impl Fn(&StateKey) -> Option<U256>,
    ) -> HashMap<TransactionId, Cause> {
        keys.sort_unstable();
        let mut moved = HashMap::new();
        for key in &keys {
            for (hash, saw) in self.readers.of(key) {
                let Some(watched) = self.watched.get(&hash).filter(|watched| Some(watched.place) > place) else {
                    continue;
                };
                let sees = || self.writers.before(key, watched.place).or_else(|| base(key));
                if saw.is_none() || saw != sees() {
                    moved.entry(hash).or_insert(saw.map(|_| *key));
                }
            }
        }
        moved
    }
}
