//! `cargo run --release` and what it prints.

use std::{env, path::Path, process::Command};

use foreblock_tests::{
    node::{ALICE, Node},
    tools::{cast, succeed, workspace},
};
use serde_json::{Value, json};

#[test]
fn the_banner_names_accounts_models_and_the_engine() {
    let node = Node::start(&[]);
    let log = node.log();
    assert_eq!(node.rpc("eth_chainId", json!([])), "0x7a69");
    assert_eq!(accounts(&node).len(), 10);
    for account in accounts(&node) {
        assert!(log.to_lowercase().contains(&account), "{account} is not in\n{log}");
    }
    let models = node.rpc("inference_models", json!([]));
    let models = models.as_array().expect("a list of models");
    assert!(models.len() >= 3, "{models:?}");
    for model in models {
        let (name, id) = (text(&model["name"]), text(&model["id"]));
        assert!(log.lines().any(|line| line.contains(&name) && line.contains(&id)), "{name} {id} is not in\n{log}");
    }
    assert!(log.contains("exact"), "the engine is not named in\n{log}");
    assert!(log.contains(&format!("Listening on 127.0.0.1:{}", node.port)), "{log}");
}

#[test]
fn the_line_to_paste_gets_an_output_in_a_transaction() {
    let node = Node::start(&[]);
    let log = node.log();
    let line = log.lines().find(|line| line.trim_start().starts_with("cast ")).unwrap_or_else(|| panic!("{log}"));
    let cast = cast();
    let folder = Path::new(cast.get_program()).parent().expect("cast lies in a folder");
    let path =
        env::join_paths([folder.into()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())));
    let printed = succeed(Command::new("sh").args(["-c", line]).env("PATH", path.expect("PATH can be joined")));

    let block = node.rpc("eth_getBlockByNumber", json!(["latest", true]));
    let transaction = &block["transactions"][0];
    let receipt = node.receipt(&text(&transaction["hash"]));
    assert_eq!(receipt["status"], "0x1");
    let request = json!({ "from": ALICE, "to": transaction["to"], "data": transaction["input"] });
    let answer = text(&node.rpc("eth_call", json!([request, "latest"])));
    assert!(answer.len() > 2, "an empty answer");
    assert!(printed.contains(answer.trim_start_matches("0x")), "{answer} is not in\n{printed}");
}

#[test]
fn a_killed_node_starts_again_on_the_same_data() {
    let mut node = Node::start(&[]);
    let models = node.rpc("inference_models", json!([]));
    node.kill_and_restart();
    assert_eq!(node.rpc("inference_models", json!([])), models);
    assert_eq!(node.rpc("eth_blockNumber", json!([])), "0x0");
}

#[test]
fn help_and_version_are_there() {
    for (flag, expected) in [("--version", env!("CARGO_PKG_VERSION")), ("--help", "--port")] {
        let printed = succeed(Command::new(foreblock_tests::tools::foreblock()).arg(flag));
        assert!(printed.contains(expected), "{flag}: {printed}");
    }
}

/// The two commands stand in the README as they are run here and in CI.
#[test]
fn the_readme_names_the_two_commands() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).expect("there is a README");
    let ci = std::fs::read_to_string(workspace().join(".ci/run")).expect("there is a CI script");
    for command in ["cargo run --release", "cargo xtask test"] {
        assert!(readme.contains(command), "{command}");
    }
    assert!(ci.contains("cargo xtask test"));
}

fn accounts(node: &Node) -> Vec<String> {
    let accounts = node.rpc("eth_accounts", json!([]));
    accounts.as_array().expect("a list of accounts").iter().map(|account| text(account).to_lowercase()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).to_owned()
}
