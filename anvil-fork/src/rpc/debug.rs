//! `debug_*`: geth's traces and raw forms.

use super::{
    Args, Reply, RpcError, at,
    call::{Call, prepare},
};
use crate::{
    chain::{Block, Slot},
    node::Node,
    trace::{self, Stage, Traced},
};
use alloy_consensus::TxEnvelope;
use alloy_eips::{BlockId, Encodable2718};
use alloy_evm::overrides::OverrideBlockHashes;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Decodable;
use alloy_rpc_types_eth::{Bundle, StateContext, TransactionRequest};
use alloy_rpc_types_trace::geth::{GethDebugTracingCallOptions, GethDebugTracingOptions};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

pub(super) async fn trace_transaction(node: &Arc<Node>, mut args: Args) -> Reply<Traced> {
    let hash: B256 = args.take("transaction hash")?;
    let options: GethDebugTracingOptions = args.optional("options")?.unwrap_or_default();
    let ledger = node.ledger();
    let (block, index) =
        ledger.transaction(&hash).ok_or_else(|| RpcError::NotFound("transaction not found".to_owned()))?;
    tokio::task::block_in_place(|| {
        let mut stage = Stage::of_transaction(node, &ledger, block, index)?;
        Traced::mined(node, &mut stage, block, index, &options)
    })
}

/// The trace of one of a block's transactions.
#[derive(Debug, Serialize)]
pub(super) struct OfBlock {
    #[serde(rename = "txHash")]
    hash: B256,
    result: Traced,
}

pub(super) async fn trace_block_by_number(node: &Arc<Node>, mut args: Args) -> Reply<Vec<OfBlock>> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    traces_of(node, &block, args)
}

/// The block as RLP; its hash names one of this chain's.
pub(super) async fn trace_block(node: &Arc<Node>, mut args: Args) -> Reply<Vec<OfBlock>> {
    let rlp: Bytes = args.take("block")?;
    let block = alloy_consensus::Block::<TxEnvelope>::decode(&mut rlp.as_ref());
    let block = block.map_err(|error| RpcError::params(format!("block is not RLP of a block: {error}")))?;
    let id = BlockId::from(block.header.hash_slow());
    traces_of(node, &*at::mined(node, Some(id))?, args)
}

fn traces_of(node: &Node, block: &Block, mut args: Args) -> Reply<Vec<OfBlock>> {
    let options: GethDebugTracingOptions = args.optional("options")?.unwrap_or_default();
    tokio::task::block_in_place(|| {
        let mut stage = Stage::of_block(node, &node.ledger(), block)?;
        let traced = |index: usize| {
            let result = Traced::mined(node, &mut stage, block, index, &options)?;
            Ok(OfBlock { hash: *block.transactions[index].tx_hash(), result })
        };
        (0..block.transactions.len()).map(traced).collect()
    })
}

pub(super) async fn trace_call(node: &Arc<Node>, mut args: Args) -> Reply<Traced> {
    let request: TransactionRequest = args.take("transaction")?;
    let block: Option<BlockId> = args.optional("block")?;
    let options: GethDebugTracingCallOptions = args.optional("options")?.unwrap_or_default();
    tokio::task::block_in_place(|| {
        let (db, env) = prepare(node, block, options.state_overrides, options.block_overrides)?;
        let (mut stage, tx) = Call::new(db, env, request)?.stage(node)?;
        trace::geth(node, &mut stage, tx, &options.tracing_options, Default::default())
    })
}

