//! Forking: on top of another foreblock and of the real anvil, and what happens when the upstream misbehaves.

use foreblock_tests::{
    node::{ALICE, Node, PATIENCE, free_port},
    tools,
    upstream::{Anvil, Fault, Proxy, rpc},
};
use serde_json::{Value, json};
use std::{
    process::Command,
    time::{Duration, Instant},
};

const BOB: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
/// Nobody has its key, and no node funds it.
const STRANGER: &str = "0x00000000000000000000000000000000000a11ce";
/// Returns the word in slot 0, or, when called with data, stores the data's first word there and logs it.
const KEEPER: &str = "36600f5760005460005260206000f35b6000358060005560005260206000a000";
/// Flags that fail soon.
const HASTY: [&str; 6] = ["--retries", "1", "--fork-retry-backoff", "10", "--timeout", "700"];

fn number(value: &Value) -> u128 {
    let text = value.as_str().unwrap_or_else(|| panic!("no number: {value}"));
    u128::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("no number: {value}"))
}

fn word(number: u64) -> String {
    format!("0x{number:064x}")
}

/// What `ask` gives as soon as it gives something.
fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "it did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the tests put on a chain before it is forked: money for a stranger, and a contract that keeps a word.
struct Before {
    url: String,
    keeper: String,
    /// The transaction that stored 7.
    stored: String,
}

impl Before {
    fn on(url: String) -> Self {
        let send = |tx: Value| rpc(&url, "eth_sendTransaction", json!([tx])).as_str().unwrap().to_owned();
        send(json!({ "from": ALICE, "to": STRANGER, "value": "0x1234" }));
        let deploy = send(
            json!({ "from": ALICE, "data": format!("0x60{0:02x}600c60003960{0:02x}6000f3{KEEPER}", KEEPER.len() / 2) }),
        );
        // Anvil answers before it mines.
        let keeper = eventually(|| {
            let receipt = rpc(&url, "eth_getTransactionReceipt", json!([deploy]));
            receipt["contractAddress"].as_str().map(str::to_owned)
        });
        let stored = send(json!({ "from": ALICE, "to": keeper, "data": word(7) }));
        eventually(|| (!rpc(&url, "eth_getTransactionReceipt", json!([stored])).is_null()).then_some(()));
        Self { url, keeper, stored }
    }

    fn rpc(&self, method: &str, params: Value) -> Value {
        rpc(&self.url, method, params)
    }
}

fn fork(url: &str, more: &[&str]) -> Node {
    Node::start(&[&["--fork-url", url], &HASTY[..], more].concat())
}

