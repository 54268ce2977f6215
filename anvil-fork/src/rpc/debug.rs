//! `debug_*`: geth's traces and raw forms.

use super::{
    Args, Reply, RpcError, at,
    call::{Call, prepare},
};
use crate::{node::Node, trace};
use alloy_eips::{BlockId, Encodable2718};
use alloy_primitives::{B256, Bytes};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_trace::geth::{GethDebugTracingCallOptions, GethDebugTracingOptions, GethTrace, TraceResult};
use std::sync::Arc;

pub(super) async fn trace_transaction(node: &Arc<Node>, mut args: Args) -> Reply<GethTrace> {
    let hash: B256 = args.take("transaction hash")?;
    let options: GethDebugTracingOptions = args.optional("options")?.unwrap_or_default();
    let ledger = node.ledger();
    let (block, index) =
        ledger.transaction(&hash).ok_or_else(|| RpcError::NotFound("transaction not found".to_owned()))?;
    tokio::task::block_in_place(|| trace::geth_transaction(node, &ledger, block, index, &options))
}

pub(super) async fn trace_block(node: &Arc<Node>, mut args: Args) -> Reply<Vec<TraceResult>> {
    let block = at::mined(node, Some(args.take::<BlockId>("block")?))?;
    let options: GethDebugTracingOptions = args.optional("options")?.unwrap_or_default();
    let ledger = node.ledger();
    tokio::task::block_in_place(|| {
        (0..block.transactions.len())
            .map(|index| {
                let result = trace::geth_transaction(node, &ledger, &block, index, &options)?;
                Ok(TraceResult::Success { result, tx_hash: Some(*block.transactions[index].tx_hash()) })
            })
            .collect()
    })
}

pub(super) async fn trace_call(node: &Arc<Node>, mut args: Args) -> Reply<GethTrace> {
    let request: TransactionRequest = args.take("transaction")?;
    let block: Option<BlockId> = args.optional("block")?;
    let options: GethDebugTracingCallOptions = args.optional("options")?.unwrap_or_default();
    let (db, env) = prepare(node, block, options.state_overrides, options.block_overrides)?;
    let call = Call::new(db, env, request)?;
    tokio::task::block_in_place(|| {
        // The first run computes what is missing, so that the trace is whole.
        call.run(node)?;
        let factory = node.inference.factory_of_calls();
        trace::geth(&factory, call.db, call.env, call.tx, &options.tracing_options, Default::default())
    })
}

pub(super) async fn code_by_hash(node: &Arc<Node>, mut args: Args) -> Reply<Option<Bytes>> {
    let hash: B256 = args.take("code hash")?;
    let view = at::view(node, args.optional("block")?)?;
    Ok(view.world.code(&hash).map(|code| code.original_bytes()))
}

pub(super) async fn raw_header(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let block = at::mined(node, args.optional("block")?)?;
    Ok(alloy_rlp::encode(&block.header).into())
}

pub(super) async fn raw_block(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let block = at::mined(node, args.optional("block")?)?;
    Ok(alloy_rlp::encode(block.consensus()).into())
}

pub(super) async fn raw_receipts(node: &Arc<Node>, mut args: Args) -> Reply<Vec<Bytes>> {
    let block = at::mined(node, args.optional("block")?)?;
    Ok(block.receipts.iter().map(|receipt| receipt.encoded_2718().into()).collect())
}
