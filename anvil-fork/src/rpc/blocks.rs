//! Blocks and headers.

use super::{
    Args, Reply,
    at::{self, At},
    shape,
};
use crate::{chain::Block, node::Node};
use alloy_eips::BlockId;
use alloy_primitives::{B256, U64};
use alloy_rpc_types_eth as rpc;
use std::sync::Arc;

pub(super) async fn number(node: &Arc<Node>, _: Args) -> Reply<U64> {
    Ok(U64::from(node.head().header.number))
}

/// A mined block, or the one that would be mined now.
fn found(node: &Node, id: BlockId) -> Reply<Option<Arc<Block>>> {
    match at::find(node, &node.ledger(), Some(id)) {
        Some(At::Mined(block)) => Ok(Some(block)),
        Some(At::Pending) => Ok(Some(Arc::new(node.pending_block()?.block))),
        None => Ok(None),
    }
}

pub(super) async fn by_number(node: &Arc<Node>, mut args: Args) -> Reply<Option<rpc::Block>> {
    let number = args.block_number()?;
    let full = args.optional("full transactions")?.unwrap_or(false);
    Ok(found(node, number.into())?.map(|block| shape::block(&block, full)))
}

pub(super) async fn by_hash(node: &Arc<Node>, mut args: Args) -> Reply<Option<rpc::Block>> {
    let hash: B256 = args.take("block hash")?;
    let full = args.optional("full transactions")?.unwrap_or(false);
    Ok(node.ledger().block_by_hash(&hash).map(|block| shape::block(block, full)))
}

pub(super) async fn header_by_number(node: &Arc<Node>, mut args: Args) -> Reply<Option<rpc::Header>> {
    let number = args.block_number()?;
    Ok(found(node, number.into())?.map(|block| shape::header(&block)))
}

pub(super) async fn header_by_hash(node: &Arc<Node>, mut args: Args) -> Reply<Option<rpc::Header>> {
    let hash: B256 = args.take("block hash")?;
    Ok(node.ledger().block_by_hash(&hash).map(|block| shape::header(block)))
}

pub(super) async fn receipts(node: &Arc<Node>, mut args: Args) -> Reply<Option<Vec<shape::Receipt>>> {
    let id: BlockId = args.take("block")?;
    Ok(found(node, id)?.map(|block| shape::receipts(&block)))
}

pub(super) async fn count_by_number(node: &Arc<Node>, mut args: Args) -> Reply<Option<U64>> {
    let number = args.block_number()?;
    Ok(found(node, number.into())?.map(|block| U64::from(block.transactions.len())))
}

pub(super) async fn count_by_hash(node: &Arc<Node>, mut args: Args) -> Reply<Option<U64>> {
    let hash: B256 = args.take("block hash")?;
    Ok(node.ledger().block_by_hash(&hash).map(|block| U64::from(block.transactions.len())))
}

pub(super) async fn uncle_count(node: &Arc<Node>, mut args: Args) -> Reply<Option<U64>> {
    let id: BlockId = args.take("block")?;
    Ok(found(node, id)?.map(|_| U64::ZERO))
}

pub(super) async fn uncle(_: &Arc<Node>, _: Args) -> Reply<Option<rpc::Block>> {
    Ok(None)
}
