//! Contracts on a node, by Foundry's programs.

use crate::{
    node::{ALICE_KEY, Node},
    tools::{cast, forge, succeed, workspace},
};
use serde_json::Value;

/// Creates a contract with `forge create` and returns its address; compiled through the IR, for what is too deep for the
/// legacy code generator.
pub fn create_through_ir(node: &Node, project: &str, contract: &str, constructor_args: &[&str]) -> String {
    let mut command = forge();
    command.current_dir(workspace().join(project));
    command.args([
        "create",
        contract,
        "--via-ir",
        "--rpc-url",
        &node.url(),
        "--private-key",
        ALICE_KEY,
        "--broadcast",
        "--json",
    ]);
    if !constructor_args.is_empty() {
        command.arg("--constructor-args").args(constructor_args);
    }
    let created = json_in(&succeed(&mut command));
    created["deployedTo"].as_str().expect("forge prints an address").to_owned()
}

/// Runs a `forge script` as a user does, and gives what its `run` returned: each value by its name, as forge writes it.
pub fn script(node: &Node, project: &str, script: &str) -> Value {
    script_with(node, project, script, &[])
}

/// The same, with variables in its environment.
pub fn script_with(node: &Node, project: &str, script: &str, variables: &[(&str, &str)]) -> Value {
    let mut command = forge();
    command.current_dir(workspace().join(project)).env("FOREBLOCK_URL", node.url()).envs(variables.iter().copied());
    command.args(["script", script, "--broadcast", "--skip-simulation", "--json", "--rpc-url", &node.url()]);
    json_in(&succeed(&mut command))["returns"].take()
}

/// What a contract's function gives; a number as `cast` prints it, without its short form in brackets.
pub fn call(node: &Node, to: &str, signature: &str, args: &[&str]) -> String {
    first_word(&succeed(cast().args(["call", "--rpc-url", &node.url(), to, signature]).args(args)))
}

/// Sends a transaction from the first account and returns its receipt.
pub fn send(node: &Node, to: &str, signature: &str, args: &[&str]) -> Value {
    let mut command = cast();
    command.args(["send", "--rpc-url", &node.url(), "--private-key", ALICE_KEY, "--json", to, signature]);
    json_in(&succeed(command.args(args)))
}

/// A number that `cast` prints as `123 [1.23e2]`.
pub fn first_word(printed: &str) -> String {
    printed.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The first JSON object among other lines.
fn json_in(printed: &str) -> Value {
    let start = printed.find('{').unwrap_or_else(|| panic!("no JSON in {printed}"));
    let mut values = serde_json::Deserializer::from_str(&printed[start..]).into_iter();
    values.next().and_then(Result::ok).unwrap_or_else(|| panic!("no JSON in {printed}"))
}
