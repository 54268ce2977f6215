//! One engine for several operators of one process: what all are asked at once is computed once.

use crate::{Compute, Unavailable, schedule::Prior};
use alloy_primitives::{B256, Bytes, Keccak256};
use foreblock_precompile::{ModelId, Outcome};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

/// Questions whose answers are kept for operators that come later.
const KEPT_MAX: usize = 64;

type Answers = Arc<OnceLock<Vec<Result<Outcome, Unavailable>>>>;

/// An engine that answers the operators of one process. They differ in keys and faults, not in what they compute, so that a
/// devnet of four operators needs no more processor time than one of one.
pub struct OneEngine {
    engine: Arc<dyn Compute>,
    recent: Mutex<VecDeque<(B256, Answers)>>,
}

impl OneEngine {
    /// In front of this engine.
    pub fn new(engine: Arc<dyn Compute>) -> Self {
        Self { engine, recent: Mutex::default() }
    }

    fn answers(&self, key: B256) -> Answers {
        let mut recent = self.recent.lock();
        if let Some((_, answers)) = recent.iter().find(|(known, _)| *known == key) {
            return answers.clone();
        }
        if recent.len() >= KEPT_MAX {
            recent.pop_front();
        }
        let answers = Answers::default();
        recent.push_back((key, answers.clone()));
        answers
    }

    fn forget(&self, key: B256) {
        self.recent.lock().retain(|(known, _)| *known != key);
    }
}

impl Compute for OneEngine {
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let key = key(model, inputs);
        let answers = self.answers(key).get_or_init(|| self.engine.run(model, inputs)).clone();
        // What could not be computed now may be computed the next time.
        if answers.iter().any(Result::is_err) {
            self.forget(key);
        }
        answers
    }

    fn prior(&self, model: ModelId) -> Option<Prior> {
        self.engine.prior(model)
    }
}

fn key(model: ModelId, inputs: &[Bytes]) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(model);
    for input in inputs {
        hasher.update((input.len() as u64).to_be_bytes());
        hasher.update(input);
    }
    hasher.finalize()
}
