//! A producer, four operators and a follower, each a process of its own: what the network agrees on, whatever its members do.

use foreblock_engine::text::TextRequest;
use foreblock_tests::{
    network::{self, Operator},
    node::{ALICE, Node, PATIENCE},
};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

const OPERATOR_REGISTRY: &str = "0x0000000000000000000000000000000000001a2f";

/// Asks for the volatility after returns that no other question has.
fn ask(node: &Node, question: i64) -> String {
    network::ask(node, "volatility", question)
}

/// Asks a language model to judge a text, from one of the funded accounts.
fn ask_in_words(node: &Node, account: usize, text: &str) -> String {
    let question = format!("Is this positive, negative or neutral?\n{text}");
    let request = TextRequest { tokens_max: 6, ..TextRequest::new(vec![("user".into(), question)]) };
    let accounts = node.rpc("eth_accounts", json!([]));
    network::send(node, accounts[account].as_str().unwrap(), "tiny-chat", request.to_wire(), 20_000_000)
}

fn block(node: &Node, number: &Value) -> Value {
    node.rpc("eth_getBlockByNumber", json!([number, false]))
}

/// Waits until the follower has this block; both then have one hash and one state root for it.
fn same(producer: &Node, follower: &Node, number: &Value) {
    let end = Instant::now() + PATIENCE;
    while block(follower, number).is_null() {
        assert!(Instant::now() < end, "the follower does not get there:\n{}", follower.log());
        thread::sleep(Duration::from_millis(50));
    }
    let (theirs, ours) = (block(producer, number), block(follower, number));
    assert_eq!((&theirs["hash"], &theirs["stateRoot"]), (&ours["hash"], &ours["stateRoot"]));
}

fn included(producer: &Node, follower: &Node, hash: &str) -> Value {
    let receipt = producer.receipt(hash);
    assert_eq!(receipt["status"], "0x1");
    same(producer, follower, &receipt["blockNumber"]);
    producer.rpc("inference_getList", json!([receipt["blockNumber"]]))["entries"][0].clone()
}

#[test]
fn four_operators_one_of_whom_lies_and_a_follower_reach_one_state() {
    let mut operators: Vec<Operator> = ["", "lie", "", ""]
        .iter()
        .map(|fault| Operator::start(if fault.is_empty() { &[] } else { &["--fault", "lie"] }))
        .collect();
    operators.iter().for_each(Operator::wait);
    let urls: Vec<String> = operators.iter().map(Operator::url).collect();
    let flags: Vec<&str> = urls.iter().flat_map(|url| ["--operator", url]).collect();
    let producer = Node::start(&flags);
    let follower = Node::start(&["follow", &producer.url()]);

    // One lies: the three others make a certificate.
    let entry = included(&producer, &follower, &ask(&producer, 1));
    assert_eq!(entry["signatures"].as_array().unwrap().len(), 3, "2f+1 of 3f+1: {entry}");

    // One more is killed: nobody makes a certificate, and the transaction waits.
    operators[3].kill();
    let waiting = ask(&producer, 2);
    thread::sleep(Duration::from_millis(1_500));
    assert!(producer.rpc("eth_getTransactionReceipt", json!([waiting])).is_null(), "no certificate, no outcome");
    operators[3].restart();
    producer.rpc("evm_mine", json!([]));
    included(&producer, &follower, &waiting);

    // The liar signed against itself: anybody may take its stake, and from then on three decide.
    let evidence = producer.rpc("inference_evidence", json!([]));
    let found = evidence.as_array().unwrap().first().unwrap_or_else(|| panic!("no evidence: {}", producer.log()));
    assert_eq!(found["operator"].as_str().unwrap().to_lowercase(), operators[1].address().to_lowercase());
    let slash = json!({ "from": ALICE, "to": found["to"], "data": found["data"], "gas": "0x989680" });
    assert_eq!(found["to"], OPERATOR_REGISTRY);
    let slashed = producer.rpc("eth_sendTransaction", json!([slash]));
    assert_eq!(producer.receipt(slashed.as_str().unwrap())["status"], "0x1");
    let entry = included(&producer, &follower, &ask(&producer, 3));
    assert_eq!(entry["signatures"].as_array().unwrap().len(), 3, "3 of 3: {entry}");

    // The follower knows no model, and writes nothing.
    assert_eq!(follower.rpc("inference_models", json!([])), json!([]));
    if let Ok(mapped) = std::fs::read_to_string(format!("/proc/{}/maps", follower.pid())) {
        assert!(!mapped.contains("onnxruntime"), "ONNX Runtime is loaded:\n{mapped}");
    }
    let refused = follower.try_rpc("evm_mine", json!([])).unwrap_err();
    assert!(refused.message.contains(&producer.url()), "{refused:?}");
}

