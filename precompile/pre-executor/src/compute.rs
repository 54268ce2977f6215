//! What the workers call.

use crate::{schedule::Prior, store::Certified};
use alloy_primitives::Bytes;
use foreblock_engine::{Engine, Facts, engine::State};
use foreblock_precompile::{ModelId, Outcome, Profile, RequestId, gas};

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

    /// An outcome that [`Self::run`] returned, with what vouches for it: nothing, where operators do not sign.
    fn certified(&self, id: RequestId, outcome: Outcome) -> Certified {
        let _ = id;
        outcome.into()
    }

    /// Whether a builder may run the model itself: it is loaded, its answers are exact, and nobody else has to sign them.
    fn at_once(&self, model: ModelId) -> bool {
        let _ = model;
        false
    }
}

/// Tokens that a language model writes and reads for one request, as a guess where none was measured.
const TOKENS_TYPICAL: u64 = 32;
/// Requests to a language model that one worker takes together: they share its passes, whatever their lengths.
const TEXTS_TOGETHER: usize = 8;

impl Compute for Engine {
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let outcomes = Engine::run(self, model, inputs);
        outcomes.into_iter().map(|outcome| outcome.map_err(|error| Unavailable(error.to_string()))).collect()
    }

    fn prior(&self, model: ModelId) -> Option<Prior> {
        let facts = self.facts(model).ok()?;
        // Its first request need not wait for the model to load.
        self.preload(model);
        let measured = facts.run_time.map(|time| time.as_micros() as u64);
        let single = facts.batch.timings.iter().find(|timing| timing.rows == 1).map(|timing| timing.micros as u64);
        let (tokens, together) = if is_text(&facts) { (TOKENS_TYPICAL, TEXTS_TOGETHER) } else { (1, 1) };
        let single_us = measured.or(single).unwrap_or_else(|| from_gas(facts.manifest.gas_per_run()) * tokens);
        Some(Prior { single_us: single_us.max(1), rows_max: facts.rows_max.max(together) })
    }

    fn at_once(&self, model: ModelId) -> bool {
        // A text takes as long as it has tokens, which nobody knows before.
        let exact = |facts: &Facts| {
            facts.manifest.slot().profile != Profile::Tolerance
                && !is_text(facts)
                && matches!(facts.state, State::Ready)
        };
        self.facts(model).is_ok_and(|facts| exact(&facts))
    }
}

fn is_text(facts: &Facts) -> bool {
    facts.manifest.slot().profile == Profile::ExactText
}

/// A guess where nothing was measured: a core does about 4 billion multiply-adds a second.
fn from_gas(gas_per_run: u64) -> u64 {
    const MULTIPLY_ADDS_PER_US: u64 = 4_000;
    gas_per_run.saturating_sub(gas::RUN_BASE) * gas::MULTIPLY_ADDS_PER_GAS / MULTIPLY_ADDS_PER_US
}
