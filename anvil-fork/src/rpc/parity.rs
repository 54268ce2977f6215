//! `trace_*`: Parity's traces of mined transactions and of calls.

use super::{
    Args, Reply, RpcError, at,
    call::{Call, prepare},
    send,
};
use crate::{
    chain::{Block, Ledger},
    node::Node,
    trace::{self, Stage},
};
use alloy_eips::BlockId;
use alloy_evm::FromRecoveredTx;
use alloy_primitives::{B256, Bytes, map::HashSet};
use alloy_rpc_types_eth::{BlockOverrides, Index, TransactionRequest, state::StateOverride};
use alloy_rpc_types_trace::{
    filter::TraceFilter,
    parity::{LocalizedTransactionTrace, TraceResults, TraceResultsWithTransactionHash, TraceType},
};
use revm::context::TxEnv;
use std::sync::Arc;

fn of_block(node: &Node, ledger: &Ledger, block: &Block) -> Reply<Vec<LocalizedTransactionTrace>> {
    if block.transactions.is_empty() {
        return Ok(Vec::new());
    }
    let mut stage = Stage::of_block(node, ledger, block)?;
    let mut traces = Vec::new();
    for index in 0..block.transactions.len() {
        traces.extend(trace::localized(&mut stage, block, index)?);
    }
    Ok(traces)
}

fn of_transaction(node: &Node, hash: B256) -> Reply<Option<Vec<LocalizedTransactionTrace>>> {
    let ledger = node.ledger();
    let Some((block, index)) = ledger.transaction(&hash) else { return Ok(None) };
    tokio::task::block_in_place(|| {
        let mut stage = Stage::of_transaction(node, &ledger, block, index)?;
        trace::localized(&mut stage, block, index).map(Some)
    })
}

pub(super) async fn transaction(node: &Arc<Node>, mut args: Args) -> Reply<Vec<LocalizedTransactionTrace>> {
    Ok(of_transaction(node, args.take("transaction hash")?)?.unwrap_or_default())
}

pub(super) async fn get(node: &Arc<Node>, mut args: Args) -> Reply<Option<LocalizedTransactionTrace>> {
    let hash: B256 = args.take("transaction hash")?;
    let path: Vec<Index> = args.take("indices")?;
    let path: Vec<usize> = path.into_iter().map(usize::from).collect();
    let traces = of_transaction(node, hash)?.into_iter().flatten();
    Ok(traces.into_iter().find(|found| found.trace.trace_address == path))
}

pub(super) async fn block(node: &Arc<Node>, mut args: Args) -> Reply<Vec<LocalizedTransactionTrace>> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    tokio::task::block_in_place(|| of_block(node, &node.ledger(), &block))
}

pub(super) async fn filter(node: &Arc<Node>, mut args: Args) -> Reply<Vec<LocalizedTransactionTrace>> {
    let filter: TraceFilter = args.take("filter")?;
    let ledger = node.ledger();
    let head = ledger.head().header.number;
    let (from, to) = (filter.from_block.unwrap_or(head), filter.to_block.unwrap_or(head).min(head));
    if from > filter.to_block.unwrap_or(head) {
        return Err(RpcError::params("invalid block range, ensure that to block is greater than from block"));
    }
    let skip = filter.after.map_or(0, |after| usize::try_from(after).unwrap_or(usize::MAX));
    let count = filter.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let matcher = filter.matcher();
    tokio::task::block_in_place(|| {
        let (mut found, mut skipped) = (Vec::new(), 0);
        for block in (from..=to).filter_map(|number| ledger.block(number)) {
            for one in of_block(node, &ledger, block)?.into_iter().filter(|one| matcher.matches(&one.trace)) {
                if skipped < skip {
                    skipped += 1;
                } else if found.len() < count {
                    found.push(one);
                }
            }
            if found.len() >= count {
                break;
            }
        }
        Ok(found)
    })
}

pub(super) async fn replay_transaction(node: &Arc<Node>, mut args: Args) -> Reply<TraceResults> {
    let hash: B256 = args.take("transaction hash")?;
    let kinds: HashSet<TraceType> = args.take("trace types")?;
    let ledger = node.ledger();
    let found = ledger.transaction(&hash);
    let (block, index) = found.ok_or_else(|| RpcError::NotFound("transaction not found".to_owned()))?;
    tokio::task::block_in_place(|| Stage::of_transaction(node, &ledger, block, index)?.replay(block, index, &kinds))
}

pub(super) async fn replay_block(node: &Arc<Node>, mut args: Args) -> Reply<Vec<TraceResultsWithTransactionHash>> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    let kinds: HashSet<TraceType> = args.take("trace types")?;
    tokio::task::block_in_place(|| {
        if block.transactions.is_empty() {
            return Ok(Vec::new());
        }
        let mut stage = Stage::of_block(node, &node.ledger(), &block)?;
        let replay = |index: usize| {
            let full_trace = stage.replay(&block, index, &kinds)?;
            Ok(TraceResultsWithTransactionHash { full_trace, transaction_hash: *block.transactions[index].tx_hash() })
        };
        (0..block.transactions.len()).map(replay).collect()
    })
}

pub(super) async fn call(node: &Arc<Node>, mut args: Args) -> Reply<TraceResults> {
    let request: TransactionRequest = args.take("transaction")?;
    let kinds: HashSet<TraceType> = args.take("trace types")?;
    let block = args.optional("block")?;
    let state: Option<StateOverride> = args.optional("state overrides")?;
    let overrides: Option<BlockOverrides> = args.optional("block overrides")?;
    tokio::task::block_in_place(|| {
        let (db, env) = prepare(node, block, state, overrides)?;
        let (mut stage, tx) = Call::new(db, env, request)?.stage(node)?;
        trace::replayed(&mut stage, tx, &kinds)
    })
}

/// Calls on one state, each seeing what those before it changed.
pub(super) async fn call_many(node: &Arc<Node>, mut args: Args) -> Reply<Vec<TraceResults>> {
    let calls: Vec<(TransactionRequest, HashSet<TraceType>)> = args.take("calls")?;
    let block = args.optional("block")?;
    tokio::task::block_in_place(|| {
        let (mut db, env) = prepare(node, block, None, None)?;
        let mut answers = Vec::new();
        for (request, kinds) in calls {
            let (mut stage, tx) = Call::new(db, env.clone(), request)?.stage(node)?;
            answers.push(trace::replayed(&mut stage, tx, &kinds)?);
            db = stage.db;
        }
        Ok(answers)
    })
}

/// A signed transaction, traced as if it were mined now; it is not sent.
pub(super) async fn raw_transaction(node: &Arc<Node>, mut args: Args) -> Reply<TraceResults> {
    let bytes: Bytes = args.take("raw transaction")?;
    let kinds: HashSet<TraceType> = args.take("trace types")?;
    let tx = send::decode(&bytes)?;
    let (db, env) = prepare(node, args.optional("block")?, None, None)?;
    let tx = TxEnv::from_recovered_tx(tx.inner(), tx.signer());
    tokio::task::block_in_place(|| {
        let (mut stage, tx) = Call { db, env, tx, gas_given: true }.stage(node)?;
        trace::replayed(&mut stage, tx, &kinds)
    })
}
