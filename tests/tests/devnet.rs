//! The devnet as an Ethereum node: what clients of anvil rely on.

use foreblock_tests::{
    node::{ALICE, BOB, Node, STRANGER},
    rpc::number,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn send(node: &Node, tx: Value) -> String {
    node.rpc("eth_sendTransaction", json!([tx])).as_str().unwrap().to_owned()
}

fn height(node: &Node) -> u128 {
    number(&node.rpc("eth_blockNumber", json!([])))
}

/// Code that returns `runtime` when it is deployed.
fn deployer(runtime: &str) -> String {
    let length = runtime.len() / 2;
    assert!(length < 256);
    format!("0x60{length:02x}600c60003960{length:02x}6000f3{runtime}")
}

fn deploy(node: &Node, runtime: &str) -> String {
    let hash = send(node, json!({ "from": ALICE, "data": deployer(runtime) }));
    let receipt = node.receipt(&hash);
    assert_eq!(receipt["status"], "0x1");
    receipt["contractAddress"].as_str().unwrap().to_owned()
}

#[test]
fn a_transaction_is_mined_at_once_and_its_receipt_adds_up() {
    let node = Node::start(&[]);
    let before = number(&node.rpc("eth_getBalance", json!([ALICE, "latest"])));
    let hash = send(&node, json!({ "from": ALICE, "to": BOB, "value": "0x64" }));
    let receipt = node.receipt(&hash);
    let fee = number(&receipt["gasUsed"]) * number(&receipt["effectiveGasPrice"]);
    assert_eq!(number(&node.rpc("eth_getBalance", json!([ALICE, "latest"]))), before - 100 - fee);
    assert_eq!(height(&node), 1);
    let block = node.rpc("eth_getBlockByNumber", json!(["latest", true]));
    assert_eq!(block["transactions"][0]["hash"], hash.as_str());
    assert_eq!(block["hash"], node.rpc("eth_getBlockByHash", json!([block["hash"], false]))["hash"]);
    assert_eq!(node.rpc("eth_getBlockReceipts", json!(["latest"]))[0], receipt);
}

#[test]
fn mistakes_have_the_codes_and_words_that_clients_match_on() {
    let node = Node::start(&[]);
    // PUSH1 0xaa PUSH1 0 MSTORE PUSH1 32 PUSH1 0 REVERT
    let reverting = deploy(&node, "60aa60005260206000fd");
    send(&node, json!({ "from": ALICE, "to": BOB }));
    for (name, method, params, code, words) in [
        ("revert", "eth_call", json!([{ "to": reverting }, "latest"]), 3, "execution reverted"),
        ("revert", "eth_estimateGas", json!([{ "to": reverting }]), 3, "execution reverted"),
        (
            "nonce",
            "eth_sendTransaction",
            json!([{ "from": ALICE, "to": BOB, "nonce": "0x0", "gas": "0x5208" }]),
            -32003,
            "nonce too low",
        ),
        (
            "funds",
            "eth_sendTransaction",
            json!([{ "from": ALICE, "to": BOB, "gas": "0x5208", "value": "0xffffffffffffffffffffffff" }]),
            -32003,
            "Insufficient funds",
        ),
        (
            "signer",
            "eth_sendTransaction",
            json!([{ "from": STRANGER, "to": BOB, "gas": "0x5208" }]),
            -32602,
            "No Signer available",
        ),
        (
            "gas",
            "eth_sendTransaction",
            json!([{ "from": ALICE, "to": BOB, "gas": "0x1" }]),
            -32000,
            "intrinsic gas too low",
        ),
        ("block", "eth_getBalance", json!([ALICE, "0xffff"]), -32602, "BlockOutOfRange"),
        ("params", "eth_getBalance", json!([]), -32602, "address"),
        ("params", "eth_getBalance", json!(["0x12"]), -32602, "address"),
        ("bytes", "eth_sendRawTransaction", json!(["0x1234"]), -32602, "decode"),
        ("method", "eth_nonsense", json!([]), -32601, ""),
    ] {
        let error = node.try_rpc(method, params).expect_err(name);
        assert_eq!(error.code, code, "{name} of {method}: {error:?}");
        assert!(error.message.contains(words), "{name} of {method}: {error:?}");
        if name == "revert" {
            assert_eq!(error.data, format!("0x{}aa", "00".repeat(31)), "{method}");
        }
    }
    assert_eq!(node.rpc("eth_chainId", json!([])), "0x7a69");
}

#[test]
fn snapshots_bring_back_state_blocks_and_time() {
    let node = Node::start(&[]);
    let snapshot = node.rpc("evm_snapshot", json!([]));
    node.rpc("evm_increaseTime", json!([100_000]));
    let hash = send(&node, json!({ "from": ALICE, "to": STRANGER, "value": "0x5" }));
    node.receipt(&hash);
    node.rpc("anvil_setBalance", json!([BOB, "0x7"]));
    assert_eq!(node.rpc("evm_revert", json!([snapshot])), true);
    assert_eq!(height(&node), 0);
    assert_eq!(node.rpc("eth_getBalance", json!([STRANGER, "latest"])), "0x0");
    assert_eq!(number(&node.rpc("eth_getBalance", json!([BOB, "latest"]))), 10_000 * 10u128.pow(18));
    assert!(node.rpc("eth_getTransactionReceipt", json!([hash])).is_null());
    assert_eq!(node.rpc("evm_revert", json!([snapshot])), false, "a snapshot is used once");
    node.rpc("evm_mine", json!([]));
    let genesis = number(&node.rpc("eth_getBlockByNumber", json!(["0x0", false]))["timestamp"]);
    let latest = number(&node.rpc("eth_getBlockByNumber", json!(["latest", false]))["timestamp"]);
    assert!(latest - genesis < 1_000, "time travel is undone");
}

#[test]
fn time_can_be_set_for_one_block() {
    let node = Node::start(&[]);
    let now = number(&node.rpc("eth_getBlockByNumber", json!(["latest", false]))["timestamp"]);
    node.rpc("evm_setNextBlockTimestamp", json!([now as u64 + 5_000]));
    node.rpc("evm_mine", json!([]));
    let block = node.rpc("eth_getBlockByNumber", json!(["latest", false]));
    assert_eq!(number(&block["timestamp"]), now + 5_000);
    assert_eq!(node.try_rpc("evm_setNextBlockTimestamp", json!([now as u64])).unwrap_err().code, -32602);
    node.rpc("anvil_mine", json!(["0x3", "0x3c"]));
    let block = node.rpc("eth_getBlockByNumber", json!(["latest", false]));
    assert_eq!(height(&node), 4);
    assert!(number(&block["timestamp"]) >= now + 5_000 + 120);
}

#[test]
fn anybody_can_be_impersonated() {
    let node = Node::start(&[]);
    node.rpc("anvil_setBalance", json!([STRANGER, "0xde0b6b3a7640000"]));
    let tx = json!({ "from": STRANGER, "to": BOB, "value": "0x1" });
    assert!(node.try_rpc("eth_sendTransaction", json!([tx])).is_err());
    node.rpc("anvil_impersonateAccount", json!([STRANGER]));
    let receipt = node.receipt(&send(&node, tx.clone()));
    assert_eq!((&receipt["status"], &receipt["from"]), (&json!("0x1"), &json!(STRANGER)));
    node.rpc("hardhat_stopImpersonatingAccount", json!([STRANGER]));
    assert!(node.try_rpc("eth_sendTransaction", json!([tx])).is_err());
}

#[test]
fn without_mining_transactions_wait_are_replaced_and_dropped() {
    let node = Node::start(&["--no-mining"]);
    let tx = |nonce: &str, fee: &str| json!({ "from": ALICE, "to": BOB, "gas": "0x5208", "nonce": nonce, "maxFeePerGas": fee, "maxPriorityFeePerGas": "0x1" });
    let first = send(&node, tx("0x0", "0x77359400"));
    let gap = send(&node, tx("0x5", "0x77359400"));
    assert_eq!(node.rpc("txpool_status", json!([])), json!({ "pending": "0x1", "queued": "0x1" }));
    let error = node.try_rpc("eth_sendTransaction", json!([tx("0x0", "0x77359300")])).unwrap_err();
    assert!(error.message.contains("replacement transaction underpriced"), "{error:?}");
    let second = send(&node, tx("0x0", "0xb2d05e00"));
    assert!(node.rpc("eth_getTransactionByHash", json!([first])).is_null());
    assert_eq!(node.rpc("eth_getTransactionCount", json!([ALICE, "pending"])), "0x1");
    assert_eq!(node.rpc("anvil_dropTransaction", json!([gap])), json!(gap));
    node.rpc("evm_mine", json!([]));
    assert_eq!(node.receipt(&second)["status"], "0x1");
    assert_eq!(node.rpc("txpool_status", json!([])), json!({ "pending": "0x0", "queued": "0x0" }));
}

#[test]
fn logs_filters_and_traces_see_what_a_contract_did() {
    let node = Node::start(&[]);
    // PUSH1 7 PUSH1 0 SSTORE; PUSH1 42 PUSH1 0 PUSH1 0 LOG1
    let contract = deploy(&node, "6007600055602a60006000a100");
    let filter = node.rpc("eth_newFilter", json!([{ "address": contract }]));
    let blocks = node.rpc("eth_newBlockFilter", json!([]));
    let hash = send(&node, json!({ "from": ALICE, "to": contract }));
    let receipt = node.receipt(&hash);
    let topic = format!("0x{}2a", "00".repeat(31));
    assert_eq!(receipt["logs"][0]["topics"], json!([topic]));
    assert_eq!(node.rpc("eth_getLogs", json!([{ "fromBlock": "0x0", "topics": [topic] }])), receipt["logs"]);
    assert_eq!(node.rpc("eth_getFilterChanges", json!([filter])), receipt["logs"]);
    assert_eq!(node.rpc("eth_getFilterChanges", json!([filter])), json!([]));
    assert_eq!(node.rpc("eth_getFilterChanges", json!([blocks])), json!([receipt["blockHash"]]));
    assert_eq!(number(&node.rpc("eth_getStorageAt", json!([contract, "0x0", "latest"]))), 7);
    assert_eq!(number(&node.rpc("eth_getStorageAt", json!([contract, "0x0", "0x1"]))), 0, "before it was called");

    let trace = node.rpc("debug_traceTransaction", json!([hash]));
    assert_eq!(number(&receipt["gasUsed"]), u128::from(trace["gas"].as_u64().unwrap()));
    let opcodes: Vec<&str> =
        trace["structLogs"].as_array().unwrap().iter().map(|log| log["op"].as_str().unwrap()).collect();
    assert_eq!(opcodes, ["PUSH1", "PUSH1", "SSTORE", "PUSH1", "PUSH1", "PUSH1", "LOG1", "STOP"]);
    let diff = node.rpc(
        "debug_traceTransaction",
        json!([hash, { "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } }]),
    );
    assert!(diff["post"][&contract]["storage"].is_object(), "{diff}");
    let list = node.rpc("eth_createAccessList", json!([{ "from": ALICE, "to": contract }]));
    assert_eq!(list["accessList"][0]["address"], json!(contract), "{list}");
    let proof = node.rpc("eth_getProof", json!([contract, ["0x0"], "latest"]));
    assert_eq!(number(&proof["storageProof"][0]["value"]), 7);
}

#[test]
fn state_survives_a_dump_and_a_load() {
    let node = Node::start(&[]);
    let contract = deploy(&node, "6007600055602a60006000a100");
    let hash = send(&node, json!({ "from": ALICE, "to": contract }));
    node.receipt(&hash);
    let dump = node.rpc("anvil_dumpState", json!([]));
    let other = Node::start(&[]);
    assert_eq!(other.rpc("anvil_loadState", json!([dump])), true);
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["latest", true])),
        ("eth_getTransactionReceipt", json!([hash])),
        ("eth_getStorageAt", json!([contract, "0x0", "latest"])),
        ("eth_getBalance", json!([ALICE, "latest"])),
        ("eth_getCode", json!([contract, "latest"])),
    ] {
        assert_eq!(node.rpc(method, params.clone()), other.rpc(method, params), "{method}");
    }
    let past = other.try_rpc("eth_getBalance", json!([ALICE, "0x1"])).unwrap_err();
    assert!(past.message.contains("not kept"), "never a wrong balance: {past:?}");
    let next = other.receipt(&send(&other, json!({ "from": ALICE, "to": BOB })));
    assert_eq!(next["status"], "0x1");
}

#[test]
fn a_block_costs_the_same_at_any_height() {
    let node = Node::start(&[]);
    let time_100 = || {
        let start = Instant::now();
        node.rpc("anvil_mine", json!(["0x64"]));
        start.elapsed()
    };
    node.rpc("anvil_mine", json!(["0x32"]));
    let low = (0..3).map(|_| time_100()).min().unwrap();
    node.rpc("anvil_mine", json!(["0xea6"]));
    let high = (0..3).map(|_| time_100()).min().unwrap();
    assert!(height(&node) > 4_000);
    // The target is 1.2; a busy machine is given room, a recomputed history root (about 20) is not.
    assert!(high < low * 3 + Duration::from_millis(20), "100 blocks: {low:?} at height 50, {high:?} at 4,000");
}
