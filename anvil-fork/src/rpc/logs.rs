//! Logs of mined blocks.

use super::{Args, Reply, RpcError, at, shape};
use crate::{
    chain::{Block, Ledger},
    node::Node,
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};
use std::sync::Arc;

pub(super) async fn get(node: &Arc<Node>, mut args: Args) -> Reply<Vec<Log>> {
    let filter: Filter = args.take("filter")?;
    tokio::task::block_in_place(|| matching(node, &filter))
}

/// All logs that a filter matches.
pub(super) fn matching(node: &Node, filter: &Filter) -> Reply<Vec<Log>> {
    let ledger = node.ledger();
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            return match (ledger.block_by_hash(&hash), ledger.upstream()) {
                (Some(block), None) => Ok(of_block(block, filter)),
                (Some(block), Some(upstream)) if block.header.number > upstream.number() => Ok(of_block(block, filter)),
                (_, Some(upstream)) => Ok(upstream.logs(filter, 0, 0)?),
                (None, None) => Err(RpcError::NotFound("unknown block".to_owned())),
            };
        }
        FilterBlockOption::Range { from_block, to_block } => {
            (height(node, &ledger, from_block), height(node, &ledger, to_block))
        }
    };
    if from > to {
        return Ok(Vec::new());
    }
    // What was before the fork, the upstream tells; what came after, this chain.
    let fork = ledger.upstream().filter(|upstream| from <= upstream.number()).cloned();
    let mut logs = Vec::new();
    if let Some(upstream) = fork {
        logs = upstream.logs(filter, from, to.min(upstream.number()))?;
    }
    logs.extend(between(&ledger, filter, from, to));
    Ok(logs)
}

/// Logs of blocks `from` to `to`, both included.
pub(super) fn between(ledger: &Ledger, filter: &Filter, from: u64, to: u64) -> Vec<Log> {
    let last = to.min(ledger.head().header.number);
    (from..=last).filter_map(|number| ledger.block(number)).flat_map(|block| of_block(block, filter)).collect()
}

fn height(node: &Node, ledger: &Ledger, tag: Option<BlockNumberOrTag>) -> u64 {
    match tag {
        Some(BlockNumberOrTag::Number(number)) => number,
        Some(BlockNumberOrTag::Earliest) if ledger.upstream().is_some() => 0,
        Some(tag) => match at::find(node, ledger, Some(BlockId::Number(tag))) {
            Some(at::At::Mined(block)) => block.header.number,
            _ => ledger.head().header.number,
        },
        None => ledger.head().header.number,
    }
}

/// A block's logs that a filter matches.
pub(super) fn of_block(block: &Block, filter: &Filter) -> Vec<Log> {
    if !filter.matches_bloom(block.header.logs_bloom) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = 0;
    for (index, receipt) in block.receipts.iter().enumerate() {
        for log in receipt.logs() {
            if filter.matches(log) {
                found.push(shape::log(block, index, at, log.clone()));
            }
            at += 1;
        }
    }
    found
}
