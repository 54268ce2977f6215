//! What a transaction should pay.

use super::{Args, Reply, RpcError, at};
use crate::{chain::Block, node::Node};
use alloy_consensus::Transaction as _;
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{U64, U256};
use alloy_rpc_types_eth::FeeHistory;
use std::sync::Arc;

/// Blocks that `eth_feeHistory` looks back at most, as geth.
const HISTORY_BLOCKS_MAX: u64 = 1_024;

pub(super) async fn gas_price(node: &Arc<Node>, _: Args) -> Reply<U256> {
    Ok(U256::from(suggested_price(node)))
}

/// Base fee of the next block and the suggested tip; before London, the lowest price taken.
pub(super) fn suggested_price(node: &Node) -> u128 {
    let plan = node.plan();
    let settings = node.settings();
    if plan.parent.header.base_fee_per_gas.is_some() {
        u128::from(plan.env.block_env.basefee) + node.config.suggested_tip_wei
    } else {
        settings.min_gas_price_wei
    }
}

pub(super) async fn tip(node: &Arc<Node>, _: Args) -> Reply<U256> {
    Ok(U256::from(node.config.suggested_tip_wei))
}

pub(super) async fn base_fee(node: &Arc<Node>, _: Args) -> Reply<U64> {
    Ok(U64::from(node.plan().env.block_env.basefee))
}

pub(super) async fn blob_base_fee(node: &Arc<Node>, _: Args) -> Reply<U256> {
    Ok(U256::from(node.plan().env.block_env.blob_excess_gas_and_price.map_or(0, |blob| blob.blob_gasprice)))
}

pub(super) async fn history(node: &Arc<Node>, mut args: Args) -> Reply<FeeHistory> {
    let count = args.number("block count")?.unwrap_or(1).clamp(1, HISTORY_BLOCKS_MAX);
    let newest: BlockNumberOrTag = args.take("newest block")?;
    let percentiles: Vec<f64> = args.optional("reward percentiles")?.unwrap_or_default();
    if percentiles.windows(2).any(|pair| pair[0] > pair[1]) || percentiles.iter().any(|p| !(0.0..=100.0).contains(p)) {
        return Err(RpcError::params("reward percentiles must lie in 0..=100 and ascend"));
    }
    let newest = at::mined(node, Some(newest.into()))?;
    let ledger = node.ledger();
    let spec = node.spec();
    let first = newest.header.number.saturating_sub(count - 1).max(ledger.first().header.number);
    let mut history = FeeHistory { oldest_block: first, ..Default::default() };
    let mut rewards = Vec::new();
    for number in first..=newest.header.number {
        let Some(block) = ledger.block(number) else { continue };
        let header = &block.header;
        history.base_fee_per_gas.push(u128::from(header.base_fee_per_gas.unwrap_or(0)));
        history.gas_used_ratio.push(header.gas_used as f64 / header.gas_limit as f64);
        let blobs = spec.blobs(header.timestamp);
        let blob_ratio = blobs.map_or(0.0, |params| {
            header.blob_gas_used.unwrap_or(0) as f64 / params.max_blob_gas_per_block().max(1) as f64
        });
        history.blob_gas_used_ratio.push(blob_ratio);
        history.base_fee_per_blob_gas.push(blobs.and_then(|params| header.blob_fee(params)).unwrap_or(0));
        rewards.push(tips(block, &percentiles));
    }
    let next_base_fee = newest.header.next_block_base_fee(spec.base_fees()).unwrap_or(0);
    history.base_fee_per_gas.push(u128::from(next_base_fee));
    let next_blob_fee =
        spec.blobs(newest.header.timestamp).and_then(|params| newest.header.next_block_blob_fee(params));
    history.base_fee_per_blob_gas.push(next_blob_fee.unwrap_or(0));
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    Ok(history)
}

/// Tips at percentiles of the block's gas.
fn tips(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let base_fee = block.header.base_fee_per_gas.unwrap_or(0);
    let mut paid: Vec<(u128, u64)> = (0..block.transactions.len())
        .map(|index| (block.transactions[index].effective_tip_per_gas(base_fee).unwrap_or(0), block.gas_used(index)))
        .collect();
    paid.sort_unstable();
    let at = |percentile: &f64| {
        let wanted = (block.header.gas_used as f64 * percentile / 100.0) as u64;
        let mut sum = 0;
        let found = paid.iter().find(|(_, gas)| {
            sum += gas;
            sum >= wanted
        });
        found.or(paid.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}
