//! Which block a parameter means.

use super::RpcError;
use crate::{
    chain::{Block, Ledger, View},
    node::Node,
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_evm::EvmEnv;
use std::sync::Arc;

/// A block that a parameter names.
#[derive(Debug)]
pub(super) enum At {
    Mined(Arc<Block>),
    Pending,
}

/// The block that `id` means, `latest` if it is not given; `None` where there is no such block.
pub(super) fn find(node: &Node, ledger: &Ledger, id: Option<BlockId>) -> Option<At> {
    let epoch = node.config.slots_in_an_epoch;
    let head = ledger.head().header.number;
    let number = match id.unwrap_or_default() {
        BlockId::Hash(hash) => return ledger.block_by_hash(&hash.block_hash).cloned().map(At::Mined),
        BlockId::Number(BlockNumberOrTag::Pending) => return Some(At::Pending),
        BlockId::Number(BlockNumberOrTag::Latest) => head,
        BlockId::Number(BlockNumberOrTag::Earliest) => ledger.first().header.number,
        BlockId::Number(BlockNumberOrTag::Safe) => head.saturating_sub(epoch).max(ledger.first().header.number),
        BlockId::Number(BlockNumberOrTag::Finalized) => {
            head.saturating_sub(epoch * 2).max(ledger.first().header.number)
        }
        BlockId::Number(BlockNumberOrTag::Number(number)) => number,
    };
    ledger.block(number).cloned().map(At::Mined)
}

/// The mined block that `id` means.
pub(super) fn mined(node: &Node, id: Option<BlockId>) -> Result<Arc<Block>, RpcError> {
    let ledger = node.ledger();
    match find(node, &ledger, id) {
        Some(At::Mined(block)) => Ok(block),
        Some(At::Pending) => Ok(ledger.head().clone()),
        None => Err(out_of_range(&ledger, id)),
    }
}

/// The state that `id` means, and the environment of a call on it.
pub(super) fn state(node: &Node, id: Option<BlockId>) -> Result<(View, EvmEnv), RpcError> {
    let ledger = node.ledger();
    match find(node, &ledger, id) {
        Some(At::Mined(block)) => Ok((ledger.view_after(&block)?, node.env_of(&block))),
        Some(At::Pending) => {
            let built = node.pending_block()?;
            let env = node.env_of(&built.block);
            let mut view = ledger.view();
            view.world = built.block.world;
            Ok((view, env))
        }
        None => Err(out_of_range(&ledger, id)),
    }
}

/// The state that `id` means.
pub(super) fn view(node: &Node, id: Option<BlockId>) -> Result<View, RpcError> {
    let ledger = node.ledger();
    match find(node, &ledger, id) {
        Some(At::Mined(block)) => Ok(ledger.view_after(&block)?),
        _ => state(node, id).map(|(view, _)| view),
    }
}

fn out_of_range(ledger: &Ledger, id: Option<BlockId>) -> RpcError {
    match id {
        Some(BlockId::Number(BlockNumberOrTag::Number(number))) => RpcError::params(format!(
            "BlockOutOfRangeError: block height is {} but requested was {number}",
            ledger.head().header.number
        )),
        _ => RpcError::NotFound("header not found".to_owned()),
    }
}
