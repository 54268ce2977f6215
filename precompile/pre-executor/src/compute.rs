//! What the workers call.

use crate::schedule::Prior;
use alloy_primitives::Bytes;
use foreblock_precompile::{ModelId, Outcome};

/// There is no outcome now; there may be one later, or on another worker. Unlike a failure this is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Runs models. The engine is the implementation; tests put a stopwatch or a crash in front of it.
pub trait Compute: Send + Sync + 'static {
    /// One result for each input, in their order.
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>>;

    /// What is known of a model's cost before it ran, if the model is known at all.
    fn prior(&self, model: ModelId) -> Option<Prior>;
}
