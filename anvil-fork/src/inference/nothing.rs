//! What computes in a node that only verifies.

use alloy_primitives::Bytes;
use foreblock_pre_executor::{Compute, Unavailable, schedule::Prior};
use foreblock_precompile::{ModelId, Outcome};

/// Computes nothing.
pub(super) struct Nothing;

impl Compute for Nothing {
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let why = format!(
            "this node follows and runs no models: it knows what verified blocks asked of model {model}, and not this; ask the producer"
        );
        vec![Err(Unavailable(why)); inputs.len()]
    }

    fn prior(&self, _: ModelId) -> Option<Prior> {
        None
    }
}
