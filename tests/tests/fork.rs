//! Forking: on top of another foreblock and of the real anvil.

use foreblock_tests::{
    anvil::Anvil,
    node::{ALICE, BOB, Node, STRANGER, free_port},
    rpc::number,
    upstream::{Before, Proxy, fork, refused, word},
};
use serde_json::{Value, json};

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
    a_fork_is_its_upstream_with_foreblock_on_top(&Before::on(upstream.rpc.url()));
}

#[test]
fn models_run_on_a_fork_of_anvil() {
    let upstream = Anvil::start(&[]);
    let node = fork(&upstream.rpc.url(), &[]);
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
