//! The main job, end to end: a contract gets a real model's output in the transaction that asks for it.

use foreblock_tests::{
    contract::{call, script, send},
    forecast::{RETURNS, create, model_run, wad, wad_array},
    node::{ALICE, Node},
    tools::{cast, finish, foreblock, python, succeed, workspace},
};
use serde_json::{Value, json};
use std::process::Command;

/// What `precompile/engine/models/volatility/card.md` states.
const CARD_ERROR: f64 = 1e-7;

#[test]
fn the_quick_start_stores_what_the_model_says() {
    let node = Node::start(&[]);
    let returned = script(&node, "examples/quickstart", "script/Ask.s.sol");

    let nonce = node.rpc("eth_getTransactionCount", json!([ALICE, "latest"]));
    assert_eq!(nonce, "0x2", "one deployment and one question");
    let contract = returned["forecast"]["value"].as_str().expect("the script returns the contract");
    let stored = call(&node, contract, "volatility()(int256)", &[]);
    assert_eq!(stored, model_run(&node, &RETURNS), "to the last WAD digit");

    let reference = onnx_runtime_says(&RETURNS);
    let stored: f64 = stored.parse::<f64>().unwrap() / 1e18;
    assert!((stored - reference).abs() <= CARD_ERROR, "{stored} on chain, {reference} from ONNX Runtime");
}

/// The same question to ONNX Runtime in Python.
fn onnx_runtime_says(returns: &[f64; 16]) -> f64 {
    let program = "import json, sys, numpy, onnxruntime\n\
        session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n\
        returns = numpy.array([json.loads(sys.argv[2])], dtype=numpy.float32)\n\
        print(repr(float(session.run(None, {'log_returns': returns})[0][0][0])))";
    let model = workspace().join("precompile/engine/models/volatility/model.onnx");
    let mut command = python();
    command.args(["-c", program]).arg(model).arg(json!(returns).to_string());
    succeed(&mut command).trim().parse().expect("Python prints a number")
}

