//! Mining, time and snapshots.

use super::{Args, Reply, RpcError, shape};
use crate::{
    chain::{Block, Snapshot},
    miner::Mining,
    node::Node,
};
use alloy_primitives::U256;
use serde::Deserialize;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// Blocks that one call may mine.
const MINE_MAX: u64 = 1_000_000;

#[derive(Deserialize)]
#[serde(untagged)]
enum MineOptions {
    Options { timestamp: Option<serde_json::Value>, blocks: Option<u64> },
    Timestamp(serde_json::Value),
}

fn number(value: &Value) -> Reply<u64> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let number: U256 = text.parse().map_err(|_| RpcError::params(format!("expected a number, got {text}")))?;
    u64::try_from(number).map_err(|_| RpcError::params("number is larger than 2^64 - 1"))
}

fn mine_for(node: &Node, options: Option<MineOptions>) -> Reply<Vec<Arc<Block>>> {
    let (timestamp, blocks) = match options {
        None => (None, 1),
        Some(MineOptions::Timestamp(time)) => (Some(number(&time)?), 1),
        Some(MineOptions::Options { timestamp, blocks }) => {
            (timestamp.as_ref().map(number).transpose()?, blocks.unwrap_or(1))
        }
    };
    if let Some(time) = timestamp {
        node.change(|chain| chain.clock.set_next(time)).map_err(|error| RpcError::params(error.to_string()))?;
    }
    mine_count(node, blocks, None)
}

fn mine_count(node: &Node, count: u64, interval: Option<u64>) -> Reply<Vec<Arc<Block>>> {
    if count > MINE_MAX {
        return Err(RpcError::params(format!("at most {MINE_MAX} blocks at once, got {count}")));
    }
    let mut mined = Vec::new();
    for at in 0..count {
        // None, or none but the clock's own, which clients write as zero.
        if let Some(seconds) = interval.filter(|seconds| at > 0 && *seconds > 0) {
            let next = node.head().header.timestamp + seconds;
            node.change(|chain| chain.clock.set_next(next)).map_err(|error| RpcError::params(error.to_string()))?;
        }
        mined.push(tokio::task::block_in_place(|| node.mine())?);
    }
    Ok(mined)
}

pub(super) async fn mine_one(node: &Arc<Node>, mut args: Args) -> Reply<&'static str> {
    mine_for(node, args.optional("options")?)?;
    Ok("0x0")
}

pub(super) async fn mine_detailed(node: &Arc<Node>, mut args: Args) -> Reply<Vec<alloy_rpc_types_eth::Block>> {
    let mined = mine_for(node, args.optional("options")?)?;
    Ok(mined.iter().map(|block| shape::block(block, true)).collect())
}

pub(super) async fn mine(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let (count, interval) = (args.number("blocks")?.unwrap_or(1), args.number("interval")?);
    mine_count(node, count, interval)?;
    Ok(Value::Null)
}

pub(super) async fn set_automine(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let on: bool = args.take("enabled")?;
    node.set(|settings| {
        settings.mining = match (on, settings.mining) {
            (true, Mining::Manual | Mining::Interval(_)) => Mining::Auto,
            (false, Mining::Auto | Mining::Mixed(_)) => Mining::Manual,
            (_, mining) => mining,
        }
    });
    node.wake_miner.notify_one();
    Ok(Value::Null)
}

pub(super) async fn automine(node: &Arc<Node>, _: Args) -> Reply<bool> {
    Ok(node.settings().mining.is_auto())
}

pub(super) async fn set_interval(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let seconds = args.number("seconds")?.unwrap_or(0);
    node.set(|settings| {
        settings.mining = if seconds == 0 { Mining::Manual } else { Mining::Interval(Duration::from_secs(seconds)) }
    });
    node.wake_miner.notify_one();
    Ok(Value::Null)
}

pub(super) async fn interval(node: &Arc<Node>, _: Args) -> Reply<Option<u64>> {
    Ok(node.settings().mining.interval().map(|interval| interval.as_secs()))
}

