//! Every way that `docs/solidity.md` names to install the Solidity package, up to a first test that passes.

use foreblock_tests::{
    project::{first_test, npm_project, passes_first_test, write},
    tools::{finish, forge, node_22, npm, succeed, workspace},
};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

/// Where the repository stands for those who install from git; git is told that it is a folder.
const REMOTE: &str = "https://git.example/";

/// The last cell that the page's table of ways to install has for one of them: a remapping.
fn remapping(way: &str) -> String {
    let page = fs::read_to_string(workspace().join("docs/solidity.md")).expect("the page on Solidity");
    let row = page.lines().find(|line| line.starts_with(&format!("| {way}"))).expect("a row for each way to install");
    let cell = row.trim_end_matches([' ', '|']).rsplit('|').next().expect("the last cell");
    cell.split('`').nth(1).unwrap_or_else(|| panic!("no remapping in {cell}")).to_owned()
}

fn configure(project: &Path, way: &str) {
    let settings = "[profile.default]\nevm_version = \"cancun\"\noptimizer = true\n";
    write(project, "foundry.toml", &format!("{settings}libs = []\nremappings = [\"{}\"]\n", remapping(way)));
}

/// What is in this checkout, as a repository that git clones: the files that git does not ignore, in one commit.
fn repository(folder: &Path) {
    let run = |args: &[&str]| {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(folder.join("foreblock.git")).arg("--work-tree").arg(workspace());
        succeed(
            git.args(["-c", "user.name=test", "-c", "user.email=test@example"]).args(args).current_dir(workspace()),
        );
    };
    succeed(Command::new("git").args(["init", "--quiet", "--bare"]).arg(folder.join("foreblock.git")));
    run(&["add", "--all"]);
    run(&["commit", "--quiet", "--message", "what is here"]);
    // As hosts of git allow it; Soldeer clones without the content of files at first.
    run(&["config", "uploadpack.allowFilter", "true"]);
    run(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
}

/// The same command, for which [`REMOTE`] is a folder.
fn with_remote<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let settings = [
        ("protocol.file.allow".to_owned(), "always".to_owned()),
        (format!("url.file://{}/.insteadOf", folder.display()), REMOTE.to_owned()),
    ];
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (index, (key, value)) in settings.into_iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command
}

#[test]
fn by_npm_for_forge() {
    let project = npm_project();
    configure(project.path(), "npm");
    passes_first_test(project.path());
}

#[test]
fn by_npm_for_hardhat() {
    let project = npm_project();
    let root = project.path();
    write(
        root,
        "hardhat.config.js",
        "import { defineConfig } from 'hardhat/config';\n\
         export default defineConfig({ solidity: { version: '0.8.37', path: process.env.SOLJSON } });\n",
    );
    write(root, "contracts/First.t.sol", &first_test());
    let mut hardhat = node_22();
    hardhat.arg(npm().join("hardhat/dist/src/cli.js")).args(["test", "solidity"]).current_dir(root);
    hardhat.env("SOLJSON", npm().join("solc/soljson.js")).env_remove("NODE_PATH");
    hardhat.env("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true").env("CI", "true").env("NO_COLOR", "1");
    let printed = succeed(&mut hardhat);
    assert!(printed.contains("1 passing"), "{printed}");
}

#[test]
fn by_git() {
    let folder = TempDir::new().unwrap();
    repository(folder.path());
    let project = folder.path().join("project");
    fs::create_dir(&project).unwrap();
    succeed(Command::new("git").args(["init", "--quiet"]).current_dir(&project));
    let mut install = forge();
    install.args(["install", &format!("foreblock={REMOTE}foreblock")]).current_dir(&project);
    succeed(with_remote(&mut install, folder.path()).env_remove("FOUNDRY_OFFLINE"));
    configure(&project, "git");
    passes_first_test(&project);
}

#[test]
fn by_soldeer() {
    let folder = TempDir::new().unwrap();
    repository(folder.path());
    let project = folder.path().join("project");
    write(&project, "foundry.toml", "[profile.default]\n[dependencies]\n");
    let mut install = Command::new("timeout");
    install.arg("60").arg(forge().get_program()).args(["soldeer", "install", "foreblock-contracts~0.1.0", "--git"]);
    install.arg(format!("{REMOTE}foreblock.git")).current_dir(&project);
    succeed(with_remote(&mut install, folder.path()));
    configure(&project, "Soldeer");
    passes_first_test(&project);
}

#[test]
fn by_a_checkout_beside() {
    let folder = TempDir::new().unwrap();
    let project = folder.path().join("project");
    fs::create_dir(&project).unwrap();
    std::os::unix::fs::symlink(workspace().canonicalize().unwrap(), folder.path().join("foreblock")).unwrap();
    configure(&project, "a checkout");
    passes_first_test(&project);
}

#[test]
fn without_the_remapping_forge_says_what_is_missing() {
    let project = npm_project();
    write(project.path(), "foundry.toml", "[profile.default]\nlibs = []\nauto_detect_remappings = false\n");
    write(project.path(), "test/First.t.sol", &first_test());
    let output = finish(forge().arg("test").current_dir(project.path()));
    let printed = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success() && printed.contains("@foreblock/contracts/src/testing/InferenceTest.sol"),
        "{printed}"
    );
}
