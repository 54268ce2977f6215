//! What a simulation read, and what a block wrote: a new head re-runs only what it touched.

use alloy_primitives::{Address, B256, U256, map::AddressMap};
use foreblock_precompile::{MODEL_REGISTRY_ADDRESS, price};
use revm::{
    Database,
    bytecode::Bytecode,
    database::BundleState,
    state::{Account, AccountInfo},
};
use std::collections::HashSet;

/// Slots, codes and balances that a simulation depended on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadSet {
    /// Storage slots that were read.
    pub slots: HashSet<(Address, U256)>,
    /// Accounts whose code, or absence of code, was seen.
    pub codes: HashSet<Address>,
    /// Accounts whose balance was read by an instruction.
    pub balances: HashSet<Address>,
    /// More was read than is kept: any write touches it.
    pub everything: bool,
}

/// Slots, codes and balances that changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteSet {
    /// Storage slots with another value.
    pub slots: HashSet<(Address, U256)>,
    /// Accounts with other code; contracts whose nonce moved, as it names what they create next.
    pub codes: HashSet<Address>,
    /// Accounts with another balance.
    pub balances: HashSet<Address>,
}

/// Most slots, codes and balances kept for one simulation; beyond, any write touches it.
pub const READS_MAX: usize = 16_384;

impl ReadSet {
    /// Whether anything that was read was written.
    pub fn touched_by(&self, writes: &WriteSet) -> bool {
        if self.everything {
            return !writes.is_empty();
        }
        meet(&self.slots, &writes.slots) || meet(&self.codes, &writes.codes) || meet(&self.balances, &writes.balances)
    }

    pub(crate) fn bound(&mut self) {
        if self.slots.len() + self.codes.len() + self.balances.len() > READS_MAX {
            *self = Self { everything: true, ..Self::default() };
        }
    }
}

fn meet<T: std::hash::Hash + Eq>(a: &HashSet<T>, b: &HashSet<T>) -> bool {
    let (small, large) = if a.len() < b.len() { (a, b) } else { (b, a) };
    small.iter().any(|item| large.contains(item))
}

impl WriteSet {
    /// What one transaction's result changed.
    pub fn of(state: &AddressMap<Account>) -> Self {
        let mut writes = Self::default();
        writes.add(state);
        writes
    }

    /// Adds what another transaction's result changed.
    pub fn add(&mut self, state: &AddressMap<Account>) {
        for (address, account) in state.iter().filter(|(_, account)| account.is_touched()) {
            self.slots.extend(account.changed_storage_slots().map(|(slot, _)| (*address, *slot)));
            let before = account.original_info();
            let created = !before.is_empty_code_hash() && before.nonce != account.info.nonce;
            if before.code_hash != account.info.code_hash || created || account.is_selfdestructed() {
                self.codes.insert(*address);
            }
            if before.balance != account.info.balance {
                self.balances.insert(*address);
            }
        }
    }

    /// What a block changed: values that ended as they began are not in it.
    pub fn of_bundle(bundle: &BundleState) -> Self {
        let mut writes = Self::default();
        for (address, account) in &bundle.state {
            let moved = account.storage.iter().filter(|(_, slot)| slot.is_changed());
            writes.slots.extend(moved.map(|(slot, _)| (*address, *slot)));
            let (before, after) = (account.original_info.clone().unwrap_or_default(), account.info.clone());
            let after = after.unwrap_or_default();
            let created = !before.is_empty_code_hash() && before.nonce != after.nonce;
            if before.code_hash != after.code_hash || created || account.was_destroyed() {
                writes.codes.insert(*address);
            }
            if before.balance != after.balance {
                writes.balances.insert(*address);
            }
        }
        writes
    }

    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.codes.is_empty() && self.balances.is_empty()
    }
}

/// A database that keeps what was read from it, and shows the sender as the pool sees it: with the transaction's nonce and
/// funds for it, so that transactions of one sender can be simulated before those in front of them are included.
#[derive(Debug)]
pub(crate) struct Recording<'a, DB> {
    pub(crate) inner: DB,
    pub(crate) reads: &'a mut ReadSet,
    pub(crate) sender: Address,
    pub(crate) nonce: u64,
    pub(crate) needs_wei: U256,
}

impl<DB: Database> Database for Recording<'_, DB> {
    type Error = DB::Error;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        self.reads.codes.insert(address);
        self.reads.bound();
        let info = self.inner.basic(address)?;
        if address != self.sender {
            return Ok(info);
        }
        let mut info = info.unwrap_or_default();
        info.nonce = self.nonce;
        info.balance = info.balance.max(self.needs_wei);
        Ok(Some(info))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Self::Error> {
        self.inner.code_by_hash(code_hash)
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, Self::Error> {
        // The precompile's own reads. A contract's come from its SLOADs: what an SSTORE looks at on its way is no input.
        // The price moves what a request costs, not what is asked: nothing is simulated again for it.
        if address == MODEL_REGISTRY_ADDRESS && index != price::EXCESS_SLOT {
            self.reads.slots.insert((address, index));
            self.reads.bound();
        }
        self.inner.storage(address, index)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Self::Error> {
        self.inner.block_hash(number)
    }
}
