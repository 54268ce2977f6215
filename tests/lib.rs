//! What crosses crates is tested here, each file under `tests/` against built binaries and real clients.

pub mod anvil;
pub mod bench;
pub mod contract;
pub mod forecast;
pub mod network;
pub mod node;
pub mod oip;
pub mod project;
pub mod rpc;
pub mod sidecar;
pub mod tools;
pub mod upstream;
