//! The parts of `examples/reth-node` that need no reth: they are compiled and tested with the workspace.
#![forbid(unsafe_code)]

mod executor;
mod ledger;
mod patient;
mod watch;

pub use executor::{BlockContext, InferenceExecutor, InferenceExecutorFactory, Source};
pub use ledger::{Certify, CertifyError, Lists, Noted};
pub use patient::{Offer, Patient};
pub use watch::{AccountRead, NextBlock, NodeRead, UnknownFork, Watcher};
