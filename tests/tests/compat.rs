//! `--compat`: contracts that were written for other systems, deployed as they are, get this node's models.

use foreblock_tests::{
    contract::{call, create_through_ir, send},
    node::Node,
    tools::{cast, succeed},
};
use serde_json::json;

/// 16 daily log returns with four decimals.
const RETURNS: &str = "[-133,424,43,-108,-211,234,-326,113,-119,318,51,-72,163,-49,21,-187]";
const OPENGRADIENT: &str = "0x00000000000000000000000000000000000000F4";
const RITUAL: &str = "0x0000000000000000000000000000000000000800";

/// The volatility that the node's own model gives for these returns, as WAD.
fn expected(node: &Node) -> i128 {
    let words: String = RETURNS
        .trim_matches(['[', ']'])
        .split(',')
        .map(|number| {
            let wad = number.parse::<i128>().expect("a number") * 10i128.pow(14);
            format!("{}{wad:032x}", if wad < 0 { "f" } else { "0" }.repeat(32))
        })
        .collect();
    let input = call(node, OPENGRADIENT, "modelOf(bytes)(bytes32)", &["0x766f6c6174696c697479"]);
    let tensors = format!("[(0,[1,16],0x{words})]");
    let encoded = succeed(cast().args(["abi-encode", "f((uint8,uint32[],bytes)[])", &tensors]));
    let precompile = "0x0000000000000000000000000000000000001a0F";
    let output = call(node, precompile, "run(bytes32,bytes)(bytes)", &[&input, encoded.trim()]);
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
