//! The same requests to the real `anvil` and to the node: methods, answers' fields, error codes and messages.

use foreblock_tests::{
    anvil::Anvil,
    node::{ALICE, BOB, Node, STRANGER},
    rpc::{Rpc, RpcError},
    tools::workspace,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};

/// `MSTORE(0, 0xaa) REVERT(0, 32)`
const REVERTS: &str = "0x600a600c600039600a6000f360aa60005260206000fd";
/// `REVERT(0, 36)` with the data of an error `0x12345678(uint256)`.
const CUSTOM_ERROR: &str = "0x6029600c60003960296000f37f1234567800000000000000000000000000000000000000000000000000000000600052602460\
                            00fd";

struct Pair {
    anvil: Anvil,
    node: Node,
}

impl Pair {
    fn start() -> Self {
        Self { anvil: Anvil::start(&[]), node: Node::start(&[]) }
    }

    /// Sends the same transaction to both; the hashes.
    fn send(&self, tx: Value) -> [String; 2] {
        [&self.anvil.rpc, &self.node.rpc].map(|rpc| {
            let hash = rpc.call("eth_sendTransaction", json!([tx]));
            let hash = hash.as_str().unwrap_or_else(|| panic!("no hash: {hash}")).to_owned();
            rpc.receipt(&hash).unwrap_or_else(|| panic!("{tx} is not mined"));
            hash
        })
    }

    /// Deploys the same code on both; its address, which is the same.
    fn deploy(&self, code: &str) -> String {
        let [_, hash] = self.send(json!({ "from": ALICE, "data": code, "gas": "0x30d40" }));
        let receipt = self.node.receipt(&hash);
        assert_eq!(receipt["status"], "0x1");
        receipt["contractAddress"].as_str().expect("a deployment has an address").to_owned()
    }

    fn both(&self, method: &str, params: Value) -> [Result<Value, RpcError>; 2] {
        [&self.anvil.rpc, &self.node.rpc].map(|rpc: &Rpc| rpc.try_call(method, params.clone()))
    }
}

#[test]
fn every_method_of_anvil_is_there_or_has_a_reason() {
    let pair = Pair::start();
    let list = fs::read_to_string(workspace().join("tests/vectors/anvil-methods.txt")).expect("there is a list");
    let page = fs::read_to_string(workspace().join("docs/rpc.md")).expect("there is a page");
    let not_there = page.split("## Not there").nth(1).expect("the page says what is missing");
    for method in list.lines() {
        // Parameters that no method takes: nothing is done, but the method is looked up.
        let [anvil, node] = pair.both(method, json!([{ "nonsense": [] }, [], {}, [], [], [], []]));
        assert_ne!(anvil.err().map(|error| error.code), Some(-32601), "anvil has no {method}");
        let row = page.lines().find(|line| line.starts_with("| `") && line.contains(&format!("`{method}`")));
        let row = row.unwrap_or_else(|| panic!("docs/rpc.md does not mention {method}"));
        let missing = not_there.contains(row);
        assert_eq!(node.err().map(|error| error.code) == Some(-32601), missing, "{method}: {row}");
    }
}

#[test]
fn errors_have_anvils_codes_and_words() {
    let pair = Pair::start();
    let reverts = pair.deploy(REVERTS);
    let custom = pair.deploy(CUSTOM_ERROR);
    let payment = |gas: &str| json!([{ "from": ALICE, "to": BOB, "gas": gas }]);
    let much = "0xffffffffffffffffffffffff";
    for (method, params) in [
        ("eth_call", json!([{ "to": reverts }, "latest"])),
        ("eth_estimateGas", json!([{ "from": ALICE, "to": reverts }])),
        ("eth_call", json!([{ "to": custom }, "latest"])),
        ("eth_call", json!([{ "data": "0xfe" }, "latest"])),
        ("eth_call", json!([{ "data": "0x50" }, "latest"])),
        ("eth_call", json!([{ "from": ALICE, "data": "0x5b600056", "gas": "0xfff0" }, "latest"])),
        ("eth_call", json!([{ "from": ALICE, "to": BOB, "value": much }, "latest"])),
        ("eth_call", json!([{ "from": ALICE, "data": format!("0x{}", "00".repeat(50_000)) }, "latest"])),
        ("eth_call", json!([{ "to": BOB }, "0xffff"])),
        ("eth_sendTransaction", json!([{ "from": ALICE, "to": BOB, "nonce": "0x0", "gas": "0x5208" }])),
        ("eth_sendTransaction", json!([{ "from": ALICE, "to": BOB, "gas": "0x5208", "value": much }])),
        ("eth_sendTransaction", json!([{ "from": STRANGER, "to": BOB, "gas": "0x5208" }])),
        ("eth_sendTransaction", payment("0x1")),
        ("eth_sendTransaction", payment("0xffffffffff")),
        (
            "eth_sendTransaction",
            json!([{ "from": ALICE, "to": BOB, "gas": "0x5208", "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x1" }]),
        ),
        ("eth_sendRawTransaction", json!(["0x1234"])),
        ("eth_sendRawTransaction", json!(["0x"])),
        ("eth_sign", json!([STRANGER, "0x1234"])),
        ("eth_getBalance", json!([ALICE, "0xffff"])),
        ("eth_getWork", json!([])),
        ("eth_submitHashrate", json!(["0x1", format!("0x{}", "00".repeat(32))])),
        ("trace_filter", json!([{ "fromBlock": "0x2", "toBlock": "0x1" }])),
        ("eth_nonsense", json!([])),
    ] {
        let [anvil, node] = pair.both(method, params.clone());
        let shown = params.to_string();
        let name = format!("{method} {}", &shown[..shown.len().min(120)]);
        let (anvil, node) = (anvil.expect_err(&name), node.expect_err(&name));
        assert_eq!((node.code, &node.message), (anvil.code, &anvil.message), "{name}");
        assert_eq!(node.data, anvil.data, "data of {name}");
    }
}

