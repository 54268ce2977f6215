//! `eth_simulateV1`: blocks that are not mined, each on the one before.

use super::{
    Args, Reply, RpcError,
    call::{Call, prepare},
    shape,
};
use crate::{chain::View, node::Node};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::BlockId;
use alloy_evm::{
    EvmEnv,
    overrides::{OverrideBlockHashes, apply_state_overrides},
};
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{
    Block as RpcBlock, BlockTransactions, Log, TransactionRequest,
    simulate::{SimBlock, SimCallResult, SimulateError, SimulatePayload, SimulatedBlock},
};
use revm::{DatabaseCommit, context::result::ExecutionResult, database::CacheDB};
use std::sync::Arc;

/// Blocks of one request, as geth.
const BLOCKS_MAX: usize = 256;

pub(super) async fn simulate(node: &Arc<Node>, mut args: Args) -> Reply<Vec<SimulatedBlock>> {
    let payload: SimulatePayload = args.take("payload")?;
    let block: Option<BlockId> = args.optional("block")?;
    if payload.block_state_calls.len() > BLOCKS_MAX {
        return Err(RpcError::params(format!("too many blocks: at most {BLOCKS_MAX}")));
    }
    if payload.trace_transfers || payload.return_full_transactions {
        let unsupported = "eth_simulateV1 without traceTransfers and returnFullTransactions only";
        return Err(RpcError::Unsupported(unsupported.to_owned()));
    }
    let (mut db, mut env) = prepare(node, block, None, None)?;
    env.cfg_env.disable_base_fee = !payload.validation;
    let mut parent = super::at::mined(node, block)?.header.clone();
    tokio::task::block_in_place(|| {
        let mut simulated = Vec::new();
        for block in payload.block_state_calls {
            let done = one_block(node, &mut db, &mut env, &parent, block)?;
            parent = done.inner.header.inner.clone();
            simulated.push(done);
        }
        Ok(simulated)
    })
}

fn one_block(
    node: &Node,
    db: &mut CacheDB<View>,
    env: &mut EvmEnv,
    parent: &Header,
    block: SimBlock,
) -> Reply<SimulatedBlock> {
    env.block_env.number = U256::from(parent.number + 1);
    env.block_env.timestamp = U256::from(parent.timestamp + 12);
    if let Some(overrides) = block.block_overrides {
        db.apply_block_overrides(overrides, &mut env.block_env);
    }
    if let Some(overrides) = block.state_overrides {
        apply_state_overrides(overrides, db).map_err(|error| RpcError::params(error.to_string()))?;
    }
    let mut gas_used = 0;
    let mut calls = Vec::new();
    for (index, request) in block.calls.into_iter().enumerate() {
        let left = env.block_env.gas_limit.saturating_sub(gas_used);
        let done = one_call(node, db, env, request, left, index)?;
        gas_used += done.gas_used;
        calls.push(done);
    }
    let header = Header {
        parent_hash: parent.hash_slow(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: env.block_env.beneficiary,
        number: env.block_env.number.saturating_to(),
        timestamp: env.block_env.timestamp.saturating_to(),
        gas_limit: env.block_env.gas_limit,
        gas_used,
        base_fee_per_gas: parent.base_fee_per_gas.map(|_| env.block_env.basefee),
        mix_hash: env.block_env.prevrandao.unwrap_or_default(),
        ..Default::default()
    };
    let hash = header.hash_slow();
    for call in &mut calls {
        call.logs.iter_mut().for_each(|log| log.block_hash = Some(hash));
    }
    let inner = RpcBlock {
        header: shape::simulated_header(header, hash),
        uncles: Vec::new(),
        transactions: BlockTransactions::Hashes(Vec::new()),
        withdrawals: None,
    };
    Ok(SimulatedBlock { inner, calls })
}

fn one_call(
    node: &Node,
    db: &mut CacheDB<View>,
    env: &EvmEnv,
    mut request: TransactionRequest,
    gas_left: u64,
    index: usize,
) -> Reply<SimCallResult> {
    request.gas.get_or_insert(gas_left);
    let call = Call::new(db.clone(), env.clone(), request)?;
    let done = call.run(node)?;
    db.commit(done.state);
    let gas_used = done.result.tx_gas_used();
    let empty = SimCallResult { gas_used, ..Default::default() };
    Ok(match done.result {
        ExecutionResult::Success { output, logs, .. } => {
            let log = |(at, inner): (usize, alloy_primitives::Log)| Log {
                inner,
                block_hash: Some(B256::ZERO),
                block_number: Some(env.block_env.number.saturating_to()),
                block_timestamp: Some(env.block_env.timestamp.saturating_to()),
                transaction_hash: None,
                transaction_index: Some(index as u64),
                log_index: Some(at as u64),
                removed: false,
            };
            let logs = logs.into_iter().enumerate().map(log).collect();
            SimCallResult { return_data: output.into_data(), logs, status: true, ..empty }
        }
        ExecutionResult::Revert { output, .. } => {
            let message = RpcError::reverted(output.clone()).to_string();
            let error = SimulateError { code: 3, message, data: Some(output.clone()) };
            SimCallResult { return_data: output, error: Some(error), ..empty }
        }
        ExecutionResult::Halt { reason, .. } => {
            let error = SimulateError { code: -32015, message: format!("{reason:?}"), data: None };
            SimCallResult { error: Some(error), ..empty }
        }
    })
}
