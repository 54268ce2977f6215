//! Clients that Solidity developers use, each a pinned package, each doing its daily work against the node: deploy, send a
//! transaction that asks a model, read the stored answer and the event, estimate, trace, and see a typed error.

use foreblock_tests::{
    forecast::{RETURNS, create, model_run, wad_array},
    node::{ALICE, ALICE_KEY, Node},
    tools::{cast, forge, node_22, node_js, npm, python, succeed, workspace},
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};
use tempfile::TempDir;

/// Four bytes of `UnknownModel(bytes32)`.
const UNKNOWN_MODEL: &str = "0xa2dc0625";
const PRECOMPILE: &str = "0x0000000000000000000000000000000000001a0f";

/// The quick start's contract, compiled by forge, once for all tests.
static ARTIFACT: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("forecast");
    let mut build = forge();
    build.current_dir(workspace().join("examples/quickstart")).arg("build").arg("--out").arg(folder.join("out"));
    succeed(build.arg("--cache-path").arg(folder.join("cache")).arg("src"));
    folder.join("out/Forecast.sol/Forecast.json")
});

fn clients() -> PathBuf {
    workspace().join("tests/clients").canonicalize().expect("the clients' scripts are there")
}

/// Tells a client's script where the node is and what to ask.
fn about<'a>(command: &'a mut Command, node: &Node) -> &'a mut Command {
    command.env("NODE_URL", node.url()).env("MODEL", node.model_id("volatility")).env("PRIVATE_KEY", ALICE_KEY);
    command.env("QUESTION", clients().join("question.json"))
}

/// The last line that a script prints.
fn seen(printed: &str) -> Value {
    let line = printed.trim().lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {printed}"))
}

fn whole(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no number: {value}"));
    let hex = text.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16));
    hex.unwrap_or_else(|| text.parse()).unwrap_or_else(|_| panic!("no number: {value}"))
}

/// What a client saw is what the model says and what the node knows of it.
fn check(node: &Node, seen: &Value) {
    let answer = json!(model_run(node, &RETURNS));
    assert_eq!(seen["stored"], answer, "{seen}");
    assert_eq!(seen["event"], answer, "{seen}");
    assert_eq!(seen["logs"], 1, "{seen}");
    let receipt = node.receipt(seen["hash"].as_str().unwrap_or_else(|| panic!("no hash in {seen}")));
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(whole(&seen["gasUsed"]), whole(&receipt["gasUsed"]), "{seen}");
    assert!(whole(&seen["estimate"]) >= whole(&receipt["gasUsed"]), "{seen}");
    let call = &seen["trace"]["calls"][0];
    assert_eq!(call["to"], PRECOMPILE, "{seen}");
    assert_eq!(call["type"], "STATICCALL", "{seen}");
    assert_eq!(seen["refused"], UNKNOWN_MODEL, "{seen}");
}

#[test]
fn viem_over_http() {
    viem("http");
}

#[test]
fn viem_over_websocket() {
    viem("ws");
}

fn viem(transport: &str) {
    let node = Node::start(&[]);
    let mut script = node_js();
    script.arg(clients().join("viem.js")).env("ARTIFACT", &*ARTIFACT).env("TRANSPORT", transport);
    let seen = seen(&succeed(about(&mut script, &node)));
    check(&node, &seen);
    assert!(whole(&json!(seen["blocks"].to_string())) >= 1, "no block was announced: {seen}");
}

#[test]
fn ethers() {
    let node = Node::start(&[]);
    let mut script = node_js();
    script.arg(clients().join("ethers.js")).env("ARTIFACT", &*ARTIFACT);
    check(&node, &seen(&succeed(about(&mut script, &node))));
}

#[test]
fn web3_py() {
    let node = Node::start(&[]);
    let mut script = python();
    script.arg(clients().join("web3_py.py")).env("ARTIFACT", &*ARTIFACT);
    check(&node, &seen(&succeed(about(&mut script, &node))));
}

#[test]
fn hardhat_3() {
    let (node, folder) = (Node::start(&[]), TempDir::new().unwrap());
    let project = folder.path();
    for file in ["hardhat.config.js", "workflow.js", "package.json"] {
        fs::copy(clients().join("hardhat").join(file), project.join(file)).unwrap();
    }
    fs::create_dir_all(project.join("contracts")).unwrap();
    fs::create_dir_all(project.join("node_modules/@foreblock")).unwrap();
    let contract = workspace().join("examples/quickstart/src/Forecast.sol");
    fs::copy(contract, project.join("contracts/Forecast.sol")).unwrap();
    for package in ["hardhat", "ethers"] {
        symlink(npm().join(package), project.join("node_modules").join(package)).unwrap();
    }
    let package = workspace().join("contracts").canonicalize().unwrap();
    symlink(package, project.join("node_modules/@foreblock/contracts")).unwrap();

    let hardhat = |args: &[&str]| {
        let mut hardhat = node_22();
        hardhat.arg(project.join("node_modules/hardhat/dist/src/cli.js")).args(args).current_dir(project);
        hardhat.env("SOLJSON", npm().join("solc/soljson.js")).env("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true");
        hardhat.env("HOME", project).env("CI", "true");
        succeed(about(&mut hardhat, &node))
    };
    hardhat(&["build"]);
    let seen = seen(&hardhat(&["run", "workflow.js", "--no-compile"]));
    check(&node, &seen);
    assert_eq!(seen["minedAndReverted"], 5, "{seen}");
}

