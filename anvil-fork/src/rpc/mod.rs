//! JSON-RPC: one table from names to methods, one file a group of methods.
//!
//! To add a method, write `async fn name(node: &Arc<Node>, mut args: Args) -> Reply<T>` in its group's file and give it
//! a line in `routes`.

mod args;
mod at;
mod blobs;
mod blocks;
mod call;
mod cheats;
mod debug;
mod dump;
mod erc20;
mod error;
mod estimate;
mod evm;
mod fees;
mod filters;
mod history;
mod inference;
mod ipc;
mod logs;
mod net;
mod otterscan;
mod parity;
mod reorg;
mod routes;
mod send;
mod server;
mod shape;
mod simulate;
mod state;
mod subscribe;
mod transactions;
mod txpool;
mod wallet;

pub use args::Args;
pub use blobs::Blobs;
pub(crate) use call::refused;
pub use error::RpcError;
pub use filters::Filters;
pub use routes::NAMES;
pub use server::{ServeError, ServerConfig, ServerHandle, serve};

/// What a method answers.
pub type Reply<T> = Result<T, RpcError>;
