//! The chain's side of the devnet: reorganisations, blobs, hardforks, system calls, limits, the Unix socket.

use foreblock_tests::{
    node::{ALICE, ALICE_KEY, Node, STRANGER},
    rpc::number,
    tools::{cast, succeed},
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

const BEACON_ROOTS: &str = "0x000f3df6d732807ef1319fb7b8bb8522d0beac02";
const HISTORY: &str = "0x0000f90827f1c53a10cb7a02335b175320002935";
const WITHDRAWALS: &str = "0x00000961ef480eb55e80d19ad83579a64c007002";
const CONSOLIDATIONS: &str = "0x0000bbddc7ce488642fb579f8b00f3a590007251";

#[test]
fn a_reorg_puts_other_blocks_in_place_of_the_last_ones() {
    let node = Node::start(&[]);
    let gone: Vec<String> = (1..=3).map(|value| node.pay(value)).collect();
    let old: Vec<Value> = (1..=3).map(|at| node.block(&format!("{at:#x}"))["hash"].clone()).collect();
    let other = json!({ "from": ALICE, "to": STRANGER, "value": "0x64" });
    node.rpc("anvil_reorg", json!([2, [[other, 0], [other, 0], [other, 1]]]));
    assert_eq!(number(&node.rpc("eth_blockNumber", json!([]))), 3);
    assert_eq!(node.balance(STRANGER), 301);
    let new: Vec<Value> = (1..=3).map(|at| node.block(&format!("{at:#x}"))).collect();
    assert_eq!(new[0]["hash"], old[0]);
    assert!(new[1]["hash"] != old[1] && new[2]["hash"] != old[2]);
    assert_eq!(new[2]["parentHash"], new[1]["hash"]);
    assert_eq!(new[1]["transactions"].as_array().unwrap().len(), 2);
    assert!(node.rpc("eth_getTransactionReceipt", json!([gone[2]])).is_null());
    assert!(node.rpc("eth_getBlockByHash", json!([old[2], false])).is_null());
    for (params, words) in [
        (json!([4, []]), "Reorg depth must not exceed current chain height: current height 3, depth 4"),
        (json!([1, [[other, 1]]]), "must not exceed (depth-1) 0"),
        (json!([]), "depth"),
    ] {
        let error = node.try_rpc("anvil_reorg", params).unwrap_err();
        assert!(error.code == -32602 && error.message.contains(words), "{error:?}");
    }
    node.rpc("anvil_rollback", json!([3]));
    assert_eq!(node.balance(STRANGER), 0);
}

#[test]
fn each_hardfork_builds_blocks_of_its_shape() {
    for (fork, base_fee, withdrawals, blobs, requests) in [
        ("frontier", false, false, false, false),
        ("homestead", false, false, false, false),
        ("tangerine", false, false, false, false),
        ("spuriousdragon", false, false, false, false),
        ("byzantium", false, false, false, false),
        ("constantinople", false, false, false, false),
        ("petersburg", false, false, false, false),
        ("istanbul", false, false, false, false),
        ("berlin", false, false, false, false),
        ("london", true, false, false, false),
        ("paris", true, false, false, false),
        ("shanghai", true, true, false, false),
        ("cancun", true, true, true, false),
        ("prague", true, true, true, true),
        ("osaka", true, true, true, true),
    ] {
        let node = Node::start(&["--hardfork", fork]);
        let price = node.rpc("eth_gasPrice", json!([]));
        let tx = json!([{ "from": ALICE, "to": STRANGER, "value": "0x5", "gas": "0x5208", "gasPrice": price, "type": "0x0" }]);
        let hash = node.rpc("eth_sendTransaction", tx);
        let receipt = node.receipt(hash.as_str().unwrap());
        assert_eq!(receipt["gasUsed"], "0x5208", "{fork}");
        assert_eq!(node.balance(STRANGER), 5, "{fork}");
        let block = node.block("latest");
        for (field, there) in [
            ("baseFeePerGas", base_fee),
            ("withdrawalsRoot", withdrawals),
            ("excessBlobGas", blobs),
            ("parentBeaconBlockRoot", blobs),
            ("requestsHash", requests),
        ] {
            assert_eq!(block.get(field).is_some(), there, "{field} of {fork}: {block}");
        }
    }
}

#[test]
fn system_contracts_are_there_from_their_forks_on_and_blocks_call_them() {
    for (fork, since_cancun, since_prague) in
        [("shanghai", false, false), ("cancun", true, false), ("osaka", true, true)]
    {
        let node = Node::start(&["--hardfork", fork]);
        for (address, there) in [
            (BEACON_ROOTS, since_cancun),
            (HISTORY, since_prague),
            (WITHDRAWALS, since_prague),
            (CONSOLIDATIONS, since_prague),
        ] {
            let code = node.rpc("eth_getCode", json!([address, "latest"]));
            assert_eq!(code != "0x", there, "{address} in {fork}");
        }
        node.rpc("anvil_mine", json!(["0x3"]));
        if since_prague {
            // EIP-2935: the hash of the parent is kept under the parent's number.
            let parent = node.block("0x2");
            let data = format!("0x{:064x}", 2);
            assert_eq!(node.rpc("eth_call", json!([{ "to": HISTORY, "data": data }, "latest"])), parent["hash"]);
        }
        if since_cancun {
            // EIP-4788: the root is kept under the block's time.
            let time = number(&node.block("latest")["timestamp"]);
            let data = format!("0x{time:064x}");
            let root = node.rpc("eth_call", json!([{ "to": BEACON_ROOTS, "data": data }, "latest"]));
            assert_eq!(root, node.block("latest")["parentBeaconBlockRoot"]);
        }
    }
}

#[test]
fn requests_to_the_predeploys_reach_the_header() {
    let node = Node::start(&["--hardfork", "prague"]);
    let empty = node.block("latest")["requestsHash"].clone();
    // EIP-7002: public key (48 bytes) and amount; EIP-7251: two public keys. One wei is the fee.
    for (to, length) in [(WITHDRAWALS, 56), (CONSOLIDATIONS, 96)] {
        let data = format!("0x{}", "11".repeat(length));
        let hash = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "to": to, "data": data, "value": "0x1" }]));
        assert_eq!(node.receipt(hash.as_str().unwrap())["status"], "0x1", "{to}");
        assert_ne!(node.block("latest")["requestsHash"], empty, "{to}");
        node.rpc("evm_mine", json!([]));
        assert_eq!(node.block("latest")["requestsHash"], empty, "the queue of {to} is empty again");
    }
}

