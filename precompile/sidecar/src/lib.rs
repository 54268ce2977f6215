//! How a client asks the pre-executor that runs beside it (`foreblock sidecar`).
//!
//! [`frame`] is the schema, stated in `docs/sidecar.md`. [`SidecarOutcomes`] is an outcome source for alloy-evm clients: every failure of the
//! sidecar, its absence included, reads as *no outcome yet*, so that the client goes on without the transactions that ask. [`Server`]
//! is the other end, for whatever implements [`Answers`].
//!
//! Absent from this crate, on purpose: async, models, the EVM. A thin precompile in another language needs what is here and no more.
#![forbid(unsafe_code)]

mod client;
pub mod frame;
mod outcomes;
mod server;

pub use client::{Client, ClientError};
pub use foreblock_precompile::Outcome;
pub use outcomes::{Patience, SidecarOutcomes};
pub use server::{Answers, CONNECTIONS_MAX, ServeError, Server, Welcome};
