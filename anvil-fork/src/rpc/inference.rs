//! What only Foreblock has.

use super::{
    Args, Reply,
    call::{Call, prepare},
};
use crate::node::Node;
use alloy_primitives::Bytes;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolValue;
use revm::context::result::ExecutionResult;
use serde_json::Value;
use std::sync::Arc;

/// The models that this node serves.
pub(super) async fn models(node: &Arc<Node>, _: Args) -> Reply<Vec<Value>> {
    Ok(node.inference.models())
}

/// Where the pre-executor stands; with a transaction's hash, where its inferences stand.
pub(super) async fn status(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    Ok(match args.optional("transaction hash")? {
        Some(hash) => node.inference.transaction_status(hash),
        None => node.inference.status(),
    })
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
