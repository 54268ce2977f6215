//! Another chain's state below this one's.
//!
//! Reads that the local state cannot answer go to the *upstream*, the forked chain's node, pinned to the fork block. What an
//! upstream does not say is never made up: every failure is an error that reaches whoever asked.

mod client;
mod disk;
mod endpoints;
mod error;
mod feed;
mod heads;
mod node;
mod options;
mod origin;
mod upstream;
mod wire;

pub use error::UpstreamError;
pub use feed::Feed;
pub use heads::Heads;
pub use node::{ForkError, fork};
pub use options::{ForkOptions, ForkPoint, OptionsError, header, is_local, url};
pub use origin::{Origin, Replay, open};
pub use upstream::{Remote, Upstream};
