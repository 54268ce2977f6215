//! The precompile inside a real EVM: what each call returns, what a contract can catch, and what aborts.

mod world;

use alloy_evm::{
    Evm, EvmFactory,
    block::{BlockExecutionError, BlockExecutor, BlockExecutorFactory, BlockValidationError},
    eth::{EthBlockExecutorFactory, receipt_builder::AlloyReceiptBuilder, spec::EthSpec},
};
use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::{SolCall, SolError, SolValue};
use foreblock_precompile::{
    AddressError, FailureCode, ForeblockEvmFactory, MODEL_REGISTRY_ADDRESS, MemoryOutcomes, ModelSlot, Outcome,
    PRECOMPILE_ADDRESS, Profile, Request,
    abi::{DType, IInference, ModelInfo, Profile as AbiProfile, Tensor},
    check_address, gas,
    genesis::accounts,
    model_storage_key, price,
};
use revm::{
    Database, DatabaseCommit,
    bytecode::Bytecode,
    context::{
        TxEnv,
        result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction},
    },
    database::{CacheDB, EmptyDB, State},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};
use std::sync::Arc;
use world::{
    CALL, CALLCODE, DELEGATECALL, MODEL, NOW, PROXY, SLOT, answering, context, db, env, failing, input, run, signed, tx,
};

const STATICCALL: u8 = 0xfa;

fn run_or(deadline: u64) -> Vec<u8> {
    let fallback_ = Bytes::from_static(b"fallback");
    IInference::runOrCall { modelId: MODEL, input: input(3), deadline: U256::from(deadline), fallback_ }.abi_encode()
}

fn ask(factory: &ForeblockEvmFactory, data: Vec<u8>) -> ExecutionResult<HaltReason> {
    factory.create_evm(db(CALL), env()).transact_raw(tx(PRECOMPILE_ADDRESS, data)).unwrap().result
}

fn slot_0(evm: &impl Evm<DB = CacheDB<EmptyDB>>) -> U256 {
    evm.db().cache.accounts[&PROXY].storage.get(&U256::ZERO).copied().unwrap_or_default()
}

#[test]
fn run_returns_the_outcome() {
    let mut evm = answering().create_evm(db(CALL), env());
    let result = evm.transact_raw(tx(PRECOMPILE_ADDRESS, run(&input(3)))).unwrap().result;
    let output = IInference::runCall::abi_decode_returns(result.output().unwrap()).unwrap();
    assert_eq!(output, Bytes::from_static(b"the answer"));
    let used = evm.take_used();
    assert_eq!(used.len(), 1);
    assert_eq!((used[0].id, used[0].model), (Request::new(MODEL, input(3)).id, MODEL));
}