#[test]
fn snapshots_and_reverts_take_as_long_on_a_long_chain() {
    let node = Node::start(&[]);
    let round = || {
        let start = Instant::now();
        for _ in 0..10 {
            let snapshot = node.rpc("evm_snapshot", json!([]));
            assert_eq!(node.rpc("evm_revert", json!([snapshot])), true);
        }
        start.elapsed()
    };
    let best = |rounds: usize| (0..rounds).map(|_| round()).min().unwrap();
    let short = best(5);
    node.rpc("anvil_mine", json!(["0x7d0"]));
    let long = best(5);
    assert!(long < short * 4 + Duration::from_millis(20), "{long:?} after 2,000 blocks, {short:?} before");
}

/// An HTTP request with this body; status and body of the answer.
fn post(port: u16, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

#[test]
fn bodies_that_are_no_requests_get_an_error_and_the_node_runs_on() {
    let node = Node::start(&["--request-size-limit", "100000", "--batch-limit", "1000"]);
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
    let batch = |count: usize| format!("[{}]", vec![one; count].join(","));
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"eth_call","params":{}{}}}"#,
        "[".repeat(30_000),
        "]".repeat(30_000)
    );
    for (name, body, status, words) in [
        ("truncated", r#"{"jsonrpc":"2.0","id":1,"#.to_owned(), 200, "-32700"),
        ("no JSON", "nonsense".to_owned(), 400, "-32700"),
        (
            "oversized",
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"web3_sha3","params":["0x{}"]}}"#, "0".repeat(200_000)),
            413,
            "",
        ),
        ("deep", deep, 0, "error"),
        ("unknown", r#"{"jsonrpc":"2.0","id":1,"method":"eth_nonsense","params":[]}"#.to_owned(), 0, "-32601"),
        ("thousand", batch(1_000), 200, "0x7a69"),
        ("too many", batch(1_001), 200, "-32010"),
        ("empty batch", "[]".to_owned(), 0, "-32600"),
    ] {
        let (got, text) = post(node.port, &body);
        assert!(status == 0 || got == status, "{name}: {got} {text}");
        assert!(text.contains(words), "{name}: {text}");
        assert_eq!(node.rpc("eth_chainId", json!([])), "0x7a69", "after {name}");
    }
    let (_, text) = post(node.port, &batch(1_000));
    assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap().len(), 1_000);
}

