//! Each example on a node, with its real models: deployed by the script that its README names, and seen by its effect on chain.

use alloy_primitives::hex;
use foreblock_tests::{
    contract::{call, script, send},
    node::{ALICE, Node},
    tools::{cast, foreblock, succeed},
};
use serde_json::{Value, json};
use std::process::Command;

const DAY_SECONDS: u64 = 86_400;
/// The chain's clock moves on by a second for each block, which the wall's may not have done.
const SLACK_SECONDS: u64 = 60;

fn number(value: &Value) -> i128 {
    let text = value.as_str().unwrap_or_else(|| panic!("no number: {value}"));
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => text.split_whitespace().next().unwrap_or_default().parse(),
    }
    .unwrap_or_else(|_| panic!("no number: {value}"))
}

fn address(returned: &Value, name: &str) -> String {
    returned[name]["value"].as_str().unwrap_or_else(|| panic!("no {name} in {returned}")).to_owned()
}

/// Events that a contract has emitted, oldest first.
fn logs(node: &Node, contract: &str, event: &str) -> Vec<Value> {
    let topic = succeed(cast().args(["sig-event", event]));
    let logs = node.rpc("eth_getLogs", json!([{ "fromBlock": "0x0", "address": contract, "topics": [topic.trim()] }]));
    logs.as_array().expect("a list of logs").clone()
}

/// WAD word `index` of a log's data.
fn word(log: &Value, index: usize) -> i128 {
    let data = log["data"].as_str().expect("data is hex").trim_start_matches("0x");
    let word = &data[64 * index..64 * (index + 1)];
    u128::from_str_radix(&word[32..], 16).expect("a word is hex") as i128
}

/// The numbers of one output of `foreblock model run`, as WAD.
fn model_run(node: &Node, model: &str, input: &Value, output: usize) -> Vec<i128> {
    let mut command = Command::new(foreblock());
    command.args(["model", "--data-dir"]).arg(node.data_dir());
    command.args(["run", model, "--input", &input.to_string(), "--json"]);
    let printed: Value = serde_json::from_str(&succeed(&mut command)).expect("the command prints JSON");
    printed["outputs"][output]["digits"].as_array().expect("digits of numbers").iter().map(number).collect()
}

#[test]
fn lending_sizes_the_collateral_by_the_models_probability() {
    let node = Node::start(&[]);
    let returned = script(&node, "examples/lending", "script/Borrow.s.sol");
    let line = address(&returned, "line");
    let application = json!({ "application": [[9, 60, 0, 73, 129, 0, 0, 1000, 1200]] });
    let risk = model_run(&node, "risk", &application, 1)[1];
    assert!(risk > 0 && risk < 10i128.pow(18), "a probability: {risk}");

    let borrowed = &logs(&node, &line, "Borrowed(address,uint256,uint256,int256)")[0];
    let principal = 10i128.pow(18);
    assert_eq!([word(borrowed, 0), word(borrowed, 1), word(borrowed, 2)], [principal, principal / 2 + risk, risk]);
    assert_eq!(call(&node, &line, "loans(address)(uint128,uint128)", &[ALICE]), principal.to_string());
    let balance = number(&node.rpc("eth_getBalance", json!([line, "latest"])));
    assert_eq!(balance, 10 * principal - principal + principal / 2 + risk, "what was put in, less the loan");
}

#[test]
fn a_feed_takes_the_post_that_the_model_finds_on_topic_and_refuses_another() {
    let node = Node::start(&[]);
    let returned = script(&node, "examples/feed-filter", "script/Post.s.sol");
    let feed = address(&returned, "feed");
    let posted = logs(&node, &feed, "Posted(uint256,address,string,int256,int256)");
    assert_eq!(posted.len(), 1);
    // What the model's card is held to: ONNX Runtime says 0.494.
    let likeness = word(&posted[0], 1);
    assert!((490..500).contains(&(likeness / 10i128.pow(15))), "{likeness}");

    let coffee = ["0", "Delicious coffee, rich and smooth."];
    let data = succeed(cast().args(["calldata", "post(uint256,string)"]).args(coffee));
    let refused = node.try_rpc("eth_call", json!([{ "to": feed, "data": data.trim() }, "latest"])).unwrap_err();
    let off_topic = succeed(cast().args(["sig", "OffTopic(int256,int256)"]));
    assert!(refused.data.as_str().unwrap_or_default().starts_with(off_topic.trim()), "{refused:?}");
}

#[test]
fn a_guard_waits_longer_where_the_words_hide_a_payment() {
    let node = Node::start(&[]);
    let returned = script(&node, "examples/governance-guard", "script/Propose.s.sol");
    let guard = address(&returned, "guard");
    let proposed = logs(&node, &guard, "Proposed(bytes32,uint256,uint64,string)");
    assert_eq!(proposed.len(), 2);
    let waits: Vec<u64> = proposed
        .iter()
        .map(|log| {
            let block = node.rpc("eth_getBlockByNumber", json!([log["blockNumber"], false]));
            (word(log, 1) - number(&block["timestamp"])) as u64 / DAY_SECONDS
        })
        .collect();
    assert_eq!(waits, [2, 14], "a grant that reads as one, and one that reads as a change of fees");

    node.rpc("evm_increaseTime", json!([2 * DAY_SECONDS + SLACK_SECONDS]));
    let receiver = "0x000000000000000000000000000000000000bEEF";
    node.rpc("anvil_setBalance", json!([guard, "0xffffffffffffffffffff"]));
    let ten = (10 * 10u128.pow(18)).to_string();
    let receipt = send(&node, &guard, "execute(address,uint256,bytes)", &[receiver, &ten, "0x"]);
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(node.rpc("eth_getBalance", json!([receiver, "latest"])), "0x8ac7230489e80000");
}