#[test]
fn cast_does_a_days_work() {
    let node = Node::start(&[]);
    let url = node.url();
    let run = |args: &[&str]| succeed(cast().args(args).args(["--rpc-url", &url])).trim().to_owned();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&run(args)).expect("cast prints JSON") };
    let model = node.model_id("volatility");
    let address = create(&node, "examples/quickstart", "src/Forecast.sol:Forecast", &[&model]);
    let question = wad_array(&RETURNS);
    let ask = [address.as_str(), "ask(int256[16])", &question];

    run(&[&["call"], &ask[..], &["--from", ALICE]].concat());
    let estimate = run(&[&["estimate"], &ask[..], &["--from", ALICE]].concat());
    let receipt = json(&[&["send"], &ask[..], &["--private-key", ALICE_KEY, "--json"]].concat());
    let hash = receipt["transactionHash"].as_str().unwrap();
    let options = r#"{"tracer":"callTracer"}"#;
    let trace = json(&["rpc", "debug_traceTransaction", hash, options]);
    let event = "Forecasted(int256)";
    let logs = json(&["logs", event, "--from-block", "0", "--address", &address, "--json"]);
    let data = logs[0]["data"].as_str().unwrap();
    let decoded = |text: &str| succeed(cast().args(["to-dec", text])).trim().to_owned();
    let wrong = create(&node, "examples/quickstart", "src/Forecast.sol:Forecast", &[&format!("0x{}", "11".repeat(32))]);
    let refused = succeed(Command::new("sh").args(["-c", r#""$0" "$@" 2>&1 || true"#]).args([
        cast().get_program(),
        "call".as_ref(),
        wrong.as_ref(),
        ask[1].as_ref(),
        ask[2].as_ref(),
        "--rpc-url".as_ref(),
        url.as_ref(),
    ]));
    let seen = json!({
        "hash": hash,
        "estimate": estimate,
        "gasUsed": receipt["gasUsed"],
        "stored": run(&["call", &address, "volatility()(int256)"]).split(' ').next(),
        "event": decoded(data),
        "logs": logs.as_array().unwrap().len(),
        "trace": trace,
        "refused": refused.find(UNKNOWN_MODEL).map(|at| &refused[at..at + UNKNOWN_MODEL.len()]),
    });
    check(&node, &seen);
    assert_eq!(decoded(&run(&["storage", &address, "0"])), seen["stored"].as_str().unwrap());
    assert_eq!(run(&["nonce", ALICE]), "3");
    assert_eq!(run(&["block-number"]), "3");
    assert!(run(&["code", PRECOMPILE]).eq("0xfe"));
}

#[test]
fn forge_tests_run_on_a_fork_of_the_node() {
    let node = Node::start(&[]);
    let model = node.model_id("volatility");
    let deployed = create(&node, "tests/contracts", "src/Chained.sol:Chained", &[]);
    let ask = [&deployed, "ask(bytes32,int256[16])", &model, &wad_array(&RETURNS)];
    succeed(cast().arg("send").args(ask).args(["--private-key", ALICE_KEY, "--rpc-url", &node.url()]));
    let first = node.rpc("eth_getStorageAt", json!([deployed, "0x0", "latest"]));
    let mut test = forge();
    test.current_dir(workspace().join("tests/contracts"));
    test.args(["test", "--match-path", "test/Fork.t.sol", "--json", "--fork-url", &node.url()]);
    test.env("FOREBLOCK_URL", node.url()).env("DEPLOYED", &deployed).env("MODEL", &model);
    let printed = succeed(test.env("FIRST", first.as_str().unwrap()));
    let results: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"));
    let tests = &results["test/Fork.t.sol:ForkTest"]["test_results"];
    let passed = tests.as_object().into_iter().flatten().filter(|(_, test)| test["status"] == "Success").count();
    assert_eq!(passed, 2, "{results}");
}

#[test]
fn stock_forge_tests_ask_the_node_and_get_its_errors_whole() {
    let node = Node::start(&[]);
    let mut test = forge();
    test.current_dir(workspace().join("tests/contracts")).args(["test", "--match-path", "test/Devnet.t.sol"]);
    let printed = succeed(test.env("FOREBLOCK_URL", node.url()));
    assert!(printed.contains("8 tests passed, 0 failed, 0 skipped"), "{printed}");
}
