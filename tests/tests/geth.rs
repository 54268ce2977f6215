//! The precompile in Go (`examples/geth`): its own tests, the conformance suite's questions to it, and its client beside a real sidecar.

use alloy_primitives::{B256, Bytes};
use alloy_sol_types::SolCall;
use foreblock_precompile::{abi::IInference, request_id};
use foreblock_tests::{
    network::ask,
    node::Node,
    sidecar::Sidecar,
    tools::{finish, foreblock, succeed, workspace},
};
use serde_json::json;
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Go in the example's folder, without network. A machine without Go has these tests skipped, but CI must have it.
fn go(args: &[&str]) -> Option<Command> {
    let there = Command::new("go").arg("version").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(env::var_os("CI").is_none(), "there is no Go: apt-get install golang-go");
        eprintln!("SKIPPED, since there is no Go: apt-get install golang-go");
        return None;
    }
    let mut command = Command::new("go");
    command.args(args).current_dir(workspace().join("examples/geth"));
    command.env("GOFLAGS", "-mod=mod").env("GOPROXY", "off").env("GOTOOLCHAIN", "local");
    command.env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go"));
    Some(command)
}

/// The example's program.
fn built(folder: &TempDir) -> Option<PathBuf> {
    let program = folder.path().join("inference-go");
    let path = program.to_str().expect("a temporary folder's name is text");
    succeed(&mut go(&["build", "-o", path, "./conformance"])?);
    Some(program)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_passes_its_own_tests() {
    let Some(mut vet) = go(&["vet", "./..."]) else { return };
    succeed(&mut vet);
    let printed = succeed(&mut go(&["test", "-count=1", "./..."]).expect("Go is there"));
    assert_eq!(printed.lines().filter(|line| line.starts_with("ok")).count(), 2, "{printed}");
}

#[test]
fn it_answers_the_suites_calls_as_this_implementation_does() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let Some(program) = built(&folder) else { return };
    let socket = folder.path().join("socket");
    let serving = Command::new(program).arg(&socket).stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut serving = Running(serving);
    let mut line = String::new();
    BufReader::new(serving.0.stdout.take().expect("it is piped")).read_line(&mut line).expect("it prints");
    assert_eq!(line.trim(), "listening");
    let output = finish(Command::new(foreblock()).args(["conformance", "--lookup"]).arg(&socket));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains(" 0 failed"), "{printed}");
    let all = printed.lines().find(|line| line.starts_with("failures")).expect("the suite has a group of failures");
    assert!(all.ends_with(" 0 failed    0 not taken"), "{printed}");
}

#[test]
fn its_client_finds_what_a_sidecar_computed() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let Some(program) = built(&folder) else { return };
    let node = Node::start(&["--no-mining"]);
    let sidecar = Sidecar::start(&node.url(), &[]);
    let transaction = node.rpc("eth_getTransactionByHash", json!([ask(&node, "volatility", 1)]));
    let calldata: Bytes = serde_json::from_value(transaction["input"].clone()).expect("calldata in hex");
    let call = IInference::runCall::abi_decode(&calldata).expect("it asks a model");
    let id = request_id(call.modelId, &call.input);
    let output = sidecar.output(id);
    let mut command = Command::new(program);
    command.arg("lookup").arg(sidecar.socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let missing = B256::ZERO;
    write!(child.stdin.take().expect("it is piped"), "{id}\n{missing}\n").expect("it reads");
    let printed = String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("it prints text");
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    assert_eq!(lines, [format!("true {output} 0").as_str(), "false 0x 0"]);
}
