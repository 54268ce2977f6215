//! How much gas a transaction needs, and which state it touches.

use super::{
    Args, Reply, RpcError,
    call::{self, Call, is_payment, output, prepare, refused},
};
use crate::{chain::View, node::Node};
use alloy_evm::{Evm, EvmFactory};
use alloy_primitives::{U64, U256};
use alloy_rpc_types_eth::{AccessListResult, TransactionRequest};
use foreblock_precompile::{MODEL_REGISTRY_ADDRESS, price};
use revm::{
    Database,
    context::result::{ExecutionResult, HaltReason},
    database::CacheDB,
};
use revm_inspectors::access_list::AccessListInspector;
use std::sync::Arc;

/// Gas of a payment to an account without code.
const PAYMENT_GAS: u64 = 21_000;

pub(super) async fn gas(node: &Arc<Node>, mut args: Args) -> Reply<U64> {
    let request: TransactionRequest = args.take("transaction")?;
    let (block, state, overrides) =
        (args.optional("block")?, args.optional("state overrides")?, args.optional("block overrides")?);
    let (mut db, env) = prepare(node, block, state, overrides)?;
    if block.is_none_or(|block| block.is_latest()) {
        price_of_next_block(node, &mut db);
    }
    let call = Call::new(db, env, request)?;
    tokio::task::block_in_place(|| needed(node, call)).map(U64::from)
}

/// A transaction that is sent now is included in the next block at the earliest, at whose beginning the price of inference moves.
pub(super) fn price_of_next_block(node: &Node, db: &mut CacheDB<View>) {
    let head = node.head();
    if let Some(excess) = crate::inference::next_excess(&node.view(), &head) {
        // The registry is there, else there was no excess.
        let _ = db.insert_account_storage(MODEL_REGISTRY_ADDRESS, price::EXCESS_SLOT, excess);
    }
}

/// The least gas with which a call succeeds.
pub(super) fn needed(node: &Node, mut call: Call) -> Reply<u64> {
    let most = gas_max(node, &mut call)?;
    if is_payment(&mut call)? && most >= PAYMENT_GAS {
        call.tx.gas_limit = PAYMENT_GAS;
        if call.run(node).is_ok_and(|done| done.result.is_success()) {
            return Ok(PAYMENT_GAS);
        }
    }
    call.tx.gas_limit = most;
    let done = call.run(node)?.result;
    let used = done.tx_gas_used();
    match done {
        ExecutionResult::Success { .. } => search(node, call, used, most),
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => {
            Err(RpcError::Rejected(format!("gas required exceeds allowance ({most})")))
        }
        failed => Err(output(failed).err().unwrap_or_else(|| RpcError::Internal("call failed".to_owned()))),
    }
}

/// Bisects between what was used and what was enough. Gas must never fall short, so the end is exact.
fn search(node: &Node, mut call: Call, used: u64, most: u64) -> Reply<u64> {
    let (mut short, mut enough) = (used.saturating_sub(1), most);
    // Most calls need little more than they use: 1/64 is kept back at each level of calls (EIP-150).
    let mut guess = used.saturating_add(used / 32);
    while short + 1 < enough {
        let gas = guess.clamp(short + 1, enough - 1);
        call.tx.gas_limit = gas;
        match call.run(node) {
            Ok(done) if done.result.is_success() => enough = gas,
            Ok(_) | Err(RpcError::Rejected(_) | RpcError::Halted(_)) => short = gas,
            Err(error) => return Err(error),
        }
        guess = short + (enough - short) / 2;
    }
    Ok(enough)
}

/// The gas that the request names, or a block's; no more than the sender can pay.
fn gas_max(node: &Node, call: &mut Call) -> Reply<u64> {
    let mut most = if call.gas_given { call.tx.gas_limit } else { call.env.block_env.gas_limit };
    if node.config.tx_gas_limit && call.env.cfg_env.spec >= revm::primitives::hardfork::SpecId::OSAKA {
        most = most.min(1 << 24);
    }
    let price = U256::from(call.tx.gas_price);
    if !price.is_zero() {
        let balance = call.db.basic(call.tx.caller)?.map_or(U256::ZERO, |account| account.balance);
        let left = balance.checked_sub(call.tx.value);
        let left = left.ok_or_else(|| RpcError::Rejected("Insufficient funds for gas * price + value".to_owned()))?;
        most = most.min((left / price).saturating_to());
    }
    Ok(most)
}

pub(super) async fn access_list(node: &Arc<Node>, mut args: Args) -> Reply<AccessListResult> {
    let request: TransactionRequest = args.take("transaction")?;
    let (block, state) = (args.optional("block")?, args.optional("state overrides")?);
    let (db, env) = prepare(node, block, state, None)?;
    let given = request.access_list.clone().unwrap_or_default();
    let mut call = Call::new(db, env, request)?;
    tokio::task::block_in_place(|| {
        // The first run computes what is missing, so that the second is whole.
        call.run(node)?;
        let mut inspector = AccessListInspector::new(given);
        let factory = node.inference.factory_of_calls();
        let mut evm = factory.create_evm_with_inspector(call.db.clone(), call.env.clone(), &mut inspector);
        evm.transact_raw(call.tx.clone()).map_err(refused)?;
        drop(evm);
        call.tx.access_list = inspector.into_access_list();
        let done = call.run(node)?.result;
        let error = call::output(done.clone()).err().map(|error| error.to_string());
        let access_list = call.tx.access_list.clone();
        Ok(AccessListResult { access_list, gas_used: U256::from(done.tx_gas_used()), error })
    })
}
