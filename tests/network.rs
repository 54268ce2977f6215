//! Operators as processes of their own, and what nodes ask them.

use crate::{
    node::{ALICE, Node},
    tools,
};
use alloy_primitives::{B256, Bytes, I256, hex};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_precompile::abi::{DType, IInference, Tensor};
use serde_json::json;
use std::{
    fs::File,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest wait for an operator to listen: opening a keystore is slow on purpose.
const PATIENCE: Duration = Duration::from_secs(60);

/// Address of the precompile.
pub const PRECOMPILE: &str = "0x0000000000000000000000000000000000001a0f";

/// Calldata that asks a model about one row of so many numbers that no other `question` has.
pub fn calldata(model: &str, numbers: u32, question: i64) -> String {
    run(model, row(numbers, question))
}

/// Sends a transaction that asks a model of the volatility's form about 16 returns, and returns its hash.
pub fn ask(node: &Node, model: &str, question: i64) -> String {
    send(node, ALICE, model, row(16, question), 10_000_000)
}

/// Sends a transaction that asks a model, and returns its hash.
pub fn send(node: &Node, from: &str, model: &str, input: Bytes, gas: u64) -> String {
    let data = run(&node.model_id(model), input);
    let tx = json!({ "from": from, "to": PRECOMPILE, "data": data, "gas": format!("{gas:#x}") });
    node.rpc("eth_sendTransaction", json!([tx])).as_str().expect("a hash").to_owned()
}

fn run(model: &str, input: Bytes) -> String {
    let model: B256 = model.parse().expect("a model's id");
    hex::encode_prefixed(IInference::runCall { modelId: model, input }.abi_encode())
}

fn row(numbers: u32, question: i64) -> Bytes {
    let number = |at: u32| I256::try_from((i64::from(at) - 8) * 1_000_000_000_000_000 + question).expect("it fits");
    let data: Vec<u8> = (0..numbers).flat_map(|at| number(at).to_be_bytes::<32>()).collect();
    vec![Tensor { dtype: DType::Wad, shape: vec![1, numbers], data: data.into() }].abi_encode().into()
}

/// A running `foreblock operator`, killed when dropped. Its key stays, so that it can come back.
#[derive(Debug)]
pub struct Operator {
    child: Child,
    port: u16,
    args: Vec<String>,
    folder: TempDir,
}

impl Operator {
    /// Starts one with a new key and these flags.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, |_| {})
    }

    /// The same, after `prepare` has put what it wants into the data folder.
    pub fn start_with(args: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        prepare(&folder.path().join("data"));
        std::fs::write(folder.path().join("password"), "a password").expect("the password can be written");
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        let port = crate::node::free_port();
        let child = spawn(&args, port, folder.path());
        Self { child, port, args, folder }
    }

    /// Where nodes reach it.
    pub fn url(&self) -> String {
        format!("oip://127.0.0.1:{}", self.port)
    }

    /// Its address, as it printed it.
    pub fn address(&self) -> String {
        let log = self.log();
        let address = log.lines().find_map(|line| line.strip_prefix("Operator ")?.split(' ').next());
        address.unwrap_or_else(|| panic!("the operator has not said who it is:\n{log}")).to_owned()
    }

    /// Waits until it listens.
    pub fn wait(&self) {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "the operator does not listen:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, with the same key, at the same place.
    pub fn restart(&mut self) {
        self.child = spawn(&self.args, self.port, self.folder.path());
        self.wait();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(args: &[String], port: u16, folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("the log can be opened");
    let path = |name: &str| folder.join(name);
    Command::new(tools::foreblock())
        .args(["operator", "--new", "--listen", &format!("127.0.0.1:{port}")])
        .arg("--keystore")
        .arg(path("key.json"))
        .arg("--password-file")
        .arg(path("password"))
        .arg("--data-dir")
        .arg(path("data"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log can be shared"))
        .stderr(log)
        .spawn()
        .expect("the operator can be started")
}