/// Runs a node that must not start; what it printed.
fn refused(args: &[&str]) -> String {
    let port = free_port().to_string();
    let output = tools::finish(Command::new(tools::foreblock()).args(["--port", &port]).args(HASTY).args(args));
    assert!(!output.status.success(), "the node started with {args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn a_fork_is_its_upstream_with_foreblock_on_top(before: &Before) {
    let node = fork(&before.url, &[]);
    let same = |method: &str, params: Value| {
        assert_eq!(node.rpc(method, params.clone()), before.rpc(method, params), "{method}");
    };
    let height = number(&before.rpc("eth_blockNumber", json!([])));
    same("eth_chainId", json!([]));
    same("eth_blockNumber", json!([]));
    same("eth_getBalance", json!([STRANGER, "latest"]));
    same("eth_getCode", json!([before.keeper, "latest"]));
    same("eth_getStorageAt", json!([before.keeper, "0x0", "latest"]));
    same("eth_getTransactionCount", json!([ALICE, "latest"]));
    same("eth_call", json!([{ "to": before.keeper }, "latest"]));
    // What was before is answered as the upstream answers it.
    same("eth_getBlockByNumber", json!(["0x1", true]));
    same("eth_getBlockByNumber", json!(["latest", false]));
    same("eth_getTransactionByHash", json!([before.stored]));
    same("eth_getTransactionReceipt", json!([before.stored]));
    same("eth_getBlockReceipts", json!([format!("{height:#x}")]));
    same("eth_getBalance", json!([STRANGER, "0x0"]));
    same("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "latest" }]));
    assert_eq!(node.rpc("eth_getBalance", json!([STRANGER, "0x0"])), "0x0");

    // Foreblock stands on top: its models, and a transaction that stores another word.
    let models = node.rpc("inference_models", json!([]));
    assert!(!models.as_array().unwrap().is_empty());
    assert_eq!(node.rpc("eth_getCode", json!(["0x0000000000000000000000000000000000001a0f", "latest"])), "0xfe");
    let hash = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "to": before.keeper, "data": word(9) }]));
    let receipt = node.receipt(hash.as_str().unwrap());
    assert_eq!(number(&receipt["blockNumber"]), height + 1);
    assert_eq!(node.rpc("eth_call", json!([{ "to": before.keeper }, "latest"])), word(9));
    assert_eq!(
        before.rpc("eth_call", json!([{ "to": before.keeper }, "latest"])),
        word(7),
        "the upstream is not touched"
    );
    let parent = node.rpc("eth_getBlockByNumber", json!(["latest", false]))["parentHash"].clone();
    assert_eq!(parent, before.rpc("eth_getBlockByNumber", json!(["latest", false]))["hash"]);
    // Logs of both sides of the fork, in order, each once.
    let logs = node.rpc("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "latest", "address": before.keeper }]));
    let logged: Vec<&Value> = logs.as_array().unwrap().iter().map(|log| &log["data"]).collect();
    assert_eq!(logged, [&json!(word(7)), &json!(word(9))]);

    // A zero that was written here hides the upstream's word.
    let hash = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "to": before.keeper, "data": word(0) }]));
    node.receipt(hash.as_str().unwrap());
    assert_eq!(node.rpc("eth_getStorageAt", json!([before.keeper, "0x0", "latest"])), word(0));
    // What the upstream mines from now on is of another chain.
    let later = before.rpc("eth_sendTransaction", json!([{ "from": ALICE, "to": STRANGER, "value": "0x1" }]));
    assert!(node.rpc("eth_getTransactionByHash", json!([later])).is_null());
    assert!(node.rpc("eth_getTransactionReceipt", json!([later])).is_null());
    assert_eq!(number(&node.rpc("eth_getBalance", json!([STRANGER, "latest"]))), 0x1234);

    let info = node.rpc("anvil_nodeInfo", json!([]));
    assert_eq!(info["forkConfig"]["forkBlockNumber"], json!(height as u64), "{info}");
    assert!(info["forkConfig"]["forkUrl"].as_str().unwrap().starts_with(&before.url), "{info}");
    let metadata = node.rpc("anvil_metadata", json!([]));
    assert_eq!(metadata["forkedNetwork"]["forkBlockNumber"], json!(height as u64), "{metadata}");
}

#[test]
fn a_fork_of_foreblock() {
    let upstream = Node::start(&[]);
    a_fork_is_its_upstream_with_foreblock_on_top(&Before::on(upstream.url()));
}

#[test]
fn a_fork_of_anvil() {
    let upstream = Anvil::start(&[]);
    a_fork_is_its_upstream_with_foreblock_on_top(&Before::on(upstream.url()));
}

#[test]
fn models_run_on_a_fork_of_anvil() {
    let upstream = Anvil::start(&[]);
    let node = fork(&upstream.url(), &[]);
    let log = node.log();
    let line = log.lines().find(|line| line.trim_start().starts_with("cast ")).unwrap_or_else(|| panic!("{log}"));
    let input = line.split_whitespace().find(|part| part.starts_with("0x") && part.len() > 200).expect("calldata");
    let input = input.trim_end_matches(')');
    let tx = json!({ "from": ALICE, "to": "0x0000000000000000000000000000000000001a0f", "data": input });
    let hash = node.rpc("eth_sendTransaction", json!([tx]));
    assert_eq!(node.receipt(hash.as_str().unwrap())["status"], "0x1");
    assert!(node.rpc("eth_call", json!([tx, "latest"])).as_str().unwrap().len() > 2);
}

