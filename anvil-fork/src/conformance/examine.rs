//! This implementation's answers, by the code of `foreblock-precompile`.

use super::{Question, call};
use alloy_primitives::{Address, B256, Bytes, U256};
use foreblock_precompile::{
    Committee, InferenceList, ListError, ModelSlot, StatementDomain, gas, model_storage_key, price, request_id,
};
use serde_json::{Value, json};

/// A question that is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// Not a question of the suite.
    #[error("this is no question of the conformance suite: {0}")]
    Question(String),
    /// It is asked otherwise.
    #[error("runs of models are asked by `wanted` and `lookup`")]
    Run,
}

/// The answer to a question, both JSON.
pub fn examine(question: &[u8]) -> Result<Bytes, ExamineError> {
    let question = serde_json::from_slice(question).map_err(|error| ExamineError::Question(error.to_string()))?;
    Ok(answer(&question)?.to_string().into_bytes().into())
}

fn answer(question: &Question) -> Result<Value, ExamineError> {
    Ok(match question {
        Question::Call(case) => call::examine(case)?,
        Question::Id { model_id, input } => json!({ "requestId": request_id(*model_id, input) }),
        Question::Slot { model_id, packed } => slot(*model_id, *packed),
        Question::Gas { multiply_adds, bytes_moved, excess, inference_gas } => {
            let per_run = gas::per_run(*multiply_adds, *bytes_moved);
            json!({
                "gasPerRun": per_run,
                "price": price::price(*excess),
                "executionGas": price::execution_gas(per_run, *excess),
                "nextExcess": price::next_excess(*excess, *inference_gas),
            })
        }
        Question::Statement { chain_id, registry, request_id, outcome } => {
            let outcome = outcome.outcome().ok_or(ExamineError::Question("an unknown failure code".into()))?;
            let digest = StatementDomain::at(*chain_id, *registry).digest(*request_id, &outcome);
            json!({ "outcomeHash": outcome.hash(), "digest": digest })
        }
        Question::List { encoded, commitment, chain_id, operators, used } => {
            match list(encoded, *commitment, *chain_id, operators, used) {
                Ok(()) => json!({ "valid": true }),
                Err(error) => json!({ "valid": false, "error": kind(&error) }),
            }
        }
        Question::Run { .. } => return Err(ExamineError::Run),
    })
}

fn slot(model: B256, packed: U256) -> Value {
    let key = model_storage_key(model);
    match ModelSlot::unpack(packed) {
        None => json!({ "key": key, "known": false }),
        Some(slot) => json!({
            "key": key,
            "known": true,
            "gasPerRun": slot.gas_per_run,
            "maxInputBytes": slot.max_input_bytes,
            "maxOutputBytes": slot.max_output_bytes,
            "profile": slot.profile as u8,
        }),
    }
}

fn list(
    encoded: &[u8],
    commitment: Option<B256>,
    chain_id: u64,
    operators: &[Address],
    used: &[B256],
) -> Result<(), ListError> {
    let list = InferenceList::decode_committed(encoded, commitment)?;
    list.verify_certificates(&StatementDomain::new(chain_id), &Committee::new(operators.iter().copied()))?;
    list.verify_used(used.iter().copied())
}

/// What is wrong, in the word that all implementations use.
fn kind(error: &ListError) -> &'static str {
    match error {
        ListError::Encoding(_) => "encoding",
        ListError::TooLong(_) => "too long",
        ListError::Commitment { .. } => "commitment",
        ListError::Output { .. } => "output",
        ListError::Duplicate(_) => "duplicate",
        ListError::Unsorted(_) => "unsorted",
        ListError::Certificate { .. } => "certificate",
        ListError::Unused(_) => "unused",
        ListError::Missing(_) => "missing",
    }
}
