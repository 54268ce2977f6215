//! The chain as a file: accounts in anvil's format, and blocks with receipts and inference lists beside them.
//!
//! States of past blocks are in the file only if that is asked for: without them, only the head's state can be read after
//! loading. Of a fork, the file holds what differs from the forked chain.

use super::{
    Account, Block, Ledger, StateError, View, World,
    states::{self, StatesFile},
};
use alloy_consensus::{ReceiptEnvelope, TxEnvelope, transaction::Recovered};
use alloy_eips::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::Decodable;
use foreblock_precompile::{InferenceList, ListError, Used};
use revm::bytecode::Bytecode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A state file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// Not the format.
    #[error("the state file is not JSON as anvil or foreblock write it: {0}")]
    Json(#[from] serde_json::Error),
    /// A block in it is broken.
    #[error("block {0} of the state file does not decode: {1}; the file is damaged")]
    Block(usize, String),
    /// Code in it is broken.
    #[error("code of account {0} in the state file is not valid bytecode: {1}")]
    Code(Address, String),
    /// A list that cannot be written.
    #[error(transparent)]
    List(#[from] ListError),
    /// A file that was written on a fork.
    #[error(
        "the state file is of a fork of chain {0} at block {1} ({2}): start with --fork-url and --fork-block-number {1}"
    )]
    Fork(u64, u64, B256),
    /// A state with a hole.
    #[error(transparent)]
    State(#[from] super::StateError),
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    accounts: BTreeMap<Address, AccountFile>,
    #[serde(default)]
    best_block_number: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    foreblock_blocks: Vec<BlockFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    foreblock_states: Vec<StatesFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    foreblock_fork: Option<ForkFile>,
}

/// The forked chain that the file's chain goes on from.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
struct ForkFile {
    chain_id: u64,
    number: u64,
    hash: B256,
}

/// An account as state files and followers have it.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountFile {
    nonce: u64,
    balance: U256,
    code: Bytes,
    #[serde(default)]
    storage: BTreeMap<B256, B256>,
    /// Whether only a forked chain knows the other slots.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    storage_elsewhere: bool,
}

#[derive(Serialize, Deserialize)]
struct BlockFile {
    rlp: Bytes,
    senders: Vec<Address>,
    receipts: Vec<Bytes>,
    blob_gas_price: Option<u128>,
    inference_list: Bytes,
    /// For each entry of the list, its model and inference gas.
    inference_models: Vec<(B256, u64)>,
    #[serde(default)]
    requests: Vec<Bytes>,
}

/// The chain as JSON, with the states of all blocks if these are wanted.
pub fn dump(ledger: &Ledger, with_states: bool) -> Result<Vec<u8>, DumpError> {
    let view = ledger.view();
    let accounts = accounts_file(&view)?;
    let blocks = ledger.blocks().map(|block| block_file(block)).collect::<Result<_, _>>()?;
    let best = serde_json::json!(ledger.head().header.number);
    let states = if with_states { states::write(ledger.blocks(), &view)? } else { Vec::new() };
    Ok(serde_json::to_vec(&StateFile {
        accounts,
        best_block_number: Some(best),
        foreblock_blocks: blocks,
        foreblock_states: states,
        foreblock_fork: fork_of(ledger),
    })?)
}

fn fork_of(ledger: &Ledger) -> Option<ForkFile> {
    let upstream = ledger.upstream()?;
    Some(ForkFile { chain_id: upstream.chain_id(), number: upstream.number(), hash: upstream.hash() })
}

/// All accounts of a state.
pub fn accounts_file(view: &View) -> Result<BTreeMap<Address, AccountFile>, StateError> {
    let mut accounts = BTreeMap::new();
    for account in view.world.accounts() {
        let storage = account.storage.values().map(|slot| (slot.key.into(), slot.value.into()));
        let file = AccountFile {
            nonce: account.nonce,
            balance: account.balance,
            code: view.code(account.address)?.original_bytes(),
            storage: storage.collect(),
            storage_elsewhere: !account.storage_known,
        };
        accounts.insert(account.address, file);
    }
    Ok(accounts)
}

