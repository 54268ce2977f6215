//! Transactions and receipts, mined and pending.

use super::{Args, Reply, at, shape};
use crate::{
    chain::{Block, Ledger, Transaction},
    node::Node,
};
use alloy_consensus::Transaction as _;
use alloy_eips::{BlockId, Encodable2718};
use alloy_primitives::{Address, B256, Bytes};
use alloy_rpc_types_eth as rpc;
use alloy_rpc_types_eth::Index;
use std::sync::Arc;

pub(super) async fn by_hash(node: &Arc<Node>, mut args: Args) -> Reply<Option<rpc::Transaction>> {
    let hash: B256 = args.take("transaction hash")?;
    if let Some((block, index)) = node.ledger().transaction(&hash) {
        return Ok(Some(shape::transaction(block, index)));
    }
    Ok(node.pool(|pool| pool.get(&hash).cloned()).map(|pooled| shape::pending(&pooled.tx)))
}

pub(super) async fn by_block_and_index(node: &Arc<Node>, mut args: Args) -> Reply<Option<rpc::Transaction>> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    let index = usize::from(args.take::<Index>("index")?);
    Ok((index < block.transactions.len()).then(|| shape::transaction(&block, index)))
}

pub(super) async fn by_sender_and_nonce(node: &Arc<Node>, mut args: Args) -> Reply<Option<rpc::Transaction>> {
    let sender: Address = args.take("sender")?;
    let nonce = args.number("nonce")?.unwrap_or(0);
    let is_it = |tx: &Transaction| tx.signer() == sender && tx.nonce() == nonce;
    let pooled = node.pool(|pool| pool.split(|_| 0));
    if let Some(found) = pooled.0.into_iter().chain(pooled.1).find(|pooled| is_it(&pooled.tx)) {
        return Ok(Some(shape::pending(&found.tx)));
    }
    Ok(find_by_nonce(&node.ledger(), sender, nonce).map(|(block, index)| shape::transaction(&block, index)))
}

/// The mined transaction that `sender` sent with this nonce.
pub(super) fn find_by_nonce(ledger: &Ledger, sender: Address, nonce: u64) -> Option<(Arc<Block>, usize)> {
    let is_it = |tx: &Transaction| tx.signer() == sender && tx.nonce() == nonce;
    let mut blocks = ledger.blocks().rev();
    blocks.find_map(|block| block.transactions.iter().position(is_it).map(|index| (block.clone(), index)))
}

pub(super) async fn receipt(node: &Arc<Node>, mut args: Args) -> Reply<Option<shape::Receipt>> {
    let hash: B256 = args.take("transaction hash")?;
    Ok(node.ledger().transaction(&hash).map(|(block, index)| shape::receipt(block, index)))
}

pub(super) async fn raw(node: &Arc<Node>, mut args: Args) -> Reply<Option<Bytes>> {
    let hash: B256 = args.take("transaction hash")?;
    if let Some((block, index)) = node.ledger().transaction(&hash) {
        return Ok(Some(block.transactions[index].encoded_2718().into()));
    }
    Ok(node.pool(|pool| pool.get(&hash).map(|pooled| pooled.tx.encoded_2718().into())))
}

pub(super) async fn raw_by_block_and_index(node: &Arc<Node>, mut args: Args) -> Reply<Option<Bytes>> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    let index = usize::from(args.take::<Index>("index")?);
    Ok(block.transactions.get(index).map(|tx| tx.encoded_2718().into()))
}

pub(super) async fn pending(node: &Arc<Node>, _: Args) -> Reply<Vec<rpc::Transaction>> {
    let (pending, _) = node.pool(|pool| pool.split(|_| 0));
    Ok(pending.iter().map(|pooled| shape::pending(&pooled.tx)).collect())
}
