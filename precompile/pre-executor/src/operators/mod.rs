//! Several operators compute each answer; it counts when enough of them agree.
//!
//! [`Panel`] stands in the engine's place (it implements [`Compute`]): it asks its operators at the same time, applies the
//! model's own rule ([`crate::agreement`]) to what comes back, and keeps the certificate of every outcome it returns. A slow,
//! silent, lying or crashing operator costs latency at most, as long as no more than f of 3f+1 are so.
//!
//! [`Compute`]: crate::Compute

mod fault;
mod local;
mod panel;
mod seat;

pub use fault::{Fault, FaultError, Faults, parse_faults};
pub use local::LocalOperator;
pub use panel::{Panel, PanelConfig, Rule};

use crate::Unavailable;
use alloy_primitives::{Address, Bytes, Signature};
use foreblock_precompile::{ModelId, Outcome, RequestId};

/// A node that computes outcomes and signs them. Calls block; the panel gives each operator a thread of its own.
pub trait Operator: Send + Sync + 'static {
    /// Its address in the operator registry.
    fn address(&self) -> Address;

    /// One outcome for each input, in their order, not signed yet.
    fn compute(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>>;

    /// Its signature that the request has this outcome. An honest operator signs one outcome a request: its own for an exact
    /// model, for a tolerance model the chosen one if it lies within the tolerance of its own.
    fn sign(&self, id: RequestId, outcome: &Outcome) -> Result<Signature, Unavailable>;
}
