//! A node of its own for each test: on a free port, with a data folder that goes away with it.

pub use crate::rpc::{PATIENCE, RpcError};

use crate::{
    rpc::{Rpc, number},
    tools,
};
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// First standard account.
pub const ALICE: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
/// Its private key, published with the standard mnemonic.
pub const ALICE_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// The second.
pub const BOB: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
/// Nobody has its key, and no node funds it.
pub const STRANGER: &str = "0x00000000000000000000000000000000000a11ce";

/// A running `foreblock`, killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    wrapper: Vec<String>,
    args: Vec<String>,
    /// Where it listens.
    pub port: u16,
    folder: TempDir,
    /// Its JSON-RPC.
    pub rpc: Rpc,
}

impl Node {
    /// Starts a node with these flags beside port and data folder, and waits until it answers.
    pub fn start(args: &[&str]) -> Self {
        Self::start_under(&[], args)
    }

    /// The same, by way of a program that gets the node's command line as its last arguments, such as a shell that sets
    /// limits first and then replaces itself by the node.
    pub fn start_under(wrapper: &[&str], args: &[&str]) -> Self {
        Self::start_in(wrapper, args, |_| {})
    }

    /// The same, after `prepare` has put what it wants into the data folder.
    pub fn start_with(args: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::start_in(&[], args, prepare)
    }

    fn start_in(wrapper: &[&str], args: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        prepare(&folder.path().join("data"));
        let owned = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        let (wrapper, args): (Vec<String>, Vec<String>) = (owned(wrapper), owned(args));
        let port = free_port();
        let child = spawn(&wrapper, &args, port, folder.path());
        let node = Self { child, wrapper, args, port, folder, rpc: Rpc::new(port) };
        node.wait();
        node
    }

    /// Kills the node as `kill -9` does, and starts it again on the same data.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().expect("the node runs");
        self.child.wait().expect("the node ends");
        self.child = spawn(&self.wrapper, &self.args, self.port, self.folder.path());
        self.wait();
    }

    /// The node's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// HTTP is served here.
    pub fn url(&self) -> String {
        self.rpc.url()
    }

    /// WebSocket is served here.
    pub fn socket_url(&self) -> String {
        self.rpc.socket_url()
    }

    /// Where the node keeps models and outcomes.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the node has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Memory that the node occupies now, in bytes; where the system says so.
    pub fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.pid())
    }

    /// What is served under a URL as text.
    pub fn get(&self, url: &str) -> String {
        self.rpc.get(url)
    }

    /// One JSON-RPC call.
    pub fn try_rpc(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.rpc.try_call(method, params)
    }

    /// One JSON-RPC call that must succeed.
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        self.try_rpc(method, params).unwrap_or_else(|error| panic!("{method}: {error:?}\n{}", self.log()))
    }

    /// Pays [`STRANGER`] so many wei; the transaction's hash.
    pub fn pay(&self, wei: u64) -> String {
        let tx = json!([{ "from": ALICE, "to": STRANGER, "value": format!("{wei:#x}") }]);
        self.rpc("eth_sendTransaction", tx).as_str().expect("a hash").to_owned()
    }

    /// What an account has now, in wei.
    pub fn balance(&self, account: &str) -> u128 {
        number(&self.rpc("eth_getBalance", json!([account, "latest"])))
    }

    /// A block by its number in hex or its tag, with its transactions' hashes.
    pub fn block(&self, number: &str) -> Value {
        self.rpc("eth_getBlockByNumber", json!([number, false]))
    }

    /// The receipt of a transaction, as soon as it is mined.
    pub fn receipt(&self, hash: &str) -> Value {
        if let Some(receipt) = self.rpc.receipt(hash) {
            return receipt;
        }
        let status = self.try_rpc("inference_status", json!([hash]));
        panic!("{hash} is not mined after {PATIENCE:?}: {status:?}\n{}", self.log());
    }

    /// The id of a registered model, by its name.
    pub fn model_id(&self, name: &str) -> String {
        let models = self.rpc("inference_models", json!([]));
        let model = models.as_array().into_iter().flatten().find(|model| model["name"] == name);
        model.and_then(|model| model["id"].as_str()).unwrap_or_else(|| panic!("no model {name} in {models}")).to_owned()
    }

    fn wait(&self) {
        assert!(self.rpc.wait(), "the node does not answer:\n{}", self.log());
        // The banner ends with this line, a moment after the first answer.
        let quiet = self.args.iter().any(|arg| ["--quiet", "-q", "--silent"].contains(&arg.as_str()));
        let end = Instant::now() + PATIENCE;
        while !quiet && !self.log().contains("Listening on") {
            assert!(Instant::now() < end, "the node prints no banner:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory that a process occupies now, in bytes; where the system says so.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn spawn(wrapper: &[String], args: &[String], port: u16, folder: &Path) -> Child {
    let words = wrapper.iter().map(OsString::from).chain([tools::foreblock().into()]);
    let mut words = words.collect::<Vec<_>>().into_iter();
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("the log can be opened");
    Command::new(words.next().expect("at least the node's own program"))
        .args(words)
        .args(args)
        .args(["--port", &port.to_string()])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log can be shared"))
        .stderr(log)
        .spawn()
        .expect("the node can be started")
}
