//! Projects of users: new ones, into which the packages of this repository are installed.

use crate::tools::{forge, npm, succeed, workspace};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Where each package lies in the repository.
pub const PACKAGES: [&str; 3] = ["contracts", "contracts/npm/foreblock-viem", "contracts/npm/hardhat-foreblock"];

/// A new project with the npm packages as their users get them, packed, and no others but what the tests are provisioned with:
/// it lies beside those, where Node.js looks for what the project itself lacks.
pub fn npm_project() -> TempDir {
    let provisioned = npm();
    let folder = TempDir::new_in(provisioned.parent().expect("a folder in a folder")).expect("a folder can be made");
    write(folder.path(), "package.json", r#"{ "name": "project", "version": "0.0.0", "type": "module" }"#);
    let mut install = npm_in(folder.path());
    install.args(["install", "--offline", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"]);
    succeed(install.args(pack(folder.path())));
    folder
}

fn pack(folder: &Path) -> Vec<PathBuf> {
    let pack = |package: &&str| {
        let mut npm = npm_in(&workspace().join(package));
        let printed = succeed(npm.args(["pack", "--silent", "--pack-destination"]).arg(folder));
        folder.join(printed.trim())
    };
    PACKAGES.iter().map(pack).collect()
}

/// npm, to be run in a folder.
fn npm_in(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder).env("npm_config_update_notifier", "false");
    npm
}

/// Writes a project's file, and the folders above it.
pub fn write(project: &Path, file: &str, content: &str) {
    let path = project.join(file);
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
    fs::write(path, content).expect("a file can be written");
}

/// A copy of a folder and all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).expect("a copy") }
    }
}

/// The test of three lines that `docs/solidity.md` shows.
pub fn first_test() -> String {
    let page = fs::read_to_string(workspace().join("docs/solidity.md")).expect("the page on Solidity");
    let test = page.split("```solidity\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    assert_eq!(test.lines().count(), 3, "{test}");
    test.to_owned()
}

/// Runs `forge test` and expects just that test to pass.
pub fn passes_first_test(project: &Path) {
    write(project, "test/First.t.sol", &first_test());
    let printed = succeed(forge().arg("test").current_dir(project));
    assert!(printed.contains("1 tests passed, 0 failed"), "{printed}");
}
