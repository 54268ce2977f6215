//! Runs a share of a chain's outcomes again, with an engine of one's own, and says what differs.
//!
//! A block's list has only a request's id, so the question itself is taken from the trace of the transaction that asked it: whoever
//! gives the trace cannot lie, for the id is its hash.

use crate::follow::{Producer, ProducerError};
use alloy_primitives::{Address, B256, Bytes, U64, keccak256, map::B256Map};
use alloy_sol_types::SolCall;
use foreblock_pre_executor::Compute;
use foreblock_precompile::{ModelId, Outcome, Request, RequestId, abi::IInference};
use serde::Deserialize;
use serde_json::{Value, json};

/// What to audit.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
    /// How much of the outcomes, 0 to 1.
    pub share: f64,
}

/// An outcome that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The block that used it.
    pub block: u64,
    /// The request.
    pub id: RequestId,
    /// Its model.
    pub model: ModelId,
    /// What came of it.
    pub verdict: Verdict,
}

/// What an audit finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same outcome.
    Same,
    /// Another one: hash in the block, hash computed here, and in words.
    Differs(B256, B256, String),
    /// This engine cannot say.
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    request_id: RequestId,
    model: ModelId,
    outcome_hash: B256,
}

#[derive(Deserialize)]
struct List {
    entries: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Call {
    to: Option<Address>,
    input: Bytes,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Traced {
    result: Call,
}

/// Audits the sample, block by block; each finding is told as soon as it is there.
pub fn audit(
    producer: &Producer,
    precompile: Address,
    engine: &dyn Compute,
    sample: Sample,
    mut tell: impl FnMut(Audited),
) -> Result<(), ProducerError> {
    for block in sample.from..=sample.to {
        let id = U64::from(block);
        let list: List = producer.ask("inference_getList", json!([id]))?;
        let chosen: Vec<Entry> =
            list.entries.into_iter().filter(|entry| is_chosen(entry.request_id, sample.share)).collect();
        if chosen.is_empty() {
            continue;
        }
        let questions = questions(producer, precompile, id)?;
        for entry in chosen {
            let verdict = match questions.get(&entry.request_id) {
                Some(request) => verdict(engine, request, entry.outcome_hash),
                None => Verdict::Unknown("no transaction of the block asks for it".to_owned()),
            };
            tell(Audited { block, id: entry.request_id, model: entry.model, verdict });
        }
    }
    Ok(())
}

/// By the request, so that an audit can be repeated and two audits of one share look at the same.
fn is_chosen(id: RequestId, share: f64) -> bool {
    let hash = keccak256(id);
    let draw = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    f64::from(draw) <= share * f64::from(u32::MAX)
}

fn questions(producer: &Producer, precompile: Address, block: U64) -> Result<B256Map<Request>, ProducerError> {
    let tracer = json!({ "tracer": "callTracer" });
    let traced: Vec<Traced> = producer.ask("debug_traceBlockByNumber", json!([block, tracer]))?;
    let mut found = B256Map::default();
    traced.iter().for_each(|traced| collect(&traced.result, precompile, &mut found));
    Ok(found)
}

fn collect(call: &Call, precompile: Address, found: &mut B256Map<Request>) {
    if call.to == Some(precompile)
        && let Some(request) = request(&call.input)
    {
        found.insert(request.id, request);
    }
    call.calls.iter().for_each(|call| collect(call, precompile, found));
}

fn request(calldata: &[u8]) -> Option<Request> {
    if let Ok(run) = IInference::runCall::abi_decode(calldata) {
        return Some(Request::new(run.modelId, run.input));
    }
    let run = IInference::runOrCall::abi_decode(calldata).ok()?;
    Some(Request::new(run.modelId, run.input))
}

fn verdict(engine: &dyn Compute, request: &Request, listed: B256) -> Verdict {
    let computed = engine.run(request.model, std::slice::from_ref(&request.input)).pop();
    match computed {
        Some(Ok(outcome)) if outcome.hash() == listed => Verdict::Same,
        Some(Ok(outcome)) => Verdict::Differs(listed, outcome.hash(), words(&outcome)),
        Some(Err(unavailable)) => Verdict::Unknown(unavailable.0),
        None => Verdict::Unknown("the engine gave no answer".to_owned()),
    }
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Output(output) => output.to_string(),
        Outcome::Failed(failure) => failure.to_string(),
    }
}

/// The chain's precompile, as its node says.
pub fn precompile_of(producer: &Producer) -> Result<Address, ProducerError> {
    let status: Value = producer.ask("inference_status", json!([]))?;
    let address = status["precompile"].as_str().and_then(|text| text.parse().ok());
    Ok(address.unwrap_or(foreblock_precompile::PRECOMPILE_ADDRESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_share_and_always_the_same() {
        let ids: Vec<RequestId> = (0..4_000u32).map(|number| keccak256(number.to_be_bytes())).collect();
        let tenth: Vec<_> = ids.iter().filter(|id| is_chosen(**id, 0.1)).collect();
        assert!((300..500).contains(&tenth.len()), "{}", tenth.len());
        assert!(tenth.iter().all(|id| is_chosen(**id, 0.2)), "a larger share holds the smaller one");
        assert!(ids.iter().all(|id| is_chosen(*id, 1.0)));
    }

    #[test]
    fn questions_are_found_at_any_depth() {
        let precompile = Address::repeat_byte(0x0f);
        let (model, input) = (B256::repeat_byte(1), Bytes::from("input"));
        let data = IInference::runCall { modelId: model, input: input.clone() }.abi_encode();
        let inner = Call { to: Some(precompile), input: data.clone().into(), calls: vec![] };
        let elsewhere = Call { to: Some(Address::ZERO), input: data.into(), calls: vec![] };
        let outer = Call {
            to: None,
            input: Bytes::new(),
            calls: vec![elsewhere, Call { calls: vec![inner], ..Call::default() }],
        };
        let mut found = B256Map::default();
        collect(&outer, precompile, &mut found);
        assert_eq!(found.len(), 1);
        assert!(found.contains_key(&Request::new(model, input).id));
    }
}
