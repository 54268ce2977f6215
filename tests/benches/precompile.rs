//! `cargo xtask bench precompile`: what a call of the precompile costs, beside what its input's keccak256 costs.

#[path = "evm/mod.rs"]
mod evm;

use alloy_evm::{Evm, EvmEnv, EvmFactory};
use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use evm::{scouted, state};
use foreblock_pre_executor::{Store, StoreLimits};
use foreblock_precompile::{
    ForeblockEvmFactory, MemoryOutcomes, Outcome, Outcomes, PRECOMPILE_ADDRESS, Request,
    abi::{DType, IInference, Tensor},
};
use foreblock_tests::bench::{Report, Target, best_seconds, workspace};
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
};
use std::sync::Arc;

const SENDER: Address = address!("0x00000000000000000000000000000000000e0a00");
const LOOP: Address = address!("0x00000000000000000000000000000000000c0de0");
const MODEL: B256 = B256::repeat_byte(0x42);
/// Calls in one transaction, so that what a transaction itself costs can be taken off.
const CALLS: u64 = 200;

/// Copies calldata to memory and calls `target` with it as often as `calls` says.
fn caller(target: Address, calls: u64) -> Bytecode {
    let mut code = vec![0x36, 0x5f, 0x5f, 0x37, 0x61]; // calldatacopy; PUSH2 calls
    code.extend((calls as u16).to_be_bytes());
    let start = code.len() as u8;
    code.extend([0x5b, 0x5f, 0x5f, 0x36, 0x5f, 0x73]); // JUMPDEST; out 0,0; in cds,0; PUSH20 target
    code.extend(target);
    code.extend([0x5a, 0xfa, 0x50, 0x60, 0x01, 0x90, 0x03, 0x80, 0x60, start, 0x57, 0x00]); // staticcall; loop
    Bytecode::new_raw(code.into())
}

fn db(target: Address, calls: u64) -> CacheDB<EmptyDB> {
    state(MODEL, 1 << 20, [(LOOP, caller(target, calls))], [SENDER])
}

fn env() -> EvmEnv {
    let cfg_env = CfgEnv::<SpecId>::default().with_spec_and_mainnet_gas_params(SpecId::CANCUN);
    let block_env = BlockEnv { gas_limit: u64::MAX, timestamp: U256::from(1), ..Default::default() };
    EvmEnv { cfg_env, block_env }
}

fn tx(data: &Bytes) -> TxEnv {
    let tx = TxEnv::builder().caller(SENDER).to(LOOP).gas_limit(1 << 40).data(data.clone()).chain_id(Some(1));
    tx.build().expect("a complete transaction")
}

/// Seconds and gas of one call inside the loop.
fn per_call(factory: &ForeblockEvmFactory, target: Address, data: &Bytes) -> (f64, f64) {
    let mut many = factory.create_evm(db(target, CALLS), env());
    let mut one = factory.create_evm(db(target, 1), env());
    let gas_of_many = many.transact_raw(tx(data)).expect("the loop runs").result.tx_gas_used();
    let gas_of_one = one.transact_raw(tx(data)).expect("the loop runs").result.tx_gas_used();
    let seconds =
        best_seconds(300, 1, || many.transact_raw(tx(data))) - best_seconds(300, 40, || one.transact_raw(tx(data)));
    (seconds / (CALLS - 1) as f64, (gas_of_many - gas_of_one) as f64 / (CALLS - 1) as f64)
}

fn main() {
    // `abi.encode(Tensor[])` of 23 WAD numbers is 1,024 bytes long.
    let tensor = Tensor { dtype: DType::Wad, shape: vec![23], data: vec![1; 23 * 32].into() };
    let input = Bytes::from(vec![tensor.clone()].abi_encode());
    assert_eq!(input.len(), 1_024);
    let output = Bytes::from(vec![Tensor { shape: vec![1], data: vec![1; 32].into(), ..tensor }].abi_encode());
    let data = Bytes::from(IInference::runCall { modelId: MODEL, input: input.clone() }.abi_encode());

    let outcomes = MemoryOutcomes::default();
    outcomes.insert(Request::new(MODEL, input.clone()).id, Outcome::Output(output.clone()));
    let factory = ForeblockEvmFactory::new(Arc::new(outcomes));
    let keccak = best_seconds(60, 1_000, || keccak256(&input));
    let (hit, hit_gas) = per_call(&factory, PRECOMPILE_ADDRESS, &data);
    let (scouted, _) = per_call(
        &ForeblockEvmFactory::new(Arc::new(scouted(MODEL, [(input.clone(), output.clone())]))),
        PRECOMPILE_ADDRESS,
        &data,
    );

    // ecrecover of the well-known vector of go-ethereum's tests: recovers, so it does the whole work.
    let ecrecover_input = Bytes::from(alloy_primitives::hex!(
        "38d18acb67d25c8bb9942764b62f18e17054f66a817bd4295423adf9ed98873e000000000000000000000000000000000000000000000000000000000000001b38d18acb67d25c8bb9942764b62f18e17054f66a817bd4295423adf9ed98873e789d1dd423d25f0772d2748d60f7e4b81bb14d086eba8e8e8efb6dcff8a4ae02"
    ));
    let (ecrecover, ecrecover_gas) = per_call(&factory, Address::with_last_byte(1), &ecrecover_input);

    // What waits was asked by a scout, as a rule; a request that nobody has seen is hashed here.
    let waiting = Store::in_memory(StoreLimits::default());
    waiting.missing(&Request::new(MODEL, input.clone()));
    let asked = ForeblockEvmFactory::new(Arc::new(waiting));
    let nothing = ForeblockEvmFactory::new(Arc::new(MemoryOutcomes::default()));
    let abort = |factory: &ForeblockEvmFactory, data: &Bytes| {
        let mut evm = factory.create_evm(db(PRECOMPILE_ADDRESS, 1), env());
        best_seconds(60, 300, || evm.transact_raw(tx(data)).expect_err("the outcome is missing"))
    };
    let scalar = Tensor { dtype: DType::Wad, shape: vec![], data: vec![1; 32].into() };
    let small =
        Bytes::from(IInference::runCall { modelId: MODEL, input: vec![scalar].abi_encode().into() }.abi_encode());
    let (known_miss, miss, small_miss) = (abort(&asked, &data), abort(&nothing, &data), abort(&nothing, &small));

    let mut report = Report::new("precompile");
    report.row("hit, 1 KiB input that a scout has asked, us", scouted * 1e6, Target::AtMost(3.0));
    report.row(
        "hit, 1 KiB input that a scout has asked / keccak256 of the input",
        scouted / keccak,
        Target::AtMost(1.5),
    );
    report.row("hit, 1 KiB input never seen, us", hit * 1e6, Target::AtMost(3.0));
    report.row("hit, 1 KiB input never seen / keccak256 of the input", hit / keccak, Target::AtMost(1.5));
    report.row("keccak256 of 1 KiB, us", keccak * 1e6, Target::Shown);
    report.row("abort on a miss, whole transaction, one number, us", small_miss * 1e6, Target::AtMost(5.0));
    report.row(
        "abort on a miss, whole transaction, 1 KiB that a scout has asked, us",
        known_miss * 1e6,
        Target::AtMost(5.0),
    );
    report.row("abort on a miss, whole transaction, 1 KiB never seen, us", miss * 1e6, Target::AtMost(5.0));
    let speed = (hit_gas / hit) / (ecrecover_gas / ecrecover);
    report.row("resolved call, Mgas/s / ecrecover, Mgas/s", speed, Target::AtLeast(1.0));
    report.write(workspace()).expect("target/bench can be written");
}
