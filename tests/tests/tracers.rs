//! What tracers say of a transaction that asks a model, and of ones that do not.

use foreblock_tests::{
    forecast::{RETURNS, create, wad_array},
    node::{ALICE, Node},
    rpc::number,
    tools::{cast, succeed},
};
use serde_json::{Value, json};

const PRECOMPILE: &str = "0x0000000000000000000000000000000000001a0f";
/// `LOG1(topic 42); CALL(10, value 0); STOP`
const LOGS_AND_CALLS: &str =
    "0x601c600c600039601c6000f3602a60006000a1600060006000600060006000600af15000000000000000000000";

/// A contract that has asked the model in a transaction: its address, the transaction's hash and calldata.
struct Asked {
    node: Node,
    model: String,
    contract: String,
    hash: String,
    data: String,
}

impl Asked {
    fn once() -> Self {
        let node = Node::start(&[]);
        let model = node.model_id("volatility");
        let contract = create(&node, "examples/quickstart", "src/Forecast.sol:Forecast", &[&model]).to_lowercase();
        let data = succeed(cast().args(["calldata", "ask(int256[16])", &wad_array(&RETURNS)])).trim().to_owned();
        let tx = json!({ "from": ALICE, "to": contract, "data": data });
        let hash = node.rpc("eth_sendTransaction", json!([tx])).as_str().unwrap().to_owned();
        assert_eq!(node.receipt(&hash)["status"], "0x1");
        Self { node, model, contract, hash, data }
    }

    fn trace(&self, tracer: &str, config: Value) -> Value {
        let options = json!({ "tracer": tracer, "tracerConfig": config });
        self.node.rpc("debug_traceTransaction", json!([self.hash, options]))
    }

    /// The precompile's call in a call frame says which model was asked and what came of it.
    fn check(&self, frame: &Value, status: &str) {
        let call = &frame["calls"][0];
        assert_eq!((&call["to"], &call["type"]), (&json!(PRECOMPILE), &json!("STATICCALL")), "{frame}");
        let said = &call["inference"];
        assert_eq!(said["method"], "run", "{said}");
        assert_eq!(said["model"], json!(self.model), "{said}");
        assert_eq!(said["name"], "volatility", "{said}");
        assert_eq!(said["status"], status, "{said}");
        assert_eq!(said["gasUsed"], call["gasUsed"], "{said}");
        assert_ne!(number(&said["inferenceGas"]), 0, "{said}");
        let operators = self.node.rpc("inference_operators", json!([]));
        let signers = said["computedBy"].as_array().unwrap_or_else(|| panic!("nobody computed {said}"));
        assert!(!signers.is_empty(), "{said}");
        for signer in signers {
            let signer = signer.as_str().unwrap().to_lowercase();
            assert!(operators.to_string().to_lowercase().contains(&signer), "{signer} is no operator of {operators}");
        }
    }
}

#[test]
fn an_inference_is_a_call_with_its_model_cost_and_operators() {
    let asked = Asked::once();
    asked.check(&asked.trace("callTracer", json!({ "withLog": true })), "output");
    let frame = asked.trace("callTracer", json!({ "withLog": true }));
    assert_eq!(frame["logs"][0]["address"], json!(asked.contract), "{frame}");
    let top = asked.trace("callTracer", json!({ "onlyTopCall": true }));
    assert!(top.get("calls").is_none(), "{top}");
    let mux = asked.trace("muxTracer", json!({ "callTracer": {}, "4byteTracer": null, "prestateTracer": {} }));
    asked.check(&mux["callTracer"], "output");
    assert!(mux["prestateTracer"][&asked.contract].is_object(), "{mux}");

    // The same before it is mined, as a call, with a state override, and as one of a block's transactions.
    let call = json!({ "from": ALICE, "to": asked.contract, "data": asked.data });
    let options = json!({ "tracer": "callTracer" });
    asked.check(&asked.node.rpc("debug_traceCall", json!([call, "latest", options])), "output");
    let bundles = json!([{ "transactions": [call, call] }]);
    let many = asked.node.rpc("debug_traceCallMany", json!([bundles, { "blockNumber": "latest" }, options]));
    for traced in many[0].as_array().expect("a list for each bundle") {
        asked.check(traced, "output");
    }
    for (method, block) in [
        ("debug_traceBlockByNumber", json!("latest")),
        ("debug_traceBlockByHash", asked.node.rpc("eth_getBlockByNumber", json!(["latest", false]))["hash"].clone()),
        ("debug_traceBlock", asked.node.rpc("debug_getRawBlock", json!(["latest"]))),
    ] {
        let traces = asked.node.rpc(method, json!([block, options]));
        assert_eq!(traces[0]["txHash"], json!(asked.hash), "{method}: {traces}");
        asked.check(&traces[0]["result"], "output");
    }
}

