//! The sidecar beside nodes that know nothing of it: outcomes are there before anybody asks.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_engine::Catalog;
use foreblock_precompile::{
    InferenceList, MODEL_REGISTRY_ADDRESS, Outcome, PRECOMPILE_ADDRESS,
    abi::{DType, IInference, Tensor},
    genesis, request_id,
};
use foreblock_sidecar::{Client, frame::Noted};
use foreblock_tests::{
    anvil::Anvil,
    node::{ALICE, Node, PATIENCE},
    rpc::Rpc,
    sidecar::Sidecar,
    tools::{finish, foreblock},
    upstream::{Fault, Proxy},
};
use serde_json::{Value, json};
use std::process::Command;

/// 16 daily returns, the last of them this many thousandths.
fn returns(thousandths: i64) -> Bytes {
    let wad = |number: i64| alloy_primitives::I256::try_from(number * 1_000_000_000_000_000).unwrap();
    let data: Vec<u8> =
        (0..16).flat_map(|day| wad(if day == 15 { thousandths } else { day - 8 }).to_be_bytes::<32>()).collect();
    vec![Tensor { dtype: DType::Wad, shape: vec![1, 16], data: data.into() }].abi_encode().into()
}

fn volatility() -> B256 {
    Catalog::new(None).find("volatility").unwrap().manifest.id()
}

/// Sends a question straight to the precompile and returns its request's id.
fn ask(rpc: &Rpc, thousandths: i64) -> B256 {
    let input = returns(thousandths);
    let id = request_id(volatility(), &input);
    let data = Bytes::from(IInference::runCall { modelId: volatility(), input }.abi_encode());
    let tx = json!([{ "from": ALICE, "to": PRECOMPILE_ADDRESS, "data": data, "gas": "0x7a120" }]);
    rpc.call("eth_sendTransaction", tx);
    id
}

/// Puts the registry with its models on a chain that has none, as a client's genesis block would.
fn put_registry(anvil: &Anvil) {
    let (entries, _) = Catalog::new(None).list().unwrap();
    let slots = entries.iter().map(|entry| (entry.manifest.id(), entry.manifest.slot()));
    for account in genesis::accounts(PRECOMPILE_ADDRESS, slots, &[]) {
        anvil.rpc.call("anvil_setCode", json!([account.address, account.code]));
        for (key, value) in account.storage {
            anvil.rpc.call("anvil_setStorageAt", json!([account.address, key, value]));
        }
    }
    assert_ne!(anvil.rpc.call("eth_getCode", json!([MODEL_REGISTRY_ADDRESS, "latest"])), "0x");
}

#[test]
fn beside_the_real_anvil_outcomes_are_ready_before_they_are_asked_for() {
    let anvil = Anvil::start(&["--no-mining"]);
    put_registry(&anvil);
    anvil.rpc.call("anvil_mine", json!(["0x1"]));
    let before = ask(&anvil.rpc, 1);
    let sidecar = Sidecar::start(&anvil.rpc.url(), &[]);
    // One that waited already, and one that comes now.
    let output = sidecar.output(before);
    assert_eq!(Vec::<Tensor>::abi_decode(&output).unwrap().len(), 1);
    let after = ask(&anvil.rpc, 2);
    assert_ne!(sidecar.output(after), output);
    let status = sidecar.status().unwrap();
    assert_eq!((status["pending"].as_u64(), status["computed"].as_u64()), (Some(2), Some(2)), "{status}");

    anvil.rpc.call("anvil_mine", json!(["0x1"]));
    sidecar.wait("mined transactions are forgotten", |status| status["pending"] == 0);
    let mut client = sidecar.client();
    assert!(client.lookup_one(after).unwrap().is_some(), "outcomes are kept");
    assert_eq!(client.lookup_one(B256::repeat_byte(1)).unwrap(), None);
}