#[test]
fn a_unix_socket_speaks_json_rpc_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.ipc");
    // What a killed node leaves behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let node = Node::start(&["--ipc", path.to_str().unwrap(), "--batch-limit", "5"]);
    let mut socket = UnixStream::connect(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut read = BufferedLines { socket: socket.try_clone().unwrap(), rest: Vec::new() };
    // Two requests in three pieces.
    for piece in [
        r#"{"jsonrpc":"2.0","id":1,"meth"#,
        r#"od":"eth_chainId","params":[]}{"jsonrpc":"2.0","id":2,"#,
        r#""method":"eth_blockNumber","params":[]}"#,
    ] {
        socket.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read.line(), json!({ "jsonrpc": "2.0", "id": 1, "result": "0x7a69" }));
    assert_eq!(read.line()["result"], "0x0");
    socket.write_all(br#"{"jsonrpc":"2.0","id":3,"method":"eth_subscribe","params":["newHeads"]}"#).unwrap();
    let subscription = read.line()["result"].clone();
    node.rpc("evm_mine", json!([]));
    let news = read.line();
    assert_eq!((&news["params"]["subscription"], &news["params"]["result"]["number"]), (&subscription, &json!("0x1")));
    socket
        .write_all(
            br#"[{"jsonrpc":"2.0","id":4,"method":"eth_chainId"},{"jsonrpc":"2.0","id":5,"method":"eth_nonsense"}]"#,
        )
        .unwrap();
    let batch = read.line();
    assert_eq!((&batch[0]["result"], &batch[1]["error"]["code"]), (&json!("0x7a69"), &json!(-32601)));
    socket.write_all(b"[1,2,3,4,5,6] nonsense").unwrap();
    assert_eq!(read.line()["error"]["code"], -32600);
    assert_eq!(read.line()["error"]["code"], -32700);
    assert_eq!(number(&node.rpc("eth_blockNumber", json!([]))), 1);
}

struct BufferedLines {
    socket: UnixStream,
    rest: Vec<u8>,
}

impl BufferedLines {
    fn line(&mut self) -> Value {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let mut chunk = [0; 4_096];
            let length = self.socket.read(&mut chunk).expect("the node answers");
            assert!(length > 0, "the node closed the socket");
            self.rest.extend_from_slice(&chunk[..length]);
        }
    }
}

#[test]
fn a_tokens_balance_and_allowance_are_set_where_the_token_keeps_them() {
    let node = Node::start(&[]);
    let token = "0x0000000000000000000000000000000000070000";
    // Answers any question with slot keccak256(its whole calldata).
    // CALLDATASIZE PUSH1 0 PUSH1 0 CALLDATACOPY CALLDATASIZE PUSH1 0 KECCAK256 SLOAD PUSH1 0 MSTORE PUSH1 32 PUSH1 0 RETURN
    node.rpc("anvil_setCode", json!([token, "0x366000600037366000205460005260206000f3"]));
    node.rpc("anvil_dealERC20", json!([STRANGER, token, "0x2a"]));
    let owner = STRANGER.trim_start_matches("0x");
    let ask = |data: String| number(&node.rpc("eth_call", json!([{ "to": token, "data": data }, "latest"])));
    assert_eq!(ask(format!("0x70a08231{owner:0>64}")), 42);
    node.rpc("anvil_setERC20Allowance", json!([STRANGER, ALICE, token, "0x2b"]));
    assert_eq!(ask(format!("0xdd62ed3e{owner:0>64}{:0>64}", ALICE.trim_start_matches("0x"))), 43);
    let none = node.try_rpc("anvil_dealERC20", json!([STRANGER, STRANGER, "0x1"])).unwrap_err();
    assert!(none.message.contains("no slot found"), "{none:?}");
}

