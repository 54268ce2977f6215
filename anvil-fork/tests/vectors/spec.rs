//! `docs/spec.md` names the constants that the crate has and that the vectors show.

use alloy_primitives::hex;
use alloy_sol_types::{SolCall, SolError};
use foreblock_precompile::{
    Failure, FailureCode, LIST_BYTES_MAX, MODEL_REGISTRY_ADDRESS, OPERATOR_REGISTRY_ADDRESS, OPERATORS_MAX,
    PRECOMPILE_ADDRESS, REQUEST_TYPE, abi::IInference, gas, genesis, price,
};
use foreblock_sidecar::frame;
use std::collections::BTreeMap;

fn page(name: &str) -> String {
    std::fs::read_to_string(super::root().join("docs").join(name)).unwrap()
}

/// Rows `| `NAME` | value | …` of the page.
fn constants(page: &str) -> BTreeMap<String, String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |row: &str| {
        let (name, rest) = row.split_once("` | ")?;
        let value = rest.split(" |").next()?.trim().trim_matches('`').replace(',', "");
        Some((name.to_owned(), value))
    };
    rows.filter_map(row).collect()
}

#[test]
fn the_specifications_constants_are_the_crates() {
    let page = page("spec.md");
    let stated = constants(&page);
    let number = |value: u64| value.to_string();
    let selector = |selector: [u8; 4]| hex::encode_prefixed(selector);
    let expected = [
        ("INFERENCE_ADDRESS", PRECOMPILE_ADDRESS.to_string()),
        ("MODEL_REGISTRY_ADDRESS", MODEL_REGISTRY_ADDRESS.to_string()),
        ("OPERATOR_REGISTRY_ADDRESS", OPERATOR_REGISTRY_ADDRESS.to_string()),
        ("PRECOMPILE_CODE", hex::encode_prefixed(genesis::PRECOMPILE_CODE)),
        ("BASE", number(gas::BASE)),
        ("INPUT_WORD", number(gas::INPUT_WORD)),
        ("OUTPUT_WORD", number(gas::OUTPUT_WORD)),
        ("COPY_WORD", number(gas::COPY_WORD)),
        ("COLD_SLOT", number(gas::COLD_SLOT)),
        ("WARM_SLOT", number(gas::WARM_SLOT)),
        ("RUN_BASE", number(gas::RUN_BASE)),
        ("MULTIPLY_ADDS_PER_GAS", number(gas::MULTIPLY_ADDS_PER_GAS)),
        ("BYTES_PER_GAS", number(gas::BYTES_PER_GAS)),
        ("EXCESS_SLOT", price::EXCESS_SLOT.to_string()),
        ("TARGET", number(price::TARGET)),
        ("COUNTED_MAX", number(price::COUNTED_MAX)),
        ("UPDATE_FRACTION", number(price::UPDATE_FRACTION)),
        ("EXCESS_MAX", number(price::EXCESS_MAX)),
        ("ONE", number(price::ONE)),
        ("SYSTEM_ADDRESS", price::SYSTEM_ADDRESS.to_string()),
        ("REQUEST_TYPE", format!("{REQUEST_TYPE:#04x}")),
        ("LIST_BYTES_MAX", number(LIST_BYTES_MAX as u64)),
        ("REASON_BYTES_MAX", number(Failure::MAX_REASON_BYTES as u64)),
        ("OPERATORS_MAX", number(OPERATORS_MAX as u64)),
        ("run", selector(IInference::runCall::SELECTOR)),
        ("runOr", selector(IInference::runOrCall::SELECTOR)),
        ("model", selector(IInference::modelCall::SELECTOR)),
        ("UnknownModel", selector(IInference::UnknownModel::SELECTOR)),
        ("InputTooLarge", selector(IInference::InputTooLarge::SELECTOR)),
        ("MalformedInput", selector(IInference::MalformedInput::SELECTOR)),
        ("InferenceFailed", selector(IInference::InferenceFailed::SELECTOR)),
        ("IndirectCall", selector(IInference::IndirectCall::SELECTOR)),
        ("ValueSent", selector(IInference::ValueSent::SELECTOR)),
        ("MalformedCall", selector(IInference::MalformedCall::SELECTOR)),
    ];
    for (name, value) in expected {
        // Capitals in an address are a checksum.
        let (stated, value) = (stated.get(name).map(|text| text.to_ascii_lowercase()), value.to_ascii_lowercase());
        assert_eq!(stated, Some(value), "docs/spec.md, `{name}`");
    }
    for code in 1..=10 {
        let name = format!("{:?}", FailureCode::try_from(code).unwrap());
        assert_eq!(stated.get(&name), Some(&code.to_string()), "docs/spec.md, `{name}`");
    }
}

/// A constant that the specification misprints would be seen here without the crate: the vectors' own numbers follow from it.
#[test]
fn the_specifications_constants_give_the_vectors_gas() {
    let stated = constants(&page("spec.md"));
    let value = |name: &str| stated[name].parse::<u64>().unwrap();
    let words = |bytes: u64| bytes.div_ceil(32);
    let groups = foreblock::conformance::groups().unwrap();
    let gas = |group: &str, name: &str| {
        let (_, group) = groups.iter().find(|(known, _)| *known == group).unwrap();
        let case = group.cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}"));
        (case.answer["gas"].as_u64().unwrap(), case)
    };
    let calldata = |case: &foreblock::conformance::Case| match &case.question {
        foreblock::conformance::Question::Call(call) => call.calldata.len() as u64,
        other => panic!("{other:?}"),
    };
    let (used, case) = gas("gas", "cold slots");
    let run = |case, slots: u64, output: u64| {
        value("BASE")
            + words(calldata(case)) * value("INPUT_WORD")
            + slots
            + 5_000
            + words(output) * value("OUTPUT_WORD")
    };
    // abi.encode(Tensor[]) of one number with shape [1].
    let one_number = 10 * 32;
    assert_eq!(used, run(case, 2 * value("COLD_SLOT"), one_number));
    let (used, case) = gas("gas", "both slots warm");
    assert_eq!(used, run(case, 2 * value("WARM_SLOT"), one_number));
    let (used, case) = gas("gas", "fallback of 33 bytes");
    assert_eq!(used, value("BASE") + words(calldata(case)) * value("INPUT_WORD") + 2 * value("COPY_WORD"));
    let (used, case) = gas("abi", "model that is known");
    assert_eq!(used, value("BASE") + words(calldata(case)) * value("INPUT_WORD") + value("COLD_SLOT"));
}

#[test]
fn the_sidecars_page_states_its_schema() {
    let page = page("sidecar.md");
    let stated = constants(&page);
    assert_eq!(stated["VERSION"], frame::VERSION.to_string());
    assert_eq!(stated["BYTES_MAX"], frame::BYTES_MAX.to_string());
    assert_eq!(stated["LOOKUP_MAX"], frame::LOOKUP_MAX.to_string());
    assert_eq!(stated["LIST_MAX"], frame::LIST_MAX.to_string());
    for code in 1..=8 {
        let reason = frame::Reason::from_code(code).unwrap();
        assert_eq!(stated.get(&format!("{reason:?}")), Some(&code.to_string()), "docs/sidecar.md, refusal {code}");
    }
    assert_eq!(frame::Reason::from_code(9), None, "no reason is left out");
}