/// Codes are anvil's; the words name the parameter, which anvil's do not.
#[test]
fn mistakes_in_parameters_have_anvils_code() {
    let pair = Pair::start();
    for (method, params) in [
        ("eth_getBalance", json!([])),
        ("eth_getBalance", json!(["0x12"])),
        ("eth_getBalance", json!([ALICE, "newest"])),
        ("eth_getBalance", json!([ALICE, 1])),
        ("evm_setNextBlockTimestamp", json!([1])),
        ("evm_setAutomine", json!([])),
        ("evm_revert", json!(["zz"])),
        ("anvil_impersonateAccount", json!(["zz"])),
        ("anvil_setBalance", json!([ALICE, "zz"])),
        ("anvil_rollback", json!([1000])),
    ] {
        let [anvil, node] = pair.both(method, params.clone());
        let name = format!("{method} {params}");
        let (anvil, node) = (anvil.expect_err(&name), node.expect_err(&name));
        assert_eq!(node.code, anvil.code, "{name}: {node:?}, anvil {anvil:?}");
    }
}

/// Paths in an answer, with the kind of what is there. Addresses and other keys that are data stand as they are.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| paths(value, &format!("{at}.{key}"), found)),
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{at}[]"), found)),
        Value::String(_) => drop(found.insert(format!("{at}: text"))),
        Value::Number(_) => drop(found.insert(format!("{at}: number"))),
        Value::Bool(_) => drop(found.insert(format!("{at}: bool"))),
        Value::Null => drop(found.insert(format!("{at}: null"))),
    }
}

fn fields(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    paths(value, "", &mut found);
    found
}

/// Anvil gives it for each receipt from Cancun on. The execution API says "only specified for blob transactions", and so do
/// geth and Foreblock.
const ONLY_ANVIL: &[&str] = &[".blobGasPrice: text", "[].blobGasPrice: text", ".receipts[].blobGasPrice: text"];

