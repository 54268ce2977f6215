//! Calls of the precompile.

use super::Asked;
use alloy_primitives::{B256, Bytes, I256, U256};
use alloy_sol_types::{SolCall, SolValue};
use foreblock::conformance::{CallCase, OutcomeText, Question, Scheme};
use foreblock_precompile::{
    ModelSlot, Profile,
    abi::{DType, IInference, Tensor},
    model_storage_key, price, request_id,
};
use std::collections::BTreeMap;

pub(crate) const MODEL: B256 = B256::repeat_byte(0x42);
const UNKNOWN: B256 = B256::repeat_byte(9);
const NOW: u64 = 1_800_000_000;
const SLOT: ModelSlot =
    ModelSlot { gas_per_run: 5_000, max_input_bytes: 2_048, max_output_bytes: 1_024, profile: Profile::ExactF32 };

pub(crate) fn tensor(dtype: DType, shape: &[u32], data: Vec<u8>) -> Tensor {
    Tensor { dtype, shape: shape.to_vec(), data: data.into() }
}

pub(crate) fn input(length: usize) -> Bytes {
    vec![tensor(DType::U8, &[length as u32], vec![7; length])].abi_encode().into()
}

fn output() -> OutcomeText {
    OutcomeText::Output { output: vec![tensor(DType::Wad, &[1], vec![1; 32])].abi_encode().into() }
}

fn run(input: &Bytes) -> Bytes {
    IInference::runCall { modelId: MODEL, input: input.clone() }.abi_encode().into()
}

fn run_or(input: &Bytes, deadline: u64, fallback: usize) -> Bytes {
    let (deadline, fallback_) = (U256::from(deadline), vec![0xfa; fallback].into());
    IInference::runOrCall { modelId: MODEL, input: input.clone(), deadline, fallback_ }.abi_encode().into()
}

fn model(id: B256) -> Bytes {
    IInference::modelCall { modelId: id }.abi_encode().into()
}

fn key() -> U256 {
    model_storage_key(MODEL).into()
}

/// With the outcomes of inputs that are there.
fn case(calldata: Bytes, outcomes: &[(&Bytes, OutcomeText)]) -> CallCase {
    let outcomes = outcomes.iter().map(|(input, outcome)| (request_id(MODEL, input), outcome.clone())).collect();
    CallCase {
        calldata,
        gas: 1_000_000,
        value: U256::ZERO,
        scheme: Scheme::Call,
        timestamp: NOW,
        storage: BTreeMap::from([(key(), SLOT.pack())]),
        warm: Vec::new(),
        outcomes,
    }
}

fn asked(name: impl Into<String>, case: CallCase) -> Asked {
    (name.into(), Question::Call(case))
}

/// Calldata with one word replaced, counted after the selector.
fn with_word(calldata: &Bytes, at: usize, word: U256) -> Bytes {
    let mut bytes = calldata.to_vec();
    bytes[4 + at * 32..4 + (at + 1) * 32].copy_from_slice(&word.to_be_bytes::<32>());
    bytes.into()
}

pub(super) fn abi() -> Vec<Asked> {
    let three = input(3);
    let there = [(&three, output())];
    let good = run(&three);
    let failed = OutcomeText::Failed { code: 3, reason: "expected [1,16]".into() };
    let mut cases = vec![
        asked("run", case(good.clone(), &there)),
        asked("run by STATICCALL", CallCase { scheme: Scheme::StaticCall, ..case(good.clone(), &there) }),
        asked("run by DELEGATECALL", CallCase { scheme: Scheme::DelegateCall, ..case(good.clone(), &there) }),
        asked("run with value", CallCase { value: U256::from(1), ..case(good.clone(), &there) }),
        asked("runOr before the deadline", case(run_or(&three, NOW + 1, 5), &there)),
        asked("runOr at the deadline", case(run_or(&three, NOW, 5), &there)),
        asked("runOr after the deadline", case(run_or(&three, NOW - 1, 5), &there)),
        asked("runOr after the deadline, nothing there", case(run_or(&three, 0, 33), &[])),
        asked("runOr of a failure", case(run_or(&three, NOW, 5), &[(&three, failed)])),
        asked("runOr with an empty fallback", case(run_or(&three, 0, 0), &[])),
        asked("model that is known", case(model(MODEL), &[])),
        asked("model that is not", case(model(UNKNOWN), &[])),
        asked("trailing bytes", case([&good[..], &[0; 32]].concat().into(), &there)),
        asked("cut in the input", case(good.slice(..good.len() - 32), &there)),
        asked("another offset", case(with_word(&good, 1, U256::from(0x60)), &there)),
        asked("an offset beyond the end", case(with_word(&good, 1, U256::MAX), &there)),
        asked("a length beyond the end", case(with_word(&good, 2, U256::MAX), &there)),
    ];
    for (name, bytes) in [("no calldata", &[][..]), ("3 bytes", &[1, 2, 3]), ("an unknown selector", &[1, 2, 3, 4])] {
        cases.push(asked(name, case(Bytes::copy_from_slice(bytes), &there)));
    }
    cases
}

