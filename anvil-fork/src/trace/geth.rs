//! Geth's tracers.

use super::{
    Stage,
    inference::Labels,
    javascript::{self, Script},
    stage::transaction,
};
use crate::{chain::Block, node::Node, rpc::RpcError};
use alloy_rpc_types_trace::geth::{GethDebugTracingOptions, GethTrace};
use revm::context::TxEnv;
use revm_inspectors::tracing::{DebugInspector, DebugInspectorError, TransactionContext};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;

/// A trace, in the form it is answered in.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Traced {
    /// As geth gives it.
    Plain(Box<GethTrace>),
    /// With a field `inference` in each call of the precompile.
    Labelled(Value),
}

/// Runs and traces a transaction, and goes on from the state after it.
pub fn geth(
    node: &Node,
    stage: &mut Stage,
    tx: TxEnv,
    options: &GethDebugTracingOptions,
    context: TransactionContext,
) -> Result<Traced, RpcError> {
    match Script::new(options)? {
        Some((script, inspector)) => script.finish(run(node, stage, tx, inspector, context)),
        None => run(node, stage, tx, DebugInspector::new(options.clone()).map_err(refused)?, context),
    }
}

fn run(
    node: &Node,
    stage: &mut Stage,
    tx: TxEnv,
    mut inspector: DebugInspector,
    context: TransactionContext,
) -> Result<Traced, RpcError> {
    let (done, used) = stage.run(tx.clone(), &mut inspector)?;
    let block = stage.env.block_env.clone();
    let trace = inspector.get_result(Some(context), &tx, &block, &done, &mut stage.db).map_err(failed)?;
    stage.commit(done);
    Ok(if used.is_empty() {
        Traced::Plain(trace.into())
    } else {
        Labels::new(node, stage.precompile(), &used).put(trace)?
    })
}

impl Traced {
    /// Runs and traces a mined transaction on the state before it.
    pub fn mined(
        node: &Node,
        stage: &mut Stage,
        block: &Block,
        index: usize,
        options: &GethDebugTracingOptions,
    ) -> Result<Self, RpcError> {
        let hash = *block.transactions[index].tx_hash();
        let context = TransactionContext { block_hash: Some(block.hash), tx_index: Some(index), tx_hash: Some(hash) };
        geth(node, stage, transaction(block, index), options, context)
    }
}

/// A tracer that is not there, or whose configuration is wrong.
fn refused(error: DebugInspectorError<impl Display>) -> RpcError {
    RpcError::params(error.to_string())
}

/// A trace that was not finished.
fn failed(error: DebugInspectorError<impl Display>) -> RpcError {
    match error {
        DebugInspectorError::JsInspector(error) => javascript::failed(error),
        other => RpcError::Internal(format!("trace failed: {other}")),
    }
}
