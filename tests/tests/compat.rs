//! `--compat`: contracts that were written for other systems, deployed as they are, get this node's models.

use foreblock_tests::{
    contract::{call, create_through_ir, send},
    forecast::create,
    node::Node,
    tools::{cast, succeed},
};
use serde_json::json;

/// 16 daily log returns with four decimals.
const RETURNS: &str = "[-133,424,43,-108,-211,234,-326,113,-119,318,51,-72,163,-49,21,-187]";
const OPENGRADIENT: &str = "0x00000000000000000000000000000000000000F4";
const RITUAL: &str = "0x0000000000000000000000000000000000000800";

/// The returns as what this chain's models take.
fn question() -> String {
    let words: String = RETURNS
        .trim_matches(['[', ']'])
        .split(',')
        .map(|number| {
            let wad = number.parse::<i128>().expect("a number") * 10i128.pow(14);
            format!("{}{wad:032x}", if wad < 0 { "f" } else { "0" }.repeat(32))
        })
        .collect();
    let tensors = format!("[(0,[1,16],0x{words})]");
    succeed(cast().args(["abi-encode", "f((uint8,uint32[],bytes)[])", &tensors])).trim().to_owned()
}

/// The volatility that the node's own model gives for these returns, as WAD.
fn expected(node: &Node) -> i128 {
    let precompile = "0x0000000000000000000000000000000000001a0F";
    let model = node.model_id("volatility");
    last_wad(&call(node, precompile, "run(bytes32,bytes)(bytes)", &[&model, &question()]))
}

fn last_wad(output: &str) -> i128 {
    i128::from_str_radix(&output[output.len() - 32..], 16).expect("the last word is a WAD")
}

#[test]
fn contracts_for_opengradient_and_ritual_run_unmodified() {
    let node = Node::start(&["--compat", "opengradient,ritual"]);
    let expected = expected(&node);
    assert!(expected > 10i128.pow(15), "a volatility: {expected}");

    let user = create_through_ir(&node, "tests/contracts", "src/compat/OpenGradientUser.sol:OpenGradientUser", &[]);
    let receipt = send(&node, &user, "runModel(string,int128[])", &["volatility", RETURNS]);
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(call(&node, &user, "result()(int128,int128)", &[]), expected.to_string(), "18 decimals");

    let user = create_through_ir(&node, "tests/contracts", "src/compat/RitualUser.sol:RitualUser", &[]);
    let name = "0x766f6c6174696c697479";
    let receipt = send(&node, &user, "predict(bytes,int32[],uint8)", &[name, RETURNS, "4"]);
    assert_eq!(receipt["status"], "0x1");
    let rounded = (expected + 5 * 10i128.pow(13)) / 10i128.pow(14);
    assert_eq!(call(&node, &user, "result()(int32)", &[]), rounded.to_string(), "four decimals");

    // A name that a user gives stands for the model, and no second one takes it.
    let volatility = node.model_id("volatility");
    send(&node, OPENGRADIENT, "nameModel(bytes,bytes32)", &["0x516d", &volatility]);
    assert_eq!(call(&node, OPENGRADIENT, "modelOf(bytes)(bytes32)", &["0x516d"]), volatility);
}

#[test]
fn nothing_stands_there_unless_it_is_asked_for() {
    let node = Node::start(&["--compat", "ritual"]);
    assert_eq!(node.rpc("eth_getCode", json!([OPENGRADIENT, "latest"])), "0x");
    assert_ne!(node.rpc("eth_getCode", json!([RITUAL, "latest"])), "0x");
}

#[test]
fn a_contract_for_chainlink_functions_gets_its_answer_in_the_transaction_that_asks() {
    let node = Node::start(&[]);
    let source = "return Functions.encodeInt256(volatility(args));";
    let router = create(&node, "contracts", "src/compat/FunctionsAdapter.sol:FunctionsAdapter", &[]);
    let name = succeed(cast().args(["from-utf8", source]));
    send(&node, &router, "nameModel(bytes,bytes32)", &[name.trim(), &node.model_id("volatility")]);
    let user = create(&node, "tests/contracts", "src/compat/FunctionsUser.sol:FunctionsUser", &[&router, source]);
    let returns = |scale: i32| -> String {
        let number = |text: &str| format!("{:.4}", f64::from(text.parse::<i32>().expect("a number") * scale) / 1e4);
        let numbers: Vec<String> = RETURNS.trim_matches(['[', ']']).split(',').map(number).collect();
        format!("[{}]", numbers.join(","))
    };

    let data = succeed(cast().args(["calldata", "request(string[])", &returns(1)]));
    assert_eq!(send(&node, &router, "relay(address,bytes)", &[&user, data.trim()])["status"], "0x1");
    assert_eq!(call(&node, &user, "lastAnswer()(int256)", &[]), expected(&node).to_string());

    // Without the relay it refuses an id that it has not noted yet; anyone delivers.
    assert_eq!(send(&node, &user, "request(string[])", &[&returns(2)])["status"], "0x1");
    assert_eq!(call(&node, &router, "isPending(uint256)(bool)", &["2"]), "true");
    assert_eq!(send(&node, &router, "deliver(uint256)", &["2"])["status"], "0x1");
    let doubled: i128 = call(&node, &user, "lastAnswer()(int256)", &[]).parse().expect("a number");
    assert!(
        (doubled - 2 * expected(&node)).abs() < 10i128.pow(12),
        "twice the returns, twice the volatility: {doubled}"
    );
}

#[test]
fn a_contract_for_oras_oracle_gets_its_callback_before_its_call_returns() {
    let node = Node::start(&[]);
    let oracle = create(&node, "contracts", "src/compat/AIOracleAdapter.sol:AIOracleAdapter", &[]);
    let user = create(&node, "tests/contracts", "src/compat/OraUser.sol:OraUser", &[&oracle]);
    let model = node.model_id("volatility");
    let receipt = send(&node, &user, "ask(uint256,bytes)", &[&model, &question()]);
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(call(&node, &user, "lastRequestId()(uint256)", &[]), "1");
    assert_eq!(last_wad(&call(&node, &user, "outputs(uint256)(bytes)", &["1"])), expected(&node));
    assert_eq!(call(&node, &oracle, "isFinalized(uint256)(bool)", &["1"]), "true");
}
