//! Accounts, storage and code at one moment. Copies share everything, so each block keeps its own.

use super::trie::{Trie, TrieValue};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::{Encodable, Header};
use revm::{bytecode::Bytecode, database::BundleState, state::AccountInfo};

/// An account as the state trie holds it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Where it stands; the trie knows only its hash.
    pub address: Address,
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// keccak256 of its code.
    pub code_hash: B256,
    /// Its storage.
    pub storage: Trie<Slot>,
    /// Whether an absent slot is zero; otherwise only the forked chain knows it.
    pub storage_known: bool,
}

impl Account {
    /// An account without code, money and storage.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            nonce: 0,
            balance: U256::ZERO,
            code_hash: KECCAK256_EMPTY,
            storage: Trie::default(),
            storage_known: true,
        }
    }

    /// As the EVM wants it, without code.
    pub fn info(&self) -> AccountInfo {
        AccountInfo {
            balance: self.balance,
            nonce: self.nonce,
            code_hash: self.code_hash,
            code: None,
            ..Default::default()
        }
    }

    /// Empty in the sense of EIP-161.
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && self.code_hash == KECCAK256_EMPTY
    }

    /// The value of a slot; `None` where only the forked chain knows.
    pub fn slot(&self, key: U256) -> Option<U256> {
        let found = self.storage.get(&hashed(key)).map(|slot| slot.value);
        found.or(self.storage_known.then_some(U256::ZERO))
    }

    /// Sets a slot.
    pub fn set_slot(&mut self, key: U256, value: U256) {
        // Over a fork a zero must be remembered, or the forked chain's value would shine through.
        if value.is_zero() && self.storage_known {
            self.storage.remove(&hashed(key));
        } else {
            self.storage.insert(hashed(key), Slot { key, value });
        }
    }
}

impl TrieValue for Account {
    fn trie_rlp(&self) -> Vec<u8> {
        let root = self.storage.root();
        let length = self.nonce.length() + self.balance.length() + root.length() + self.code_hash.length();
        let mut rlp = Vec::with_capacity(length + 3);
        Header { list: true, payload_length: length }.encode(&mut rlp);
        self.nonce.encode(&mut rlp);
        self.balance.encode(&mut rlp);
        root.encode(&mut rlp);
        self.code_hash.encode(&mut rlp);
        rlp
    }
}

/// A word of storage with the key that the trie knows only the hash of.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its number.
    pub key: U256,
    /// Its content.
    pub value: U256,
}

impl Slot {
    /// Its key in the trie.
    pub fn hash(&self) -> B256 {
        hashed(self.key)
    }
}

impl TrieValue for Slot {
    fn trie_rlp(&self) -> Vec<u8> {
        alloy_rlp::encode(self.value)
    }
}

fn hashed(key: U256) -> B256 {
    keccak256(key.to_be_bytes::<32>())
}

/// All state at one moment.
#[derive(Clone, Debug, Default)]
pub struct World {
    accounts: Trie<Account>,
    codes: imbl::HashMap<B256, Bytecode>,
}

impl World {
    /// The account at `address`, if it is in this state (a forked chain may know more).
    pub fn account(&self, address: &Address) -> Option<&Account> {
        self.accounts.get(&keccak256(address))
    }

    /// The code with this hash.
    pub fn code(&self, hash: &B256) -> Option<Bytecode> {
        if *hash == KECCAK256_EMPTY { Some(Bytecode::default()) } else { self.codes.get(hash).cloned() }
    }

    /// Puts an account, replacing the one that was there.
    pub fn put(&mut self, account: Account) {
        self.accounts.insert(keccak256(account.address), account);
    }

    /// Takes an account out.
    pub fn remove(&mut self, address: &Address) {
        self.accounts.remove(&keccak256(address));
    }

    /// Keeps code and returns its hash.
    pub fn put_code(&mut self, code: Bytecode) -> B256 {
        let hash = code.hash_slow();
        if hash != KECCAK256_EMPTY {
            self.codes.insert(hash, code);
        }
        hash
    }

    /// All accounts, in the order of their hashes.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// Accounts of `older` that are not, or are others here; and those that are here in their place. Some may be in both.
    pub(super) fn differences<'a>(&'a self, older: &'a Self) -> (Vec<&'a Account>, Vec<&'a Account>) {
        self.accounts.differences(&older.accounts)
    }

    /// The state root.
    pub fn root(&self) -> B256 {
        self.accounts.root()
    }

    /// The state trie's nodes towards an account.
    pub fn proof(&self, address: &Address) -> Vec<alloy_primitives::Bytes> {
        self.accounts.proof(&keccak256(address))
    }

    /// Makes what a block has changed part of this state. `forked` says whether absent accounts may exist elsewhere.
    pub fn apply(&mut self, bundle: BundleState, forked: bool) {
        for (hash, code) in bundle.contracts {
            self.codes.insert(hash, code);
        }
        for (address, change) in bundle.state {
            let Some(info) = change.info else {
                if forked {
                    self.put(Account::new(address))
                } else {
                    self.remove(&address)
                }
                continue;
            };
            let known = self.account(&address).cloned();
            let storage_known = known.as_ref().map_or(!forked, |account| account.storage_known);
            let mut account = match known {
                Some(account) if !change.status.was_destroyed() => account,
                _ => Account::new(address),
            };
            account.storage_known = storage_known || change.status.is_storage_known();
            account.nonce = info.nonce;
            account.balance = info.balance;
            account.code_hash = info.code_hash;
            if let Some(code) = info.code
                && info.code_hash != KECCAK256_EMPTY
            {
                self.codes.entry(info.code_hash).or_insert(code);
            }
            for (key, slot) in change.storage {
                account.set_slot(key, slot.present_value);
            }
            self.put(account);
        }
    }
}
