//! Gas of the Solidity package, from the snapshots that its tests write and CI compares (`contracts/snapshots`).

use foreblock_tests::{
    bench::{Report, Target, workspace},
    tools::{forge, succeed},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs};

/// The measures that have a target: file and name of the snapshot, the row's name, the limit.
const LIMITS: [(&str, &str, &str, f64); 4] = [
    ("Inference", "score of 32 over a raw staticcall", "score of 32 features, gas over a raw staticcall", 2_000.0),
    (
        "TensorCodec",
        "decode 384 WAD elements",
        "decoding 384 WAD elements among other tensors, gas over the copy",
        1_500.0,
    ),
    (
        "TensorCodec",
        "take 384 WAD elements of the only tensor",
        "decoding 384 WAD elements of an only tensor, gas over the copy",
        1_500.0,
    ),
    ("Certificate", "verify 3 signers", "verifying a certificate of 3 signers, all cold, gas", 25_000.0),
];

fn main() {
    // The snapshots are written by the tests, which fail where they differ from what is checked in.
    let contracts = workspace().join("contracts");
    succeed(
        forge().args(["test", "--match-test", "test_gas_"]).env("FORGE_SNAPSHOT_CHECK", "true").current_dir(&contracts),
    );
    let mut rest = BTreeMap::new();
    for entry in fs::read_dir(contracts.join("snapshots")).expect("the snapshots are checked in") {
        let path = entry.expect("a folder can be listed").path();
        let group = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let values: BTreeMap<String, Value> =
            serde_json::from_slice(&fs::read(&path).expect("a snapshot can be read")).expect("a snapshot is JSON");
        rest.extend(values.into_iter().map(|(name, gas)| ((group.clone(), name), number(&gas))));
    }
    let mut report = Report::new("solidity");
    for (group, name, measure, limit) in LIMITS {
        let gas = rest.remove(&(group.into(), name.into())).unwrap_or_else(|| panic!("no snapshot {group}: {name}"));
        report.row(measure, gas, Target::AtMost(limit));
    }
    for ((group, name), gas) in rest {
        report.row(&format!("{group}: {name}, gas"), gas, Target::Shown);
    }
    report.write(workspace()).expect("the report can be written");
}

fn number(gas: &Value) -> f64 {
    gas.as_str().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("a snapshot holds {gas}"))
}
