//! The quick start's contract and its model, as several tests use them.

use crate::{
    node::{ALICE_KEY, Node},
    tools::{foreblock, forge, succeed, workspace},
};
use serde_json::{Value, json};
use std::process::Command;

/// The quick start's question: 16 daily log returns, oldest first.
pub const RETURNS: [f64; 16] = [
    -0.0133, 0.0424, 0.0043, -0.0108, -0.0211, 0.0234, -0.0326, 0.0113, -0.0119, 0.0318, 0.0051, -0.0072, 0.0163,
    -0.0049, 0.0021, -0.0187,
];

/// A number with at most 18 decimals as WAD digits.
pub fn wad(number: f64) -> String {
    let digits = format!("{:.18}", number.abs());
    let digits = digits.replace('.', "");
    let digits = digits.trim_start_matches('0');
    format!("{}{}", if number < 0.0 { "-" } else { "" }, if digits.is_empty() { "0" } else { digits })
}

/// The same as `cast` takes them, in WAD.
pub fn wad_array(returns: &[f64; 16]) -> String {
    format!("[{}]", returns.map(wad).join(","))
}

/// Creates a contract with `forge create` and returns its address.
pub fn create(node: &Node, project: &str, contract: &str, constructor_args: &[&str]) -> String {
    let mut command = forge();
    command.current_dir(workspace().join(project));
    command.args(["create", contract, "--rpc-url", &node.url(), "--private-key", ALICE_KEY, "--broadcast", "--json"]);
    if !constructor_args.is_empty() {
        command.arg("--constructor-args").args(constructor_args);
    }
    let printed = succeed(&mut command);
    let json = printed.find('{').map(|start| &printed[start..]).unwrap_or_else(|| panic!("no JSON in {printed}"));
    let created: Value = serde_json::from_str(json).expect("forge prints JSON");
    created["deployedTo"].as_str().expect("forge prints an address").to_owned()
}

/// The output of `foreblock model run volatility`, as WAD digits.
pub fn model_run(node: &Node, returns: &[f64; 16]) -> String {
    let input = json!({ "log_returns": [returns] }).to_string();
    let mut command = Command::new(foreblock());
    command.args(["model", "--data-dir"]).arg(node.data_dir()).args(["run", "volatility", "--input", &input, "--json"]);
    let printed = succeed(&mut command);
    let outputs: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"));
    outputs["outputs"][0]["digits"][0].as_str().unwrap_or_else(|| panic!("no WAD digits in {printed}")).to_owned()
}