#[test]
fn a_judge_rules_in_words_and_pays_what_it_ruled() {
    const ETHER: i128 = 10i128.pow(18);
    let node = Node::start(&[]);
    let returned = script(&node, "examples/governance-guard", "script/Judge.s.sol");
    let judge = address(&returned, "judge");
    let ruled = &logs(&node, &judge, "Ruled(uint256,uint8,uint64)")[0];
    let ruling = word(ruled, 0);
    let (said, to_seller) = [("refund", 0), ("half", ETHER / 2), ("pay", ETHER)][ruling as usize];
    let list = node.rpc("inference_getList", json!([ruled["blockNumber"]]));
    let [entry] = &list["entries"].as_array().unwrap()[..] else { panic!("one question, one transaction: {list}") };
    let output = entry["output"].as_str().expect("the model has an answer");
    assert!(output.contains(&hex::encode(said)), "{said:?} is what the model wrote: {output}");

    node.rpc("evm_increaseTime", json!([3 * DAY_SECONDS + SLACK_SECONDS]));
    assert_eq!(send(&node, &judge, "enforce(uint256)", &["0"])["status"], "0x1");
    let owed = |account: &str| number(&json!(call(&node, &judge, "owed(address)(uint256)", &[account])));
    assert_eq!(owed(ALICE), ETHER - to_seller, "what the seller does not get");
    assert_eq!(owed("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"), to_seller, "{said}");
}

#[test]
fn a_market_maker_gets_its_fees_from_two_models_in_a_chain() {
    let node = Node::start(&[]);
    let returned = script(&node, "examples/chained-models", "script/Deploy.s.sol");
    let fees = address(&returned, "fees");
    // Up and down by a tenth every day, and the pool holds mostly base.
    for day in 1..=16 {
        node.rpc("evm_increaseTime", json!([DAY_SECONDS + SLACK_SECONDS]));
        let price = if day % 2 == 0 { "100000000000000000000" } else { "110000000000000000000" };
        assert_eq!(send(&node, &fees, "note(uint256,int256)", &[price, "500000000000000000"])["status"], "0x1");
    }
    let changed = logs(&node, &fees, "FeesChanged(int256,int256,int256)");
    assert_eq!(changed.len(), 1, "16 returns are there with the last note");
    let chained: Vec<i128> = (0..3).map(|index| word(&changed[0], index)).collect();

    let step = 1.1f64.ln();
    let returns: Vec<f64> = (1..=16).map(|day| if day % 2 == 0 { -step } else { step }).collect();
    let volatility = model_run(&node, "volatility", &json!({ "log_returns": [returns] }), 0)[0];
    assert!((chained[0] - volatility).abs() < 10i128.pow(11), "{} on chain, {volatility}", chained[0]);
    let wad = chained[0] as f64 / 1e18;
    let expected = model_run(&node, "fee", &json!({ "volatility": [[wad]], "inventory": [[0.5]] }), 0);
    for (fee, expected) in chained[1..].iter().zip(expected) {
        assert!((fee - expected).abs() < 10i128.pow(11), "{fee} on chain, {expected} for the first model's answer");
    }
    assert_ne!(chained[1], chained[2], "an unbalanced pool asks more on one side");
    assert_eq!(call(&node, &fees, "buyFee()(int256)", &[]), chained[1].to_string());
    assert_eq!(call(&node, &fees, "sellFee()(int256)", &[]), chained[2].to_string());
}

#[test]
fn a_language_model_files_a_letter_in_the_transaction_that_brings_it() {
    let node = Node::start(&[]);
    let returned = script(&node, "examples/ask-a-model", "script/Send.s.sol");
    let inbox = address(&returned, "inbox");
    let filed = &logs(&node, &inbox, "Filed(uint256,string,uint8)")[0];
    let data = filed["data"].as_str().unwrap();
    let folder = hex::decode(&data[2 + 3 * 64..2 + 4 * 64]).unwrap();
    let folder = std::str::from_utf8(&folder).unwrap().trim_end_matches('\0');
    assert!(["product", "film", "politics", "tweet"].contains(&folder), "one of the options: {folder:?}");
    assert!((1..=5).contains(&word(filed, 1)), "within the range: {data}");
    let stored = call(&node, &inbox, "letters(uint256)(address,uint8,uint8,string)", &["0"]);
    assert_eq!(stored.to_lowercase(), ALICE.to_lowercase(), "the sender comes first");
    let list = node.rpc("inference_getList", json!([filed["blockNumber"]]));
    assert_eq!(list["entries"].as_array().unwrap().len(), 2, "two questions, one transaction: {list}");
    let receipt = node.receipt(filed["transactionHash"].as_str().unwrap());
    let sent = node.rpc("eth_getTransactionByHash", json!([filed["transactionHash"]]));
    assert!(number(&receipt["gasUsed"]) < number(&sent["gas"]), "what the answers did not need came back");
}
