//! The pre-executor as a process beside an unmodified client.
//!
//! It watches the client's node by JSON-RPC ([`watch`]), runs its pending transactions on its state, has the models run, and answers the
//! client's precompile over a Unix socket and HTTP. `docs/sidecar.md` states the schema.

mod announced;
mod answers;
mod head;
mod http;
mod node;
mod pool;
mod watch;

pub use answers::Sidecar;
pub use http::serve as serve_http;
pub use node::Header;
pub use watch::{WatchConfig, watch};