#[test]
fn over_a_websocket_a_node_says_by_itself_what_is_new() {
    let (anvil, mut node) = (Anvil::start(&["--no-mining"]), Node::start(&["--no-mining"]));
    put_registry(&anvil);
    anvil.rpc.call("anvil_mine", json!(["0x1"]));
    let by_socket = |rpc: &Rpc| {
        let before = ask(rpc, 1);
        let sidecar = Sidecar::start(&rpc.socket_url(), &[]);
        assert_eq!(sidecar.status().unwrap()["news"], "subscription");
        sidecar.output(before);
        sidecar.output(ask(rpc, 2));
        rpc.call("anvil_mine", json!(["0x1"]));
        sidecar.wait("mined transactions are forgotten", |status| status["pending"] == 0);
        sidecar
    };
    by_socket(&anvil.rpc);
    let sidecar = by_socket(&node.rpc);
    node.kill_and_restart();
    sidecar.output(ask(&node.rpc, 3));
    sidecar.wait("it is subscribed again", |status| status["node"] == "well" && status["news"] == "subscription");
}

#[test]
fn beside_the_devnet_the_list_is_the_one_that_the_block_carries() {
    let node = Node::start(&["--no-mining"]);
    let sidecar = Sidecar::start(&node.url(), &[]);
    let ids: Vec<B256> = (0..5).map(|number| ask(&node.rpc, number)).collect();
    ids.iter().for_each(|id| drop(sidecar.output(*id)));
    let mut client = sidecar.client();
    // The same operator, by its public key, has signed for both.
    let listed = client.list(ids.iter().rev().chain(&ids).copied().collect()).unwrap();
    node.rpc("anvil_mine", json!(["0x1"]));
    let carried = node.rpc("inference_getList", json!(["latest"]));
    assert_eq!(json!(listed), carried["encoded"], "once each, sorted, with the certificates");
    assert_eq!(InferenceList::decode(&listed).unwrap().entries().len(), 5);
    assert!(client.list(vec![]).unwrap().is_empty());
    assert!(client.list(vec![B256::ZERO]).unwrap_err().to_string().contains("no outcome"));

    let model = volatility();
    let input = returns(77);
    assert!(matches!(client.wanted(B256::ZERO, model, input.clone()).unwrap(), Noted::Queued | Noted::There));
    sidecar.output(request_id(model, &input));
    assert_eq!(client.wanted(B256::ZERO, model, input).unwrap(), Noted::There);
    let malformed = client.wanted(B256::ZERO, model, Bytes::from_static(b"no tensors")).unwrap_err();
    assert!(malformed.to_string().contains("abi.encode(Tensor[])"), "{malformed}");
}

#[test]
fn it_passes_the_conformance_suite() {
    let node = Node::start(&["--no-mining"]);
    let sidecar = Sidecar::start(&node.url(), &[]);
    let output = finish(Command::new(foreblock()).args(["conformance", "--lookup"]).arg(sidecar.socket()));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains(" 0 failed, 0 not taken"), "{printed}");
    let nobody = finish(Command::new(foreblock()).args(["conformance", "--lookup", "/nonexistent/socket"]));
    assert!(!nobody.status.success());
    let no_group =
        finish(Command::new(foreblock()).args(["conformance", "--only", "nonsense", "--lookup"]).arg(sidecar.socket()));
    assert!(String::from_utf8_lossy(&no_group.stderr).contains("engine"), "{no_group:?}");
}

#[test]
fn over_http_the_answers_are_the_same() {
    let node = Node::start(&["--no-mining"]);
    let sidecar = Sidecar::start(&node.url(), &[]);
    let id = ask(&node.rpc, 3);
    let output = sidecar.output(id);
    let get = |path: &str| -> Value { serde_json::from_str(&node.get(&format!("{}{path}", sidecar.url()))).unwrap() };
    assert_eq!(get(&format!("/v1/outcomes/{id}")), json!({ "status": "output", "output": output }));
    assert_eq!(get(&format!("/v1/outcomes/{}", B256::ZERO))["status"], "missing");
    assert_eq!(get("/v1/outcomes/nonsense")["refused"], 3);
    assert_eq!(get("/v1/status")["chainId"], 31_337);
    let post = |path: &str, body: Value| -> Value {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut answer = ureq::Agent::from(config).post(format!("{}{path}", sidecar.url())).send_json(body).unwrap();
        answer.body_mut().read_json().unwrap()
    };
    let list = post("/v1/list", json!([id]));
    let encoded: Bytes = serde_json::from_value(list["encoded"].clone()).unwrap();
    assert_eq!(json!(InferenceList::decode(&encoded).unwrap().commitment()), list["commitment"]);
    assert_eq!(post("/v1/list", json!([B256::ZERO]))["refused"], 5);
    let wanted = json!({ "model": volatility(), "input": returns(3) });
    assert_eq!(post("/v1/wanted", wanted)["status"], "there");
    assert!(node.get(&format!("{}/metrics", sidecar.url())).contains("foreblock_sidecar_lookups_total"));
}

