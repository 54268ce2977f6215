//! Forking when the upstream misbehaves: an answer from another endpoint, an error, or the same question again, but never a
//! made-up balance.

use foreblock_tests::{
    node::{ALICE, Node, STRANGER, free_port},
    rpc::number,
    upstream::{Before, Fault, Proxy, eventually, fork, refused, word},
};
use serde_json::{Value, json};
use std::time::Duration;

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
