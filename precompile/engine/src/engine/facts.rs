//! What is known of a model beside its answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Unavailable;
use crate::Manifest;

/// Name of the note with measured batching facts.
pub const FACTS_FILE: &str = "facts.json";

/// Most rows of requests that one merged run takes.
const ROWS_MAX: usize = 256;

/// Whether a model is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not asked for yet, or it gave way to others.
    NotLoaded,
    /// Being loaded.
    Loading,
    /// Answers at once.
    Ready,
    /// Does not load.
    Failed(Unavailable),
}

/// What the scheduler and people want to know of a model.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What defines it: cost, gas, limits, profile.
    pub manifest: Manifest,
    /// How it gains from batches, on the exact engine.
    pub batch: BatchFacts,
    /// Most rows of requests that one run takes together, on what answers.
    pub rows_max: usize,
    /// Whether it is ready.
    pub state: State,
    /// What answers: `exact (avx2)`, `onnxruntime 1.31.1`.
    pub engine: String,
    /// Mean time of a run of one request on this node, once there was one.
    pub run_time: Option<Duration>,
}

/// Measured by certification and kept beside the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchFacts {
    /// Changing one row changed no other row's bytes, in any batch tried.
    pub rows_independent: bool,
    /// Time of a run by number of rows, ascending.
    pub timings: Vec<BatchTiming>,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchTiming {
    /// Rows in the batch.
    pub rows: usize,
    /// Time of the run in microseconds.
    pub micros: f64,
}

impl BatchFacts {
    /// The facts in a note; a model without them is never batched.
    pub(crate) fn read(note: Option<&[u8]>) -> Self {
        note.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
    }

    /// How much faster `rows` rows are together than one by one; 1.0 where that was not measured.
    pub fn gain(&self, rows: usize) -> f64 {
        let Some(one) = self.timings.iter().find(|timing| timing.rows == 1) else { return 1.0 };
        let measured = self.timings.iter().rfind(|timing| timing.rows <= rows && timing.micros > 0.0);
        measured.map_or(1.0, |timing| one.micros * timing.rows as f64 / timing.micros)
    }

    /// Most rows that may be merged where nobody measured what that gains: on another engine than the exact one, where whoever
    /// hands out batches learns it while running.
    pub fn rows_together(&self) -> usize {
        let merges = self.rows_independent && self.timings.iter().any(|timing| timing.rows > 1);
        if merges { ROWS_MAX } else { 1 }
    }

    /// Most rows worth merging: 1 for a model that does not gain, or whose rows depend on each other.
    pub fn rows_worth_merging(&self) -> usize {
        let gains = |timing: &&BatchTiming| timing.rows > 1 && self.gain(timing.rows) >= 1.1;
        let best = self.timings.iter().filter(gains).map(|timing| timing.rows).max().unwrap_or(1);
        if self.rows_independent { best.min(ROWS_MAX) } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(rows_independent: bool, micros: &[(usize, f64)]) -> BatchFacts {
        let timings = micros.iter().map(|&(rows, micros)| BatchTiming { rows, micros }).collect();
        BatchFacts { rows_independent, timings }
    }

    #[test]
    fn merging_needs_gain_and_independence() {
        for (name, facts, rows) in [
            ("gains", facts(true, &[(1, 10.0), (2, 11.0), (32, 40.0)]), 32),
            ("gains up to 2", facts(true, &[(1, 10.0), (2, 11.0), (32, 400.0)]), 2),
            ("gains nothing", facts(true, &[(1, 10.0), (32, 320.0)]), 1),
            ("rows depend", facts(false, &[(1, 10.0), (32, 40.0)]), 1),
            ("unknown", BatchFacts::default(), 1),
        ] {
            assert_eq!(facts.rows_worth_merging(), rows, "{name}");
        }
        assert_eq!(facts(true, &[(1, 10.0), (2, 10.0)]).gain(3), 2.0);
        assert_eq!(BatchFacts::read(Some(b"broken")), BatchFacts::default());
    }
}
