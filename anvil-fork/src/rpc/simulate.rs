//! `eth_simulateV1`: blocks that are not mined, each on the one before.

use super::{
    Args, Reply, RpcError,
    call::{Call, prepare},
    send::made_up,
    shape,
};
use crate::{
    chain::{StateError, Transaction, View},
    node::Node,
};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, proofs::calculate_transaction_root};
use alloy_eips::BlockId;
use alloy_evm::{
    EvmEnv,
    overrides::{OverrideBlockHashes, apply_state_overrides},
};
use alloy_primitives::{B256, TxKind, U256, logs_bloom};
use alloy_rpc_types_eth::{
    Block as RpcBlock, BlockTransactions, Log, Transaction as RpcTransaction, TransactionInfo, TransactionRequest,
    simulate::{SimBlock, SimCallResult, SimulateError, SimulatePayload, SimulatedBlock},
};
use revm::{DatabaseCommit, context::result::ExecutionResult, database::CacheDB, database_interface::DatabaseRef};
use revm_inspectors::transfer::TransferInspector;
use std::sync::Arc;

/// Blocks of one request, as geth.
const BLOCKS_MAX: usize = 256;

pub(super) async fn simulate(node: &Arc<Node>, mut args: Args) -> Reply<Vec<SimulatedBlock>> {
    let payload: SimulatePayload = args.take("payload")?;
    let block: Option<BlockId> = args.optional("block")?;
    if payload.block_state_calls.len() > BLOCKS_MAX {
        return Err(RpcError::params(format!("too many blocks: at most {BLOCKS_MAX}")));
    }
    let (mut db, mut env) = prepare(node, block, None, None)?;
    env.cfg_env.disable_base_fee = !payload.validation;
    let mut parent = super::at::mined(node, block)?.header.clone();
    let form = Form { transfers: payload.trace_transfers, full: payload.return_full_transactions };
    tokio::task::block_in_place(|| {
        let mut simulated = Vec::new();
        for block in payload.block_state_calls {
            let done = one_block(node, &mut db, &mut env, &parent, block, form)?;
            parent = done.inner.header.inner.clone();
            simulated.push(done);
        }
        Ok(simulated)
    })
}

/// What the answer is to hold.
#[derive(Clone, Copy)]
struct Form {
    /// A log for each payment, as if ether were a token.
    transfers: bool,
    /// Whole transactions in place of their hashes.
    full: bool,
}

fn one_block(
    node: &Node,
    db: &mut CacheDB<View>,
    env: &mut EvmEnv,
    parent: &Header,
    block: SimBlock,
    form: Form,
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
    let (mut calls, mut transactions): (Vec<SimCallResult>, Vec<Transaction>) = (Vec::new(), Vec::new());
    for (index, mut request) in block.calls.into_iter().enumerate() {
        request.gas.get_or_insert(env.block_env.gas_limit.saturating_sub(gas_used));
        let mut done = one_call(node, db, env, request.clone(), index, form)?;
        let tx = unsigned(db, env, request)?;
        let logs_before: u64 = calls.iter().map(|call| call.logs.len() as u64).sum();
        for log in &mut done.logs {
            log.transaction_hash = Some(*tx.tx_hash());
            log.log_index = log.log_index.map(|at| at + logs_before);
        }
        gas_used += done.gas_used;
        calls.push(done);
        transactions.push(tx);
    }
    let envelopes: Vec<_> = transactions.iter().map(|tx| tx.inner()).collect();
    let header = Header {
        transactions_root: calculate_transaction_root(&envelopes),
        parent_hash: parent.hash_slow(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: env.block_env.beneficiary,
        number: env.block_env.number.saturating_to(),
        timestamp: env.block_env.timestamp.saturating_to(),
        gas_limit: env.block_env.gas_limit,
        gas_used,
        logs_bloom: logs_bloom(calls.iter().flat_map(|call| call.logs.iter().map(|log| &log.inner))),
        base_fee_per_gas: parent.base_fee_per_gas.map(|_| env.block_env.basefee),
        mix_hash: env.block_env.prevrandao.unwrap_or_default(),
        ..Default::default()
    };
    let hash = header.hash_slow();
    for call in &mut calls {
        call.logs.iter_mut().for_each(|log| log.block_hash = Some(hash));
    }
    let transactions = if form.full {
        listed(transactions, &header, hash)
    } else {
        BlockTransactions::Hashes(transactions.iter().map(|tx| *tx.tx_hash()).collect())
    };
    let inner =
        RpcBlock { header: shape::simulated_header(header, hash), uncles: Vec::new(), transactions, withdrawals: None };
    Ok(SimulatedBlock { inner, calls })
}

fn listed(transactions: Vec<Transaction>, header: &Header, hash: B256) -> BlockTransactions<RpcTransaction> {
    let shaped = |(index, tx): (u64, Transaction)| {
        let info = TransactionInfo {
            hash: Some(*tx.tx_hash()),
            index: Some(index),
            block_hash: Some(hash),
            block_number: Some(header.number),
            base_fee: header.base_fee_per_gas,
            block_timestamp: Some(header.timestamp),
        };
        RpcTransaction::from_transaction(tx, info)
    };
    BlockTransactions::Full((0..).zip(transactions).map(shaped).collect())
}

/// The transaction that a call would be: nobody has signed it. `db` is after it.
fn unsigned(db: &CacheDB<View>, env: &EvmEnv, mut request: TransactionRequest) -> Reply<Transaction> {
    let from = request.from.unwrap_or_default();
    let used = || Ok::<_, StateError>(db.basic_ref(from)?.map_or(0, |account| account.nonce.saturating_sub(1)));
    if request.nonce.is_none() {
        request.nonce = Some(used()?);
    }
    request.chain_id.get_or_insert(env.cfg_env.chain_id);
    request.to.get_or_insert(TxKind::Create);
    if request.gas_price.is_none() {
        request.max_fee_per_gas.get_or_insert(0);
        request.max_priority_fee_per_gas.get_or_insert(0);
    }
    let typed = request.build_typed_tx().map_err(|_| RpcError::params("a call is no transaction of any type"))?;
    Ok(made_up(typed, from))
}

fn one_call(
    node: &Node,
    db: &mut CacheDB<View>,
    env: &EvmEnv,
    request: TransactionRequest,
    index: usize,
    form: Form,
) -> Reply<SimCallResult> {
    let call = Call::new(db.clone(), env.clone(), request)?;
    let done = if form.transfers {
        let (mut stage, tx) = call.stage(node)?;
        stage.run(tx, TransferInspector::new(false).with_logs(true))?.0
    } else {
        call.run(node)?
    };
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
