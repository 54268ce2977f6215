//! What waits.

use super::{Args, Reply, shape};
use crate::{node::Node, pool::Pooled};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, U64};
use alloy_rpc_types_eth as rpc;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

fn split(node: &Node) -> (Vec<Pooled>, Vec<Pooled>) {
    let view = node.view();
    node.pool(|pool| pool.split(|address| view.nonce(address).unwrap_or(0)))
}

pub(super) async fn status(node: &Arc<Node>, _: Args) -> Reply<Value> {
    let (pending, queued) = split(node);
    Ok(json!({ "pending": U64::from(pending.len()), "queued": U64::from(queued.len()) }))
}

type BySender<T> = BTreeMap<Address, BTreeMap<String, T>>;

fn by_sender<T>(transactions: &[Pooled], shape: impl Fn(&Pooled) -> T) -> BySender<T> {
    let mut shaped: BySender<T> = BTreeMap::new();
    for pooled in transactions {
        shaped.entry(pooled.sender()).or_default().insert(pooled.tx.nonce().to_string(), shape(pooled));
    }
    shaped
}

fn full(pooled: &Pooled) -> rpc::Transaction {
    shape::pending(&pooled.tx)
}

pub(super) async fn content(node: &Arc<Node>, _: Args) -> Reply<Value> {
    let (pending, queued) = split(node);
    Ok(json!({ "pending": by_sender(&pending, full), "queued": by_sender(&queued, full) }))
}

pub(super) async fn content_from(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let sender: Address = args.take("address")?;
    let (pending, queued) = split(node);
    let of = |transactions: &[Pooled]| by_sender(transactions, full).remove(&sender).unwrap_or_default();
    Ok(json!({ "pending": of(&pending), "queued": of(&queued) }))
}

pub(super) async fn inspect(node: &Arc<Node>, _: Args) -> Reply<Value> {
    let (pending, queued) = split(node);
    let line = |pooled: &Pooled| {
        let tx = &pooled.tx;
        let to = tx.to().map_or_else(|| "contract creation".to_owned(), |to| to.to_string());
        format!("{to}: {} wei + {} gas × {} wei", tx.value(), tx.gas_limit(), tx.max_fee_per_gas())
    };
    Ok(json!({ "pending": by_sender(&pending, line), "queued": by_sender(&queued, line) }))
}
