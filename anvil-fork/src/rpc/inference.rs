//! What only Foreblock has.

use super::{
    Args, Reply, RpcError, at,
    call::{Call, prepare},
};
use crate::{
    chain::{View, accounts_file},
    inference::Operators,
    node::Node,
};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{B256, Bytes, U64, U256};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolValue;
use foreblock_pre_executor::operators::Fault;
use foreblock_precompile::{ListEntry, MODEL_REGISTRY_ADDRESS, Outcome, Used, price};
use revm::context::result::ExecutionResult;
use serde_json::{Value, json};
use std::sync::Arc;

/// The models that this node serves.
pub(super) async fn models(node: &Arc<Node>, _: Args) -> Reply<Vec<Value>> {
    Ok(node.inference.models())
}

/// The id of the model with this name.
pub(super) async fn model_id(node: &Arc<Node>, mut args: Args) -> Reply<B256> {
    let name: String = args.take("model's name")?;
    let found = node.inference.entries().iter().find(|entry| entry.manifest.name() == name);
    found.map(|entry| entry.manifest.id()).ok_or_else(|| {
        RpcError::params(format!(
            "no model is named {name:?} here: `inference_models` lists those that this node serves"
        ))
    })
}

/// Where the pre-executor stands; with a transaction's hash, where its inferences stand.
pub(super) async fn status(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    Ok(match args.optional("transaction hash")? {
        Some(hash) => node.inference.transaction_status(&node.ledger(), hash),
        None => node.inference.status(),
    })
}

/// The operators of this node: number, address, whether they are active, faults.
pub(super) async fn operators(node: &Arc<Node>, _: Args) -> Reply<Vec<Value>> {
    Ok(node.inference.operators().map(Operators::report).unwrap_or_default())
}

/// What operators signed against themselves, as transactions to `OperatorRegistry` that anybody may send.
pub(super) async fn evidence(node: &Arc<Node>, _: Args) -> Reply<Vec<Value>> {
    Ok(node.inference.operators().map(Operators::evidence).unwrap_or_default())
}

/// Has an operator misbehave from now on: `("2", "lie")`, or nothing to be honest again.
pub(super) async fn set_fault(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let operator: Value = args.take("operator")?;
    let operator = operator.as_str().map_or_else(|| operator.to_string(), str::to_owned);
    let text: String = args.optional("faults")?.unwrap_or_default();
    let faults =
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
            part.parse::<Fault>().map_err(|reason| RpcError::params(format!(
            "{part:?} is no fault: {reason}; write slow=3s, lie, crash@10, flip=0.01 or silent, separated by commas"
        )))
        });
    let faults = faults.collect::<Result<_, _>>()?;
    let operators = node.inference.operators();
    let operators = operators.ok_or_else(|| RpcError::Unsupported("a follower runs no operators".to_owned()))?;
    operators.set_faults(&operator, faults).map_err(|error| RpcError::params(error.to_string()))?;
    Ok(Value::Null)
}

/// A block's inference list, encoded and in words; `docs/inference-list.md` has the fields.
pub(super) async fn list(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let block = at::mined(node, args.optional("block")?)?;
    let list = block.inference_list().map_err(|error| RpcError::Internal(error.to_string()))?;
    let entry = |(used, entry): (&Used, &ListEntry)| {
        let signatures: Vec<Bytes> = entry.certificate.signatures.iter().map(|one| one.as_bytes().into()).collect();
        let mut json = json!({
            "requestId": entry.id,
            "model": used.model,
            "outcomeHash": entry.outcome.hash(),
            "signatures": signatures,
        });
        match &entry.outcome {
            Outcome::Output(output) => json["output"] = json!(output),
            Outcome::Failed(failure) => {
                json["failure"] = json!({ "code": failure.code as u16, "reason": failure.reason });
            }
        }
        json
    };
    Ok(json!({
        "blockNumber": U64::from(block.header.number),
        "blockHash": block.hash,
        "committed": block.header.requests_hash.is_some(),
        "commitment": list.commitment(),
        "requests": block.requests,
        "encoded": if list.entries().is_empty() { Bytes::new() } else { list.encode() },
        "entries": block.inferences.iter().zip(list.entries()).map(entry).collect::<Vec<_>>(),
    }))
}

