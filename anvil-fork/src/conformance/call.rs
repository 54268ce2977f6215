//! One call of the precompile, outside any transaction: the code that blocks run, with the registry's storage as the case has it.

use super::{CallCase, ExamineError, Scheme};
use alloy_evm::{
    EvmInternals,
    precompiles::{Precompile, PrecompileInput, PrecompilesMap},
};
use alloy_primitives::{Address, B256, U256, address};
use foreblock_precompile::{MODEL_REGISTRY_ADDRESS, MemoryOutcomes, Notes, PRECOMPILE_ADDRESS, install};
use revm::{
    Context, MainContext,
    context_interface::{ContextTr, JournalTr},
    database::{CacheDB, EmptyDB},
    precompile::{PrecompileResult, Precompiles},
    state::AccountInfo,
};
use serde_json::{Value, json};
use std::sync::Arc;

const CALLER: Address = address!("0x000000000000000000000000000000000000ca11");

pub(super) fn examine(case: &CallCase) -> Result<Value, ExamineError> {
    let outcome = |(id, text): (&B256, &super::OutcomeText)| {
        let outcome = text.outcome().ok_or(ExamineError::Question("a failure code that does not exist".into()))?;
        Ok((*id, outcome))
    };
    let outcomes: MemoryOutcomes = case.outcomes.iter().map(outcome).collect::<Result<_, ExamineError>>()?;
    let notes = Notes::default();
    let mut precompiles = PrecompilesMap::from_static(Precompiles::latest());
    install(&mut precompiles, PRECOMPILE_ADDRESS, Arc::new(outcomes), notes.clone());
    let done = run(case, &precompiles)?;
    Ok(answer(done, &notes))
}

fn run(case: &CallCase, precompiles: &PrecompilesMap) -> Result<PrecompileResult, ExamineError> {
    let mut db = CacheDB::new(EmptyDB::default());
    db.insert_account_info(MODEL_REGISTRY_ADDRESS, AccountInfo { nonce: 1, ..Default::default() });
    for (key, value) in &case.storage {
        let _ = db.insert_account_storage(MODEL_REGISTRY_ADDRESS, *key, *value);
    }
    let mut context = Context::mainnet().with_db(db);
    context.block.timestamp = U256::from(case.timestamp);
    context.journal_mut().load_account(MODEL_REGISTRY_ADDRESS).map_err(unread)?;
    for key in &case.warm {
        context.journal_mut().sload(MODEL_REGISTRY_ADDRESS, *key).map_err(unread)?;
    }
    let target_address = if case.scheme == Scheme::DelegateCall { CALLER } else { PRECOMPILE_ADDRESS };
    let precompile = precompiles.get(&PRECOMPILE_ADDRESS).expect("it was installed");
    Ok(precompile.call(PrecompileInput {
        data: &case.calldata,
        gas: case.gas,
        reservoir: 0,
        caller: CALLER,
        value: case.value,
        target_address,
        is_static: case.scheme == Scheme::StaticCall,
        bytecode_address: PRECOMPILE_ADDRESS,
        internals: EvmInternals::from_context(&mut context),
    }))
}

fn unread<E>(_: E) -> ExamineError {
    ExamineError::Question("the registry cannot be read".into())
}

fn answer(done: PrecompileResult, notes: &Notes) -> Value {
    let used: Vec<B256> = notes.take_used().into_iter().map(|used| used.id).collect();
    match done {
        Ok(output) if output.is_halt() => json!({ "end": "out of gas" }),
        Ok(output) => {
            let end = if output.is_revert() { "revert" } else { "return" };
            json!({ "end": end, "gas": output.gas_used, "data": output.bytes, "used": used })
        }
        Err(error) => match notes.take_missing() {
            Some(request) => json!({ "end": "abort", "missing": request.id }),
            None => json!({ "end": "abort", "error": error.to_string() }),
        },
    }
}
