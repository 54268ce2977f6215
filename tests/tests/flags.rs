//! The table of flags against real anvil.

use foreblock_tests::{
    node::{Node, free_port},
    tools::{anvil, finish, foreblock, succeed, workspace},
};
use serde_json::json;
use std::{collections::BTreeSet, process::Command};

/// Long names of flags and aliases in a help text.
fn names(help: &str) -> BTreeSet<String> {
    let name =
        |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default().to_owned();
    let flags = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let mut names: BTreeSet<String> =
        flags.filter_map(|line| line.split_once("--")).map(|(_, rest)| name(rest)).collect();
    for aliases in help.split("[aliases: ").skip(1) {
        let aliases = aliases.split(']').next().unwrap_or_default();
        names.extend(aliases.split(',').filter_map(|alias| alias.trim().strip_prefix("--")).map(str::to_owned));
    }
    names
}

#[test]
fn the_table_names_every_flag_of_anvil() {
    let help = succeed(anvil().arg("--help"));
    let page = std::fs::read_to_string(workspace().join("docs/flags.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `--"));
    let listed: BTreeSet<String> = rows
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|name| name.trim().trim_matches('`').trim_start_matches("--").to_owned())
        .collect();
    let of_anvil = names(&help);
    assert!(of_anvil.len() > 60, "{of_anvil:?}");
    let missing: Vec<_> = of_anvil
        .iter()
        .filter(|name| !listed.contains(*name) && !["help", "version"].contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/flags.md lacks {missing:?}");
}

#[test]
fn defaults_are_anvils() {
    let defaults = |help: &str| -> BTreeSet<(String, String)> {
        let mut flag = String::new();
        let mut found = BTreeSet::new();
        for line in help.lines() {
            let text = line.trim();
            if let Some(name) = text.split_whitespace().find_map(|part| part.strip_prefix("--"))
                && text.starts_with('-')
            {
                flag = name.to_owned();
            }
            if let Some(value) = text.split("[default: ").nth(1) {
                found.insert((flag.clone(), value.trim_end_matches(']').to_owned()));
            }
        }
        found
    };
    let anvils = defaults(&succeed(anvil().arg("--help")));
    let ours = defaults(&succeed(Command::new(foreblock()).arg("--help")));
    // Anvil's clap knows no default for this one.
    let missing: Vec<_> = anvils.difference(&ours).filter(|(flag, _)| flag != "hardfork").collect();
    assert!(anvils.len() >= 8 && missing.is_empty(), "{missing:?} are anvil's, ours are {ours:?}");
}

#[test]
fn a_seeded_mnemonic_is_anvils_and_a_random_one_differs() {
    let dir = tempfile::tempdir().unwrap();
    let phrase = |args: &[&str]| {
        let path = dir.path().join("config.json");
        let _node = Node::start(&[args, &["--config-out", path.to_str().unwrap()]].concat());
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        config["wallet"]["mnemonic"].as_str().unwrap().to_owned()
    };
    // What anvil 1.7.1 prints for it.
    let seeded = "same equip riot once hat lizard survey rose exist next tired document";
    assert_eq!(phrase(&["--mnemonic-seed-unsafe", "7"]), seeded);
    let random = phrase(&["--mnemonic-random", "24"]);
    assert_eq!(random.split(' ').count(), 24);
    assert_ne!(random, phrase(&["--mnemonic-random", "24"]));
}

#[test]
fn flags_that_cannot_be_kept_are_refused_with_a_reason() {
    for (args, words) in [
        (&["--network", "optimism"] as &[&str], "ethereum"),
        (&["--mnemonic-random", "13"], "12, 15, 18, 21 or 24 words"),
        (&["--hardfork", "nonsense"], "unknown hardfork"),
        (&["--import", "x.rlp"], "--init"),
        (&["--ipc", "/nonexistent/folder/x.ipc"], "--ipc"),
        (&["--prune-history", "many"], "--prune-history"),
    ] {
        let output = finish(Command::new(foreblock()).args(["--port", &free_port().to_string()]).args(args));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(words), "{args:?}: {text}");
    }
}

#[test]
fn old_states_and_transactions_are_forgotten_where_asked() {
    let node = Node::start(&["--prune-history", "2", "--transaction-block-keeper", "1"]);
    let send = || {
        node.rpc("eth_sendTransaction", json!([{ "from": foreblock_tests::node::ALICE, "to": "0x00000000000000000000000000000000000a11ce", "value": "0x1" }]))
    };
    let first = send();
    node.receipt(first.as_str().unwrap());
    assert_eq!(node.rpc("eth_getBalance", json!(["0x00000000000000000000000000000000000a11ce", "0x1"])), "0x1");
    (0..3).for_each(|_| drop(send()));
    assert!(node.rpc("eth_getTransactionByHash", json!([first])).is_null());
    assert_eq!(node.rpc("eth_getBalance", json!(["0x00000000000000000000000000000000000a11ce", "0x2"])), "0x2");
    let forgotten =
        node.try_rpc("eth_getBalance", json!(["0x00000000000000000000000000000000000a11ce", "0x1"])).unwrap_err();
    assert!(forgotten.message.contains("--prune-history"), "{forgotten:?}");
    let back = node.try_rpc("anvil_rollback", json!([3])).unwrap_err();
    assert!(back.message.contains("not kept"), "{back:?}");
    node.rpc("anvil_rollback", json!([1]));
    assert_eq!(node.rpc("eth_getBalance", json!(["0x00000000000000000000000000000000000a11ce", "latest"])), "0x3");
}
