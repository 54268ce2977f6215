//! What developers look at and pretend: `console.log`, printed traces, storage ranges, simulated payments, signatures of
//! others.

use foreblock_tests::{
    anvil::Anvil,
    forecast::{RETURNS, create, wad_array},
    node::{ALICE, ALICE_KEY, BOB, Node},
    tools::{cast, succeed},
};
use serde_json::{Value, json};

const ECRECOVER: &str = "0x0000000000000000000000000000000000000001";
/// Hands its calldata on to the console.
const TALKATIVE: &str =
    "0x6025600c60003960256000f33660006000376000600036600073000000000000000000636f6e736f6c652e6c6f675afa00";

fn deploy(node: &Node, code: &str) -> String {
    let hash = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "data": code }]));
    node.receipt(hash.as_str().unwrap())["contractAddress"].as_str().unwrap().to_owned()
}

fn calldata(signature: &str, args: &[&str]) -> String {
    succeed(cast().arg("calldata").arg(signature).arg("--").args(args)).trim().to_owned()
}

/// Lines as the real anvil prints them.
#[test]
fn what_contracts_say_is_printed() {
    let node = Node::start(&[]);
    let contract = deploy(&node, TALKATIVE);
    let say = |data: &str| {
        let tx = json!([{ "from": ALICE, "to": contract, "data": data, "gas": "0x186a0" }]);
        node.receipt(node.rpc("eth_sendTransaction", tx).as_str().unwrap());
    };
    let mut expected = Vec::new();
    for (signature, args, line) in [
        ("log(string)", &["hello"] as &[&str], "hello"),
        ("log(string,uint256)", &["x = %d", "7"], "x = 7"),
        ("log(string,uint256)", &["x = %x", "255"], "x = 0xff"),
        ("log(string,uint256)", &["x = %e", "1000000000000000000"], "x = 1e18"),
        ("log(string,uint256)", &["x", "7"], "x 7"),
        ("log(int256)", &["-7"], "-7"),
        ("log(bool,address)", &["true", BOB], "true 0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        ("log(string,string)", &["100%", "y"], "100% y"),
        ("log(string,string)", &["%s%%", "y"], "y%"),
        ("log(string,string)", &["%d", "abc"], "NaN"),
        ("log(string,bool,uint256)", &["a %s b", "true", "5"], "a true b 5"),
    ] {
        say(&calldata(signature, args));
        expected.push(line);
    }
    let call = json!({ "from": ALICE, "to": contract, "data": calldata("log(string)", &["from a call"]) });
    node.rpc("eth_call", json!([call, "latest"]));
    expected.push("from a call");
    // What is no call of the console's prints nothing.
    say("0x12345678");
    say("0x41304fac");
    node.rpc("anvil_setLoggingEnabled", json!([false]));
    say(&calldata("log(string)", &["unheard"]));
    let blocks = node.log().matches("mined block").count();
    node.rpc("anvil_setLoggingEnabled", json!([true]));
    say(&calldata("log(string)", &["heard"]));
    expected.push("heard");
    let log = node.log();
    let listening = log.split("Listening on").nth(1).expect("a banner");
    let said: Vec<&str> =
        listening.lines().skip(1).filter(|line| !line.contains(" INFO ") && !line.is_empty()).collect();
    assert_eq!(said, expected);
    assert_eq!(log.matches("mined block").count(), blocks + 1);

    let silent = Node::start(&["--disable-console-log"]);
    let contract = deploy(&silent, TALKATIVE);
    let call = json!({ "from": ALICE, "to": contract, "data": calldata("log(string)", &["unheard"]) });
    silent.rpc("eth_call", json!([call, "latest"]));
    assert!(!silent.log().contains("unheard"));
}

#[test]
fn traces_are_printed_where_asked() {
    let node = Node::start(&["--print-traces"]);
    let model = node.model_id("volatility");
    let contract = create(&node, "examples/quickstart", "src/Forecast.sol:Forecast", &[&model]);
    let data = succeed(cast().args(["calldata", "ask(int256[16])", &wad_array(&RETURNS)])).trim().to_owned();
    let hash = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "to": contract, "data": data }]));
    assert_eq!(node.receipt(hash.as_str().unwrap())["status"], "0x1");
    let log = node.log();
    let last = log.rsplit("Traces:").next().unwrap();
    assert!(last.contains(&contract) && last.contains("Inference::run(volatility) [staticcall]"), "{log}");
    assert!(last.contains("emit topic 0"), "{log}");
    let traces = log.matches("Traces:").count();
    let _ = node.try_rpc("eth_call", json!([{ "to": contract, "data": "0x12345678" }, "latest"]));
    assert_eq!(node.log().matches("Traces:").count(), traces + 1);
}