#[test]
fn a_sidecar_that_is_killed_comes_back_by_itself_over_its_stale_socket() {
    let node = Node::start(&["--no-mining"]);
    let mut sidecar = Sidecar::start(&node.url(), &[]);
    let id = ask(&node.rpc, 4);
    let output = sidecar.output(id);
    sidecar.kill_and_restart();
    assert_eq!(sidecar.output(id), output, "it waits in the pool, so it is computed again, to the same bytes");
}

#[test]
fn a_second_sidecar_on_the_same_socket_is_refused_and_two_clients_are_not() {
    let node = Node::start(&["--no-mining"]);
    let sidecar = Sidecar::start(&node.url(), &[]);
    let mut command = Command::new(foreblock());
    let second = finish(command.args(["sidecar", "--node", &node.url(), "--socket"]).arg(sidecar.socket()));
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && stderr.contains("--socket"), "{stderr}");
    let id = ask(&node.rpc, 5);
    let output = Outcome::Output(sidecar.output(id));
    let (mut one, mut two) = (sidecar.client(), sidecar.client());
    for _ in 0..100 {
        assert_eq!(one.lookup_one(id).unwrap().as_ref(), Some(&output));
        assert_eq!(two.lookup_one(id).unwrap().as_ref(), Some(&output));
    }
}

#[test]
fn a_node_that_is_slow_breaks_off_or_talks_nonsense_is_asked_again() {
    let node = Node::start(&["--no-mining"]);
    let proxy = Proxy::start(&node.url());
    let sidecar = Sidecar::start(&proxy.url(), &[]);
    for (number, (method, fault)) in [
        ("eth_chainId", Fault::Close),
        ("eth_getBlockByNumber", Fault::Body("<html>".into())),
        ("eth_getFilterChanges", Fault::Error(-32_000, "filter not found")),
        ("eth_getFilterChanges", Fault::Status(503, "busy".into())),
        ("eth_getTransactionByHash", Fault::Half),
        ("eth_getStorageAt", Fault::Result(json!("0x"))),
        ("eth_createAccessList", Fault::Error(-32_601, "method not found")),
        ("eth_getBalance", Fault::Slow(std::time::Duration::from_millis(300))),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.fail(method, fault, 2);
        let id = ask(&node.rpc, 100 + number as i64);
        sidecar.output(id);
        node.rpc("anvil_mine", json!(["0x1"]));
    }
    sidecar.wait_for("well");
}

#[test]
fn a_node_of_another_chain_is_not_listened_to_until_the_right_one_is_back() {
    let node = Node::start(&["--no-mining"]);
    let proxy = Proxy::start(&node.url());
    let sidecar = Sidecar::start(&proxy.url(), &[]);
    let id = ask(&node.rpc, 6);
    sidecar.output(id);
    proxy.fail("eth_chainId", Fault::Result(json!("0x1")), usize::MAX);
    sidecar.wait_for("other chain");
    let mut client = sidecar.client();
    assert_eq!(client.lookup_one(id).unwrap(), None, "nothing is looked up");
    assert!(client.list(vec![id]).unwrap_err().to_string().contains("another chain"));
    assert!(client.wanted(B256::ZERO, volatility(), returns(8)).is_err());
    assert_eq!(sidecar.status().unwrap()["pending"], 0, "that chain's transactions are none of its business");
    proxy.heal();
    sidecar.wait_for("well");
    sidecar.wait("its pool is watched again", |status| status["pending"] == 1);
    assert!(client.lookup_one(id).unwrap().is_some() && !client.list(vec![id]).unwrap().is_empty());
    let refused = Client::connect(&sidecar.socket(), 1, PATIENCE).unwrap_err();
    assert!(refused.to_string().contains("31337"), "{refused}");

    let wrong = ["sidecar", "--node", &node.url(), "--chain-id", "1"];
    let second = finish(Command::new(foreblock()).args(wrong).args(["--socket", "/nonexistent/sidecar"]));
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && stderr.contains("31337"), "{stderr}");
}

