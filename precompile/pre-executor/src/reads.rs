//! What a simulation read, and what a block wrote, with values: a new head re-runs only what would see something else.

use alloy_primitives::{Address, B256, U256, map::AddressMap};
use foreblock_precompile::{MODEL_REGISTRY_ADDRESS, price};
use revm::{
    Database,
    bytecode::Bytecode,
    database::BundleState,
    state::{Account, AccountInfo},
};
use std::collections::{HashMap, HashSet};

/// Something in the state that a simulation can depend on and a transaction can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateKey {
    /// A storage slot; its value is the word in it.
    Slot(Address, U256),
    /// An account's code, or that it has none. The value stands for the code's hash, and for a contract's nonce, which names what it
    /// creates next.
    Code(Address),
    /// An account's balance, in wei.
    Balance(Address),
}

/// What a simulation depended on, and the values that it saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadSet {
    /// What was read: slots and balances by an instruction, codes by a call.
    pub values: HashMap<StateKey, U256>,
    /// More was read than is kept: any write touches it.
    pub everything: bool,
}

/// What changed, and what it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteSet {
    /// The values after the change.
    pub values: HashMap<StateKey, U256>,
}

/// Most slots, codes and balances kept for one simulation; beyond, any write touches it.
pub const READS_MAX: usize = 16_384;

impl ReadSet {
    fn see(&mut self, key: StateKey, value: U256) {
        if self.values.len() >= READS_MAX {
            self.everything = true;
        }
        if self.everything {
            self.values.clear();
        } else {
            self.values.entry(key).or_insert(value);
        }
    }
}

/// Value of a code that is like no other.
const DESTROYED: U256 = U256::ZERO;

fn code_value(info: &AccountInfo) -> U256 {
    let hash = U256::from_be_bytes(info.code_hash.0);
    if info.is_empty_code_hash() { hash } else { hash ^ U256::from(info.nonce) }
}

/// What one transaction's result changes in an account.
pub(crate) fn changes_of(address: Address, account: &Account) -> impl Iterator<Item = (StateKey, U256)> {
    let (before, after) = (account.original_info(), &account.info);
    let code = if account.is_selfdestructed() { DESTROYED } else { code_value(after) };
    let code = (code_value(&before) != code).then_some((StateKey::Code(address), code));
    let balance = (before.balance != after.balance).then_some((StateKey::Balance(address), after.balance));
    let slots = account.changed_storage_slots();
    slots.map(move |(slot, is)| (StateKey::Slot(address, *slot), is.present_value)).chain(code).chain(balance)
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
        let touched = state.iter().filter(|(_, account)| account.is_touched());
        self.values.extend(touched.flat_map(|(address, account)| changes_of(*address, account)));
    }

    /// What a block changed: values that ended as they began are not in it.
    pub fn of_bundle(bundle: &BundleState) -> Self {
        let mut writes = Self::default();
        for (address, account) in &bundle.state {
            let moved = account.storage.iter().filter(|(_, slot)| slot.is_changed());
            writes.values.extend(moved.map(|(slot, is)| (StateKey::Slot(*address, *slot), is.present_value)));
            let before = account.original_info.clone().unwrap_or_default();
            let after = account.info.clone().unwrap_or_default();
            let code = if account.was_destroyed() { DESTROYED } else { code_value(&after) };
            if code_value(&before) != code {
                writes.values.insert(StateKey::Code(*address), code);
            }
            if before.balance != after.balance {
                writes.values.insert(StateKey::Balance(*address), after.balance);
            }
        }
        writes
    }

    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// What a simulation has seen of the state so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What it depends on in any case.
    reads: ReadSet,
    /// Slots and balances that were loaded: an instruction may have read them, or only have gone past.
    loaded: HashMap<StateKey, U256>,
}

impl Seen {
    fn load(&mut self, key: StateKey, value: U256) {
        if self.loaded.len() < READS_MAX {
            self.loaded.entry(key).or_insert(value);
        } else {
            self.reads.everything = true;
        }
    }

    /// The read set, of which instructions read `keys`. What was never loaded was made by the transaction itself.
    pub(crate) fn with(self, keys: HashSet<StateKey>, too_many: bool) -> ReadSet {
        let Self { mut reads, loaded } = self;
        reads.everything |= too_many;
        for key in keys {
            loaded.get(&key).into_iter().for_each(|value| reads.see(key, *value));
        }
        reads
    }
}

/// A database that keeps what was read from it, and shows the sender as the pool sees it: with the transaction's nonce and
/// funds for it, so that transactions of one sender can be simulated before those in front of them are included.
#[derive(Debug)]
pub(crate) struct Recording<'a, DB> {
    pub(crate) inner: DB,
    pub(crate) seen: &'a mut Seen,
    pub(crate) sender: Address,
    pub(crate) nonce: u64,
    pub(crate) needs_wei: U256,
}

impl<DB: Database> Database for Recording<'_, DB> {
    type Error = DB::Error;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        let info = self.inner.basic(address)?;
        let is = info.clone().unwrap_or_default();
        self.seen.reads.see(StateKey::Code(address), code_value(&is));
        self.seen.load(StateKey::Balance(address), is.balance);
        if address != self.sender {
            return Ok(info);
        }
        Ok(Some(AccountInfo { nonce: self.nonce, balance: is.balance.max(self.needs_wei), ..is }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Self::Error> {
        self.inner.code_by_hash(code_hash)
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, Self::Error> {
        let value = self.inner.storage(address, index)?;
        let key = StateKey::Slot(address, index);
        // The precompile's own reads. A contract's come from its SLOADs: what an SSTORE looks at on its way is no input.
        // The price moves what a request costs, not what is asked: nothing is simulated again for it.
        if address != MODEL_REGISTRY_ADDRESS {
            self.seen.load(key, value);
        } else if index != price::EXCESS_SLOT {
            self.seen.reads.see(key, value);
        }
        Ok(value)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Self::Error> {
        self.inner.block_hash(number)
    }
}
