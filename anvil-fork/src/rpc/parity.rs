//! `trace_*`: Parity's traces of mined transactions.

use super::{Args, Reply, RpcError, at};
use crate::{
    chain::{Block, Ledger},
    node::Node,
    trace,
};
use alloy_eips::BlockId;
use alloy_primitives::{B256, map::HashSet};
use alloy_rpc_types_eth::Index;
use alloy_rpc_types_trace::parity::{
    LocalizedTransactionTrace, TraceResults, TraceResultsWithTransactionHash, TraceType,
};
use std::sync::Arc;

fn of_block(node: &Node, ledger: &Ledger, block: &Block) -> Reply<Vec<LocalizedTransactionTrace>> {
    let mut traces = Vec::new();
    for index in 0..block.transactions.len() {
        traces.extend(trace::parity_transaction(node, ledger, block, index)?);
    }
    Ok(traces)
}

pub(super) async fn transaction(node: &Arc<Node>, mut args: Args) -> Reply<Option<Vec<LocalizedTransactionTrace>>> {
    let hash: B256 = args.take("transaction hash")?;
    let ledger = node.ledger();
    let Some((block, index)) = ledger.transaction(&hash) else { return Ok(None) };
    tokio::task::block_in_place(|| trace::parity_transaction(node, &ledger, block, index).map(Some))
}

pub(super) async fn get(node: &Arc<Node>, mut args: Args) -> Reply<Option<LocalizedTransactionTrace>> {
    let hash: B256 = args.take("transaction hash")?;
    let path: Vec<Index> = args.take("indices")?;
    let path: Vec<usize> = path.into_iter().map(usize::from).collect();
    let ledger = node.ledger();
    let Some((block, index)) = ledger.transaction(&hash) else { return Ok(None) };
    let traces = tokio::task::block_in_place(|| trace::parity_transaction(node, &ledger, block, index))?;
    Ok(traces.into_iter().find(|found| found.trace.trace_address == path))
}

pub(super) async fn block(node: &Arc<Node>, mut args: Args) -> Reply<Vec<LocalizedTransactionTrace>> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    tokio::task::block_in_place(|| of_block(node, &node.ledger(), &block))
}

pub(super) async fn replay_transaction(node: &Arc<Node>, mut args: Args) -> Reply<TraceResults> {
    let hash: B256 = args.take("transaction hash")?;
    let kinds: HashSet<TraceType> = args.take("trace types")?;
    let ledger = node.ledger();
    let found = ledger.transaction(&hash);
    let (block, index) = found.ok_or_else(|| RpcError::NotFound("transaction not found".to_owned()))?;
    tokio::task::block_in_place(|| trace::parity_replay(node, &ledger, block, index, &kinds))
}

pub(super) async fn replay_block(node: &Arc<Node>, mut args: Args) -> Reply<Vec<TraceResultsWithTransactionHash>> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    let kinds: HashSet<TraceType> = args.take("trace types")?;
    let ledger = node.ledger();
    tokio::task::block_in_place(|| {
        let replay = |index: usize| {
            let full_trace = trace::parity_replay(node, &ledger, &block, index, &kinds)?;
            Ok(TraceResultsWithTransactionHash { full_trace, transaction_hash: *block.transactions[index].tx_hash() })
        };
        (0..block.transactions.len()).map(replay).collect()
    })
}