#[test]
fn an_inference_that_fails_says_why() {
    let asked = Asked::once();
    // A return of 10^30 is out of the model's range of f32 squares: not finite, so every operator agrees that it failed.
    let huge = vec!["1000000000000000000000000000000000000000000000000"; 16].join(",");
    let data = succeed(cast().args(["calldata", "ask(int256[16])", &format!("[{huge}]")])).trim().to_owned();
    let call = json!({ "from": ALICE, "to": asked.contract, "data": data });
    let frame = asked.node.rpc("debug_traceCall", json!([call, "latest", { "tracer": "callTracer" }]));
    asked.check(&frame, "failed");
    let said = &frame["calls"][0]["inference"];
    assert!(said["code"].is_u64() && !said["reason"].as_str().unwrap().is_empty(), "{said}");

    // What the caller gets wrong asks no model.
    let data = succeed(cast().args(["calldata", "run(bytes32,bytes)", &asked.model, "0x1234"]));
    let call = json!({ "from": ALICE, "to": PRECOMPILE, "data": data.trim() });
    let frame = asked.node.rpc("debug_traceCall", json!([call, "latest", { "tracer": "callTracer" }]));
    assert!(frame["error"].is_string(), "{frame}");
}

#[test]
fn structured_logs_obey_their_options() {
    let node = Node::start(&[]);
    let contract = deploy(&node, LOGS_AND_CALLS);
    let hash = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "to": contract, "gas": "0x186a0" }]));
    node.receipt(hash.as_str().unwrap());
    let trace = |options: Value| node.rpc("debug_traceTransaction", json!([hash, options]));
    let plain = trace(json!({}));
    let steps = plain["structLogs"].as_array().expect("steps");
    assert!(steps.iter().any(|step| step["op"] == "CALL") && steps[0]["stack"].is_array(), "{plain}");
    assert!(steps[0].get("memory").is_none_or(Value::is_null), "memory is asked for: {plain}");
    let rich = trace(json!({ "enableMemory": true, "disableStack": true }));
    assert!(rich["structLogs"].as_array().unwrap().iter().any(|step| step["memory"].is_array()), "{rich}");
    assert!(rich["structLogs"][1].get("stack").is_none_or(Value::is_null), "{rich}");
    let short = trace(json!({ "limit": 3 }));
    assert_eq!(short["structLogs"].as_array().map(Vec::len), Some(3), "{short}");
    let flat = trace(json!({ "tracer": "flatCallTracer" }));
    assert_eq!(flat[0]["action"]["to"], json!(contract), "{flat}");
    let error = node.try_rpc("debug_traceTransaction", json!([hash, { "tracer": "noSuchTracer" }])).unwrap_err();
    assert_eq!(error.code, -32603, "{error:?}");
    assert!(error.message.contains("noSuchTracer"), "{error:?}");
}

