//! How long a model takes, learned while running.

use super::Micros;
use foreblock_precompile::ModelId;
use std::collections::HashMap;

/// What is known of a model before its first run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Time of a batch of one.
    pub single_us: Micros,
    /// Longest batch that the model may run in: 1 unless its rows do not depend on the batch and it gains from one.
    pub rows_max: usize,
}

impl Default for Prior {
    fn default() -> Self {
        Self { single_us: 1_000, rows_max: 1 }
    }
}

/// Sizes of batches are told apart by powers of two.
const SIZES: usize = 12;
/// Weight of a new measurement, as an exponentially weighted mean.
const WEIGHT: f64 = 0.2;
/// What was measured so many batches ago is forgotten: a size that looked bad then, perhaps beside other work, is tried again.
const KEPT: u64 = 256;
/// A batch is worth it while a row costs at most this much more than in the best size.
const WORTH: f64 = 1.02;

#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    per_row_us: f64,
    deviation_us: f64,
    runs: u64,
    /// Batches of other sizes since the last of this one.
    others: u64,
}

#[derive(Clone, Debug)]
struct Model {
    prior: Prior,
    sizes: [Measured; SIZES],
    used: u64,
    /// The first run loads the model and warms caches: it says nothing of those that follow.
    warm: bool,
}

/// The calibrated cost of each model and batch size.
#[derive(Clone, Debug)]
pub struct Costs {
    models: HashMap<ModelId, Model>,
    models_max: usize,
    uses: u64,
}

impl Costs {
    /// Nothing measured. At most `models_max` are remembered; the one used longest ago is forgotten first.
    pub fn new(models_max: usize) -> Self {
        Self { models: HashMap::new(), models_max: models_max.max(1), uses: 0 }
    }

    /// States what is known of a model. What was measured stays.
    pub fn describe(&mut self, model: ModelId, prior: Prior) {
        self.entry(model).prior = prior;
    }

    /// Whether the model was described or measured.
    pub fn knows(&self, model: ModelId) -> bool {
        self.models.contains_key(&model)
    }

    /// Learns from a batch that took `took_us`. A model's first batch is not counted: it is loaded then.
    pub fn learn(&mut self, model: ModelId, rows: usize, took_us: Micros) {
        let known = self.entry(model);
        if !std::mem::replace(&mut known.warm, true) {
            return;
        }
        for other in &mut known.sizes {
            other.others += 1;
            if other.others > KEPT {
                *other = Measured::default();
            }
        }
        let measured = &mut known.sizes[size_of(rows)];
        measured.others = 0;
        let per_row = took_us as f64 / rows.max(1) as f64;
        if measured.runs == 0 {
            measured.per_row_us = per_row;
        }
        let off = per_row - measured.per_row_us;
        measured.per_row_us += WEIGHT * off;
        measured.deviation_us += WEIGHT * (off.abs() - measured.deviation_us);
        measured.runs += 1;
    }

    /// Mean time of a batch.
    pub fn batch_us(&self, model: ModelId, rows: usize) -> Micros {
        (self.per_row(model, rows).0 * rows as f64).ceil().max(1.0) as Micros
    }

    /// Time of a batch that is rarely exceeded: what admission reckons with.
    pub fn batch_late_us(&self, model: ModelId, rows: usize) -> Micros {
        let (mean, deviation) = self.per_row(model, rows);
        ((mean + 3.0 * deviation) * rows as f64).ceil().max(1.0) as Micros
    }

    /// Longest batch worth running: the model allows it and no smaller size was measured to be cheaper by the row.
    pub fn rows_max(&self, model: ModelId) -> usize {
        let Some(known) = self.models.get(&model) else { return 1 };
        let allowed = known.prior.rows_max.max(1);
        let best = known.sizes.iter().filter(|s| s.runs > 0).map(|s| s.per_row_us).fold(f64::INFINITY, f64::min);
        let worth = |size: &usize| known.sizes[*size].runs == 0 || known.sizes[*size].per_row_us <= best * WORTH;
        let largest = (0..=size_of(allowed)).rev().find(worth).unwrap_or(0);
        // A size holds the lengths from 2^size to 2^(size+1) - 1.
        allowed.min((2 << largest) - 1)
    }

    /// Most requests that together take no longer than `time_us`, at least one.
    pub fn rows_within(&self, model: ModelId, time_us: Micros) -> usize {
        (1..1 << SIZES).take_while(|rows| self.batch_us(model, *rows) <= time_us).last().unwrap_or(1)
    }

