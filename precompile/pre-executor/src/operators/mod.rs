//! Several operators compute each answer; it counts when enough of them agree.
//!
//! [`Panel`] stands in the engine's place (it implements [`Compute`]): it asks its operators at the same time, applies the
//! model's own rule ([`crate::agreement`]) to what comes back, and keeps the certificate of every outcome it returns. A slow,
//! silent, lying or crashing operator costs latency at most, as long as no more than f of 3f+1 are so.
//!
//! | profile | rounds |
//! | --- | --- |
//! | exact | one: outcome and signature come together |
//! | exact, paid | two: commitments of a quorum, then the answers that fit them |
//! | tolerance | two: raw answers, then signatures over the medoid by those who are within eps of it |
//!
//! [`Compute`]: crate::Compute

mod fault;
mod local;
mod numbers;
mod panel;
mod question;
mod rounds;
mod seat;
mod sharing;

pub use fault::{Fault, FaultError, Faults, parse_faults};
pub use local::LocalOperator;
pub use numbers::stands_for;
pub use panel::{Found, Panel, PanelConfig, Rule};
pub use question::{Answer, Question};
pub use sharing::OneEngine;

use crate::Unavailable;
use alloy_primitives::{Address, B256, Signature};
use foreblock_precompile::{Outcome, RequestId};

/// A node that computes outcomes and signs them. Calls block; the panel gives each operator a thread of its own.
pub trait Operator: Send + Sync + 'static {
    /// Its address in the operator registry.
    fn address(&self) -> Address;

    /// Whether its key is in this process, so that its signatures need no check.
    fn is_local(&self) -> bool {
        false
    }

    /// One answer for each input, in their order; signed if `sign`. An honest operator signs one outcome a request: its own
    /// for an exact model, for a tolerance model what it is asked to endorse.
    fn answer(&self, question: &Question, sign: bool) -> Vec<Result<Answer, Unavailable>>;

    /// Its signature over an outcome of a tolerance model that was chosen, if it stands for it: if that is within the
    /// tolerance of its own answer, and it has signed no other.
    fn endorse(&self, question: &Question, id: RequestId, outcome: &Outcome) -> Result<Signature, Unavailable>;

    /// Computes and keeps the answers, and commits to each of them, see [`crate::agreement::commitment`].
    fn commit(&self, question: &Question) -> Vec<Result<B256, Unavailable>>;

    /// The answers it committed to, with the salt of each commitment.
    fn reveal(&self, question: &Question) -> Vec<Result<(Answer, B256), Unavailable>>;
}
