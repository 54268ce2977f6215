//! The forked chain, pinned to the block where the local chain begins.

use super::{
    ForkOptions, UpstreamError,
    client::{Client, Question, malformed, waiting},
    disk::{Disk, Entry},
};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};
use moka::sync::Cache;
use revm::bytecode::Bytecode;
use serde_json::{Value, json, value::RawValue};
use std::{fmt, sync::Arc};

/// Accounts kept in memory.
const ACCOUNTS_MAX: u64 = 200_000;
/// Slots kept in memory.
const SLOTS_MAX: u64 = 2_000_000;
/// Accounts of a head kept in memory.
const HEAD_ACCOUNTS_MAX: u64 = 100_000;
/// Slots of a head kept in memory.
const HEAD_SLOTS_MAX: u64 = 200_000;
/// Code kept in memory, bytes.
const CODE_BYTES_MAX: u64 = 512 << 20;
/// Answers about old blocks kept in memory, bytes.
const HISTORY_BYTES_MAX: u64 = 64 << 20;

/// An account as the upstream told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// keccak256 of its code, hashed here.
    pub code_hash: B256,
}

impl Remote {
    /// Empty in the sense of EIP-161: as if it were not there.
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && self.code_hash == KECCAK256_EMPTY
    }
}

/// An error that several waiting callers share.
type Shared<T> = Result<T, Arc<UpstreamError>>;

/// The chain below. What it told once is not asked again, and what two ask at the same time is asked once.
pub struct Upstream {
    client: Arc<Client>,
    options: ForkOptions,
    chain_id: u64,
    number: u64,
    hash: B256,
    /// The block parameter of all reads.
    pin: Value,
    accounts: Cache<Address, Remote>,
    slots: Cache<(Address, U256), U256>,
    codes: Cache<B256, Bytecode>,
    hashes: Cache<u64, B256>,
    history: Cache<String, Arc<RawValue>>,
    disk: Option<Disk>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("chain_id", &self.chain_id)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// The chain at a block. `by_hash`: the upstream takes blocks by hash, so that its reorganisations cannot change what is
    /// read.
    pub(super) fn new(client: Client, options: ForkOptions, chain_id: u64, block: (u64, B256), by_hash: bool) -> Self {
        let (number, hash) = block;
        let pin = if by_hash { json!({ "blockHash": hash }) } else { json!(format!("{number:#x}")) };
        let code_bytes = |_: &B256, code: &Bytecode| u32::try_from(code.len()).unwrap_or(u32::MAX);
        let answer_bytes = |key: &String, answer: &Arc<RawValue>| (key.len() + answer.get().len()) as u32;
        Self {
            client: Arc::new(client),
            options,
            chain_id,
            number,
            hash,
            pin,
            accounts: Cache::new(ACCOUNTS_MAX),
            slots: Cache::new(SLOTS_MAX),
            codes: Cache::builder().weigher(code_bytes).max_capacity(CODE_BYTES_MAX).build(),
            hashes: Cache::new(1_024),
            history: Cache::builder().weigher(answer_bytes).max_capacity(HISTORY_BYTES_MAX).build(),
            disk: None,
        }
    }

    /// The chain at a block that may be its last: bounded for a node that moves on with each block.
    pub(super) fn of_head(
        client: Arc<Client>,
        options: ForkOptions,
        chain_id: u64,
        block: (u64, B256),
        pin: Value,
        codes: Cache<B256, Bytecode>,
    ) -> Self {
        let (number, hash) = block;
        Self {
            client,
            options,
            chain_id,
            number,
            hash,
            pin,
            accounts: Cache::new(HEAD_ACCOUNTS_MAX),
            slots: Cache::new(HEAD_SLOTS_MAX),
            codes,
            hashes: Cache::new(256),
            history: Cache::new(0),
            disk: None,
        }
    }

