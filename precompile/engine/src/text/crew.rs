//! Continuous batching: answers in the making share the passes of the model, and join and leave at any token.
//!
//! One of the waiting callers leads: it runs passes for all until its own answers are finished, then another leads. So
//! there is no thread that only waits, and nobody waits for a batch to fill.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use foreblock_precompile::Failure;

use super::{
    decoder::{Decoder, Passed},
    generation::{Finished, Generation, Progress},
};
use crate::Pool;

/// Most answers that share a pass: what waits longer costs no memory for its cache.
const TOGETHER_MAX: usize = 16;

/// What came of an answer: finished or failed, the same everywhere; `Err` where the computation broke here and now.
pub(super) type Ended = Result<Result<Finished, Failure>, String>;

/// The answers in the making of one model.
#[derive(Default)]
pub(super) struct Crew {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Numbers given out.
    tickets: u64,
    /// By number; the oldest go first.
    waiting: std::collections::VecDeque<(u64, Generation)>,
    working: Vec<(u64, Generation)>,
    ended: HashMap<u64, Ended>,
    /// How far those were that worked in the last pass.
    progress: Vec<Progress>,
    led: bool,
}

impl Crew {
    /// Finishes answers, together with those of other callers.
    pub(super) fn run(&self, generations: Vec<Generation>, decoder: &Decoder, pool: &Pool) -> Vec<Ended> {
        let mut state = self.lock();
        let first = state.tickets;
        state.tickets += generations.len() as u64;
        state.waiting.extend((first..).zip(generations));
        let mine = first..state.tickets;
        loop {
            if mine.clone().all(|ticket| state.ended.contains_key(&ticket)) {
                return mine.filter_map(|ticket| state.ended.remove(&ticket)).collect();
            }
            if state.led {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.led = true;
            let mut working = state.fill();
            state.progress = working.iter().map(|(_, generation)| generation.progress()).collect();
            drop(state);
            let ended = pass(&mut working, decoder, pool);
            state = self.lock();
            state.progress = working.iter().map(|(_, generation)| generation.progress()).collect();
            state.working = working;
            state.ended.extend(ended);
            state.led = false;
            // Whoever is finished leaves, and anybody else may lead the next pass.
            self.changed.notify_all();
        }
    }

    /// Answers in the making, as of the last pass, and those that wait for a place.
    pub(super) fn progress(&self) -> Vec<Progress> {
        let state = self.lock();
        let waiting = state.waiting.iter().map(|(_, generation)| generation.progress());
        state.progress.iter().copied().chain(waiting).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// All that work in the next pass, those that just came included.
    fn fill(&mut self) -> Vec<(u64, Generation)> {
        let mut working = std::mem::take(&mut self.working);
        let room = TOGETHER_MAX.saturating_sub(working.len()).min(self.waiting.len());
        working.extend(self.waiting.drain(..room));
        working
    }
}

/// One pass of the model for all; what is ended leaves `working`. A panic ends them all, so that nobody waits forever.
fn pass(working: &mut Vec<(u64, Generation)>, decoder: &Decoder, pool: &Pool) -> Vec<(u64, Ended)> {
    let passed = catch_unwind(AssertUnwindSafe(|| {
        decoder.pass(working.iter().map(|(_, generation)| generation.pass()).collect(), pool)
    }));
    let taken = passed.and_then(|passed| catch_unwind(AssertUnwindSafe(|| take(working, passed))));
    taken.unwrap_or_else(|_| {
        let broke = "a panic while a text was generated; please report it";
        working.drain(..).map(|(ticket, _)| (ticket, Err(broke.into()))).collect()
    })
}

fn take(working: &mut Vec<(u64, Generation)>, passed: Vec<Passed>) -> Vec<(u64, Ended)> {
    let mut ended = Vec::new();
    let mut passed = passed.into_iter();
    working.retain_mut(|(ticket, generation)| {
        let end = match passed.next() {
            Some(Ok((logits, cache))) => generation.take(&logits, cache),
            Some(Err(failure)) => Some(Err(failure)),
            None => return true,
        };
        let goes_on = end.is_none();
        ended.extend(end.map(|end| (*ticket, Ok(end))));
        goes_on
    });
    ended
}
