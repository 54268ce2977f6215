//! From options to the block that the local chain begins with.

use super::{
    ForkOptions, ForkPoint, Upstream, UpstreamError,
    client::{Client, malformed},
    disk::{Disk, Entry},
    upstream::quantity,
};
use crate::chain::Transaction;
use alloy_consensus::Header;
use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth as rpc;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The block below the local chain.
#[derive(Debug)]
pub struct Origin {
    /// The forked chain at that block.
    pub upstream: Upstream,
    /// The block's header.
    pub header: Header,
    /// Its hash, as the upstream told it: other networks hash other headers.
    pub hash: B256,
    /// What is built before anything else, to stand after a transaction.
    pub replay: Option<Replay>,
}

/// The beginning of a block that the forked chain has built.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The block's header.
    pub header: Header,
    /// Its transactions up to the wanted one.
    pub transactions: Vec<Transaction>,
}

/// Asks the upstream where the local chain begins.
pub fn open(options: &ForkOptions) -> Result<Origin, UpstreamError> {
    let client = Client::new(options)?;
    let chain_id = client.chain_id()?;
    let (number, replay) = match options.point {
        ForkPoint::Number(number) => (number, None),
        ForkPoint::Latest => (height(&client)?, None),
        ForkPoint::Back(blocks) => {
            let height = height(&client)?;
            let number =
                height.checked_sub(blocks).ok_or_else(|| UpstreamError::NoBlock(format!("{height} - {blocks}")))?;
            (number, None)
        }
        ForkPoint::Transaction(hash) => {
            let replay = replay(&client, hash)?;
            (replay.header.number.saturating_sub(1), Some(replay))
        }
    };
    let block = block(&client, options, chain_id, number)?;
    let told: rpc::Header = read("eth_getBlockByNumber", "a block", &block)?;
    if told.number != number {
        return Err(malformed("eth_getBlockByNumber", "the block that was asked", &format!("block {}", told.number)));
    }
    let hash = told.hash;
    let by_hash = takes_hashes(&client, hash);
    let mut upstream = Upstream::new(client, options.clone(), chain_id, (number, hash), by_hash);
    if let Some(cache) = &options.cache {
        let (disk, entries) = Disk::open(cache, chain_id, number, hash)?;
        if !entries.iter().any(|entry| matches!(entry, Entry::Block { .. })) {
            disk.note(&Entry::Block { block });
        }
        upstream.remember(disk, entries);
    }
    Ok(Origin { upstream, header: told.inner, hash, replay })
}

fn height(client: &Client) -> Result<u64, UpstreamError> {
    let answer = client.ask("eth_blockNumber", json!([]))?;
    let number = quantity("eth_blockNumber", &answer)?;
    u64::try_from(number).map_err(|_| malformed("eth_blockNumber", "a number below 2^64", answer.get()))
}

/// The fork block without its transactions. With chain id and number given, and the block known from before, a start needs
/// no network.
fn block(client: &Client, options: &ForkOptions, chain_id: u64, number: u64) -> Result<Value, UpstreamError> {
    let asked = client.ask("eth_getBlockByNumber", json!([format!("{number:#x}"), false]));
    let known = || {
        let cache = options.cache.as_ref().filter(|_| options.chain_id.is_some())?;
        Disk::block(cache, chain_id, number)
    };
    let block: Value = match asked {
        Ok(answer) => read("eth_getBlockByNumber", "a block", answer.get())?,
        Err(error @ UpstreamError::Silent { .. }) => {
            let known = known().ok_or_else(|| error.clone())?;
            tracing::warn!(%error, "forking from what was read before");
            known
        }
        Err(error) => return Err(error),
    };
    if block.is_null() { Err(UpstreamError::NoBlock(number.to_string())) } else { Ok(block) }
}

/// Whether the upstream reads state by a block's hash (EIP-1898), which no reorganisation can move.
pub(super) fn takes_hashes(client: &Client, hash: B256) -> bool {
    let answer = client.ask("eth_getBalance", json!([Address::ZERO, { "blockHash": hash }]));
    answer.is_ok_and(|answer| quantity("eth_getBalance", &answer).is_ok())
}

fn replay(client: &Client, hash: B256) -> Result<Replay, UpstreamError> {
    let missing = || UpstreamError::NoTransaction(hash.to_string());
    let answer = client.ask("eth_getTransactionByHash", json!([hash]))?;
    let tx: Value = read("eth_getTransactionByHash", "a transaction", answer.get())?;
    let number = tx.get("blockNumber").filter(|number| !number.is_null()).ok_or_else(missing)?;
    let answer = client.ask("eth_getBlockByNumber", json!([number, true]))?;
    let block: rpc::Block = read("eth_getBlockByNumber", "a block of Ethereum's transactions", answer.get())?;
    let transactions = block.transactions.into_transactions_vec();
    let last = transactions.iter().position(|tx| *tx.inner.tx_hash() == hash).ok_or_else(missing)?;
    Ok(Replay {
        header: block.header.inner,
        transactions: transactions.into_iter().take(last + 1).map(|tx| tx.inner).collect(),
    })
}

fn read<T: DeserializeOwned>(
    method: &str,
    expected: &'static str,
    json: &(impl ToString + ?Sized),
) -> Result<T, UpstreamError> {
    let text = json.to_string();
    serde_json::from_str(&text).map_err(|_| malformed(method, expected, &text))
}
