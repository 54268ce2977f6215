//! Who read what and saw which value, and who changes it: indexes from slots, codes and balances to transactions.

use crate::{
    reads::{ReadSet, StateKey, changes_of},
    schedule::TransactionId,
    watchlist::Place,
};
use alloy_primitives::U256;
use revm::state::EvmState;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What every transaction that was simulated saw.
#[derive(Debug, Default)]
pub(super) struct Readers {
    by_key: HashMap<StateKey, HashMap<TransactionId, U256>>,
    /// Those that read more than is kept.
    of_everything: HashSet<TransactionId>,
}

impl Readers {
    pub(super) fn add(&mut self, hash: TransactionId, reads: &ReadSet) {
        if reads.everything {
            self.of_everything.insert(hash);
        }
        for (key, value) in &reads.values {
            self.by_key.entry(*key).or_default().insert(hash, *value);
        }
    }

    pub(super) fn remove(&mut self, hash: TransactionId, reads: &ReadSet) {
        self.of_everything.remove(&hash);
        for key in reads.values.keys() {
            if let Some(readers) = self.by_key.get_mut(key) {
                readers.remove(&hash);
                if readers.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
    }

    /// Who read this, and what each of them saw; nothing of those that read more than is kept.
    pub(super) fn of(&self, key: &StateKey) -> impl Iterator<Item = (TransactionId, Option<U256>)> {
        let known = self.by_key.get(key).into_iter().flatten().map(|(hash, value)| (*hash, Some(*value)));
        known.chain(self.of_everything.iter().map(|hash| (*hash, None)))
    }
}

/// What every transaction that ran to its end changes: who reads it later sees the last value before its own place.
#[derive(Debug, Default)]
pub(super) struct Writers {
    by_key: HashMap<StateKey, BTreeMap<Place, U256>>,
}

/// What a transaction changes.
pub(super) fn values(state: &EvmState) -> HashMap<StateKey, U256> {
    state.iter().flat_map(|(address, account)| changes_of(*address, account)).collect()
}

impl Writers {
    /// A transaction now changes this, instead of what it changed before. Returns what is different.
    pub(super) fn put(&mut self, place: Place, before: Option<&EvmState>, now: Option<&EvmState>) -> Vec<StateKey> {
        let (before, now) = (before.map(values).unwrap_or_default(), now.map(values).unwrap_or_default());
        let gone: Vec<StateKey> = before.keys().filter(|key| !now.contains_key(key)).copied().collect();
        for key in &gone {
            if let Some(by_place) = self.by_key.get_mut(key) {
                by_place.remove(&place);
                if by_place.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        let mut different = gone;
        for (key, value) in now {
            if self.by_key.entry(key).or_default().insert(place, value) != Some(value) {
                different.push(key);
            }
        }
        different
    }

    /// What the transaction in this place sees, if anybody before it changes that.
    pub(super) fn before(&self, key: &StateKey, place: Place) -> Option<U256> {
        self.by_key.get(key)?.range(..place).next_back().map(|(_, value)| *value)
    }
}