#[test]
fn storage_is_listed_as_it_was_before_each_transaction() {
    let node = Node::start(&["--no-mining"]);
    // SSTORE(CALLDATALOAD(0), CALLDATALOAD(32))
    let hash =
        node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "data": "0x6007600c60003960076000f360203560003555" }]));
    node.rpc("evm_mine", json!([]));
    let contract = node.receipt(hash.as_str().unwrap())["contractAddress"].clone();
    for (key, value) in [(1, 11), (2, 22), (3, 33), (1, 0)] {
        let tx =
            json!([{ "from": ALICE, "to": contract, "data": format!("0x{key:064x}{value:064x}"), "gas": "0x186a0" }]);
        node.rpc("eth_sendTransaction", tx);
    }
    node.rpc("evm_mine", json!([]));
    let block = node.rpc("eth_getBlockByNumber", json!(["latest", false]))["hash"].clone();
    let range = |index: u64, start: &Value, limit: u64| {
        node.try_rpc("debug_storageRangeAt", json!([block, index, contract, start, limit]))
    };
    let zero = json!("0x0");
    let values = |range: &Value| -> Vec<u64> {
        let slots = range["storage"].as_object().unwrap().values();
        let number = |slot: &Value| u64::from_str_radix(&slot["value"].as_str().unwrap()[2..], 16).unwrap();
        let mut values: Vec<u64> = slots.map(number).collect();
        values.sort_unstable();
        values
    };
    for (index, expected) in [(0, &[] as &[u64]), (1, &[11]), (2, &[11, 22]), (3, &[11, 22, 33]), (4, &[22, 33])] {
        let all = range(index, &zero, 10).unwrap();
        assert_eq!((values(&all).as_slice(), &all["nextKey"]), (expected, &Value::Null), "{index}: {all}");
    }
    // Pages follow the hashed keys.
    let mut found = Vec::new();
    let mut start = zero.clone();
    for _ in 0..3 {
        let page = range(3, &start, 1).unwrap();
        found.extend(values(&page));
        let (hash, slot) = page["storage"].as_object().unwrap().iter().next().unwrap();
        assert_eq!(node.rpc("web3_sha3", json!([slot["key"]])), json!(hash));
        start = page["nextKey"].clone();
    }
    found.sort_unstable();
    assert_eq!((found, start), (vec![11, 22, 33], Value::Null));
    let error = range(5, &zero, 10).unwrap_err();
    assert!(error.code == -32602 && error.message.contains("out of range"), "{error:?}");
}