#[test]
fn answers_have_anvils_fields() {
    let pair = Pair::start();
    // Sends 5 wei of its own to the zero address, logs, and creates an empty contract.
    let busy = pair.deploy(
        "0x6021600c60003960216000f3600060006000600060056000600af150602a60006000a16000600060006000f050600760005500000000",
    );
    for answer in pair.both("anvil_setBalance", json!([busy, "0x64"])) {
        answer.expect("a balance can be set");
    }
    let hashes = pair.send(json!({ "from": ALICE, "to": busy, "gas": "0x493e0" }));
    let tracer = |name: &str, config: Value| json!({ "tracer": name, "tracerConfig": config });
    for (method, options) in [
        ("eth_getTransactionReceipt", None),
        ("eth_getTransactionByHash", None),
        ("debug_traceTransaction", Some(tracer("callTracer", json!({})))),
        ("debug_traceTransaction", Some(tracer("callTracer", json!({ "withLog": true })))),
        ("debug_traceTransaction", Some(tracer("callTracer", json!({ "onlyTopCall": true })))),
        ("debug_traceTransaction", Some(tracer("prestateTracer", json!({ "diffMode": true })))),
        ("debug_traceTransaction", Some(tracer("4byteTracer", json!({})))),
        ("debug_traceTransaction", Some(tracer("noopTracer", json!({})))),
        ("trace_transaction", None),
        ("ots_getInternalOperations", None),
        ("ots_traceTransaction", None),
        ("ots_getTransactionError", None),
    ] {
        let [anvil, node] = [(&pair.anvil.rpc, &hashes[0]), (&pair.node.rpc, &hashes[1])].map(|(rpc, hash)| {
            let params = [Some(json!(hash)), options.clone()].into_iter().flatten().collect();
            rpc.call(method, Value::Array(params))
        });
        same_fields(&format!("{method} {options:?}"), &anvil, &node);
    }
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["latest", true])),
        ("eth_getBlockByNumber", json!([2, false])),
        ("eth_getBlockReceipts", json!(["latest"])),
        ("eth_feeHistory", json!(["0x2", "latest", [10]])),
        ("eth_createAccessList", json!([{ "from": ALICE, "to": busy }])),
        ("eth_getAccountInfo", json!([ALICE, "latest"])),
        ("eth_getAccount", json!([busy, "latest"])),
        ("eth_coinbase", json!([])),
        ("erigon_getHeaderByNumber", json!(["0x1"])),
        ("trace_block", json!(["latest"])),
        ("trace_filter", json!([{ "fromBlock": "0x1", "toBlock": "0x2", "toAddress": [busy] }])),
        ("debug_traceBlockByNumber", json!(["latest", { "tracer": "callTracer" }])),
        ("debug_traceCall", json!([{ "from": ALICE, "to": busy }, "latest", { "tracer": "callTracer" }])),
        ("ots_getApiLevel", json!([])),
        ("ots_hasCode", json!([busy, "latest"])),
        ("ots_getBlockDetails", json!([2])),
        ("ots_getBlockTransactions", json!([2, 0, 10])),
        ("ots_getBlockTransactions", json!([2, 1, 10])),
        ("ots_searchTransactionsBefore", json!([ALICE, 0, 3])),
        ("ots_searchTransactionsAfter", json!([busy, 1, 3])),
        ("ots_getTransactionBySenderAndNonce", json!([ALICE, 1])),
        ("ots_getContractCreator", json!([busy])),
        ("txpool_content", json!([])),
        ("txpool_status", json!([])),
    ] {
        let [anvil, node] = pair.both(method, params.clone());
        let name = format!("{method} {params}");
        let anvil = anvil.unwrap_or_else(|error| panic!("anvil: {name}: {error:?}"));
        let node = node.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        same_fields(&name, &anvil, &node);
    }
}

fn same_fields(name: &str, anvil: &Value, node: &Value) {
    let (theirs, ours) = (fields(anvil), fields(node));
    let missing: Vec<_> = theirs.difference(&ours).filter(|path| !ONLY_ANVIL.contains(&path.as_str())).collect();
    let extra: Vec<_> = ours.difference(&theirs).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{name}: missing {missing:?}, extra {extra:?}\n{anvil}\n{node}");
}

/// Values that do not depend on time, fees or signatures are equal to the last digit.
#[test]
fn traces_have_anvils_values() {
    let pair = Pair::start();
    let reverts = pair.deploy(REVERTS);
    let hashes = pair.send(json!({ "from": ALICE, "to": reverts, "gas": "0x186a0", "value": "0x0" }));
    let trace = |rpc: &Rpc, hash: &str| {
        let mut traces = rpc.call("trace_transaction", json!([hash]));
        for field in ["blockHash", "transactionHash"] {
            traces[0].as_object_mut().expect("a trace").remove(field);
        }
        traces
    };
    assert_eq!(trace(&pair.node.rpc, &hashes[1]), trace(&pair.anvil.rpc, &hashes[0]));
    // Reads and writes slot 1: the state before, and what changes of it, to the last digit.
    let counts = pair.deploy("0x600a600c600039600a6000f3600160015401600155005b00");
    pair.send(json!({ "from": ALICE, "to": counts, "gas": "0x186a0" }));
    for (to, options) in [
        (&reverts, json!({})),
        (&counts, json!({})),
        (&counts, json!({ "tracer": "prestateTracer" })),
        (&counts, json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } })),
        (&reverts, json!({ "tracer": "prestateTracer", "tracerConfig": { "disableCode": true } })),
    ] {
        let call = json!([{ "from": ALICE, "to": to }, "latest", options]);
        let [anvil, node] = pair.both("debug_traceCall", call);
        let [anvil, node] = [anvil.unwrap(), node.unwrap()];
        if to == &counts && options["tracer"].is_string() {
            assert!(node.to_string().contains(&counts), "{node}");
        }
        assert_eq!(node, anvil, "{options}");
    }
    for method in ["ots_getTransactionError", "ots_traceTransaction", "ots_getInternalOperations"] {
        assert_eq!(
            pair.node.rpc(method, json!([hashes[1]])),
            pair.anvil.rpc.call(method, json!([hashes[0]])),
            "{method}"
        );
    }
}