/// What a follower begins with: the first block whose state is kept and that used no outcomes, and that state.
pub(super) async fn start(node: &Arc<Node>, _: Args) -> Reply<Value> {
    let ledger = node.ledger();
    let first = ledger.blocks().find(|block| block.states_kept && block.inferences.is_empty());
    let first = first.ok_or_else(|| RpcError::NotFound("no block's state is kept yet: mine one".to_owned()))?;
    let view = View { world: first.world.clone(), ..ledger.view() };
    let accounts = tokio::task::block_in_place(|| accounts_file(&view))?;
    Ok(json!({
        "chainId": U64::from(node.chain_id()),
        "hardfork": node.spec().name(first.header.number, first.header.timestamp),
        "precompile": node.inference.address(),
        "block": Bytes::from(alloy_rlp::encode(first.consensus())),
        "accounts": accounts,
    }))
}

/// Transactions listed at once, at most.
const PENDING_MAX: u64 = 1_000;

/// Where the inferences of all pending transactions stand, in the builder's order; with a number, so many of them.
pub(super) async fn pending(node: &Arc<Node>, mut args: Args) -> Reply<Vec<Value>> {
    let limit = args.number("limit")?.unwrap_or(PENDING_MAX).min(PENDING_MAX);
    Ok(node.inference.pending(limit as usize))
}

/// Blocks that `inference_feeHistory` looks back at most.
const HISTORY_BLOCKS_MAX: u64 = 1_024;

/// What inference gas cost in past blocks and will cost in the next: as `eth_feeHistory`, each price list has one entry more than
/// there are blocks. Prices are in millionths of an execution gas.
pub(super) async fn fee_history(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let count = args.number("block count")?.unwrap_or(1).clamp(1, HISTORY_BLOCKS_MAX);
    let newest: Option<BlockNumberOrTag> = args.optional("newest block")?;
    let newest = at::mined(node, newest.map(Into::into))?;
    let ledger = node.ledger();
    let first = newest.header.number.saturating_sub(count - 1).max(ledger.first().header.number);
    let (mut prices, mut used) = (Vec::new(), Vec::new());
    let mut next = 0;
    for block in (first..=newest.header.number).filter_map(|number| ledger.block(number)) {
        let registry = block.world.account(&MODEL_REGISTRY_ADDRESS);
        let excess = registry.and_then(|registry| registry.slot(price::EXCESS_SLOT)).unwrap_or_default();
        let (excess, gas) = (u64::try_from(excess).unwrap_or(u64::MAX), crate::inference::inference_gas(block));
        prices.push(U64::from(price::price(excess)));
        used.push(U64::from(gas));
        next = price::next_excess(excess, gas);
    }
    prices.push(U64::from(price::price(next)));
    Ok(json!({
        "oldestBlock": U64::from(first),
        "pricePerInferenceGas": prices,
        "inferenceGasUsed": used,
        "inferenceGasTarget": U64::from(price::TARGET),
        "unit": U256::from(price::ONE),
    }))
}

/// `eth_call` whose revert is an answer too: `abi.encode(bool success, bytes returnOrRevertData)`, so that a caller that
/// cannot see errors, such as a test inside forge, gets both.
pub(super) async fn call_envelope(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let request: TransactionRequest = args.take("transaction")?;
    let (db, env) = prepare(node, args.optional("block")?, None, None)?;
    let call = Call::new(db, env, request)?;
    let done = tokio::task::block_in_place(|| call.run(node))?;
    let envelope: (bool, Bytes) = match done.result {
        ExecutionResult::Success { output, .. } => (true, output.into_data()),
        ExecutionResult::Revert { output, .. } => (false, output),
        ExecutionResult::Halt { .. } => (false, Bytes::new()),
    };
    Ok(envelope.abi_encode_params().into())
}