pub(super) fn failures() -> Vec<Asked> {
    let three = input(3);
    let unknown: Bytes = IInference::runCall { modelId: UNKNOWN, input: three.clone() }.abi_encode().into();
    let text = vec![tensor(DType::Text, &[1], vec![0, 0, 0, 9, b'x'])].abi_encode();
    let mut cases = vec![
        asked("a missing outcome", case(run(&three), &[])),
        asked("a missing outcome, runOr in time", case(run_or(&three, NOW, 5), &[])),
        asked("an outcome of another input", case(run(&three), &[(&input(4), output())])),
        asked("unknown model", case(unknown, &[])),
        asked("input of the greatest length", case(run(&input(2_048 - 288)), &[])),
        asked("input too large", case(run(&input(2_048)), &[])),
        asked("text that does not fill its data", case(run(&text.into()), &[])),
    ];
    let sample =
        vec![tensor(DType::Wad, &[1, 2], vec![7; 64]), tensor(DType::Text, &[], b"hello".to_vec())].abi_encode();
    let with = |at: usize, value: U256| -> Bytes {
        let mut bytes = sample.clone();
        bytes[at * 32..at * 32 + 32].copy_from_slice(&value.to_be_bytes::<32>());
        bytes.into()
    };
    let mut padded = sample.clone();
    *padded.last_mut().unwrap() = 1;
    for (name, input) in [
        ("an empty input", Bytes::new()),
        ("input truncated", sample[..sample.len() - 32].to_vec().into()),
        ("input with trailing bytes", [&sample[..], &[0; 32]].concat().into()),
        ("input with padding", padded.into()),
        ("first offset", with(0, U256::from(64))),
        ("too many tensors", with(1, U256::from(65))),
        ("a huge number of tensors", with(1, U256::MAX)),
        ("a tensor's offset", with(2, U256::from(96))),
        ("an unknown dtype", with(4, U256::from(12))),
        ("offset of the shape", with(5, U256::from(128))),
        ("offset of the data", with(6, U256::from(128))),
        ("rank above 8", with(7, U256::from(9))),
        ("a dimension above uint32", with(8, U256::from(1u64 << 32))),
        ("data that does not fit the shape", with(8, U256::from(3))),
        ("a huge length of data", with(10, U256::MAX)),
    ] {
        cases.push(asked(name, case(run(&input), &[])));
    }
    for code in 1..=10u16 {
        let outcome = OutcomeText::Failed { code, reason: format!("reason {code}, in words: ß") };
        cases.push(asked(format!("failure {code}"), case(run(&three), &[(&three, outcome)])));
    }
    let long = OutcomeText::Failed { code: 10, reason: "x".repeat(256) };
    cases.push(asked("the longest reason", case(run(&three), &[(&three, long)])));
    cases
}