#[test]
fn fifty_questions_share_one_interval_block() {
    let node = Node::start(&["--block-time", "4"]);
    let model = node.model_id("volatility");
    let contract = create(&node, "examples/quickstart", "src/Forecast.sol:Forecast", &[&model]);
    let start = u64::from_str_radix(
        node.rpc("eth_getTransactionCount", json!([ALICE, "latest"])).as_str().unwrap().trim_start_matches("0x"),
        16,
    )
    .unwrap();

    // From one sender with consecutive nonces, each with another input.
    let transactions: Vec<Value> = (0..50u32)
        .map(|index| {
            let mut returns = RETURNS;
            returns[15] = 0.0001 * f64::from(index);
            let data = succeed(cast().args(["calldata", "ask(int256[16])", &wad_array(&returns)]));
            let nonce = format!("{:#x}", start + u64::from(index));
            json!({ "from": ALICE, "to": contract, "data": data.trim(), "gas": "0x7a120", "nonce": nonce })
        })
        .collect();
    // Right after a block, so that all are sent long before the next.
    let height = node.rpc("eth_blockNumber", json!([]));
    while node.rpc("eth_blockNumber", json!([])) == height {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let send = |tx: &Value| node.rpc("eth_sendTransaction", json!([tx])).as_str().unwrap().to_owned();
    let hashes: Vec<String> = transactions.iter().map(send).collect();

    let receipts: Vec<Value> = hashes.iter().map(|hash| node.receipt(hash)).collect();
    let mut blocks: Vec<_> = receipts.iter().map(|receipt| receipt["blockNumber"].as_str().unwrap()).collect();
    assert!(receipts.iter().all(|receipt| receipt["status"] == "0x1"));
    blocks.dedup();
    assert_eq!(blocks.len(), 1, "included in blocks {blocks:?}");
    let answers: std::collections::BTreeSet<_> =
        receipts.iter().map(|receipt| receipt["logs"][0]["data"].as_str().unwrap()).collect();
    assert!(answers.len() > 40, "distinct questions have distinct answers: {}", answers.len());
}

#[test]
fn an_answer_can_be_the_next_question() {
    let node = Node::start(&[]);
    let model = node.model_id("volatility");
    let contract = create(&node, "tests/contracts", "src/Chained.sol:Chained", &[]);
    let receipt = send(&node, &contract, "ask(bytes32,int256[16])", &[&model, &wad_array(&RETURNS)]);
    assert_eq!(receipt["status"], "0x1");

    let first = call(&node, &contract, "first()(int256)", &[]);
    assert_eq!(first, model_run(&node, &RETURNS));
    let mut returns = RETURNS;
    returns[15] = first.parse::<f64>().unwrap() / 1e18;
    assert_eq!(wad(returns[15]).len(), first.len(), "the answer fits an f64 for the command line");
    let second = call(&node, &contract, "second()(int256)", &[]);
    assert_eq!(second, model_run(&node, &returns));
    assert_ne!(first, second);
}

#[test]
fn calls_estimates_and_transactions_see_the_same_answer() {
    let node = Node::start(&[]);
    let model = node.model_id("volatility");
    let contract = create(&node, "examples/quickstart", "src/Forecast.sol:Forecast", &[&model]);
    let data = succeed(cast().args(["calldata", "ask(int256[16])", &wad_array(&RETURNS)]));
    let tx = json!({ "from": ALICE, "to": contract, "data": data.trim() });
    let estimate = node.rpc("eth_estimateGas", json!([tx]));
    node.rpc("eth_call", json!([tx, "latest"]));
    let hash = node.rpc("eth_sendTransaction", json!([tx]));
    let receipt = node.receipt(hash.as_str().unwrap());
    let number = |value: &Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    assert_eq!(receipt["status"], "0x1");
    assert!(number(&estimate) >= number(&receipt["gasUsed"]));

    let trace = node.rpc("debug_traceTransaction", json!([hash, { "tracer": "callTracer" }]));
    assert!(
        trace.to_string().contains("0000000000000000000000000000000000001a0f"),
        "the precompile's call is traced: {trace}"
    );
    assert_eq!(trace["gasUsed"], receipt["gasUsed"]);
}

#[test]
fn what_a_caller_gets_wrong_is_a_typed_error_and_the_node_runs_on() {
    let node = Node::start(&[]);
    let model = node.model_id("volatility");
    let precompile = "0x0000000000000000000000000000000000001a0f";
    let unknown = format!("0x{}", "11".repeat(32));
    let malformed = succeed(cast().args(["calldata", "run(bytes32,bytes)", &model, "0x1234"]));
    let nobody = succeed(cast().args(["calldata", "run(bytes32,bytes)", &unknown, "0x"]));
    // One tensor of shape [1,3] where the model wants [N,16].
    let tensors = succeed(cast().args([
        "abi-encode",
        "f((uint8,uint32[],bytes)[])",
        &format!("[(0,[1,3],0x{})]", "00".repeat(96)),
    ]));
    let misshapen = succeed(cast().args(["calldata", "run(bytes32,bytes)", &model, tensors.trim()]));
    for (name, data, selector) in [
        ("malformed input", malformed, "MalformedInput(string)"),
        ("unknown model", nobody, "UnknownModel(bytes32)"),
        ("wrong shape", misshapen, "InferenceFailed(uint16,string)"),
    ] {
        let error = node.try_rpc("eth_call", json!([{ "to": precompile, "data": data.trim() }, "latest"])).unwrap_err();
        let selector = succeed(cast().args(["sig", selector]));
        assert_eq!(error.code, 3, "{name}: {error:?}");
        assert!(error.data.as_str().unwrap_or_default().starts_with(selector.trim()), "{name}: {error:?}");
    }
    assert_eq!(node.rpc("eth_chainId", json!([])), "0x7a69");
}

#[test]
fn a_port_in_use_is_said_clearly() {
    let node = Node::start(&[]);
    let output = finish(Command::new(foreblock()).args(["--port", &node.port.to_string()]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains(&node.port.to_string()) && stderr.contains("--port"), "{stderr}");
}
