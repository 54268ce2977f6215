//! Parity's traces.

use super::{Stage, stage::transaction};
use crate::{chain::Block, rpc::RpcError};
use alloy_primitives::map::HashSet;
use alloy_rpc_types_trace::parity::{LocalizedTransactionTrace, TraceResults, TraceType};
use revm::context::TxEnv;
use revm_inspectors::tracing::{TracingInspector, TracingInspectorConfig};

/// Traces of a mined transaction on the state before it; the stage goes on after it.
pub fn localized(stage: &mut Stage, block: &Block, index: usize) -> Result<Vec<LocalizedTransactionTrace>, RpcError> {
    // Gas is that of the call, without what the transaction costs before it does anything: as Parity has it.
    let mut inspector = TracingInspector::new(TracingInspectorConfig::default_parity());
    let (done, _) = stage.run(transaction(block, index), &mut inspector)?;
    stage.commit(done);
    Ok(inspector.into_parity_builder().into_localized_transaction_traces(block.transaction_info(index)))
}

/// What `trace_call` and `trace_replay*` give for a transaction; the stage goes on after it.
pub fn replayed(stage: &mut Stage, tx: TxEnv, kinds: &HashSet<TraceType>) -> Result<TraceResults, RpcError> {
    let mut inspector = TracingInspector::new(TracingInspectorConfig::from_parity_config(kinds));
    let (done, _) = stage.run(tx, &mut inspector)?;
    let results = inspector.into_parity_builder().into_trace_results_with_state(&done, kinds, &stage.db);
    stage.commit(done);
    results.map_err(|error| RpcError::Internal(format!("trace failed: {error}")))
}

impl Stage {
    /// [`replayed`] for a mined transaction.
    pub fn replay(
        &mut self,
        block: &Block,
        index: usize,
        kinds: &HashSet<TraceType>,
    ) -> Result<TraceResults, RpcError> {
        replayed(self, transaction(block, index), kinds)
    }
}
