//! What happened inside a transaction, by revm-inspectors. Mined transactions are run again on the state before them,
//! with their block's inference list as the only source of outcomes.

use crate::{
    chain::{Block, Ledger, View},
    node::Node,
    rpc::RpcError,
};
use alloy_evm::{Evm, EvmEnv, EvmFactory, FromRecoveredTx};
use alloy_primitives::map::HashSet;
use alloy_rpc_types_eth::TransactionInfo;
use alloy_rpc_types_trace::{
    geth::{GethDebugTracingOptions, GethTrace},
    parity::{LocalizedTransactionTrace, TraceResults, TraceType},
};
use foreblock_precompile::{ForeblockEvmFactory, MODEL_REGISTRY_ADDRESS, price};
use revm::{
    DatabaseCommit,
    context::{TxEnv, result::ResultAndState},
    database::CacheDB,
};
use revm_inspectors::tracing::{DebugInspector, TracingInspector, TracingInspectorConfig, TransactionContext};

/// The state just before a mined transaction.
fn state_before(
    node: &Node,
    ledger: &Ledger,
    factory: &ForeblockEvmFactory,
    block: &Block,
    index: usize,
) -> Result<(CacheDB<View>, EvmEnv), RpcError> {
    let env = node.env_of(block);
    let mut db = CacheDB::new(ledger.view_before(block)?);
    let failed = |error: &dyn std::fmt::Display| RpcError::Internal(format!("replay failed: {error}"));
    let mut system = alloy_evm::block::SystemCaller::new(node.spec());
    let mut evm = factory.create_evm(&mut db, env.clone());
    system
        .apply_blockhashes_contract_call(block.header.parent_hash, &mut evm)
        .and_then(|()| system.apply_beacon_root_contract_call(block.header.parent_beacon_block_root, &mut evm))
        .map_err(|error| failed(&error))?;
    let calldata = crate::inference::Inference::start_block_call(parent_of(ledger, block)?);
    let done = evm
        .transact_system_call(price::SYSTEM_ADDRESS, MODEL_REGISTRY_ADDRESS, calldata)
        .map_err(|error| failed(&error))?;
    evm.db_mut().commit(done.state);
    for tx in &block.transactions[..index] {
        let env = TxEnv::from_recovered_tx(tx.inner(), tx.signer());
        evm.transact_commit(env).map_err(|error| failed(&error))?;
    }
    drop(evm);
    Ok((db, env))
}

fn parent_of<'a>(ledger: &'a Ledger, block: &Block) -> Result<&'a Block, RpcError> {
    let parent = block.header.number.checked_sub(1).and_then(|number| ledger.block(number));
    parent.map(AsRef::as_ref).ok_or_else(|| RpcError::NotFound("the block's parent is not kept".to_owned()))
}

/// Geth's trace of a mined transaction.
pub fn geth_transaction(
    node: &Node,
    ledger: &Ledger,
    block: &Block,
    index: usize,
    options: &GethDebugTracingOptions,
) -> Result<GethTrace, RpcError> {
    let factory = node.inference.factory_of(block);
    let (db, env) = state_before(node, ledger, &factory, block, index)?;
    let tx = &block.transactions[index];
    let context =
        TransactionContext { block_hash: Some(block.hash), tx_index: Some(index), tx_hash: Some(*tx.tx_hash()) };
    geth(&factory, db, env, TxEnv::from_recovered_tx(tx.inner(), tx.signer()), options, context)
}

/// Geth's trace of a transaction on a state.
pub fn geth(
    factory: &ForeblockEvmFactory,
    mut db: CacheDB<View>,
    env: EvmEnv,
    tx: TxEnv,
    options: &GethDebugTracingOptions,
    context: TransactionContext,
) -> Result<GethTrace, RpcError> {
    let failed = |error: &dyn std::fmt::Display| RpcError::Internal(format!("trace failed: {error}"));
    let mut inspector = DebugInspector::new(options.clone()).map_err(|error| RpcError::params(error.to_string()))?;
    let mut evm = factory.create_evm_with_inspector(&mut db, env.clone(), &mut inspector);
    let done = evm.transact_raw(tx.clone()).map_err(|error| failed(&error))?;
    drop(evm);
    let trace = inspector.get_result(Some(context), &tx, &env.block_env, &done, &mut db);
    let trace = trace.map_err(|error| failed(&error))?;
    db.commit(done.state);
    Ok(trace)
}

/// Runs a mined transaction again under a recording inspector.
fn recorded(
    node: &Node,
    ledger: &Ledger,
    block: &Block,
    index: usize,
    config: TracingInspectorConfig,
) -> Result<(TracingInspector, ResultAndState, CacheDB<View>), RpcError> {
    let factory = node.inference.factory_of(block);
    let (mut db, env) = state_before(node, ledger, &factory, block, index)?;
    let tx = &block.transactions[index];
    let mut inspector = TracingInspector::new(config);
    let mut evm = factory.create_evm_with_inspector(&mut db, env, &mut inspector);
    let done = evm.transact_raw(TxEnv::from_recovered_tx(tx.inner(), tx.signer()));
    let done = done.map_err(|error| RpcError::Internal(format!("trace failed: {error}")))?;
    drop(evm);
    inspector.set_transaction_gas_used(done.result.tx_gas_used());
    Ok((inspector, done, db))
}

/// Parity's traces of a mined transaction.
pub fn parity_transaction(
    node: &Node,
    ledger: &Ledger,
    block: &Block,
    index: usize,
) -> Result<Vec<LocalizedTransactionTrace>, RpcError> {
    let (inspector, _, _) = recorded(node, ledger, block, index, TracingInspectorConfig::default_parity())?;
    let tx = &block.transactions[index];
    let info = TransactionInfo {
        hash: Some(*tx.tx_hash()),
        index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        base_fee: block.header.base_fee_per_gas,
        block_timestamp: Some(block.header.timestamp),
    };
    Ok(inspector.into_parity_builder().into_localized_transaction_traces(info))
}

/// What Parity's `trace_replay*` gives for a mined transaction.
pub fn parity_replay(
    node: &Node,
    ledger: &Ledger,
    block: &Block,
    index: usize,
    kinds: &HashSet<TraceType>,
) -> Result<TraceResults, RpcError> {
    let config = TracingInspectorConfig::from_parity_config(kinds);
    let (inspector, done, db) = recorded(node, ledger, block, index, config)?;
    let results = inspector.into_parity_builder().into_trace_results_with_state(&done, kinds, &db);
    results.map_err(|error| RpcError::Internal(format!("trace failed: {error}")))
}
