//! Foreblock devnet: an Ethereum node for development whose contracts use machine-learning models in the same
//! transaction.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod audit;
pub mod banner;
pub mod chain;
pub mod cli;
pub mod conformance;
pub mod follow;
pub mod fork;
pub mod inference;
pub mod miner;
pub mod node;
pub mod pool;
pub mod print;
pub mod rpc;
pub mod sidecar;
pub mod signatures;
pub mod trace;