#[test]
fn paritys_traces_agree_with_each_other() {
    let asked = Asked::once();
    let node = &asked.node;
    let call = json!({ "from": ALICE, "to": asked.contract, "data": asked.data });
    let mined = node.rpc("trace_transaction", json!([asked.hash]));
    assert_eq!(mined[0]["action"]["to"], json!(asked.contract), "{mined}");
    assert_eq!(node.rpc("trace_get", json!([asked.hash, []])), mined[0]);
    assert_eq!(node.rpc("trace_block", json!(["latest"])), mined);
    let filter = json!({ "fromBlock": "0x0", "toBlock": "latest", "toAddress": [asked.contract] });
    assert!(node.try_rpc("trace_filter", json!([filter])).is_err(), "block tags are not numbers");
    let filter = |extra: Value| {
        let mut filter = json!({ "fromBlock": "0x0", "toBlock": "0x2", "fromAddress": [ALICE] });
        filter.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        node.rpc("trace_filter", json!([filter]))
    };
    let all = filter(json!({}));
    assert_eq!(all.as_array().map(Vec::len), Some(2), "a deployment and a question: {all}");
    assert_eq!(filter(json!({ "toAddress": [asked.contract], "after": 1 })), json!([mined[0]]));
    assert_eq!(filter(json!({ "count": 1 })), json!([all[0]]));

    let kinds = json!(["trace", "vmTrace", "stateDiff"]);
    let replayed = node.rpc("trace_replayTransaction", json!([asked.hash, kinds]));
    assert!(replayed["stateDiff"][&asked.contract]["storage"].is_object(), "{replayed}");
    assert!(!replayed["vmTrace"]["ops"].as_array().unwrap().is_empty());
    let block = node.rpc("trace_replayBlockTransactions", json!(["latest", kinds]));
    assert_eq!(block[0]["stateDiff"], replayed["stateDiff"]);
    assert_eq!(block[0]["transactionHash"], json!(asked.hash));
    let called = node.rpc("trace_call", json!([call, ["trace"], "latest"]));
    assert_eq!(called["trace"][0]["action"]["input"], json!(asked.data), "{called}");
    let many = node.rpc("trace_callMany", json!([[[call, ["trace"]], [call, ["stateDiff"]]], "latest"]));
    assert_eq!(many[0]["output"], called["output"]);
    assert_eq!(many.as_array().map(Vec::len), Some(2));
    let tx = json!({ "from": ALICE, "to": asked.contract, "data": asked.data, "gas": "0x30d40" });
    let raw = node.rpc("eth_signTransaction", json!([tx]));
    let of_raw = node.rpc("trace_rawTransaction", json!([raw, ["trace"]]));
    assert_eq!(of_raw["trace"][0]["action"]["input"], json!(asked.data), "{of_raw}");
    assert_eq!(node.rpc("eth_blockNumber", json!([])), "0x2", "nothing was sent");
}

#[test]
fn otterscan_finds_who_did_what() {
    let asked = Asked::once();
    let node = &asked.node;
    let creator = node.rpc("ots_getContractCreator", json!([asked.contract]));
    assert_eq!(creator["creator"], ALICE, "{creator}");
    let nonce_0 = node.rpc("ots_getTransactionBySenderAndNonce", json!([ALICE, 0]));
    assert_eq!(creator["hash"], nonce_0);
    for (method, from) in [("ots_searchTransactionsBefore", 0), ("ots_searchTransactionsAfter", 0)] {
        let page = node.rpc(method, json!([asked.contract, from, 25]));
        let found: Vec<_> = page["txs"].as_array().unwrap().iter().map(|tx| tx["hash"].as_str().unwrap()).collect();
        assert_eq!(found, [asked.hash.as_str(), nonce_0.as_str().unwrap()], "{method}: newest first");
        assert_eq!((&page["firstPage"], &page["lastPage"]), (&json!(true), &json!(true)), "{method}");
        assert_eq!(page["receipts"][0]["logs"].as_array().map(Vec::len), Some(1), "{method}");
    }
    let page = node.rpc("ots_searchTransactionsBefore", json!([asked.contract, 2, 1]));
    assert_eq!(page["txs"][0]["hash"], nonce_0, "below block 2");
    let nobody = node.rpc("ots_searchTransactionsBefore", json!([PRECOMPILE.replace('f', "e"), 0, 25]));
    assert_eq!(nobody["txs"], json!([]));
    let details = node.rpc("ots_getBlockDetails", json!([2]));
    assert_ne!(number(&details["totalFees"]), 0, "{details}");
    let traced = node.rpc("ots_traceTransaction", json!([asked.hash]));
    assert_eq!(traced[0]["type"], "CALL", "{traced}");
}

fn deploy(node: &Node, code: &str) -> String {
    let hash = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "data": code }]));
    let receipt = node.receipt(hash.as_str().unwrap());
    assert_eq!(receipt["status"], "0x1");
    receipt["contractAddress"].as_str().unwrap().to_owned()
}
