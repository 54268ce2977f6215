//! Ids, slots, prices, statements, and golden vectors of models.

use super::Asked;
use alloy_primitives::{Address, B256, Bytes, U256};
use foreblock::conformance::{Case, OutcomeText, Question};
use foreblock_engine::{Catalog, golden::GOLDEN_FILE};
use foreblock_precompile::{ModelSlot, OPERATOR_REGISTRY_ADDRESS, Profile, price};
use serde_json::{Value, json};

/// Golden vectors of one model that go into the suite.
const GOLDEN_MAX: usize = 6;

pub(super) fn requests() -> Vec<Asked> {
    let ids = [("zero", B256::ZERO), ("a model", super::calls::MODEL), ("ones", B256::repeat_byte(0xff))];
    let inputs =
        [("nothing", Bytes::new()), ("a byte", Bytes::from_static(&[0])), ("a tensor", super::calls::input(3))];
    let ask = |(model, model_id): (&str, B256), (name, input): (&str, Bytes)| {
        (format!("{model} asked {name}"), Question::Id { model_id, input })
    };
    ids.iter().flat_map(|id| inputs.iter().map(move |input| ask(*id, input.clone()))).collect()
}

pub(super) fn registry() -> Vec<Asked> {
    let model_id = super::calls::MODEL;
    let slot = |profile| ModelSlot { gas_per_run: 2_028, max_input_bytes: 832, max_output_bytes: 320, profile };
    let full = ModelSlot {
        gas_per_run: u64::MAX,
        max_input_bytes: u32::MAX,
        max_output_bytes: u32::MAX,
        profile: Profile::Tolerance,
    };
    [
        ("an empty slot", U256::ZERO),
        ("exact", slot(Profile::ExactF32).pack()),
        ("exact integers", slot(Profile::ExactI8).pack()),
        ("tolerance", slot(Profile::Tolerance).pack()),
        ("all fields full", full.pack()),
        ("no profile", U256::from(2_028)),
        ("a profile of a later release", U256::from(5) << 128 | U256::from(2_028)),
        ("bits above the profile", U256::from(1) << 255 | slot(Profile::ExactF32).pack()),
    ]
    .map(|(name, packed)| (name.to_owned(), Question::Slot { model_id, packed }))
    .into()
}

pub(super) fn prices() -> Vec<Asked> {
    [
        (0, 0, 0, 0),
        (1, 1, 0, price::TARGET),
        (2_000, 1_000, price::TARGET, 0),
        (2_001, 1_001, price::TARGET, price::TARGET + 1),
        (22_000_000, 91_000_000, 3 * price::TARGET, price::COUNTED_MAX),
        (1_000_000_000_000, 1, price::EXCESS_MAX - 1, u64::MAX),
        (u64::MAX, u64::MAX, 0, 1),
        (1, 1, u64::MAX, 0),
    ]
    .map(|(multiply_adds, bytes_moved, excess, inference_gas)| {
        let name =
            format!("{multiply_adds} multiply-adds, {bytes_moved} bytes at excess {excess}, then {inference_gas}");
        (name, Question::Gas { multiply_adds, bytes_moved, excess, inference_gas })
    })
    .into()
}

pub(super) fn statements() -> Vec<Asked> {
    let (request_id, registry) = (B256::repeat_byte(7), OPERATOR_REGISTRY_ADDRESS);
    let output = |bytes: &'static [u8]| OutcomeText::Output { output: Bytes::from_static(bytes) };
    let failed = |reason: &str| OutcomeText::Failed { code: 3, reason: reason.to_owned() };
    [
        ("an output", 31_337, registry, output(b"output")),
        ("an empty output", 31_337, registry, output(b"")),
        ("another chain", 1, registry, output(b"output")),
        ("another registry", 31_337, Address::repeat_byte(1), output(b"output")),
        ("a failure", 31_337, registry, failed("expected [1,16]")),
        ("a failure without words", 31_337, registry, failed("")),
        // An output that looks like a failure's preimage is another outcome.
        ("an output of three bytes", 31_337, registry, output(&[1, 0, 3])),
    ]
    .map(|(name, chain_id, registry, outcome)| {
        (name.to_owned(), Question::Statement { chain_id, registry, request_id, outcome })
    })
    .into()
}

/// Golden vectors that models carry.
pub(super) fn engine() -> Vec<Case> {
    let catalog = Catalog::new(None);
    let (entries, broken) = catalog.list().unwrap();
    assert!(broken.is_empty());
    let golden = |entry: &foreblock_engine::catalog::Entry| -> Vec<Case> {
        let files = catalog.files(entry).unwrap();
        let Some(file) = files.get(GOLDEN_FILE) else { return Vec::new() };
        let vectors: Vec<Value> = serde_json::from_slice(file).unwrap();
        let case = |(number, vector): (usize, &Value)| {
            let input: Bytes = vector["input"].as_str().unwrap().parse().unwrap();
            let question = Question::Run { model_id: entry.manifest.id(), input };
            let name = format!("{} {}", entry.manifest.name(), number + 1);
            Case { name, question, answer: json!({ "output": vector["output"] }) }
        };
        vectors.iter().take(GOLDEN_MAX).enumerate().map(case).collect()
    };
    entries.iter().flat_map(golden).collect()
}