    /// Mean and deviation by the row; a size that never ran borrows from the nearest one that did.
    fn per_row(&self, model: ModelId, rows: usize) -> (f64, f64) {
        let Some(known) = self.models.get(&model) else { return (Prior::default().single_us as f64, 0.0) };
        let wanted = size_of(rows);
        let nearest = (0..SIZES).filter(|size| known.sizes[*size].runs > 0).min_by_key(|size| size.abs_diff(wanted));
        let Some(size) = nearest else { return (known.prior.single_us.max(1) as f64, 0.0) };
        (known.sizes[size].per_row_us, known.sizes[size].deviation_us)
    }

    fn entry(&mut self, model: ModelId) -> &mut Model {
        self.uses += 1;
        if !self.models.contains_key(&model) && self.models.len() >= self.models_max {
            let oldest = self.models.iter().min_by_key(|(id, known)| (known.used, **id)).map(|(id, _)| *id);
            oldest.map(|id| self.models.remove(&id));
        }
        let used = self.uses;
        let new = || Model { prior: Prior::default(), sizes: Default::default(), used, warm: false };
        let model = self.models.entry(model).or_insert_with(new);
        model.used = used;
        model
    }
}

fn size_of(rows: usize) -> usize {
    (rows.max(1).ilog2() as usize).min(SIZES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: ModelId = ModelId::repeat_byte(1);

    #[test]
    fn prediction_follows_measurements() {
        let mut costs = Costs::new(4);
        costs.describe(MODEL, Prior { single_us: 500, rows_max: 32 });
        assert_eq!(costs.batch_us(MODEL, 4), 2_000);
        for _ in 0..50 {
            costs.learn(MODEL, 1, 100);
            costs.learn(MODEL, 16, 400);
        }
        assert_eq!(costs.batch_us(MODEL, 1), 100);
        assert_eq!(costs.batch_us(MODEL, 16), 400);
        assert_eq!(costs.batch_us(MODEL, 32), 800, "a size that never ran borrows from the nearest");
        assert!(costs.batch_late_us(MODEL, 16) >= 400);
    }

    #[test]
    fn a_batch_that_gains_nothing_is_not_run() {
        let mut costs = Costs::new(4);
        costs.describe(MODEL, Prior { single_us: 100, rows_max: 8 });
        assert_eq!(costs.rows_max(MODEL), 8, "until measured, what the model allows");
        costs.learn(MODEL, 1, 1_000_000);
        for size in 0..4 {
            costs.learn(MODEL, 1 << size, (1 << size) * (100 + 20 * size));
        }
        assert_eq!(costs.rows_max(MODEL), 1);
    }

    #[test]
    fn a_size_that_once_looked_bad_is_tried_again() {
        let mut costs = Costs::new(4);
        costs.describe(MODEL, Prior { single_us: 100, rows_max: 8 });
        costs.learn(MODEL, 1, 1_000_000);
        costs.learn(MODEL, 8, 9_000);
        for run in 0..=KEPT {
            costs.learn(MODEL, 4, 400);
            assert_eq!(costs.rows_max(MODEL), if run < KEPT { 7 } else { 8 }, "after run {run}");
        }
        assert_eq!(costs.batch_us(MODEL, 8), 800, "what is forgotten is borrowed from the nearest");
    }

    #[test]
    fn small_models_are_counted_by_what_a_time_holds() {
        let mut costs = Costs::new(4);
        costs.describe(MODEL, Prior { single_us: 44, rows_max: 1 });
        assert_eq!([2_000, 88, 87, 1].map(|time_us| costs.rows_within(MODEL, time_us)), [45, 2, 1, 1]);
    }

    #[test]
    fn a_model_that_may_not_be_batched_never_is() {
        let mut costs = Costs::new(4);
        costs.describe(MODEL, Prior { single_us: 100, rows_max: 1 });
        assert_eq!(costs.rows_max(MODEL), 1);
        assert_eq!(costs.rows_max(ModelId::ZERO), 1, "nor one that nobody described");
    }

    #[test]
    fn at_the_bound_the_model_used_longest_ago_is_forgotten() {
        let mut costs = Costs::new(2);
        for byte in 1..=3 {
            costs.learn(ModelId::repeat_byte(byte), 1, 10);
        }
        assert!(!costs.knows(ModelId::repeat_byte(1)));
        assert!(costs.knows(ModelId::repeat_byte(3)));
    }
}
