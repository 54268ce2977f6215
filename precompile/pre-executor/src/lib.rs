//! Who computes an answer before it is needed: scout, scheduler, workers, store, operators, agreement.
//!
//! A pending transaction is run speculatively on the head's state. Where it asks for an outcome that is not there, the request is
//! scheduled ([`schedule`], pure), run by worker threads, and kept in the [`store`]; then the transaction is run on from there.
//! When the block is built, its outcomes are there. The rule by which requests are chosen stands in `docs/scheduling.md`.
//!
//! [`PreExecutor`] is the handle to all of it. Absent from this crate, on purpose: RPC, the pool, block building.
#![forbid(unsafe_code)]

pub mod agreement;
mod building;
mod calls;
mod compute;
mod config;
mod counters;
pub mod oip;
pub mod operators;
mod pending_state;
mod pre_executor;
mod reads;
pub mod schedule;
mod scout;
mod scouting;
mod shared;
mod status;
pub mod store;
pub mod watchlist;
mod workers;

pub use building::Building;
pub use calls::{Unresolved, WANTED_MAX, Wanted};
pub use compute::{Compute, Unavailable};
pub use config::{Config, Event, Farewell, Head, StartError};
pub use counters::Metrics;
pub use pending_state::{Before, PendingState};
pub use pre_executor::PreExecutor;
pub use reads::{READS_MAX, ReadSet, StateKey, WriteSet};
pub use scout::{Found, HeadState, Scout, Simulation, StateView};
pub use status::{CallState, CallStatus, TransactionStatus};
pub use store::{Certified, Source, Store, StoreError, StoreLimits};
pub use watchlist::{Deferral, Hold, PendingTransaction, Phase, WatchCounts, WatchLimits};
