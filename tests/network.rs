//! Operators as processes of their own.

use crate::tools;
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
        let folder = TempDir::new().expect("a temporary folder can be made");
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
