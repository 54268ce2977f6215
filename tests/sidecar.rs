//! A sidecar of its own for each test, beside whatever node.

use crate::{
    node::{PATIENCE, free_port},
    tools,
};
use alloy_primitives::{B256, Bytes};
use foreblock_sidecar::Client;
use serde_json::Value;
use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A running `foreblock sidecar`, killed when dropped.
#[derive(Debug)]
pub struct Sidecar {
    child: Child,
    node: String,
    args: Vec<String>,
    http: u16,
    folder: TempDir,
}

impl Sidecar {
    /// Starts one beside the node at this URL, and waits until it has seen the node's head.
    pub fn start(node: &str, args: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        let http = free_port();
        let child = spawn(node, &args, http, &folder);
        let sidecar = Self { child, node: node.to_owned(), args, http, folder };
        sidecar.wait_for("well");
        sidecar
    }

    /// Kills it as `kill -9` does, which leaves its socket's file behind, and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().expect("the sidecar runs");
        self.child.wait().expect("the sidecar ends");
        assert!(self.socket().exists(), "the socket's file was left behind");
        self.child = spawn(&self.node, &self.args, self.http, &self.folder);
        self.wait_for("well");
    }

    /// Of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it is asked.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sidecar")
    }

    /// Where it is asked over HTTP.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// A connection.
    pub fn client(&self) -> Client {
        Client::connect(&self.socket(), 0, PATIENCE).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// What it says of itself, if it answers.
    pub fn status(&self) -> Option<Value> {
        let mut client = Client::connect(&self.socket(), 0, PATIENCE).ok()?;
        serde_json::from_slice(&client.status().ok()?).ok()
    }

    /// Waits until it says this of its node.
    pub fn wait_for(&self, node: &str) {
        self.wait(&format!("its node is {node}"), |status| status["node"] == node);
    }

    /// Waits until its status is so.
    pub fn wait(&self, what: &str, is: impl Fn(&Value) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if status.as_ref().is_some_and(&is) {
                return;
            }
            assert!(Instant::now() < end, "never so: {what}; {status:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for an outcome's bytes.
    pub fn output(&self, id: B256) -> Bytes {
        let end = Instant::now() + PATIENCE;
        let mut client = self.client();
        loop {
            match client.lookup_one(id).expect("the sidecar answers") {
                Some(foreblock_sidecar::Outcome::Output(output)) => return output,
                Some(other) => panic!("{other:?}"),
                None => assert!(Instant::now() < end, "no outcome of {id}: {:?}\n{}", self.status(), self.log()),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(node: &str, args: &[String], http: u16, folder: &TempDir) -> Child {
    let log = File::options().create(true).append(true).open(folder.path().join("log")).expect("the log can be opened");
    let mut command = Command::new(tools::foreblock());
    command.args(["sidecar", "--node", node, "--http", &format!("127.0.0.1:{http}"), "--socket"]);
    command.arg(folder.path().join("sidecar")).args(args);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log can be shared")).stderr(log);
    command.spawn().expect("the sidecar can be started")
}