pub(super) fn gas() -> Vec<Asked> {
    let three = input(3);
    let there = [(&three, output())];
    let good = || case(run(&three), &there);
    let mut cases = vec![
        asked("cold slots", good()),
        asked("the model's slot warm", CallCase { warm: vec![key()], ..good() }),
        asked("both slots warm", CallCase { warm: vec![key(), price::EXCESS_SLOT], ..good() }),
        asked("nothing left", CallCase { gas: 0, ..good() }),
        asked("less than a call", CallCase { gas: 2_999, ..good() }),
        asked("enough for the call, not for the run", CallCase { gas: 8_000, ..good() }),
        // A call that cannot pay for its run asks nobody: it does not abort.
        asked("too little, and nothing there", CallCase { gas: 8_000, ..case(run(&three), &[]) }),
    ];
    for excess in [1, price::TARGET, 10 * price::TARGET, price::EXCESS_MAX, u64::MAX] {
        let storage = BTreeMap::from([(key(), SLOT.pack()), (price::EXCESS_SLOT, U256::from(excess))]);
        cases.push(asked(format!("excess {excess}"), CallCase { storage, gas: 10_000_000_000_000, ..good() }));
    }
    for length in [0, 1, 32, 33, 1_024] {
        let input = input(length);
        cases.push(asked(format!("input of {length} bytes"), case(run(&input), &[(&input, output())])));
        let output = OutcomeText::Output {
            output: vec![tensor(DType::U8, &[length as u32], vec![1; length])].abi_encode().into(),
        };
        cases.push(asked(format!("output of {length} bytes"), case(run(&three), &[(&three, output)])));
        cases.push(asked(format!("fallback of {length} bytes"), case(run_or(&three, 0, length), &[])));
    }
    for gas_per_run in [0, 1, 30_000_000] {
        let storage = BTreeMap::from([(key(), ModelSlot { gas_per_run, ..SLOT }.pack())]);
        cases.push(asked(format!("{gas_per_run} gas a run"), CallCase { storage, gas: 40_000_000, ..good() }));
    }
    // To the last unit: what is needed, and one less.
    for (name, less) in [("exactly enough", 0), ("one too little", 1)] {
        cases.push(asked(name, CallCase { gas: enough(good()) - less, ..good() }));
    }
    cases.extend(texts());
    cases.extend(super::numbers::prices());
    cases
}

/// Calls of a text model: paid for in tokens, and what was not used comes back.
fn texts() -> Vec<Asked> {
    let ints = |values: &[i64]| -> Bytes {
        let data = values.iter().flat_map(|value| I256::try_from(*value).expect("it fits").to_be_bytes::<32>());
        vec![tensor(DType::Int, &[values.len() as u32], data.collect())].abi_encode().into()
    };
    let storage = BTreeMap::from([
        (key(), ModelSlot { gas_per_run: 700, profile: Profile::ExactText, ..SLOT }.pack()),
        (price::EXCESS_SLOT, U256::from(price::TARGET)),
    ]);
    let asked = |name: &str, input: &Bytes, outcome: Option<OutcomeText>| {
        let there: Vec<_> = outcome.into_iter().map(|outcome| (input, outcome)).collect();
        asked(name, CallCase { storage: storage.clone(), gas: 100_000_000, ..case(run(input), &there) })
    };
    let said = |facts: &[i64]| Some(OutcomeText::Output { output: ints(facts) });
    let failed = OutcomeText::Failed { code: 8, reason: "the prompt is empty".into() };
    let hundred = ints(&[100, 0, 0, 0, 0, 0, 288]);
    let any = ints(&[100, 0, 0, 0, 0, 0, -1]);
    vec![
        asked("text: tokens that were not used come back", &hundred, said(&[0, 0, 41, 7])),
        asked("text: all tokens used", &hundred, said(&[0, 0, 288, 100])),
        asked("text: more tokens than were paid for", &hundred, said(&[0, 0, i64::MAX, i64::MAX])),
        asked("text: a negative number of tokens", &hundred, said(&[0, 0, -1, -1])),
        asked("text: an output without facts", &hundred, Some(output())),
        asked("text: a failure keeps the prompt's", &hundred, Some(failed.clone())),
        asked("text: no prompt is paid for beyond the input's bytes", &any, Some(failed)),
        asked("text: a prompt beyond its limit", &hundred, said(&[0, 0, 4 * 288, 7])),
        asked("text: nothing there", &hundred, None),
        asked("text: the longest answer", &ints(&[i64::MAX, 0, 0, 0, 0, 0, 1]), said(&[0, 0, 1, 1])),
        asked("text: no parameters", &ints(&[100, 0]), said(&[0, 0, 41, 7])),
        asked("text: another input", &input(3), said(&[0, 0, 41, 7])),
    ]
}

/// Gas that a case uses.
fn enough(case: CallCase) -> u64 {
    super::answered(asked("how much", case)).answer["gas"].as_u64().expect("it returns")
}