/// The state that has these accounts.
pub fn world_of(accounts: BTreeMap<Address, AccountFile>) -> Result<World, DumpError> {
    let mut world = World::default();
    for (address, given) in accounts {
        let account = account(&mut world, address, given)?;
        world.put(account);
    }
    Ok(world)
}

fn block_file(block: &Block) -> Result<BlockFile, DumpError> {
    let list = block.inference_list()?;
    Ok(BlockFile {
        rlp: alloy_rlp::encode(block.consensus()).into(),
        senders: block.transactions.iter().map(|tx| tx.signer()).collect(),
        receipts: block.receipts.iter().map(|receipt| receipt.encoded_2718().into()).collect(),
        blob_gas_price: block.blob_gas_price,
        inference_list: list.encode(),
        inference_models: block.inferences.iter().map(|used| (used.model, used.inference_gas)).collect(),
        requests: block.requests.clone(),
    })
}

/// A chain from JSON. A file of anvil's has accounts only: they are put over the state of `now`, whose head stays.
pub fn load(json: &[u8], now: &Ledger) -> Result<Ledger, DumpError> {
    let file: StateFile = serde_json::from_slice(json)?;
    let own = !file.foreblock_blocks.is_empty();
    let mut world = if own { World::default() } else { now.world.clone() };
    for (address, given) in file.accounts {
        let account = account(&mut world, address, given)?;
        world.put(account);
    }
    if let Some(fork) = file.foreblock_fork
        && fork_of(now) != Some(fork)
    {
        return Err(DumpError::Fork(fork.chain_id, fork.number, fork.hash));
    }
    if !own {
        let mut ledger = now.clone();
        ledger.world = world;
        return Ok(ledger);
    }
    let mut blocks = Vec::new();
    for (at, file) in file.foreblock_blocks.into_iter().enumerate() {
        blocks.push(block(file).map_err(|error| DumpError::Block(at, error))?);
    }
    states::read(file.foreblock_states, &mut blocks)?;
    let mut blocks = blocks.into_iter();
    let mut first = blocks.next().expect("there is one, as checked");
    if file.foreblock_fork.is_some() {
        // Other networks hash other headers, so the hash is the one that the upstream told.
        first.hash = now.first().hash;
    }
    let mut ledger = now.beginning_with(first, file.foreblock_fork.is_some());
    blocks.for_each(|block| {
        ledger.push(block);
    });
    ledger.world = world;
    Ok(ledger)
}

fn account(world: &mut World, address: Address, given: AccountFile) -> Result<Account, DumpError> {
    let code = Bytecode::new_raw_checked(given.code).map_err(|error| DumpError::Code(address, error.to_string()))?;
    let mut account = Account::new(address);
    account.code_hash = world.put_code(code);
    account.storage_known = !given.storage_elsewhere;
    account.nonce = given.nonce;
    account.balance = given.balance;
    given.storage.into_iter().for_each(|(key, value)| account.set_slot(key.into(), value.into()));
    Ok(account)
}

fn block(file: BlockFile) -> Result<Block, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let block = alloy_consensus::Block::<TxEnvelope>::decode(&mut file.rlp.as_ref()).map_err(|error| text(&error))?;
    let transactions = block.body.transactions.into_iter().zip(file.senders);
    let receipts = file.receipts.iter().map(|bytes| ReceiptEnvelope::decode_2718_exact(bytes));
    let list = InferenceList::decode(&file.inference_list).map_err(|error| text(&error))?;
    let certificates = list.entries().iter().map(|entry| entry.certificate.clone()).collect();
    let used = list.entries().iter().zip(file.inference_models);
    Ok(Block {
        hash: block.header.hash_slow(),
        header: block.header,
        transactions: transactions.map(|(tx, sender)| Recovered::new_unchecked(tx, sender)).collect(),
        receipts: receipts.collect::<Result<_, _>>().map_err(|error| text(&error))?,
        blob_gas_price: file.blob_gas_price,
        before: World::default(),
        world: World::default(),
        states_kept: false,
        inferences: used
            .map(|(entry, (model, inference_gas))| Used {
                id: entry.id,
                model,
                inference_gas,
                outcome: entry.outcome.clone(),
            })
            .collect(),
        certificates,
        requests: file.requests,
    })
}