/// Calls of several bundles on one state, each seeing what those before it changed.
pub(super) async fn trace_call_many(node: &Arc<Node>, mut args: Args) -> Reply<Vec<Vec<Traced>>> {
    let bundles: Vec<Bundle> = args.take("bundles")?;
    let context: StateContext = args.optional("state context")?.unwrap_or_default();
    let options: GethDebugTracingCallOptions = args.optional("options")?.unwrap_or_default();
    tokio::task::block_in_place(|| {
        let (mut db, env) = prepare(node, context.block_number, options.state_overrides, options.block_overrides)?;
        let mut answers = Vec::new();
        for bundle in bundles {
            let mut env = env.clone();
            if let Some(overrides) = bundle.block_override {
                db.apply_block_overrides(overrides, &mut env.block_env);
            }
            let mut traces = Vec::new();
            for request in bundle.transactions {
                let (mut stage, tx) = Call::new(db, env.clone(), request)?.stage(node)?;
                traces.push(trace::geth(node, &mut stage, tx, &options.tracing_options, Default::default())?);
                db = stage.db;
            }
            answers.push(traces);
        }
        Ok(answers)
    })
}

/// Slots of an account in the order of their hashed keys, as geth gives them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StorageRange {
    storage: BTreeMap<B256, StorageEntry>,
    /// Where the next range starts.
    next_key: Option<B256>,
}

#[derive(Debug, Serialize)]
struct StorageEntry {
    key: B256,
    value: B256,
}

/// A part of an account's storage before one of a block's transactions; after the last, with the index behind it.
pub(super) async fn storage_range(node: &Arc<Node>, mut args: Args) -> Reply<StorageRange> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    let index = args.number("transaction index")?.ok_or_else(|| RpcError::params("missing transaction index"))?;
    let address = args.take("address")?;
    let start = args.big_number("first hashed key")?.unwrap_or_default();
    let limit = args.number("limit")?.ok_or_else(|| RpcError::params("missing limit"))?;
    let count = block.transactions.len();
    let index = usize::try_from(index).ok().filter(|index| *index <= count).ok_or_else(|| {
        RpcError::params(format!(
            "transaction index {index} is out of range: block {} has {count}",
            block.header.number
        ))
    })?;
    tokio::task::block_in_place(|| {
        let stage = Stage::of_transaction(node, &node.ledger(), &block, index)?;
        let only_upstream = "on a fork, only the forked chain's node knows all of this account's storage";
        let account = stage.account(address)?.ok_or_else(|| RpcError::Unsupported(only_upstream.to_owned()))?;
        let entry = |slot: &Slot| (slot.hash(), StorageEntry { key: slot.key.into(), value: slot.value.into() });
        let mut from_start = account.storage.values().map(entry).skip_while(|(hash, _)| *hash < B256::from(start));
        let storage = from_start.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        Ok(StorageRange { storage, next_key: from_start.next().map(|(hash, _)| hash) })
    })
}

pub(super) async fn code_by_hash(node: &Arc<Node>, mut args: Args) -> Reply<Option<Bytes>> {
    let hash: B256 = args.take("code hash")?;
    let view = at::view(node, args.optional("block")?)?;
    Ok(view.world.code(&hash).map(|code| code.original_bytes()))
}

/// A value of geth's database. Only its code is here: under the code's hash, with geth's prefix `c` or without.
pub(super) async fn db_get(node: &Arc<Node>, mut args: Args) -> Reply<Option<Bytes>> {
    let key: Bytes = args.take("key")?;
    let hash = key.strip_prefix(b"c").filter(|hash| hash.len() == 32).unwrap_or(&key);
    let hash =
        B256::try_from(hash).map_err(|_| RpcError::params("key: expected 32 bytes, or 33 that start with 0x63"))?;
    Ok(node.view().world.code(&hash).map(|code| code.original_bytes()))
}

pub(super) async fn raw_header(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let block = at::mined(node, args.optional("block")?)?;
    Ok(alloy_rlp::encode(&block.header).into())
}

pub(super) async fn raw_block(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let block = at::mined(node, args.optional("block")?)?;
    Ok(alloy_rlp::encode(block.consensus()).into())
}

pub(super) async fn raw_receipts(node: &Arc<Node>, mut args: Args) -> Reply<Vec<Bytes>> {
    let block = at::mined(node, args.optional("block")?)?;
    Ok(block.receipts.iter().map(|receipt| receipt.encoded_2718().into()).collect())
}
