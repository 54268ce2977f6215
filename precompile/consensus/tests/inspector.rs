//! What a trace says of the precompile's calls.

mod world;

use alloy_evm::{Evm, EvmFactory};
use alloy_primitives::{Address, Bytes};
use alloy_sol_types::{SolCall, SolError};
use foreblock_precompile::{
    FailureCode, ForeblockEvmFactory, InferenceCall, InferenceEnd, InferenceInspector, MemoryOutcomes,
    PRECOMPILE_ADDRESS, Request, abi::IInference,
};
use revm::context::TxEnv;
use std::sync::Arc;
use world::{CALL, DELEGATECALL, MODEL, PROXY, SENDER, answering, db, env, failing, input, run, tx};

/// The calls of a transaction, traced beside an inspector of another address, which must see none.
fn traced(factory: &ForeblockEvmFactory, opcode: u8, tx: TxEnv) -> (Vec<InferenceCall>, bool) {
    let elsewhere = InferenceInspector::at(Address::repeat_byte(0x0f));
    let stacked = (InferenceInspector::default(), elsewhere);
    let mut evm = factory.create_evm_with_inspector(db(opcode), env(), stacked);
    let valid = evm.transact_raw(tx).is_ok();
    let (inspector, elsewhere) = evm.inspector_mut();
    assert_eq!(elsewhere.take(), []);
    let calls = inspector.take();
    assert_eq!(inspector.take(), [], "each call is told of once");
    (calls, valid)
}

/// The one call of a contract that passes `data` on.
fn one(factory: &ForeblockEvmFactory, opcode: u8, data: Vec<u8>) -> InferenceCall {
    let (mut calls, valid) = traced(factory, opcode, tx(PROXY, data));
    assert!(valid && calls.len() == 1, "{calls:?}");
    calls.remove(0)
}

#[test]
fn a_trace_shows_who_asked_which_model_what_and_how_it_ended() {
    let call = one(&answering(), CALL, run(&input(3)));
    assert_eq!((call.caller, call.request), (PROXY, Some(Request::new(MODEL, input(3)))));
    let output = IInference::runCall::abi_encode_returns(&Bytes::from_static(b"the answer"));
    assert_eq!(call.end, InferenceEnd::Returned(output.into()));
    let (direct, _) = traced(&answering(), CALL, tx(PRECOMPILE_ADDRESS, run(&input(3))));
    assert_eq!((direct[0].caller, direct[0].gas_used), (SENDER, call.gas_used), "gas is that of the call alone");

    let InferenceEnd::Reverted(reason) = one(&failing(), CALL, run(&input(3))).end else { panic!("no revert") };
    let failed = IInference::InferenceFailed::abi_decode(&reason).unwrap();
    assert_eq!(failed.code, FailureCode::WrongShape as u16);

    let known = one(&answering(), CALL, IInference::modelCall { modelId: MODEL }.abi_encode());
    assert!(known.request.is_none() && matches!(known.end, InferenceEnd::Returned(_)), "{known:?}");
    let indirect = one(&answering(), DELEGATECALL, run(&input(3)));
    assert_eq!(indirect.end, InferenceEnd::Reverted(IInference::IndirectCall {}.abi_encode().into()));
}

#[test]
fn a_call_that_is_too_poor_and_one_whose_outcome_is_missing_are_in_the_trace() {
    let poor = TxEnv { gas_limit: 28_000, ..tx(PRECOMPILE_ADDRESS, run(&input(3))) };
    let (calls, valid) = traced(&answering(), CALL, poor);
    assert!(valid && calls[0].end == InferenceEnd::OutOfGas && calls[0].gas_used > 0, "{calls:?}");

    let nothing = ForeblockEvmFactory::new(Arc::new(MemoryOutcomes::default()));
    let (calls, valid) = traced(&nothing, CALL, tx(PROXY, run(&input(3))));
    assert!(!valid, "the transaction is aborted");
    assert_eq!(calls.len(), 1);
    assert_eq!((&calls[0].request, &calls[0].end), (&Some(Request::new(MODEL, input(3))), &InferenceEnd::Aborted));
}