#[test]
fn the_fork_point_is_a_block_a_distance_or_a_transaction() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let at = |args: &[&str]| {
        let node = fork(&before.url, args);
        let word = node.rpc("eth_getStorageAt", json!([before.keeper, "0x0", "latest"]));
        (number(&node.rpc("eth_blockNumber", json!([]))), number(&word))
    };
    assert_eq!(at(&["--fork-block-number", "2"]), (2, 0));
    assert_eq!(at(&["--fork-block-number", "-1"]), (2, 0));
    assert_eq!(at(&["--fork-transaction-hash", &before.stored]), (3, 7));
    let with_block = format!("{}@3", before.url);
    assert_eq!(number(&fork(&with_block, &[]).rpc("eth_blockNumber", json!([]))), 3);
    let missing = word(1);
    for (args, words) in [
        (["--fork-block-number", "99"], "no block 99"),
        (["--fork-block-number", "-99"], "no block 3 - 99"),
        (["--fork-transaction-hash", &missing], "no mined transaction"),
    ] {
        let text = refused(&[&["--fork-url", &before.url], &args[..]].concat());
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_reset_leads_to_a_fork_and_back() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let node = Node::start(&[]);
    let balance = || number(&node.rpc("eth_getBalance", json!([STRANGER, "latest"])));
    assert_eq!(balance(), 0);
    node.rpc("anvil_reset", json!([{ "forking": { "jsonRpcUrl": before.url, "blockNumber": 2 } }]));
    assert_eq!((balance(), number(&node.rpc("eth_blockNumber", json!([])))), (0x1234, 2));
    node.rpc("anvil_reset", json!([{ "forking": { "blockNumber": "0x0" } }]));
    assert_eq!(balance(), 0);
    node.rpc("anvil_reset", json!([{ "forking": {} }]));
    assert_eq!((balance(), number(&node.rpc("eth_blockNumber", json!([])))), (0x1234, 3));
    let snapshot = node.rpc("evm_snapshot", json!([]));
    node.rpc("anvil_setBalance", json!([STRANGER, "0x1"]));
    assert_eq!(balance(), 1);
    node.rpc("evm_revert", json!([snapshot]));
    assert_eq!(balance(), 0x1234);
    node.rpc("anvil_reset", json!([]));
    assert_eq!((balance(), number(&node.rpc("eth_blockNumber", json!([])))), (0, 0));
    let error = node.try_rpc("anvil_reset", json!([{ "forking": { "jsonRpcUrl": "ftp://nowhere" } }])).unwrap_err();
    assert!(error.message.contains("http"), "{error:?}");
}

#[test]
fn every_failure_of_the_upstream_is_an_error_and_never_a_balance() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let proxy = Proxy::start(&before.url);
    let node = fork(&proxy.url(), &[]);
    let balance = |address: &str| node.try_rpc("eth_getBalance", json!([address, "latest"]));
    let html = "<html><body>Bad gateway</body></html>".to_owned();
    for (at, (name, fault, words)) in [
        ("down", Fault::Close, "broke off"),
        ("slow", Fault::Slow(Duration::from_millis(1_200)), "no whole answer within 700ms"),
        ("missing trie node", Fault::Error(-32_000, "missing trie node 07e2 (path )"), "archive node"),
        ("header not found", Fault::Error(-32_000, "header not found"), "header not found"),
        ("truncated JSON", Fault::Body(r#"{"jsonrpc":"2.0","id":1,"resu"#.to_owned()), "not JSON-RPC"),
        ("half an answer", Fault::Half, "broke off"),
        ("HTML", Fault::Body(html.clone()), "not JSON-RPC"),
        ("gateway's HTML", Fault::Status(502, html), "HTTP status 502"),
        ("forbidden", Fault::Status(403, "no key".to_owned()), "HTTP status 403"),
        ("rate limit", Fault::Status(429, "slow down".to_owned()), "429"),
        ("empty body", Fault::Body(String::new()), "not JSON-RPC"),
        ("null", Fault::Result(Value::Null), "hex number"),
        ("0x", Fault::Result(json!("0x")), "hex number"),
        ("a number without quotes", Fault::Result(json!(5)), "hex number"),
        ("an object", Fault::Result(json!({ "balance": "0x5" })), "hex number"),
        ("too many digits", Fault::Result(json!(format!("0x{}", "1".repeat(65)))), "hex number"),
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("0x{:040x}", 0xbad0_0000 + at);
        proxy.fail("eth_getBalance", fault.clone(), usize::MAX);
        let error = balance(&address).expect_err(name);
        assert!(error.message.contains(words), "{name}: {error:?}");
        // The same inside a transaction: it does not run on a made-up balance.
        let call = json!([{ "from": ALICE, "to": address, "value": "0x1" }, "latest"]);
        let inside = node.try_rpc("eth_call", call).expect_err(name);
        assert!(inside.message.contains(words), "{name} in a call: {inside:?}");
        let sent = node
            .try_rpc("eth_sendTransaction", json!([{ "from": ALICE, "to": address, "value": "0x1", "gas": "0x5208" }]));
        assert_eq!(number(&node.rpc("eth_blockNumber", json!([]))), 3, "{name}: {sent:?} was mined");
        node.rpc("anvil_dropAllTransactions", json!([]));
        proxy.heal();
        // The pre-executor may be in the middle of the same question, whose answer is shared.
        assert_eq!(eventually(|| balance(&address).ok()), "0x0", "{name} is over");
    }
    assert_eq!(number(&balance(STRANGER).unwrap()), 0x1234);
}

#[test]
fn broken_storage_code_and_nonces_are_errors_too() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let proxy = Proxy::start(&before.url);
    let node = fork(&proxy.url(), &[]);
    let keeper = &before.keeper;
    for (method, result, ask, params) in [
        ("eth_getCode", json!("0x123"), "eth_getCode", json!([keeper, "latest"])),
        ("eth_getCode", Value::Null, "eth_call", json!([{ "to": keeper }, "latest"])),
        (
            "eth_getTransactionCount",
            json!(word(u64::MAX).replace("0x0", "0x1")),
            "eth_getTransactionCount",
            json!([keeper, "latest"]),
        ),
        ("eth_getStorageAt", json!("0x"), "eth_getStorageAt", json!([keeper, "0x0", "latest"])),
        ("eth_getStorageAt", Value::Null, "eth_call", json!([{ "to": keeper }, "latest"])),
    ] {
        proxy.fail(method, Fault::Result(result.clone()), usize::MAX);
        let error = node.try_rpc(ask, params).expect_err(method);
        assert!(
            error.message.contains(method) && error.message.contains("nothing is assumed"),
            "{method} {result}: {error:?}"
        );
        proxy.heal();
    }
    assert_eq!(node.rpc("eth_call", json!([{ "to": keeper }, "latest"])), word(7));
}

