//! The real `anvil`, to compare with.

use crate::{node::free_port, rpc::Rpc, tools};
use std::process::{Child, Stdio};

/// A running `anvil`, killed when dropped.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    /// Its JSON-RPC.
    pub rpc: Rpc,
}

impl Anvil {
    /// Starts it with these flags beside the port, and waits until it answers.
    pub fn start(args: &[&str]) -> Self {
        let port = free_port();
        let mut command = tools::anvil();
        command.args(args).args(["--port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("anvil can be started");
        let anvil = Self { child, rpc: Rpc::new(port) };
        assert!(anvil.rpc.wait(), "anvil does not answer");
        anvil
    }

    /// Of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
