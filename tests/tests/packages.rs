//! The npm packages as their users get them: packed, installed in a new project, and used there.

use foreblock_tests::{
    contract::script,
    node::Node,
    tools::{foreblock, forge, node_22, npm, succeed, workspace},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Where each package lies in the repository.
const PACKAGES: [&str; 3] = ["contracts", "contracts/npm/foreblock-viem", "contracts/npm/hardhat-foreblock"];

/// A new project that has the packages, and no others but what the tests are provisioned with: it lies beside those, where
/// Node.js looks for what the project itself lacks.
fn new_project() -> TempDir {
    let provisioned = npm();
    let folder = TempDir::new_in(provisioned.parent().expect("a folder in a folder")).expect("a folder can be made");
    fs::write(folder.path().join("package.json"), r#"{ "name": "project", "version": "0.0.0", "type": "module" }"#)
        .unwrap();
    let mut install = in_folder(folder.path());
    install.args(["install", "--offline", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"]);
    succeed(install.args(pack(folder.path())));
    folder
}

fn pack(folder: &Path) -> Vec<PathBuf> {
    let pack = |package: &&str| {
        let mut npm = in_folder(&workspace().join(package));
        let printed = succeed(npm.args(["pack", "--silent", "--pack-destination"]).arg(folder));
        folder.join(printed.trim())
    };
    PACKAGES.iter().map(pack).collect()
}

/// npm, to be run in a folder.
fn in_folder(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder).env("npm_config_update_notifier", "false");
    npm
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}

#[test]
fn a_new_project_whose_test_is_three_lines() {
    let project = new_project();
    let root = project.path();
    fs::create_dir(root.join("test")).unwrap();
    fs::write(
        root.join("foundry.toml"),
        "[profile.default]\nlibs = [\"node_modules\"]\nevm_version = \"cancun\"\noptimizer = true\n\
         remappings = [\"@foreblock/contracts/=node_modules/@foreblock/contracts/\"]\n",
    )
    .unwrap();
    let test = "import {Inference, InferenceTest} from \"@foreblock/contracts/src/testing/InferenceTest.sol\";\n\
                contract First is InferenceTest {\n\
                function test() public { givesScore(\"model\", 7); assert(Inference.score(\"model\", row(1)) == 7); } }\n";
    assert_eq!(test.lines().count(), 3);
    fs::write(root.join("test/First.t.sol"), test).unwrap();
    let printed = succeed(forge().args(["test"]).current_dir(root));
    assert!(printed.contains("1 tests passed, 0 failed"), "{printed}");
}

#[test]
fn hardhat_tests_pass_against_mocks_and_against_the_node() {
    let project = new_project();
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
    let project = new_project();
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
