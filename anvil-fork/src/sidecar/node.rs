//! What the watched node is asked, beside its state.

use crate::{
    chain::Transaction,
    fork::{Heads, UpstreamError},
};
use alloy_primitives::{Address, B256, U64, U256};
use alloy_rpc_types_eth as rpc;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::collections::BTreeMap;

/// Transactions asked for at once.
const BATCH: usize = 256;

/// A block without its transactions' content.
#[derive(Clone, Debug, Deserialize)]
pub struct Header {
    /// All fields of the header.
    #[serde(flatten)]
    pub header: rpc::Header,
    /// Hashes of its transactions.
    #[serde(default)]
    pub transactions: Vec<B256>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    pending: BTreeMap<Address, BTreeMap<String, Box<RawValue>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    transaction_hash: B256,
    gas_used: U64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    access_list: Vec<ListedAccount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedAccount {
    address: Address,
    storage_keys: Vec<B256>,
}

/// Accounts and slots that a transaction will read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints {
    pub(super) accounts: Vec<Address>,
    pub(super) slots: Vec<(Address, U256)>,
}

/// The last block.
pub(super) fn latest(heads: &Heads) -> Result<Header, UpstreamError> {
    heads.ask("eth_getBlockByNumber", "a block", json!(["latest", false]))
}

/// A block by its number; `None` where the node has none.
pub(super) fn block(heads: &Heads, number: u64) -> Result<Option<Header>, UpstreamError> {
    heads.ask("eth_getBlockByNumber", "a block or null", json!([U64::from(number), false]))
}

/// Gas that each transaction of a block used; nothing where the node does not say.
pub(super) fn gas_used(heads: &Heads, number: u64) -> BTreeMap<B256, u64> {
    let receipts: Result<Vec<Receipt>, _> =
        heads.ask("eth_getBlockReceipts", "a list of receipts", json!([U64::from(number)]));
    let receipts = receipts.unwrap_or_default();
    receipts.into_iter().map(|receipt| (receipt.transaction_hash, receipt.gas_used.to())).collect()
}

/// All executable transactions of the node's pool. One of a kind that this release does not know is left out.
pub(super) fn pending(heads: &Heads) -> Result<Vec<Transaction>, UpstreamError> {
    let content: Content = heads.ask("txpool_content", "the pool's content", json!([]))?;
    let all = content.pending.into_values().flat_map(BTreeMap::into_values);
    Ok(all.filter_map(|raw| transaction(&raw)).collect())
}

/// Those of these transactions that still wait.
pub(super) fn transactions(heads: &Heads, hashes: &[B256]) -> Result<Vec<Transaction>, UpstreamError> {
    let mut found = Vec::with_capacity(hashes.len());
    for some in hashes.chunks(BATCH) {
        let questions = some.iter().map(|hash| json!([hash]));
        let answers: Vec<Box<RawValue>> =
            heads.ask_each("eth_getTransactionByHash", "a transaction or null", questions)?;
        found.extend(answers.iter().filter_map(|raw| transaction(raw)));
    }
    Ok(found)
}

/// A transaction that is in no block yet.
fn transaction(raw: &RawValue) -> Option<Transaction> {
    let told: rpc::Transaction = serde_json::from_str(raw.get()).ok()?;
    told.block_hash.is_none().then_some(told.inner)
}

/// A filter that collects hashes of new pending transactions.
pub(super) fn new_filter(heads: &Heads) -> Result<String, UpstreamError> {
    heads.ask("eth_newPendingTransactionFilter", "a filter's id", json!([]))
}

/// What a filter collected since it was asked last.
pub(super) fn filter_changes(heads: &Heads, filter: &str) -> Result<Vec<B256>, UpstreamError> {
    heads.ask("eth_getFilterChanges", "a list of hashes", json!([filter]))
}

/// What the node says that transactions will read: one question instead of one for each slot.
pub(super) fn access_lists<'a>(
    heads: &Heads,
    transactions: impl Iterator<Item = &'a Transaction>,
) -> Result<Hints, UpstreamError> {
    let questions = transactions.map(|tx| json!([call(tx), "latest"]));
    let answers: Vec<Box<RawValue>> = heads.ask_each("eth_createAccessList", "an access list", questions)?;
    let mut hints = Hints::default();
    for answer in answers {
        let Ok(Listed { access_list }) = serde_json::from_str(answer.get()) else { continue };
        for ListedAccount { address, storage_keys } in access_list {
            hints.accounts.push(address);
            hints.slots.extend(storage_keys.into_iter().map(|key| (address, key.into())));
        }
    }
    Ok(hints)
}

fn call(tx: &Transaction) -> Value {
    use alloy_consensus::Transaction as _;
    json!({
        "from": tx.signer(),
        "to": tx.to(),
        "value": tx.value(),
        "gas": U64::from(tx.gas_limit()),
        "input": tx.input(),
    })
}