#[test]
fn a_signature_is_of_whom_one_says() {
    let (anvil, node) = (Anvil::start(&[]), Node::start(&[]));
    let word = |number: u64| format!("{number:064x}");
    let signature = format!("0x{}{}1b", word(1), word(2));
    let ask =
        json!([{ "to": ECRECOVER, "data": format!("0x{}{}{}{}", word(9), word(27), word(1), word(2)) }, "latest"]);
    let other =
        json!([{ "to": ECRECOVER, "data": format!("0x{}{}{}{}", word(9), word(27), word(1), word(3)) }, "latest"]);
    let before = node.rpc("eth_call", other.clone());
    for rpc in [&anvil.rpc, &node.rpc] {
        rpc.call("anvil_impersonateSignature", json!([[signature, BOB]]));
        assert_eq!(rpc.call("eth_call", ask.clone()), format!("0x{:0>64}", &BOB[2..]));
    }
    assert_eq!(node.rpc("eth_call", other.clone()), before);
    assert_eq!(node.rpc("eth_estimateGas", json!([ask[0]])), anvil.rpc.call("eth_estimateGas", json!([ask[0]])));
    // Inside a transaction, too: a contract that stores who ecrecover says it is.
    let code = "0x6018600c60003960186000f33660006000376020600036600060015afa5060005160005500";
    let contract = deploy(&node, code);
    let tx = json!([{ "from": ALICE, "to": contract, "data": ask[0]["data"], "gas": "0x186a0" }]);
    node.receipt(node.rpc("eth_sendTransaction", tx).as_str().unwrap());
    assert_eq!(node.rpc("eth_getStorageAt", json!([contract, "0x0", "latest"])), format!("0x{:0>64}", &BOB[2..]));
    let error = node.try_rpc("anvil_impersonateSignature", json!([["0x1234", BOB]])).unwrap_err();
    assert!(error.code == -32602 && error.message.contains("65 bytes"), "{error:?}");
}

#[test]
fn simulated_payments_are_logged_and_transactions_given_whole() {
    let (anvil, node) = (Anvil::start(&[]), Node::start(&[]));
    let calls = json!([{ "from": ALICE, "to": BOB, "value": "0x5" }, { "from": BOB, "to": ALICE, "value": "0x6" }]);
    let payload =
        json!({ "blockStateCalls": [{ "calls": calls }], "traceTransfers": true, "returnFullTransactions": true });
    let [theirs, ours] = [&anvil.rpc, &node.rpc].map(|rpc| rpc.call("eth_simulateV1", json!([payload, "latest"])));
    let (theirs, ours) = (&theirs[0], &ours[0]);
    for at in 0..2 {
        let [their, our] = [theirs, ours].map(|block| &block["calls"][at]);
        assert_eq!(
            (&our["gasUsed"], &our["status"], &our["returnData"]),
            (&their["gasUsed"], &their["status"], &their["returnData"])
        );
        for field in ["address", "topics", "data", "transactionIndex"] {
            assert_eq!(our["logs"][0][field], their["logs"][0][field], "{field}");
        }
        let tx = &ours["transactions"][at];
        assert_eq!((&tx["from"], &tx["to"], &tx["value"]), (&calls[at]["from"], &calls[at]["to"], &calls[at]["value"]));
        assert_eq!((&tx["hash"], &tx["blockHash"]), (&our["logs"][0]["transactionHash"], &ours["hash"]));
        assert_eq!(our["logs"][0]["logIndex"], format!("{at:#x}"));
    }
    assert_eq!(ours["logsBloom"], theirs["logsBloom"]);
    let plain = node.rpc("eth_simulateV1", json!([{ "blockStateCalls": [{ "calls": calls }] }, "latest"]));
    assert_eq!(plain[0]["transactions"][0], ours["transactions"][0]["hash"]);
    assert_eq!(plain[0]["calls"][0]["logs"], json!([]));
    assert_eq!(plain[0]["parentHash"], node.rpc("eth_getBlockByNumber", json!(["latest", false]))["hash"]);
}

/// `cast run`, `cast send --trace` and forge's traces ask for what a mined transaction did, and for the state it ran on.
#[test]
fn cast_runs_a_mined_transaction_again() {
    let node = Node::start(&[]);
    let contract = deploy(&node, TALKATIVE);
    let url = node.url();
    let data = calldata("log(string)", &["said"]);
    let sent =
        succeed(cast().args(["send", &contract, &data, "--private-key", ALICE_KEY, "--rpc-url", &url, "--json"]));
    let receipt: Value = serde_json::from_str(&sent).expect("cast prints JSON");
    let hash = receipt["transactionHash"].as_str().unwrap();
    let run = succeed(cast().args(["run", hash, "--rpc-url", &url]));
    assert!(run.contains("console::log(\"said\")") && run.contains("Gas used"), "{run}");
}
