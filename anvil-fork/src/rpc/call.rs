//! Execution that changes nothing: `eth_call`, many calls in a row, simulated blocks.

use super::{Args, Reply, RpcError, at};
use crate::{chain::View, node::Node, print::CONSOLE, trace::Stage};
use alloy_eips::BlockId;
use alloy_evm::{
    Evm, EvmEnv, EvmFactory,
    overrides::{OverrideBlockHashes, apply_state_overrides},
    rpc::TryIntoTxEnv,
};
use alloy_primitives::{Bytes, TxKind, U256};
use alloy_rpc_types_eth::{
    BlockOverrides, Bundle, EthCallResponse, StateContext, TransactionRequest, state::StateOverride,
};
use revm::{
    Database,
    context::{
        TxEnv,
        result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState},
    },
    database::CacheDB,
};
use std::sync::Arc;

/// Gas of a call that names none, and the most that one may name: as much as fits any contract.
const CALL_GAS_MAX: u64 = 1 << 50;

/// A call with the state it runs on.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) db: CacheDB<View>,
    pub(super) env: EvmEnv,
    pub(super) tx: TxEnv,
    /// Whether the request named its gas.
    pub(super) gas_given: bool,
}

/// A state with block and state overrides applied, and the environment of calls on it.
pub(super) fn prepare(
    node: &Node,
    block: Option<BlockId>,
    state: Option<StateOverride>,
    overrides: Option<BlockOverrides>,
) -> Reply<(CacheDB<View>, EvmEnv)> {
    let (view, mut env) = at::state(node, block)?;
    let mut db = CacheDB::new(view);
    if let Some(overrides) = overrides {
        db.apply_block_overrides(overrides, &mut env.block_env);
    }
    if let Some(state) = state {
        apply_state_overrides(state, &mut db).map_err(|error| RpcError::params(error.to_string()))?;
    }
    env.cfg_env.disable_base_fee = true;
    env.cfg_env.disable_block_gas_limit = true;
    env.cfg_env.disable_eip3607 = true;
    env.cfg_env.tx_gas_limit_cap = Some(u64::MAX);
    Ok((db, env))
}

impl Call {
    /// The call that a request describes.
    pub(super) fn new(mut db: CacheDB<View>, env: EvmEnv, mut request: TransactionRequest) -> Reply<Self> {
        let gas_given = request.gas.is_some();
        let free = request.gas_price.or(request.max_fee_per_gas).unwrap_or(0) == 0;
        request.gas = Some(request.gas.unwrap_or(env.block_env.gas_limit).min(CALL_GAS_MAX));
        let nonce_given = request.nonce;
        // The sender's own nonce: a call is not refused for it.
        request.chain_id.get_or_insert(env.cfg_env.chain_id);
        let mut tx: TxEnv = request.try_into_tx_env(&env).map_err(|error| RpcError::params(error.to_string()))?;
        if free {
            tx.gas_price = 0;
            tx.gas_priority_fee = tx.gas_priority_fee.map(|_| 0);
        }
        tx.nonce = match nonce_given {
            Some(nonce) => nonce,
            None => db.basic(tx.caller)?.map_or(0, |account| account.nonce),
        };
        let mut env = env;
        env.cfg_env.disable_nonce_check = true;
        Ok(Self { db, env, tx, gas_given })
    }

    /// Runs it until it misses no outcome.
    pub(super) fn run(&self, node: &Node) -> Reply<ResultAndState> {
        let factory = node.inference.factory_of_calls();
        let run = || {
            let mut evm = factory.create_evm(self.db.clone(), self.env.clone());
            let result = evm.transact_raw(self.tx.clone());
            match evm.take_missing() {
                Some(request) => Err(request),
                None => Ok(result),
            }
        };
        node.inference.resolve(run).map_err(|error| RpcError::Inference(error.to_string()))?.map_err(refused)
    }
}

impl Call {
    /// Where it can be traced: the first run here computes what is missing, so that the trace is whole.
    pub(super) fn stage(self, node: &Node) -> Reply<(Stage, TxEnv)> {
        self.run(node)?;
        Ok((Stage::of_call(node, self.db, self.env), self.tx))
    }
}

/// A transaction that the EVM does not even begin.
pub(crate) fn refused<E: std::fmt::Display>(error: EVMError<E>) -> RpcError {
    match error {
        EVMError::Transaction(InvalidTransaction::LackOfFundForMaxFee { .. }) => {
            RpcError::Rejected("Insufficient funds for gas * price + value".to_owned())
        }
        EVMError::Transaction(InvalidTransaction::CreateInitCodeSizeLimit) => {
            RpcError::Rejected("max initcode size exceeded".to_owned())
        }
        EVMError::Transaction(invalid) => RpcError::Rejected(invalid.to_string()),
        other => RpcError::Internal(other.to_string()),
    }
}

/// The output of a call, or why there is none.
pub(super) fn output(result: ExecutionResult) -> Reply<Bytes> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(RpcError::reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(RpcError::halted(reason)),
    }
}

pub(super) async fn call(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let request: TransactionRequest = args.take("transaction")?;
    let (block, state, overrides) =
        (args.optional("block")?, args.optional("state overrides")?, args.optional("block overrides")?);
    let (db, env) = prepare(node, block, state, overrides)?;
    let call = Call::new(db, env, request)?;
    tokio::task::block_in_place(|| {
        let done = call.run(node)?;
        if node.prints(done.state.contains_key(&CONSOLE)) {
            node.print(&mut Stage::of_call(node, call.db, call.env), call.tx)?;
        }
        output(done.result)
    })
}

/// Calls of several bundles on one state, each seeing what those before it changed.
pub(super) async fn call_many(node: &Arc<Node>, mut args: Args) -> Reply<Vec<Vec<EthCallResponse>>> {
    let bundles: Vec<Bundle> = args.take("bundles")?;
    let context: StateContext = args.optional("state context")?.unwrap_or_default();
    let state = args.optional("state overrides")?;
    let (mut db, env) = prepare(node, context.block_number, state, None)?;
    tokio::task::block_in_place(|| {
        let mut answers = Vec::new();
        for bundle in bundles {
            let mut env = env.clone();
            if let Some(overrides) = bundle.block_override {
                db.apply_block_overrides(overrides, &mut env.block_env);
            }
            let mut of_bundle = Vec::new();
            for request in bundle.transactions {
                let call = Call::new(db.clone(), env.clone(), request)?;
                let done = call.run(node)?;
                revm::DatabaseCommit::commit(&mut db, done.state);
                of_bundle.push(match output(done.result) {
                    Ok(value) => EthCallResponse { value: Some(value), error: None },
                    Err(error) => EthCallResponse { value: None, error: Some(error.to_string()) },
                });
            }
            answers.push(of_bundle);
        }
        Ok(answers)
    })
}

/// Whether a request is a plain payment, whose gas is known.
pub(super) fn is_payment(call: &mut Call) -> Reply<bool> {
    let TxKind::Call(to) = call.tx.kind else { return Ok(false) };
    let plain = call.tx.data.is_empty() && call.tx.access_list.0.is_empty() && call.tx.authorization_list.is_empty();
    let code = call.db.basic(to)?.is_some_and(|account| !account.is_empty_code_hash());
    let precompile = U256::from_be_slice(to.as_slice()) < U256::from(0x1_0000);
    Ok(plain && !code && !precompile)
}