#[test]
fn a_reorganisation_under_it_brings_transactions_back_and_changes_no_answer() {
    let anvil = Anvil::start(&["--no-mining"]);
    put_registry(&anvil);
    anvil.rpc.call("anvil_mine", json!(["0x1"]));
    let sidecar = Sidecar::start(&anvil.rpc.url(), &[]);
    let before = anvil.rpc.call("evm_snapshot", json!([]));
    let id = ask(&anvil.rpc, 9);
    let output = sidecar.output(id);
    anvil.rpc.call("anvil_mine", json!(["0x2"]));
    sidecar.wait("the block is seen", |status| status["head"] == 3 && status["pending"] == 0);
    // Back, and forth on another branch.
    anvil.rpc.call("evm_revert", json!([before]));
    sidecar.wait("the branch is gone", |status| status["head"] == 1);
    let again = ask(&anvil.rpc, 10);
    assert_ne!(sidecar.output(again), output);
    anvil.rpc.call("anvil_mine", json!(["0x3"]));
    sidecar.wait("the other branch is seen", |status| status["head"] == 4 && status["pending"] == 0);
    assert_eq!(sidecar.output(id), output, "a request's id holds no block: its answer is the same on any branch");
}

#[test]
fn a_transaction_that_leaves_the_pool_is_forgotten_and_one_that_reads_state_sees_the_heads() {
    let node = Node::start(&["--no-mining"]);
    let sidecar = Sidecar::start(&node.url(), &[]);
    let input = returns(11);
    // SLOAD 0 decides between two questions: calldata holds both, each of `length` bytes.
    let calls =
        [input.clone(), returns(12)].map(|input| IInference::runCall { modelId: volatility(), input }.abi_encode());
    let length = calls[0].len() as u16;
    let code = [
        &[0x61][..],
        &length.to_be_bytes(),      // PUSH2 length
        &hex!("80 5f 54 02 5f 37"), // DUP1 PUSH0 SLOAD MUL PUSH0 CALLDATACOPY: mem[0..] = data[slot*length..]
        &hex!("5f 5f"),
        &[0x61],
        &length.to_be_bytes(),           // out size, out offset, in size
        &hex!("5f 5f 61 1a0f 5a f1 00"), // in offset, value, address, gas, CALL, STOP
    ]
    .concat();
    let contract = Address::repeat_byte(0xcc);
    node.rpc("anvil_setCode", json!([contract, Bytes::from(code)]));
    node.rpc("anvil_mine", json!(["0x1"]));
    sidecar.wait("the contract's block is seen", |status| status["head"] == 1);
    let data = Bytes::from(calls.concat());
    let tx = json!([{ "from": ALICE, "to": contract, "data": data, "gas": "0x7a120" }]);
    let hash = node.rpc("eth_sendTransaction", tx);
    sidecar.output(request_id(volatility(), &input));
    // The slot moves, and with it the question.
    node.rpc("anvil_setStorageAt", json!([contract, B256::ZERO, B256::from(U256::from(1))]));
    node.rpc("anvil_dropTransaction", json!([hash]));
    node.rpc("anvil_mine", json!(["0x1"]));
    let tx = json!([{ "from": ALICE, "to": contract, "data": data, "gas": "0x7a121" }]);
    node.rpc("eth_sendTransaction", tx);
    sidecar.output(request_id(volatility(), &returns(12)));
    sidecar.wait("the dropped one is forgotten", |status| status["pending"] == 1);
}
