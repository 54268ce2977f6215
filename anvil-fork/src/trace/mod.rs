//! What happened inside a transaction, by revm-inspectors. Mined transactions are run again on the state before them,
//! with their block's inference list as the only source of outcomes.

use crate::{
    chain::{Block, Ledger, View},
    node::Node,
    rpc::RpcError,
};
use alloy_evm::{Evm, EvmEnv, EvmFactory, FromRecoveredTx};
use alloy_rpc_types_trace::geth::{GethDebugTracingOptions, GethTrace};
use foreblock_precompile::{ForeblockEvmFactory, MODEL_REGISTRY_ADDRESS, price};
use revm::{DatabaseCommit, context::TxEnv, database::CacheDB};
use revm_inspectors::tracing::{DebugInspector, TransactionContext};

/// The state just before a mined transaction.
fn state_before(
    node: &Node,
    ledger: &Ledger,
    factory: &ForeblockEvmFactory,
    block: &Block,
    index: usize,
) -> Result<(CacheDB<View>, EvmEnv), RpcError> {
    let env = node.env_of(block);
    let mut db = CacheDB::new(ledger.view_before(block));
    let failed = |error: &dyn std::fmt::Display| RpcError::Internal(format!("replay failed: {error}"));
    let mut system = alloy_evm::block::SystemCaller::new(node.spec());
    let mut evm = factory.create_evm(&mut db, env.clone());
    system
        .apply_blockhashes_contract_call(block.header.parent_hash, &mut evm)
        .and_then(|()| system.apply_beacon_root_contract_call(block.header.parent_beacon_block_root, &mut evm))
        .map_err(|error| failed(&error))?;
    let calldata = crate::inference::Inference::start_block_call(&ledger.view_before(block), parent_of(ledger, block)?);
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
