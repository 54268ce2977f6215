//! `anvil_reorg`: a competing chain in place of the last blocks.

use super::{Args, Reply, RpcError, send};
use crate::{
    chain::{Candidate, StateError},
    node::Node,
};
use alloy_primitives::{Address, B256, Bytes, keccak256, map::HashMap};
use alloy_rpc_types_eth::TransactionRequest;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Wanted {
    Raw(Bytes),
    Request(Box<TransactionRequest>),
}

/// Takes `depth` blocks off and mines as many others, with the given transactions in them: pairs of a transaction and the
/// number of the new block, from 0. What was in the old blocks is gone.
pub(super) async fn reorg(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let depth = args.number("depth")?.ok_or_else(|| RpcError::params("missing depth"))?;
    let pairs: Vec<(Wanted, u64)> = args.optional("transactions by block")?.unwrap_or_default();
    if let Some((_, at)) = pairs.iter().find(|(_, at)| *at >= depth) {
        let words = "Block number for reorg tx will exceed the reorged chain height. Block number";
        return Err(RpcError::params(format!("{words} {at} must not exceed (depth-1) {}", depth.saturating_sub(1))));
    }
    let old = check_depth(node, depth)?;
    tokio::task::block_in_place(|| {
        node.change(|chain| {
            chain.ledger.rollback(depth);
            chain.clock.rewound(chain.ledger.head().header.timestamp);
        });
        let mut blocks: Vec<Vec<Wanted>> = old.iter().map(|_| Vec::new()).collect();
        for (wanted, at) in pairs {
            blocks[at as usize].push(wanted);
        }
        for (wanted, old) in blocks.into_iter().zip(old) {
            mine(node, wanted, old)?;
        }
        Ok(Value::Null)
    })
}

/// Hashes of the blocks that go; an error where not so many can.
fn check_depth(node: &Node, depth: u64) -> Reply<Vec<B256>> {
    let ledger = node.ledger();
    let (head, first) = (ledger.head().header.number, ledger.first().header.number);
    if depth > head - first {
        let height = format!("current height {head}, depth {depth}");
        return Err(RpcError::params(format!("Reorg depth must not exceed current chain height: {height}")));
    }
    let stays = head - depth;
    if depth > 0 && ledger.block(stays).is_some_and(|block| !block.states_kept) {
        return Err(StateError::NotKept(stays).into());
    }
    Ok((stays + 1..=head).filter_map(|number| Some(ledger.block(number)?.hash)).collect())
}

/// Mines one of the new blocks. Its randomness is of the block that it replaces, so that it is never the same.
fn mine(node: &Node, wanted: Vec<Wanted>, old: B256) -> Reply<()> {
    let mut sent: HashMap<Address, u64> = HashMap::default();
    let mut candidates = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let tx = match wanted {
            Wanted::Raw(bytes) => send::decode(&bytes)?,
            Wanted::Request(mut request) => {
                if let (Some(from), None) = (request.from, request.nonce) {
                    request.nonce = Some(node.nonce(from)? + sent.get(&from).copied().unwrap_or(0));
                }
                let (typed, from) = send::filled(node, *request)?;
                send::signed(node, typed, from)?
            }
        };
        *sent.entry(tx.signer()).or_default() += 1;
        candidates.push(Candidate { hash: *tx.tx_hash(), tx: Arc::new(tx) });
    }
    let mut skipped = Vec::new();
    node.mine_as(
        |plan| plan.env.block_env.prevrandao = Some(keccak256(old)),
        || candidates,
        |built| {
            skipped = built.skipped.clone();
            true
        },
    )?;
    let Some((hash, skip)) = skipped.into_iter().next() else { return Ok(()) };
    Err(RpcError::Rejected(format!("transaction {hash} is not in its block: {skip}")))
}