#[test]
fn a_node_does_not_start_on_an_upstream_that_fails() {
    let upstream = Node::start(&[]);
    let proxy = Proxy::start(&upstream.url());
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    assert!(refused(&["--fork-url", &nowhere]).contains("cannot be reached"));
    proxy.fail("eth_getBlockByNumber", Fault::Body("<html>".to_owned()), usize::MAX);
    assert!(refused(&["--fork-url", &proxy.url()]).contains("not JSON-RPC"));
    proxy.fail("eth_getBlockByNumber", Fault::Result(json!({ "number": "0x0" })), usize::MAX);
    assert!(refused(&["--fork-url", &proxy.url()]).contains("not a block"));
    proxy.heal();
    let text = refused(&["--fork-url", &proxy.url(), "--fork-chain-id", "5"]);
    assert!(text.contains("chain 31337") && text.contains("chain 5"), "{text}");
    assert!(refused(&["--fork-url", "nonsense://x"]).contains("http"));
}

#[test]
fn what_one_endpoint_cannot_answer_the_next_does() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let (first, second) = (Proxy::start(&before.url), Proxy::start(&before.url));
    let node = fork(&first.url(), &["--fork-url", &second.url()]);
    for (at, fault) in [Fault::Close, Fault::Error(-32_000, "missing trie node"), Fault::Body("<html>".to_owned())]
        .into_iter()
        .enumerate()
    {
        for method in ["eth_getBalance", "eth_getTransactionCount", "eth_getCode", "eth_getStorageAt"] {
            first.fail(method, fault.clone(), usize::MAX);
        }
        let address = format!("0x{:040x}", 0xfa11_0000 + at);
        assert_eq!(node.rpc("eth_getBalance", json!([address, "latest"])), "0x0", "{fault:?}");
    }
    assert_eq!(node.rpc("eth_call", json!([{ "to": before.keeper }, "latest"])), word(7));
    assert!(second.asked("eth_getBalance") > 0);
}

