//! Filters that clients poll. They are bounded in number, and forgotten when nobody polls them.

use super::{Args, Reply, RpcError, logs};
use crate::{node::Node, pool::Pooled};
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{Filter, Log};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::broadcast::{self, error::TryRecvError};

/// Filters in all.
const FILTERS_MAX: usize = 10_000;
/// A filter that nobody polled for so long is forgotten.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// All filters.
#[derive(Debug, Default)]
pub struct Filters(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    filters: HashMap<U256, Installed>,
    made: u64,
}

#[derive(Debug)]
struct Installed {
    kind: Kind,
    polled: Instant,
}

#[derive(Debug)]
enum Kind {
    /// Logs of blocks from `next` on.
    Logs { filter: Box<Filter>, next: u64 },
    /// Hashes of blocks from `next` on.
    Blocks { next: u64 },
    /// Hashes of transactions that came into the pool.
    Pending(broadcast::Receiver<Pooled>),
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Changes {
    Hashes(Vec<B256>),
    Logs(Vec<Log>),
}

impl Filters {
    fn install(&self, kind: Kind) -> Reply<U256> {
        let mut inner = self.0.lock();
        let now = Instant::now();
        if inner.filters.len() >= FILTERS_MAX {
            inner.filters.retain(|_, filter| now.duration_since(filter.polled) < IDLE_MAX);
        }
        if inner.filters.len() >= FILTERS_MAX {
            return Err(RpcError::Inference(format!("more than {FILTERS_MAX} filters: uninstall some")));
        }
        inner.made += 1;
        let id = U256::from(inner.made);
        inner.filters.insert(id, Installed { kind, polled: now });
        Ok(id)
    }
}

pub(super) async fn new_logs(node: &Arc<Node>, mut args: Args) -> Reply<U256> {
    let filter: Filter = args.take("filter")?;
    let next = node.head().header.number + 1;
    node.filters.install(Kind::Logs { filter: Box::new(filter), next })
}

pub(super) async fn new_blocks(node: &Arc<Node>, _: Args) -> Reply<U256> {
    node.filters.install(Kind::Blocks { next: node.head().header.number + 1 })
}

pub(super) async fn new_pending(node: &Arc<Node>, _: Args) -> Reply<U256> {
    node.filters.install(Kind::Pending(node.arrivals()))
}

fn missing() -> RpcError {
    RpcError::Inference("filter not found".to_owned())
}

pub(super) async fn changes(node: &Arc<Node>, mut args: Args) -> Reply<Changes> {
    let id: U256 = args.take("filter id")?;
    let ledger = node.ledger();
    let head = ledger.head().header.number;
    let mut inner = node.filters.0.lock();
    let installed = inner.filters.get_mut(&id).ok_or_else(missing)?;
    installed.polled = Instant::now();
    Ok(match &mut installed.kind {
        Kind::Logs { filter, next } => {
            let from = std::mem::replace(next, head + 1).min(head + 1);
            Changes::Logs(logs::between(&ledger, filter, from, head))
        }
        Kind::Blocks { next } => {
            let from = std::mem::replace(next, head + 1).min(head + 1);
            Changes::Hashes((from..=head).filter_map(|number| Some(ledger.block(number)?.hash)).collect())
        }
        Kind::Pending(arrivals) => Changes::Hashes(arrived(arrivals)),
    })
}

fn arrived(arrivals: &mut broadcast::Receiver<Pooled>) -> Vec<B256> {
    let mut hashes = Vec::new();
    loop {
        match arrivals.try_recv() {
            Ok(pooled) => hashes.push(pooled.hash),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return hashes,
        }
    }
}

pub(super) async fn logs(node: &Arc<Node>, mut args: Args) -> Reply<Vec<Log>> {
    let id: U256 = args.take("filter id")?;
    let filter = match node.filters.0.lock().filters.get(&id) {
        Some(Installed { kind: Kind::Logs { filter, .. }, .. }) => filter.clone(),
        Some(_) => return Ok(Vec::new()),
        None => return Err(missing()),
    };
    logs::matching(node, &filter)
}

pub(super) async fn uninstall(node: &Arc<Node>, mut args: Args) -> Reply<bool> {
    let id: U256 = args.take("filter id")?;
    Ok(node.filters.0.lock().filters.remove(&id).is_some())
}
