//! The npm packages as their users get them: packed, installed in a new project, and used there.

use foreblock_tests::{
    contract::script,
    node::{ALICE_KEY, Node},
    project::{copy, npm_project, write},
    tools::{foreblock, node_22, npm, succeed, workspace},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What users of the packages write, for Node.js and for TypeScript.
fn users() -> PathBuf {
    workspace().join("tests/clients/packages")
}

/// Runs one file of tests with Node.js 22 and expects at least one to pass and none to fail.
fn passes(test: &Path, node: &Node) {
    let folder = test.parent().expect("a test is in a folder");
    let mut runner = node_22();
    runner.args(["--test", "--test-reporter=tap", "--test-force-exit"]).arg(test).current_dir(folder);
    runner.env("NODE_URL", node.url()).env("PRIVATE_KEY", ALICE_KEY).env_remove("NODE_PATH");
    let printed = succeed(&mut runner);
    assert!(printed.contains("# fail 0") && !printed.contains("# pass 0"), "{printed}");
}

#[test]
fn viem_users_call_wait_and_watch() {
    let (project, node) = (npm_project(), Node::start(&[]));
    let test = project.path().join("viem.js");
    fs::copy(users().join("viem.js"), &test).unwrap();
    passes(&test, &node);
}

#[test]
fn the_declarations_say_what_typescript_may_rely_on() {
    let project = npm_project();
    copy(&users(), project.path());
    let mut compiler = node_22();
    compiler.arg(npm().join("typescript/bin/tsc")).args(["--project", "tsconfig.json"]).current_dir(project.path());
    succeed(&mut compiler);
}

/// The examples of the package's page, as they stand there but for the node's address.
#[test]
fn what_the_page_of_foreblock_viem_shows_runs() {
    let (project, node) = (npm_project(), Node::start(&[]));
    let page = fs::read_to_string(workspace().join("contracts/npm/foreblock-viem/README.md")).unwrap();
    let examples: Vec<&str> = page.split("```js\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 2, "{page}");
    let (rpc, socket) = (node.url(), node.url().replace("http", "ws"));
    for (index, example) in examples.iter().enumerate() {
        let file = format!("example-{index}.mjs");
        let here = example.replace("http://127.0.0.1:8545", &rpc).replace("ws://127.0.0.1:8545", &socket);
        write(project.path(), &file, &here);
        let mut run = node_22();
        let printed = succeed(run.arg(&file).current_dir(project.path()).env_remove("NODE_PATH"));
        assert!(!printed.trim().is_empty(), "example {index} prints what it got");
    }
}

#[test]
fn hardhat_tests_pass_against_mocks_and_against_the_node() {
    let project = npm_project();
    let root = project.path();
    copy(&workspace().join("contracts/npm/hardhat-foreblock/test/project"), root);
    let hardhat = |args: &[&str]| {
        let mut command = node_22();
        command.arg(npm().join("hardhat/dist/src/cli.js")).args(args).current_dir(root);
        command.env("FOREBLOCK_SOLJSON", npm().join("solc/soljson.js")).env("FOREBLOCK_BIN", foreblock());
        command.env("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true").env("CI", "true").env("NO_COLOR", "1");
        command
    };
    let solidity = succeed(hardhat(&["test", "solidity"]).env_remove("NODE_PATH"));
    assert!(solidity.contains("1 passing"), "{solidity}");

    let mut tests: Vec<PathBuf> = fs::read_dir(root.join("test")).unwrap().map(|entry| entry.unwrap().path()).collect();
    tests.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    assert_eq!(tests.len(), 3);
    let mut node = hardhat(&[]);
    let mut runner = Command::new(node.get_program());
    runner.args(["--test", "--test-reporter=tap"]).args(tests).current_dir(root);
    runner.envs(node.env("NODE_ENV", "test").get_envs().filter_map(|(name, value)| Some((name, value?))));
    let printed = succeed(&mut runner);
    assert!(printed.contains("# fail 0") && !printed.contains("# pass 0"), "{printed}");
}

#[test]
fn an_ethers_user_gets_the_answer_by_a_call_and_by_a_transaction() {
    let project = npm_project();
    let node = Node::start(&[]);
    script(&node, "examples/quickstart", "script/Ask.s.sol");
    fs::copy(workspace().join("examples/ethers/ask.js"), project.path().join("ask.cjs")).unwrap();
    let mut ask = node_22();
    ask.args(["ask.cjs", &node.url()]).arg(workspace().join("examples/quickstart/out/Forecast.sol/Forecast.json"));
    let printed = succeed(ask.current_dir(project.path()).env_remove("NODE_PATH"));
    let after = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {printed}")).split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(after("called:"), after("stored:"), "{printed}");
    assert!(after("refused:").starts_with("InferenceFailed("), "{printed}");
}