#[test]
fn an_endpoint_of_another_chain_is_never_asked_for_state() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let other = Node::start(&["--chain-id", "5"]);
    other.rpc("anvil_setBalance", json!([STRANGER, "0x666"]));
    let proxy = Proxy::start(&other.url());
    let node = fork(&before.url, &["--fork-url", &proxy.url(), "--fork-chain-id", "31337"]);
    for at in 0..6u32 {
        node.rpc("eth_getBalance", json!([format!("0x{:040x}", 0xabc0_0000 + at), "latest"]));
    }
    assert_eq!(number(&node.rpc("eth_getBalance", json!([STRANGER, "latest"]))), 0x1234);
    assert!(proxy.asked("eth_chainId") > 0);
    assert_eq!(proxy.asked("eth_getBalance"), 0);
}

#[test]
fn a_passing_failure_is_tried_again_and_what_was_read_is_not_asked_again() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let proxy = Proxy::start(&before.url);
    let node = fork(&proxy.url(), &[]);
    // What an estimate reads of its own, such as the price of inference, is read before anything is counted.
    let _ = node.try_rpc("eth_estimateGas", json!([{ "from": ALICE, "to": ALICE }]));
    proxy.fail("eth_getBalance", Fault::Status(429, "slow down".to_owned()), 1);
    assert_eq!(number(&node.rpc("eth_getBalance", json!([STRANGER, "latest"]))), 0x1234);
    let asked = proxy.asked("eth_getBalance");
    // Ten at once ask once.
    let own = proxy.asked("eth_getStorageAt");
    proxy.fail("eth_getStorageAt", Fault::Slow(Duration::from_millis(200)), usize::MAX);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(node.rpc("eth_getStorageAt", json!([before.keeper, "0x0", "latest"])), word(7)));
        }
    });
    assert_eq!(proxy.asked("eth_getStorageAt") - own, 1);
    node.rpc("eth_getBalance", json!([STRANGER, "latest"]));
    assert_eq!(proxy.asked("eth_getBalance"), asked);
}

#[test]
fn what_was_read_is_kept_for_a_start_without_network() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().to_str().unwrap();
    let proxy = Proxy::start(&before.url);
    let args = ["--fork-cache", cache, "--fork-block-number", "3", "--fork-chain-id", "31337"];
    let read = |node: &Node| {
        let balance = number(&node.rpc("eth_getBalance", json!([STRANGER, "latest"])));
        (balance, node.rpc("eth_call", json!([{ "to": before.keeper }, "latest"])))
    };
    let expected = (0x1234, json!(word(7)));
    assert_eq!(read(&fork(&proxy.url(), &args)), expected);
    let asked = proxy.asked("eth_getBalance");
    assert_eq!(read(&fork(&proxy.url(), &args)), expected);
    // Only the probe for EIP-1898 asks for a balance again.
    assert_eq!(proxy.asked("eth_getBalance"), asked + 1);
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let offline = fork(&nowhere, &args);
    assert_eq!(read(&offline), expected);
    let unknown = offline.try_rpc("eth_getBalance", json!(["0x00000000000000000000000000000000000000fe", "latest"]));
    assert!(unknown.unwrap_err().message.contains("cannot be reached"));
    // Another chain with the same id and height is another file.
    let other = Node::start(&[]);
    other.rpc("anvil_mine", json!(["0x3"]));
    assert_eq!(read_balance(&fork(&other.url(), &args)), 0);
}

fn read_balance(node: &Node) -> u128 {
    number(&node.rpc("eth_getBalance", json!([STRANGER, "latest"])))
}

#[test]
fn another_contract_where_the_precompile_stands_is_named() {
    let upstream = Node::start(&["--precompile", "0x0000000000000000000000000000000000002a0f"]);
    upstream.rpc("anvil_setCode", json!(["0x0000000000000000000000000000000000001a0f", "0x6001"]));
    let text = refused(&["--fork-url", &upstream.url()]);
    assert!(text.to_lowercase().contains("1a0f") && text.contains("--precompile"), "{text}");
}

#[test]
fn a_fork_has_no_proofs_after_its_first_block_and_the_upstreams_before() {
    let upstream = Node::start(&[]);
    let before = Before::on(upstream.url());
    let node = fork(&before.url, &[]);
    let past = json!([STRANGER, [], "0x2"]);
    assert_eq!(node.rpc("eth_getProof", past.clone()), before.rpc("eth_getProof", past));
    node.rpc("evm_mine", json!([]));
    let error = node.try_rpc("eth_getProof", json!([BOB, [], "latest"])).unwrap_err();
    assert!(error.message.contains("state trie"), "{error:?}");
}