#[test]
fn faults_of_a_devnets_operators_cost_latency_and_never_an_answer() {
    // Later than any answer is waited for: who waits for this one has none.
    let node = Node::start(&["--operators", "4", "--fault", "1:slow=600s"]);
    assert_eq!(node.receipt(&ask(&node, 1))["status"], "0x1", "nobody waits for the slow one");

    node.rpc("inference_setFault", json!([1, "lie"]));
    assert_eq!(node.receipt(&ask(&node, 2))["status"], "0x1");
    node.rpc("inference_setFault", json!([2, "silent"]));
    let waiting = ask(&node, 3);
    thread::sleep(Duration::from_secs(1));
    assert!(node.rpc("eth_getTransactionReceipt", json!([waiting])).is_null(), "two of four are more than f");
    node.rpc("inference_setFault", json!([2]));
    node.rpc("evm_mine", json!([]));
    assert_eq!(node.receipt(&waiting)["status"], "0x1");
    let error = node.try_rpc("inference_setFault", json!([5, "lie"])).unwrap_err();
    assert!(error.message.contains("no operator 5"), "{error:?}");
}

/// The entry of a block's list that a transaction used alone.
fn entry_of(node: &Node, hash: &str) -> Value {
    let receipt = node.receipt(hash);
    assert_eq!(receipt["status"], "0x1", "{}", node.log());
    let list = node.rpc("inference_getList", json!([receipt["blockNumber"]]));
    list["entries"].as_array().and_then(|entries| entries.first().cloned()).expect("the block used an outcome")
}

#[test]
fn operators_with_other_threads_and_loads_certify_one_text() {
    let operators: Vec<Operator> =
        ["1", "2", "3", "1"].iter().map(|threads| Operator::start(&["--inference-threads", threads])).collect();
    operators.iter().for_each(Operator::wait);
    let urls: Vec<String> = operators.iter().map(Operator::url).collect();
    let flags: Vec<&str> = urls.iter().flat_map(|url| ["--operator", url]).collect();
    let producer = Node::start(&flags);

    // Two questions at once, of two senders: each operator takes them together or apart, as they reach it.
    let texts = ["I love it.", "It broke on the first day."];
    let asked: Vec<String> = texts.iter().zip(0..).map(|(text, from)| ask_in_words(&producer, from, text)).collect();
    let mut together = Vec::new();
    for hash in &asked {
        let receipt = producer.receipt(hash);
        assert_eq!(receipt["status"], "0x1", "{}", producer.log());
        let list = producer.rpc("inference_getList", json!([receipt["blockNumber"]]));
        together.extend(list["entries"].as_array().unwrap().clone());
    }
    assert!(together.iter().all(|entry| entry["signatures"].as_array().unwrap().len() == 3), "{together:?}");
    assert_eq!(producer.rpc("inference_evidence", json!([])), json!([]));

    // Another operator alone, with one question at a time, says the same.
    let alone = Node::start(&["--inference-threads", "2"]);
    let entry = entry_of(&alone, &ask_in_words(&alone, 0, texts[1]));
    let same =
        together.iter().find(|other| other["requestId"] == entry["requestId"]).expect("it is one request everywhere");
    assert_eq!(same["output"], entry["output"]);
}