#[test]
fn a_state_file_holds_the_states_of_all_blocks_where_asked() {
    let node = Node::start(&["--preserve-historical-states"]);
    (1..=3).for_each(|value| drop(node.pay(value)));
    // PUSH1 1 PUSH1 0 SSTORE, then a runtime that clears the slot: PUSH1 0 PUSH1 0 SSTORE STOP.
    let deploy = json!([{ "from": ALICE, "data": "0x6001600055656000600055006000526006601af3" }]);
    let receipt = node.receipt(node.rpc("eth_sendTransaction", deploy).as_str().unwrap());
    let contract = receipt["contractAddress"].clone();
    node.rpc("anvil_setBalance", json!([STRANGER, "0x64"]));
    let cleared = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "to": contract }]));
    node.receipt(cleared.as_str().unwrap());
    let asked = |node: &Node| {
        let balance = |at: &str| node.rpc("eth_getBalance", json!([STRANGER, at]));
        let slot = |at: &str| node.rpc("eth_getStorageAt", json!([contract, "0x0", at]));
        let balances = ["0x0", "0x1", "0x2", "0x3", "0x4", "latest"].map(balance);
        let trace = node.rpc("debug_traceTransaction", json!([cleared, { "tracer": "callTracer" }]));
        (balances, ["0x3", "0x4", "latest"].map(slot), trace["gasUsed"].clone())
    };
    let expected = asked(&node);
    assert_eq!(expected.0, ["0x0", "0x1", "0x3", "0x6", "0x6", "0x64"].map(Value::from));
    let other = Node::start(&[]);
    other.rpc("anvil_loadState", json!([node.rpc("anvil_dumpState", json!([]))]));
    assert_eq!(asked(&other), expected);
    // Without the flag and the parameter, only the last state is there.
    let last = Node::start(&[]);
    last.rpc("anvil_loadState", json!([node.rpc("anvil_dumpState", json!([false]))]));
    assert_eq!(last.balance(STRANGER), 100);
    let error = last.try_rpc("eth_getBalance", json!([STRANGER, "0x1"])).unwrap_err();
    assert!(error.message.contains("not kept"), "{error:?}");
}

#[test]
fn a_state_file_of_a_fork_is_loaded_on_that_fork_and_nowhere_else() {
    let upstream = Node::start(&[]);
    upstream.pay(5);
    let url = upstream.url();
    let args = ["--fork-url", url.as_str(), "--fork-block-number", "1"];
    let fork = Node::start(&args);
    fork.pay(6);
    let state = fork.rpc("anvil_dumpState", json!([]));
    let again = Node::start(&args);
    again.rpc("anvil_loadState", json!([state]));
    assert_eq!((again.balance(STRANGER), number(&again.rpc("eth_blockNumber", json!([])))), (11, 2));
    again.pay(1);
    assert_eq!(again.balance(STRANGER), 12);
    assert_eq!(again.block("0x1")["hash"], upstream.block("0x1")["hash"]);
    let error = Node::start(&[]).try_rpc("anvil_loadState", json!([state])).unwrap_err();
    assert!(error.message.contains("--fork-url"), "{error:?}");
}

#[test]
fn blobs_of_mined_transactions_can_be_had() {
    let node = Node::start(&[]);
    let none = format!("0x01{}", "00".repeat(31));
    assert!(node.rpc("anvil_getBlobByHash", json!([none])).is_null());
    assert!(node.rpc("anvil_getBlobsByTransactionHash", json!([none])).is_null());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, "a blob's data").unwrap();
    let url = node.url();
    let mut send = cast();
    send.args(["send", "--rpc-url", &url, "--private-key", ALICE_KEY, "--json", "--blob", "--path"])
        .arg(file)
        .arg(STRANGER);
    let receipt: Value = serde_json::from_str(&succeed(&mut send)).unwrap();
    let hash = receipt["transactionHash"].clone();
    let blobs = node.rpc("anvil_getBlobsByTransactionHash", json!([hash]));
    assert_eq!(blobs[0].as_str().unwrap().len(), 2 + 2 * 131_072);
    let versioned = node.rpc("eth_getTransactionByHash", json!([hash]))["blobVersionedHashes"][0].clone();
    assert_eq!(node.rpc("anvil_getBlobByHash", json!([versioned])), blobs[0]);
    let genesis = node.block("0x0")["timestamp"].clone();
    assert_eq!(node.rpc("anvil_getGenesisTime", json!([])), genesis);
}
