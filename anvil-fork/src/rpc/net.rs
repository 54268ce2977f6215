//! `web3_*`, `net_*`, and what `eth_*` says of the node itself.

use super::{Args, Reply};
use crate::node::Node;
use alloy_primitives::{B256, Bytes, U64, U256, keccak256};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn client_version(_: &Arc<Node>, _: Args) -> Reply<String> {
    Ok(format!("foreblock/v{}", env!("CARGO_PKG_VERSION")))
}

pub(super) async fn sha3(_: &Arc<Node>, mut args: Args) -> Reply<B256> {
    Ok(keccak256(args.take::<Bytes>("data")?))
}

pub(super) async fn version(node: &Arc<Node>, _: Args) -> Reply<String> {
    Ok(node.chain_id().to_string())
}

pub(super) async fn listening(_: &Arc<Node>, _: Args) -> Reply<bool> {
    Ok(true)
}

pub(super) async fn peer_count(_: &Arc<Node>, _: Args) -> Reply<U64> {
    Ok(U64::ZERO)
}

pub(super) async fn protocol_version(_: &Arc<Node>, _: Args) -> Reply<U64> {
    Ok(U64::from(69))
}

pub(super) async fn syncing(_: &Arc<Node>, _: Args) -> Reply<bool> {
    Ok(false)
}

pub(super) async fn mining(node: &Arc<Node>, _: Args) -> Reply<bool> {
    Ok(node.settings().mining != crate::miner::Mining::Manual)
}

pub(super) async fn coinbase(node: &Arc<Node>, _: Args) -> Reply<alloy_primitives::Address> {
    Ok(node.settings().coinbase)
}

/// Proof of work is not done here; clients get the error that anvil gives.
pub(super) async fn no_work(_: &Arc<Node>, _: Args) -> Reply<()> {
    Err(super::RpcError::Internal("Not implemented".to_owned()))
}

pub(super) async fn hashrate(_: &Arc<Node>, _: Args) -> Reply<U256> {
    Ok(U256::ZERO)
}

pub(super) async fn chain_id(node: &Arc<Node>, _: Args) -> Reply<U64> {
    Ok(U64::from(node.chain_id()))
}

/// EIP-7910: the rules in force.
pub(super) async fn config(node: &Arc<Node>, _: Args) -> Reply<Value> {
    let spec = node.spec();
    let header = &node.head().header;
    let blobs = spec.blobs(header.timestamp).map(|params| {
        json!({
            "target": params.target_blob_count,
            "max": params.max_blob_count,
            "baseFeeUpdateFraction": params.update_fraction,
        })
    });
    let current = json!({
        "activationTime": 0,
        "blobSchedule": blobs,
        "chainId": U64::from(spec.chain_id()),
        "forkName": spec.name(header.number, header.timestamp),
    });
    Ok(json!({ "current": current, "next": null, "last": null }))
}
