//! On a fork, questions about what was before the fork go to the forked chain's node as they are, and its answers come back
//! as they are: with uncles, withdrawals, and transactions that only its network knows.

use super::{Args, Reply};
use crate::{chain::Ledger, fork::Upstream, node::Node};
use alloy_eips::{BlockId, BlockNumberOrTag, RpcBlockHash};
use alloy_primitives::B256;
use serde_json::{Value, json, value::RawValue};

/// What a method's parameter names, and when that is the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A block, by this parameter: the fork block is the forked chain's, too.
    Block(usize),
    /// The state after a block: after the fork block, state is local.
    State(usize),
    /// A transaction, by the first parameter.
    Transaction,
}

fn about(method: &str) -> Option<About> {
    Some(match method {
        "eth_getBlockByNumber"
        | "eth_getBlockByHash"
        | "eth_getHeaderByNumber"
        | "eth_getHeaderByHash"
        | "eth_getBlockReceipts"
        | "eth_getBlockTransactionCountByNumber"
        | "eth_getBlockTransactionCountByHash"
        | "eth_getUncleCountByBlockNumber"
        | "eth_getUncleCountByBlockHash"
        | "eth_getUncleByBlockNumberAndIndex"
        | "eth_getUncleByBlockHashAndIndex"
        | "eth_getTransactionByBlockNumberAndIndex"
        | "eth_getTransactionByBlockHashAndIndex"
        | "eth_getRawTransactionByBlockNumberAndIndex"
        | "eth_getRawTransactionByBlockHashAndIndex"
        | "debug_traceBlockByNumber"
        | "debug_traceBlockByHash"
        | "debug_storageRangeAt"
        | "debug_getRawHeader"
        | "debug_getRawBlock"
        | "debug_getRawReceipts"
        | "trace_block"
        | "trace_replayBlockTransactions" => About::Block(0),
        "eth_feeHistory" => About::Block(1),
        "eth_getBalance"
        | "eth_getTransactionCount"
        | "eth_getCode"
        | "eth_getAccount"
        | "eth_getAccountInfo"
        | "eth_call"
        | "eth_estimateGas"
        | "eth_createAccessList"
        | "debug_traceCall" => About::State(1),
        "eth_getStorageAt" | "eth_getProof" => About::State(2),
        "eth_getTransactionByHash"
        | "eth_getTransactionReceipt"
        | "eth_getRawTransactionByHash"
        | "debug_getRawTransaction"
        | "debug_traceTransaction"
        | "trace_transaction"
        | "trace_get"
        | "trace_replayTransaction" => About::Transaction,
        _ => return None,
    })
}

/// The forked chain's answer, if the question is about its past.
pub(super) fn answer(node: &Node, method: &'static str, args: &Args) -> Reply<Option<Box<RawValue>>> {
    let Some(about) = about(method) else { return Ok(None) };
    let Some(upstream) = node.read(|chain| chain.ledger.upstream().cloned()) else { return Ok(None) };
    let mut params: Vec<Value> = args.rest().iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect();
    let ledger = node.ledger();
    match about {
        About::Block(at) | About::State(at) => {
            let Some(block) = block(params.get(at)) else { return Ok(None) };
            let Some(block) = past(node, &ledger, &upstream, block, matches!(about, About::Block(_))) else {
                return Ok(None);
            };
            if let Some(param) = params.get_mut(at) {
                *param = block;
            } else if params.len() == at {
                params.push(block);
            }
            let answer = upstream.history(method, Value::Array(params))?;
            Ok(Some(known(&upstream, &answer)))
        }
        About::Transaction => {
            let Some(hash) = params.first().and_then(|hash| serde_json::from_value::<B256>(hash.clone()).ok()) else {
                return Ok(None);
            };
            if ledger.transaction(&hash).is_some() || node.pool(|pool| pool.get(&hash).is_some()) {
                return Ok(None);
            }
            transaction(&upstream, method, hash, params)
        }
    }
}

/// The block that a parameter names; what does not parse is for the method itself to refuse.
fn block(param: Option<&Value>) -> Option<BlockId> {
    match param {
        None | Some(Value::Null) => Some(BlockId::latest()),
        Some(value) => serde_json::from_value(value.clone()).ok(),
    }
}

/// The same block in words that mean the same upstream; `None` where it is not of the past.
fn past(node: &Node, ledger: &Ledger, upstream: &Upstream, block: BlockId, with_fork_block: bool) -> Option<Value> {
    let (head, epoch) = (ledger.head().header.number, node.config.slots_in_an_epoch);
    let number = match block {
        BlockId::Hash(RpcBlockHash { block_hash, .. }) => match ledger.block_by_hash(&block_hash) {
            Some(local) if with_fork_block && local.header.number == upstream.number() => {
                return Some(json!(block_hash));
            }
            Some(_) => return None,
            None if with_fork_block => return Some(json!(block_hash)),
            None => return Some(json!({ "blockHash": block_hash })),
        },
        BlockId::Number(BlockNumberOrTag::Number(number)) => number,
        BlockId::Number(BlockNumberOrTag::Earliest) => 0,
        BlockId::Number(BlockNumberOrTag::Latest) => head,
        BlockId::Number(BlockNumberOrTag::Safe) => head.saturating_sub(epoch),
        BlockId::Number(BlockNumberOrTag::Finalized) => head.saturating_sub(epoch * 2),
        BlockId::Number(BlockNumberOrTag::Pending) => return None,
    };
    let past = if with_fork_block { number <= upstream.number() } else { number < upstream.number() };
    past.then(|| json!(format!("{number:#x}")))
}

fn transaction(
    upstream: &Upstream,
    method: &'static str,
    hash: B256,
    params: Vec<Value>,
) -> Reply<Option<Box<RawValue>>> {
    // Traces do not say when the transaction was; what the upstream mined since the fork is not of this chain.
    let found = upstream.history("eth_getTransactionByHash", json!([hash]))?;
    let found = known(upstream, &found);
    // What still waits there is not of this chain either.
    let fields: Option<Numbers<'_>> = serde_json::from_str(found.get()).ok();
    if fields.is_none_or(|fields| fields.block_number.is_none()) {
        return Ok(None);
    }
    if method == "eth_getTransactionByHash" {
        return Ok(Some(found));
    }
    Ok(Some(known(upstream, &upstream.history(method, Value::Array(params))?)))
}

/// The answer, or null where it is about what came after the fork on the other chain.
fn known(upstream: &Upstream, answer: &RawValue) -> Box<RawValue> {
    let fields: Option<Numbers<'_>> = serde_json::from_str(answer.get()).ok();
    let number = fields.and_then(|fields| fields.block_number.or(fields.number));
    let number = number.and_then(|number| u64::from_str_radix(number.strip_prefix("0x")?, 16).ok());
    if number.is_some_and(|number| number > upstream.number()) { null() } else { answer.to_owned() }
}

fn null() -> Box<RawValue> {
    RawValue::from_string("null".to_owned()).expect("null is JSON")
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Numbers<'a> {
    #[serde(borrow, default)]
    block_number: Option<&'a str>,
    #[serde(borrow, default)]
    number: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_past_is_a_method() {
        let page = include_str!("history.rs");
        let table = page.split("fn about").nth(1).unwrap().split("_ => return None").next().unwrap();
        let names: Vec<&str> = table.split('"').skip(1).step_by(2).collect();
        assert!(names.len() > 30);
        for name in names {
            assert!(about(name).is_some(), "{name}");
            assert!(super::super::NAMES.contains(&name), "{name} is in no route");
        }
    }
}
