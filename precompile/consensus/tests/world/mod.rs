//! A chain with one model, somebody who pays, and a contract that passes on whatever it is called with.
#![allow(dead_code, reason = "each test uses its part")]

use alloy_consensus::{EthereumTxEnvelope, SignableTransaction, TxEip1559, TxEip4844Variant, transaction::Recovered};
use alloy_evm::{EvmEnv, eth::EthBlockExecutionCtx};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, address};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_precompile::{
    Failure, FailureCode, ForeblockEvmFactory, MODEL_REGISTRY_ADDRESS, MemoryOutcomes, ModelSlot, Outcome, Profile,
    Request,
    abi::{DType, IInference, Tensor},
    model_storage_key,
};
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};
use std::sync::Arc;

pub(crate) const SENDER: Address = address!("0x00000000000000000000000000000000000e0a00");
pub(crate) const PROXY: Address = address!("0x00000000000000000000000000000000000c0de0");
pub(crate) const MODEL: B256 = B256::repeat_byte(0x42);
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const SLOT: ModelSlot =
    ModelSlot { gas_per_run: 5_000, max_input_bytes: 2_048, max_output_bytes: 1_024, profile: Profile::ExactF32 };
pub(crate) const CALL: u8 = 0xf1;
pub(crate) const CALLCODE: u8 = 0xf2;
pub(crate) const DELEGATECALL: u8 = 0xf4;

/// A contract that forwards its calldata to the precompile, stores `success + 1` in slot 0 whatever happens, and returns
/// what came back: the least careful caller there can be.
fn proxy(opcode: u8) -> Bytecode {
    let mut code = vec![0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x5f, 0x36, 0x5f]; // calldatacopy; out 0,0; in cds,0
    if matches!(opcode, CALL | CALLCODE) {
        code.push(0x5f); // value 0
    }
    code.extend([0x61, 0x1a, 0x0f, 0x5a, opcode, 0x60, 0x01, 0x01, 0x5f, 0x55]); // call; sstore(0, ok + 1)
    code.extend([0x3d, 0x5f, 0x5f, 0x3e, 0x3d, 0x5f, 0xf3]); // return the return data
    Bytecode::new_raw(code.into())
}

pub(crate) fn db(opcode: u8) -> CacheDB<EmptyDB> {
    let mut db = CacheDB::new(EmptyDB::default());
    db.insert_account_info(SENDER, AccountInfo::from_balance(U256::from(10).pow(U256::from(20))));
    db.insert_account_info(PROXY, AccountInfo::default().with_code(proxy(opcode)));
    db.insert_account_info(MODEL_REGISTRY_ADDRESS, AccountInfo { nonce: 1, ..Default::default() });
    db.insert_account_storage(MODEL_REGISTRY_ADDRESS, model_storage_key(MODEL).into(), SLOT.pack()).unwrap();
    db
}

pub(crate) fn env() -> EvmEnv {
    let cfg_env = CfgEnv::<SpecId>::default().with_spec_and_mainnet_gas_params(SpecId::PRAGUE);
    let block_env =
        BlockEnv { gas_limit: 30_000_000, number: U256::from(1), timestamp: U256::from(NOW), ..Default::default() };
    EvmEnv { cfg_env, block_env }
}

pub(crate) fn input(len: usize) -> Bytes {
    vec![Tensor { dtype: DType::U8, shape: vec![len as u32], data: vec![7; len].into() }].abi_encode().into()
}

pub(crate) fn run(input: &Bytes) -> Vec<u8> {
    IInference::runCall { modelId: MODEL, input: input.clone() }.abi_encode()
}

fn knowing(outcome: Outcome) -> ForeblockEvmFactory {
    let outcomes = MemoryOutcomes::default();
    outcomes.insert(Request::new(MODEL, input(3)).id, outcome);
    ForeblockEvmFactory::new(Arc::new(outcomes))
}

pub(crate) fn answering() -> ForeblockEvmFactory {
    knowing(Outcome::Output(Bytes::from_static(b"the answer")))
}

pub(crate) fn failing() -> ForeblockEvmFactory {
    knowing(Outcome::Failed(Failure::new(FailureCode::WrongShape, "expected [1,16]")))
}

pub(crate) fn tx(to: Address, data: Vec<u8>) -> TxEnv {
    let tx = TxEnv::builder().caller(SENDER).to(to).gas_limit(1_000_000).data(data.into()).chain_id(Some(1));
    tx.build().unwrap()
}

/// What a stock block executor is told of a block.
pub(crate) fn context() -> EthBlockExecutionCtx<'static> {
    EthBlockExecutionCtx {
        tx_count_hint: None,
        parent_hash: B256::ZERO,
        parent_beacon_block_root: Some(B256::ZERO),
        ommers: &[],
        withdrawals: None,
        extra_data: Bytes::new(),
        slot_number: None,
    }
}

/// A transaction as a pool has it.
pub(crate) fn signed(nonce: u64, to: Address, input: Bytes) -> Recovered<EthereumTxEnvelope<TxEip4844Variant>> {
    let to = TxKind::Call(to);
    let tx = TxEip1559 { chain_id: 1, nonce, gas_limit: 500_000, max_fee_per_gas: 10, to, input, ..Default::default() };
    Recovered::new_unchecked(tx.into_signed(Signature::test_signature()).into(), SENDER)
}