#[test]
fn every_caller_error_is_typed() {
    let unknown = B256::repeat_byte(9);
    let mut misshapen = input(3).to_vec();
    misshapen[31] = 0x40;
    let cases: [(&str, Vec<u8>, Vec<u8>); 6] = [
        (
            "unknown model",
            IInference::runCall { modelId: unknown, input: input(3) }.abi_encode(),
            IInference::UnknownModel { modelId: unknown }.abi_encode(),
        ),
        (
            "input too large",
            run(&input(4_000)),
            IInference::InputTooLarge { size: U256::from(input(4_000).len()), max: U256::from(2_048) }.abi_encode(),
        ),
        (
            "malformed input",
            run(&misshapen.into()),
            IInference::MalformedInput {
                reason: "an offset is not canonical: encode it with abi.encode(Tensor[])".into(),
            }
            .abi_encode(),
        ),
        ("empty calldata", vec![], IInference::MalformedCall {}.abi_encode()),
        ("unknown selector", vec![1, 2, 3, 4], IInference::MalformedCall {}.abi_encode()),
        ("truncated calldata", run(&input(3))[..60].to_vec(), IInference::MalformedCall {}.abi_encode()),
    ];
    for (name, data, error) in cases {
        match ask(&answering(), data) {
            ExecutionResult::Revert { output, .. } => assert_eq!(output, Bytes::from(error), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_certified_failure_reverts_with_code_and_reason() {
    let ExecutionResult::Revert { output, .. } = ask(&failing(), run(&input(3))) else { panic!("no revert") };
    let error = IInference::InferenceFailed::abi_decode(&output).unwrap();
    assert_eq!((error.code, error.reason.as_str()), (FailureCode::WrongShape as u16, "expected [1,16]"));
}

#[test]
fn run_or_depends_on_deadline_and_outcome_only() {
    let nothing = ForeblockEvmFactory::new(Arc::new(MemoryOutcomes::default()));
    for (name, factory, deadline, ran, output) in [
        ("in time", answering(), NOW, true, "the answer"),
        ("late with an answer", answering(), NOW - 1, false, "fallback"),
        ("late without an answer", nothing.clone(), NOW - 1, false, "fallback"),
        ("failed", failing(), NOW, false, "fallback"),
    ] {
        let result = ask(&factory, run_or(deadline));
        let returned = IInference::runOrCall::abi_decode_returns(result.output().unwrap()).unwrap();
        assert_eq!((returned.ran, returned.output), (ran, Bytes::from(output)), "{name}");
    }
    let early = nothing.create_evm(db(CALL), env()).transact_raw(tx(PRECOMPILE_ADDRESS, run_or(NOW)));
    assert!(matches!(early, Err(EVMError::Transaction(InvalidTransaction::Str(_)))), "in time but missing: {early:?}");
}

#[test]
fn model_tells_what_is_registered() {
    let info = |id: B256| {
        let result = ask(&answering(), IInference::modelCall { modelId: id }.abi_encode());
        ModelInfo::abi_decode(result.output().unwrap()).unwrap()
    };
    let known = info(MODEL);
    assert!(known.known && known.profile == AbiProfile::ExactF32);
    assert_eq!((known.gasPerRun, known.maxInputBytes, known.maxOutputBytes), (5_000, 2_048, 1_024));
    let unknown = info(B256::ZERO);
    assert!(!unknown.known && unknown.profile == AbiProfile::Unknown && unknown.gasPerRun == 0);
}

#[test]
fn a_missing_outcome_cannot_be_swallowed_and_leaves_the_evm_clean() {
    for opcode in [CALL, STATICCALL] {
        let factory = ForeblockEvmFactory::new(Arc::new(MemoryOutcomes::default()));
        let mut evm = factory.create_evm(db(opcode), env());
        let error = evm.transact_commit(tx(PROXY, run(&input(3)))).unwrap_err();
        assert!(
            matches!(&error, EVMError::Transaction(InvalidTransaction::Str(text)) if text.contains("not valid yet")),
            "{error:?}"
        );
        assert_eq!(evm.take_missing(), Some(Request::new(MODEL, input(3))));
        assert_eq!(slot_0(&evm), U256::ZERO);
        // The sender's nonce is unused, and the next transaction is not blamed for the one before.
        evm.transact_commit(tx(Address::repeat_byte(9), vec![])).unwrap();
        assert_eq!(evm.take_missing(), None);
    }
}

#[test]
fn only_direct_calls_without_value_are_answered() {
    for (name, opcode, stored) in
        [("CALL", CALL, 2), ("STATICCALL", STATICCALL, 2), ("CALLCODE", CALLCODE, 1), ("DELEGATECALL", DELEGATECALL, 1)]
    {
        let mut evm = answering().create_evm(db(opcode), env());
        let result = evm.transact_commit(tx(PROXY, run(&input(3)))).unwrap();
        assert_eq!(slot_0(&evm), U256::from(stored), "{name}");
        if stored == 1 {
            assert_eq!(result.output().unwrap()[..], IInference::IndirectCall {}.abi_encode(), "{name}");
        }
    }
    let mut evm = answering().create_evm(db(CALL), env());
    let paying = TxEnv { value: U256::from(5), ..tx(PRECOMPILE_ADDRESS, run(&input(3))) };
    let result = evm.transact_raw(paying).unwrap().result;
    assert_eq!(result.output().unwrap()[..], IInference::ValueSent { value: U256::from(5) }.abi_encode());
}

#[test]
fn gas_depends_on_model_and_sizes_only() {
    let calldata = run(&input(3));
    // A second call in the transaction would find the slot warm; the first pays the cold read.
    let inside = gas::BASE
        + gas::words(calldata.len(), gas::INPUT_WORD)
        + 2 * gas::COLD_SLOT
        + SLOT.gas_per_run
        + gas::words(b"the answer".len(), gas::OUTPUT_WORD);
    let intrinsic = |data: &[u8]| 21_000 + data.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum::<u64>();
    assert_eq!(ask(&answering(), calldata.clone()).tx_gas_used(), intrinsic(&calldata) + inside);

    // With one gas less, the call is out of gas; with too little for the run it is so before anything is asked.
    for (name, limit, halts) in [
        ("exact", intrinsic(&calldata) + inside, false),
        ("one less", intrinsic(&calldata) + inside - 1, true),
        ("less than the call itself", intrinsic(&calldata) + 4_000, true),
    ] {
        let mut evm = answering().create_evm(db(CALL), env());
        let limited = TxEnv { gas_limit: limit, ..tx(PRECOMPILE_ADDRESS, calldata.clone()) };
        let result = evm.transact_raw(limited).unwrap().result;
        assert_eq!(result.is_halt(), halts, "{name}: {result:?}");
    }
    let nothing = ForeblockEvmFactory::new(Arc::new(MemoryOutcomes::default()));
    let poor = TxEnv { gas_limit: intrinsic(&calldata) + 5_000, ..tx(PRECOMPILE_ADDRESS, calldata) };
    assert!(nothing.create_evm(db(CALL), env()).transact_raw(poor).unwrap().result.is_halt());
}

#[test]
fn a_run_costs_more_after_busy_blocks() {
    let calldata = run(&input(3));
    let gas_at = |excess: u64| {
        let mut db = db(CALL);
        db.insert_account_storage(MODEL_REGISTRY_ADDRESS, price::EXCESS_SLOT, U256::from(excess)).unwrap();
        let mut evm = answering().create_evm(db, env());
        evm.transact_raw(tx(PRECOMPILE_ADDRESS, calldata.clone())).unwrap().result.tx_gas_used()
    };
    let dearer = price::execution_gas(SLOT.gas_per_run, price::TARGET) - SLOT.gas_per_run;
    assert_eq!(dearer, 625, "an eighth of 5,000, rounded up");
    assert_eq!(gas_at(price::TARGET), gas_at(0) + dearer);
}

#[test]
fn a_text_is_paid_for_in_advance_and_what_is_not_used_comes_back() {
    let ints = |values: &[i64]| {
        let words = values.iter().flat_map(|value| U256::from(*value).to_be_bytes::<32>());
        vec![Tensor { dtype: DType::Int, shape: vec![values.len() as u32], data: words.collect::<Vec<u8>>().into() }]
    };
    let question: Bytes = ints(&[200, 0, 0, 0, 0, 0, 60]).abi_encode().into();
    let gas_for = |prompt_tokens: i64, answer_tokens: i64, limit: u64| {
        let outcomes = MemoryOutcomes::default();
        let facts = ints(&[0, 0, prompt_tokens, answer_tokens]).abi_encode();
        outcomes.insert(Request::new(MODEL, question.clone()).id, Outcome::Output(facts.into()));
        let mut db = db(CALL);
        let slot = ModelSlot { gas_per_run: 2_500, profile: Profile::ExactText, ..SLOT };
        db.insert_account_storage(MODEL_REGISTRY_ADDRESS, model_storage_key(MODEL).into(), slot.pack()).unwrap();
        let mut evm = ForeblockEvmFactory::new(Arc::new(outcomes)).create_evm(db, env());
        let asking = TxEnv { gas_limit: limit, ..tx(PRECOMPILE_ADDRESS, run(&question)) };
        let result = evm.transact_raw(asking).unwrap().result;
        assert!(!matches!(result, ExecutionResult::Revert { .. }), "{result:?}");
        (result.tx_gas_used(), result.is_halt())
    };
    let (few, many) = (gas_for(40, 5, 1_000_000).0, gas_for(44, 65, 1_000_000).0);
    assert_eq!(many - few, 61 * 2_500, "60 tokens of the answer, and four of the prompt for one");
    assert!(gas_for(40, 5, few + 100_000).1, "the most it may cost must be there, whatever it costs in the end");
}

#[test]
fn a_text_model_refuses_other_tensors_before_they_cost_anything() {
    let mut db = db(CALL);
    let slot = ModelSlot { profile: Profile::ExactText, ..SLOT };
    db.insert_account_storage(MODEL_REGISTRY_ADDRESS, model_storage_key(MODEL).into(), slot.pack()).unwrap();
    let result = answering().create_evm(db, env()).transact_raw(tx(PRECOMPILE_ADDRESS, run(&input(3)))).unwrap().result;
    let error = IInference::MalformedInput::abi_decode(result.output().unwrap()).unwrap();
    assert!(error.reason.contains("shape [7]"), "{}", error.reason);
}

#[test]
fn the_system_call_keeps_the_excess_in_the_registry() {
    let mut db = db(CALL);
    let registry = accounts(PRECOMPILE_ADDRESS, [(MODEL, SLOT)], &[])[1].clone();
    let info = AccountInfo { nonce: registry.nonce, ..Default::default() }.with_code(Bytecode::new_raw(registry.code));
    db.insert_account_info(MODEL_REGISTRY_ADDRESS, info);
    let mut evm = answering().create_evm(db, env());
    let mut excess = 0;
    for ran in [0, price::TARGET + 7, u64::MAX, 0, price::COUNTED_MAX] {
        let call = price::start_block_call(ran);
        let done = evm.transact_system_call(price::SYSTEM_ADDRESS, MODEL_REGISTRY_ADDRESS, call).unwrap();
        assert!(done.result.is_success(), "{:?}", done.result);
        evm.db_mut().commit(done.state);
        excess = price::next_excess(excess, ran);
        let stored = evm.db_mut().storage(MODEL_REGISTRY_ADDRESS, price::EXCESS_SLOT).unwrap();
        assert_eq!(stored, U256::from(excess));
    }
    assert!(excess > 0);
    // Nobody else may.
    let stranger = tx(MODEL_REGISTRY_ADDRESS, price::start_block_call(1).to_vec());
    assert!(!evm.transact_raw(stranger).unwrap().result.is_success());
}

#[test]
fn a_stock_block_executor_skips_the_transaction_and_takes_it_later() {
    let outcomes = Arc::new(MemoryOutcomes::default());
    let factory = EthBlockExecutorFactory::new(
        AlloyReceiptBuilder::default(),
        EthSpec::mainnet(),
        ForeblockEvmFactory::new(outcomes.clone()),
    );
    let mut state = State::builder().with_database(db(CALL)).with_bundle_update().build();
    let evm = factory.evm_factory().create_evm(&mut state, env());
    let mut executor = factory.create_executor(evm, context());
    let asking = |nonce| signed(nonce, PROXY, run(&input(3)).into());
    match executor.execute_transaction(&asking(0)) {
        Err(BlockExecutionError::Validation(BlockValidationError::InvalidTx { .. })) => {}
        other => panic!("expected an invalid transaction: {other:?}"),
    }
    executor.execute_transaction(&signed(0, Address::repeat_byte(7), Bytes::new())).unwrap();
    outcomes.insert(Request::new(MODEL, input(3)).id, Outcome::Output(Bytes::from_static(b"now")));
    executor.execute_transaction(&asking(1)).unwrap();
    assert_eq!(executor.receipts().len(), 2);
}

#[test]
fn addresses_in_use_are_refused() {
    let p256 = address!("0x000000000000000000000000000000000000010f");
    for (name, address, spec, expected) in [
        ("default", PRECOMPILE_ADDRESS, SpecId::OSAKA, Ok(())),
        ("unused ending in 0F", p256, SpecId::OSAKA, Ok(())),
        ("plain 0x0F before Prague", Address::with_last_byte(0x0f), SpecId::CANCUN, Ok(())),
        (
            "plain 0x0F since Prague",
            Address::with_last_byte(0x0f),
            SpecId::PRAGUE,
            Err(AddressError::Taken(Address::with_last_byte(0x0f), SpecId::PRAGUE)),
        ),
        ("another ending", Address::repeat_byte(1), SpecId::PRAGUE, Err(AddressError::Ending(Address::repeat_byte(1)))),
    ] {
        assert_eq!(check_address(address, spec), expected, "{name}");
    }
}
