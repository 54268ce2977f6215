//! The two nodes as processes.

use foreblock_tests::{
    anvil::Anvil,
    node::{Node, resident_bytes},
    rpc::Rpc,
};
use std::time::Instant;

/// A program that serves JSON-RPC.
pub(crate) trait Program {
    /// Starts it and returns when it has answered.
    fn start(args: &[&str]) -> Self;
    /// Its JSON-RPC.
    fn rpc(&self) -> Rpc;
    /// Of its process.
    fn pid(&self) -> u32;
}

impl Program for Node {
    fn start(args: &[&str]) -> Self {
        Self::start(args)
    }

    fn rpc(&self) -> Rpc {
        self.rpc.clone()
    }

    fn pid(&self) -> u32 {
        self.pid()
    }
}

impl Program for Anvil {
    fn start(args: &[&str]) -> Self {
        Self::start(args)
    }

    fn rpc(&self) -> Rpc {
        self.rpc.clone()
    }

    fn pid(&self) -> u32 {
        self.pid()
    }
}

/// Seconds from the start of the program to its first answer.
pub(crate) fn start_seconds<P: Program>() -> f64 {
    let start = Instant::now();
    let _program = P::start(&[]);
    start.elapsed().as_secs_f64()
}

/// A node under measurement.
pub(crate) struct Measured {
    pub(crate) rpc: Rpc,
    pid: u32,
}

impl Measured {
    fn of(program: &impl Program) -> Self {
        Self { rpc: program.rpc(), pid: program.pid() }
    }

    /// Memory that the process has now.
    pub(crate) fn resident_mib(&self) -> f64 {
        let bytes = resident_bytes(self.pid).expect("the process runs, on Linux");
        bytes as f64 / f64::from(1 << 20)
    }
}

/// A value of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<T> {
    pub(crate) foreblock: T,
    pub(crate) anvil: T,
}

impl Of<f64> {
    /// Foreblock's over anvil's.
    pub(crate) fn ratio(self) -> f64 {
        self.foreblock / self.anvil
    }
}

/// Both, running.
pub(crate) struct Pair {
    foreblock: Measured,
    anvil: Measured,
    _running: (Node, Anvil),
}

impl Pair {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(args: &[&str]) -> Self {
        let running = (Node::start(args), Anvil::start(args));
        Self { foreblock: Measured::of(&running.0), anvil: Measured::of(&running.1), _running: running }
    }

    /// The same once with each.
    pub(crate) fn each<T>(&self, mut run: impl FnMut(&Measured) -> T) -> Of<T> {
        Of { foreblock: run(&self.foreblock), anvil: run(&self.anvil) }
    }

    /// The best of several turns.
    pub(crate) fn best(
        &self,
        turns: usize,
        better: fn(f64, f64) -> f64,
        mut run: impl FnMut(&Measured) -> f64,
    ) -> Of<f64> {
        let mut best = self.each(&mut run);
        for _ in 1..turns {
            let turn = self.each(&mut run);
            best = Of { foreblock: better(best.foreblock, turn.foreblock), anvil: better(best.anvil, turn.anvil) };
        }
        best
    }
}
