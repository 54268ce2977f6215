//! The head's state with the effects of pending transactions on it, as each of them will see it: a transaction sees those that the
//! builder takes before it, and no others, in whatever order they were simulated.

use crate::{schedule::TransactionId, scout::HeadState, watchlist::Place};
use alloy_primitives::{Address, B256, U256};
use revm::{
    Database, DatabaseRef,
    bytecode::Bytecode,
    database_interface::ErasedError,
    state::{AccountInfo, EvmState},
};
use std::collections::{BTreeMap, HashMap};

/// Storage slots and accounts.
type Changed = (Vec<(Address, U256)>, Vec<Address>);

/// Effects by what they change and by the place of who changes it.
#[derive(Debug)]
pub struct PendingState {
    base: HeadState,
    slots: HashMap<(Address, U256), BTreeMap<Place, U256>>,
    accounts: HashMap<Address, BTreeMap<Place, AccountInfo>>,
    codes: HashMap<B256, Bytecode>,
    /// What each transaction changes, so that it can be taken back.
    changed: HashMap<TransactionId, Changed>,
}

impl PendingState {
    /// The head's state alone.
    pub fn new(base: HeadState) -> Self {
        Self { base, slots: HashMap::new(), accounts: HashMap::new(), codes: HashMap::new(), changed: HashMap::new() }
    }

    /// Puts a transaction's effects in its place, instead of those that it had.
    pub fn put(&mut self, place: Place, effects: &EvmState) {
        self.remove(place);
        let changed = self.changed.entry(place.2).or_default();
        for (address, account) in effects.iter().filter(|(_, account)| account.is_touched()) {
            for (slot, value) in account.changed_storage_slots() {
                self.slots.entry((*address, *slot)).or_default().insert(place, value.present_value);
                changed.0.push((*address, *slot));
            }
            if account.original_info() != account.info {
                if let Some(code) = &account.info.code {
                    self.codes.insert(account.info.code_hash, code.clone());
                }
                self.accounts.entry(*address).or_default().insert(place, account.info.clone());
                changed.1.push(*address);
            }
        }
    }

    /// Takes a transaction's effects back.
    pub fn remove(&mut self, place: Place) {
        let Some((slots, accounts)) = self.changed.remove(&place.2) else { return };
        for slot in slots {
            self.slots.get_mut(&slot).map(|by_place| by_place.remove(&place));
        }
        for address in accounts {
            self.accounts.get_mut(&address).map(|by_place| by_place.remove(&place));
        }
    }

    /// The state that the transaction in this place will see.
    pub fn before(&self, place: Place) -> Before<'_> {
        Before { state: self, place }
    }
}

/// The state before one transaction.
#[derive(Debug)]
pub struct Before<'a> {
    state: &'a PendingState,
    place: Place,
}

impl Database for Before<'_> {
    type Error = ErasedError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        let pending = self.state.accounts.get(&address).and_then(|by_place| by_place.range(..self.place).next_back());
        pending.map_or_else(|| self.state.base.basic_ref(address), |(_, info)| Ok(Some(info.clone())))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Self::Error> {
        let pending = self.state.codes.get(&code_hash).cloned();
        pending.map_or_else(|| self.state.base.code_by_hash_ref(code_hash), Ok)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        let pending =
            self.state.slots.get(&(address, slot)).and_then(|by_place| by_place.range(..self.place).next_back());
        pending.map_or_else(|| self.state.base.storage_ref(address, slot), |(_, value)| Ok(*value))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Self::Error> {
        self.state.base.block_hash_ref(number)
    }
}
