//! The parts of `examples/reth-node` that need no reth: they are compiled and tested with the workspace.
#![forbid(unsafe_code)]

mod ledger;
mod patient;

pub use ledger::{BlockOutcomes, ListOutcomes};
pub use patient::{Offer, Patient};