    /// Knows what a file knows, and adds to it.
    pub(super) fn remember(&mut self, disk: Disk, entries: Vec<Entry>) {
        for entry in entries {
            match entry {
                Entry::Account { address, nonce, balance, code } => {
                    // Code that does not decode was not written by this node: it is asked again.
                    if let Ok(code) = Bytecode::new_raw_checked(code) {
                        self.keep(address, nonce, balance, code);
                    }
                }
                Entry::Slot { address, key, value } => self.slots.insert((address, key), value),
                Entry::Block { .. } => {}
            }
        }
        self.disk = Some(disk);
    }

    /// What the fork was made from.
    pub fn options(&self) -> &ForkOptions {
        &self.options
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The block where the local chain begins.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// That block's hash.
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// An account at the fork block; an empty one where there is none.
    pub fn account(&self, address: Address) -> Shared<Remote> {
        if let Some(known) = self.accounts.get(&address) {
            return Ok(known);
        }
        waiting(|| self.accounts.try_get_with(address, || Ok(self.fetch(&[address])?.remove(0))))
            .map_err(|error: Arc<Arc<UpstreamError>>| error.as_ref().clone())
    }

    /// Reads accounts that will be needed, all at once.
    pub fn prefetch(&self, addresses: &[Address]) -> Shared<()> {
        let unknown: Vec<Address> =
            addresses.iter().copied().filter(|address| !self.accounts.contains_key(address)).collect();
        let fetched = self.fetch(&unknown)?;
        unknown.into_iter().zip(fetched).for_each(|(address, account)| self.accounts.insert(address, account));
        Ok(())
    }

    fn fetch(&self, addresses: &[Address]) -> Shared<Vec<Remote>> {
        let questions = addresses.iter().flat_map(|address| {
            ["eth_getBalance", "eth_getTransactionCount", "eth_getCode"].map(|method| self.at(method, json!([address])))
        });
        let answers = self.client.ask_all(questions.collect())?;
        let accounts = addresses.iter().zip(answers.chunks_exact(3)).map(|(address, answers)| {
            let balance = quantity("eth_getBalance", &answers[0])?;
            let nonce = quantity("eth_getTransactionCount", &answers[1])?;
            let nonce = u64::try_from(nonce)
                .map_err(|_| malformed("eth_getTransactionCount", "a nonce below 2^64", answers[1].get()))?;
            let code: Bytes = serde_json::from_str(answers[2].get())
                .map_err(|_| malformed("eth_getCode", "bytes in hex", answers[2].get()))?;
            let decoded = Bytecode::new_raw_checked(code.clone())
                .map_err(|_| malformed("eth_getCode", "valid bytecode", answers[2].get()))?;
            self.note(&Entry::Account { address: *address, nonce, balance, code });
            Ok(self.keep(*address, nonce, balance, decoded))
        });
        accounts.collect::<Result<_, UpstreamError>>().map_err(Arc::new)
    }

    fn keep(&self, address: Address, nonce: u64, balance: U256, code: Bytecode) -> Remote {
        let account = Remote { nonce, balance, code_hash: code.hash_slow() };
        if account.code_hash != KECCAK256_EMPTY {
            self.codes.insert(account.code_hash, code);
        }
        self.accounts.insert(address, account);
        account
    }

    /// Code that an account was told to have.
    pub fn code(&self, hash: &B256) -> Option<Bytecode> {
        self.codes.get(hash)
    }

    /// Code of an account, asked again if memory was short.
    pub fn code_of(&self, address: Address, hash: &B256) -> Shared<Option<Bytecode>> {
        if let Some(known) = self.codes.get(hash) {
            return Ok(Some(known));
        }
        self.fetch(&[address])?;
        Ok(self.codes.get(hash))
    }

    /// A word of storage at the fork block.
    pub fn slot(&self, address: Address, key: U256) -> Shared<U256> {
        if let Some(known) = self.slots.get(&(address, key)) {
            return Ok(known);
        }
        let fetch = || {
            let (method, params) = self.at("eth_getStorageAt", json!([address, format!("{key:#x}")]));
            let value = quantity(method, &self.client.ask(method, params)?)?;
            self.note(&Entry::Slot { address, key, value });
            Ok(value)
        };
        waiting(|| self.slots.try_get_with((address, key), fetch))
    }

    /// Reads words of storage that will be needed, all at once.
    pub fn prefetch_slots(&self, keys: &[(Address, U256)]) -> Shared<()> {
        let unknown: Vec<_> = keys.iter().copied().filter(|key| !self.slots.contains_key(key)).collect();
        let questions =
            unknown.iter().map(|(address, key)| self.at("eth_getStorageAt", json!([address, format!("{key:#x}")])));
        let answers = self.client.ask_all(questions.collect())?;
        for (key, answer) in unknown.into_iter().zip(answers) {
            self.slots.insert(key, quantity("eth_getStorageAt", &answer)?);
        }
        Ok(())
    }

    /// The words of storage that were read, at most so many.
    pub fn known_slots(&self, max: usize) -> Vec<(Address, U256)> {
        self.slots.iter().take(max).map(|(key, _)| *key).collect()
    }

    /// The accounts that were read, at most so many.
    pub fn known_accounts(&self, max: usize) -> Vec<Address> {
        self.accounts.iter().take(max).map(|(address, _)| *address).collect()
    }

    /// Hash of a block at or before the fork block.
    pub fn block_hash(&self, number: u64) -> Shared<B256> {
        if number == self.number {
            return Ok(self.hash);
        }
        let fetch = || {
            let block = self.client.ask("eth_getBlockByNumber", json!([format!("{number:#x}"), false]))?;
            let hash = serde_json::from_str::<Value>(block.get())
                .ok()
                .and_then(|block| serde_json::from_value(block.get("hash")?.clone()).ok());
            hash.ok_or_else(|| malformed("eth_getBlockByNumber", "a block with a hash", block.get()))
        };
        waiting(|| self.hashes.try_get_with(number, fetch))
    }

    /// The upstream's own answer about what was before the fork.
    pub fn history(&self, method: &'static str, params: Value) -> Shared<Arc<RawValue>> {
        let key = format!("{method}{params}");
        waiting(|| self.history.try_get_with(key, || Ok(self.client.ask(method, params)?.into())))
    }

    /// Logs of blocks up to the fork block.
    pub fn logs(&self, filter: &Filter, from: u64, to: u64) -> Shared<Vec<Log>> {
        let mut filter = filter.clone();
        if !matches!(filter.block_option, FilterBlockOption::AtBlockHash(_)) {
            filter = filter.from_block(from).to_block(to);
        }
        let answer = self.history("eth_getLogs", json!([filter]))?;
        serde_json::from_str(answer.get())
            .map_err(|_| Arc::new(malformed("eth_getLogs", "a list of logs", answer.get())))
    }

    fn at(&self, method: &'static str, mut params: Value) -> Question {
        if let Value::Array(list) = &mut params {
            list.push(self.pin.clone());
        }
        (method, params)
    }

    fn note(&self, entry: &Entry) {
        if let Some(disk) = &self.disk {
            disk.note(entry);
        }
    }
}

/// A number as JSON-RPC has it. `"0x"`, numbers without quotes and words that are too long are no answer: they stand for a
/// broken node, and not for zero.
pub(super) fn quantity(method: &str, answer: &RawValue) -> Result<U256, UpstreamError> {
    let wrong = || malformed(method, "a hex number in quotes", answer.get());
    let text: &str = serde_json::from_str(answer.get()).map_err(|_| wrong())?;
    let digits = text.strip_prefix("0x").filter(|digits| (1..=64).contains(&digits.len())).ok_or_else(wrong)?;
    U256::from_str_radix(digits, 16).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_never_taken_for_zero() {
        let ask = |text: &str| quantity("eth_getBalance", &RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(ask(r#""0x0""#).unwrap(), U256::ZERO);
        assert_eq!(ask(r#""0x1b""#).unwrap(), U256::from(27));
        let too_long = format!("\"0x{}\"", "1".repeat(65));
        for wrong in ["null", r#""0x""#, r#""""#, "0", r#""27""#, r#""0xzz""#, "{}", "[]", &too_long, r#""0x-1""#] {
            let error = ask(wrong).unwrap_err().to_string();
            assert!(error.contains("eth_getBalance") && error.contains("hex number"), "{wrong}: {error}");
        }
    }
}
