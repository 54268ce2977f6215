//! What was computed once stays so: recorded and replayed, audited by another machine, and certified over a restart.

use foreblock_tests::{
    network::{PRECOMPILE, ask, calldata},
    node::{Node, PATIENCE},
    tools::{finish, foreblock},
};
use serde_json::{Value, json};
use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// What `eth_call` gives.
fn call(node: &Node, question: i64) -> Result<Value, String> {
    let call = json!({ "to": PRECOMPILE, "data": calldata(&node.model_id("volatility"), 16, question) });
    node.try_rpc("eth_call", json!([call, "latest"])).map_err(|error| error.message)
}

fn list(node: &Node, hash: &str) -> Value {
    let receipt = node.receipt(hash);
    assert_eq!(receipt["status"], "0x1");
    node.rpc("inference_getList", json!([receipt["blockNumber"]]))["entries"].clone()
}

#[test]
fn what_was_recorded_is_replayed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outcomes.jsonl");
    let file = file.to_str().unwrap();
    let recorded = {
        let node = Node::start(&["--record", file]);
        node.receipt(&ask(&node, "volatility", 1));
        call(&node, 2).unwrap()
    };
    let node = Node::start(&["--replay", file, "--call-timeout", "2"]);
    assert_eq!(call(&node, 2).unwrap(), recorded);
    assert_eq!(node.receipt(&ask(&node, "volatility", 1))["status"], "0x1");
    let missing = call(&node, 3).unwrap_err();
    assert!(missing.contains(file) && missing.contains("record it again"), "{missing}");
}

/// What an audit of all outcomes prints, and whether it found them right.
fn audit(node: &Node) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(foreblock());
    command.args(["audit", &node.url(), "--share", "1", "--data-dir"]).arg(folder.path());
    let output = finish(&mut command);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn an_audit_finds_the_lie_that_a_quorum_signed() {
    let node = Node::start(&["--operators", "1"]);
    let honest = ask(&node, "volatility", 1);
    node.receipt(&honest);
    let (fine, said) = audit(&node);
    assert!(fine && said.contains("1 outcomes are the same, 0 differ"), "{said}");

    // One operator is a quorum of one: nobody contradicts it, so the block is valid, and only running the model shows it.
    node.rpc("inference_setFault", json!([1, "lie"]));
    let entries = list(&node, &ask(&node, "volatility", 2));
    let (fine, said) = audit(&node);
    let lie = entries[0]["requestId"].as_str().unwrap();
    assert!(!fine && said.contains("1 outcomes are the same, 1 differ"), "{said}");
    assert!(said.lines().any(|line| line.contains("DIFFERS") && line.contains(lie)), "{said}");
}

/// Asks, mines once the outcome is on disk, and returns the block's list.
fn mined_from_disk(node: &Node) -> Value {
    let hash = ask(node, "volatility", 1);
    let end = Instant::now() + PATIENCE;
    loop {
        let status = node.rpc("inference_status", json!([hash]));
        if status["calls"][0]["source"] == "disk" {
            break;
        }
        assert!(Instant::now() < end, "{status}");
        thread::sleep(Duration::from_millis(20));
    }
    node.rpc("evm_mine", json!([]));
    list(node, &hash)
}

#[test]
fn a_certificate_survives_the_death_of_the_node() {
    let mut node = Node::start(&["--operators", "4", "--no-mining"]);
    let before = mined_from_disk(&node);
    assert_eq!(before[0]["signatures"].as_array().unwrap().len(), 3);
    node.kill_and_restart();
    // Two who are silent leave no quorum: nothing new is certified, and what was certified is enough.
    for operator in [1, 2] {
        node.rpc("inference_setFault", json!([operator, "silent"]));
    }
    assert_eq!(mined_from_disk(&node), before);
}