pub(super) async fn snapshot(node: &Arc<Node>, _: Args) -> Reply<U256> {
    Ok(U256::from(node.change(|chain| {
        let id = chain.next_snapshot;
        chain.next_snapshot += 1;
        chain.snapshots.insert(id, Snapshot { ledger: chain.ledger.clone(), clock: chain.clock });
        id
    })))
}

pub(super) async fn revert(node: &Arc<Node>, mut args: Args) -> Reply<bool> {
    let id = args.number("snapshot id")?.unwrap_or(0);
    let reverted = node.change(|chain| {
        let Some(snapshot) = chain.snapshots.remove(&id) else { return false };
        // What was taken after it is of another future.
        chain.snapshots.retain(|other, _| *other < id);
        chain.ledger = snapshot.ledger;
        chain.clock = snapshot.clock;
        true
    });
    if reverted {
        node.announce_head(None, None);
    }
    Ok(reverted)
}

pub(super) async fn rollback(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let depth = args.number("depth")?.unwrap_or(1);
    let height = node.head().header.number - node.ledger().first().header.number;
    if depth > height {
        return Err(RpcError::params(format!("Rollback depth must not exceed current chain height: {height}")));
    }
    let ledger = node.ledger();
    let head = ledger.head().header.number - depth;
    if depth > 0 && ledger.block(head).is_some_and(|block| !block.states_kept) {
        return Err(crate::chain::StateError::NotKept(head).into());
    }
    node.change(|chain| {
        chain.ledger.rollback(depth);
        chain.clock.rewound(chain.ledger.head().header.timestamp);
    });
    node.announce_head(None, None);
    Ok(Value::Null)
}

pub(super) async fn increase_time(node: &Arc<Node>, mut args: Args) -> Reply<i64> {
    let seconds = args.number("seconds")?.unwrap_or(0);
    let offset = node.change(|chain| chain.clock.increase(i128::from(seconds)));
    node.announce_head(None, None);
    Ok(i64::try_from(offset).unwrap_or(i64::MAX))
}

pub(super) async fn set_time(node: &Arc<Node>, mut args: Args) -> Reply<u64> {
    let mut time = args.number("timestamp")?.unwrap_or(0);
    // Milliseconds, as JavaScript has them.
    if time > 1_000_000_000_000 {
        time /= 1_000;
    }
    let now = crate::chain::wall();
    node.change(|chain| chain.clock.set(time));
    node.announce_head(None, None);
    Ok(time.saturating_sub(now))
}

pub(super) async fn set_next_timestamp(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let time = args.number("timestamp")?.unwrap_or(0);
    node.change(|chain| chain.clock.set_next(time)).map_err(|error| RpcError::params(error.to_string()))?;
    node.announce_head(None, None);
    Ok(Value::Null)
}

pub(super) async fn set_timestamp_interval(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let seconds = args.number("seconds")?;
    node.change(|chain| chain.clock.set_interval(seconds));
    Ok(Value::Null)
}

pub(super) async fn remove_timestamp_interval(node: &Arc<Node>, _: Args) -> Reply<bool> {
    Ok(node.change(|chain| chain.clock.set_interval(None)))
}

pub(super) async fn set_gas_limit(node: &Arc<Node>, mut args: Args) -> Reply<bool> {
    let limit = args.number("gas limit")?.ok_or_else(|| RpcError::params("missing gas limit"))?;
    node.set(|settings| settings.gas_limit = limit);
    node.announce_head(None, None);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mine_takes_all_forms_that_clients_send() {
        for (json, timestamp, blocks) in [
            (r#"{"timestamp": 7, "blocks": 3}"#, Some(7), Some(3)),
            (r#"{"blocks": 2}"#, None, Some(2)),
            (r#""0x9""#, Some(9), None),
            ("12", Some(12), None),
        ] {
            match serde_json::from_str(json).unwrap() {
                MineOptions::Options { timestamp: time, blocks: count } => {
                    assert_eq!((time.map(|time| number(&time).unwrap()), count), (timestamp, blocks), "{json}");
                }
                MineOptions::Timestamp(time) => assert_eq!(Some(number(&time).unwrap()), timestamp, "{json}"),
            }
        }
    }
}
