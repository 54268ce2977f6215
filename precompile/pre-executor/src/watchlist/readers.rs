//! Who read what: an index from slots, codes and balances to transactions.

use crate::{
    reads::{ReadSet, WriteSet},
    schedule::TransactionId,
};
use alloy_primitives::{Address, U256};
use revm::state::EvmState;
use std::collections::{HashMap, HashSet};

/// Something that can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Slot(Address, U256),
    Code(Address),
    Balance(Address),
    /// Of a transaction that read more than is kept.
    Anything,
}

#[derive(Debug, Default)]
pub(super) struct Readers {
    by_key: HashMap<Key, HashSet<TransactionId>>,
}

fn keys(slots: &HashSet<(Address, U256)>, codes: &HashSet<Address>, balances: &HashSet<Address>) -> Vec<Key> {
    let slots = slots.iter().map(|(address, slot)| Key::Slot(*address, *slot));
    let codes = codes.iter().map(|address| Key::Code(*address));
    slots.chain(codes).chain(balances.iter().map(|address| Key::Balance(*address))).collect()
}

fn keys_of(reads: &ReadSet) -> Vec<Key> {
    if reads.everything { vec![Key::Anything] } else { keys(&reads.slots, &reads.codes, &reads.balances) }
}

/// What a block wrote.
pub(super) fn written(writes: &WriteSet) -> Vec<Key> {
    keys(&writes.slots, &writes.codes, &writes.balances)
}

/// What a transaction changes, or leaves, other than it did before.
pub(super) fn changed(before: Option<&EvmState>, now: &EvmState) -> Vec<Key> {
    let before = before.map(values).unwrap_or_default();
    let now = values(now);
    let gone = before.keys().filter(|key| !now.contains_key(key));
    now.iter().filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key).chain(gone).copied().collect()
}

fn values(state: &EvmState) -> HashMap<Key, U256> {
    let mut values = HashMap::new();
    for (address, account) in state {
        values.extend(account.changed_storage_slots().map(|(slot, is)| (Key::Slot(*address, *slot), is.present_value)));
        let original = account.original_info();
        if original.code_hash != account.info.code_hash
            || (!original.is_empty_code_hash() && original.nonce != account.info.nonce)
        {
            values.insert(
                Key::Code(*address),
                U256::from_be_bytes(account.info.code_hash.0) ^ U256::from(account.info.nonce),
            );
        }
        if original.balance != account.info.balance {
            values.insert(Key::Balance(*address), account.info.balance);
        }
    }
    values
}

impl Readers {
    pub(super) fn add(&mut self, hash: TransactionId, reads: &ReadSet) {
        for key in keys_of(reads) {
            self.by_key.entry(key).or_default().insert(hash);
        }
    }

    pub(super) fn remove(&mut self, hash: TransactionId, reads: &ReadSet) {
        for key in keys_of(reads) {
            if let Some(readers) = self.by_key.get_mut(&key) {
                readers.remove(&hash);
                if readers.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }

    /// Everyone who read something that was written, with the first such thing.
    pub(super) fn touched_by(&self, mut written: Vec<Key>) -> HashMap<TransactionId, Key> {
        if !written.is_empty() {
            written.push(Key::Anything);
        }
        written.sort_unstable();
        let mut touched = HashMap::new();
        for key in written {
            for hash in self.by_key.get(&key).into_iter().flatten() {
                touched.entry(*hash).or_insert(key);
            }
        }
        touched
    }
}
