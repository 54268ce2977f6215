//! Continuous batching: answers in the making share the passes of the model, and join and leave at any token.
//!
//! One of the waiting callers leads: it runs passes for all until its own answers are finished, then another leads. So
//! there is no thread that only waits, and nobody waits for a batch to fill.

use std::{
    collections::HashMap,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use foreblock_precompile::Failure;

use super::{
    decoder::{Decoder, Passed},
    generation::{Finished, Generation, Progress},
};
use crate::{Pool, pool};

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
            if state.have_ended(&mine) {
                return mine.filter_map(|ticket| state.ended.remove(&ticket)).collect();
            }
            if state.led {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.led = true;
            while !state.have_ended(&mine) {
                state = self.step(state, decoder, pool);
            }
            state.led = false;
            self.changed.notify_all();
        }
    }

    /// One pass for all.
    fn step<'a>(&'a self, mut state: MutexGuard<'a, State>, decoder: &Decoder, pool: &Pool) -> MutexGuard<'a, State> {
        let mut working = state.fill();
        state.progress = working.iter().map(|(_, generation)| generation.progress()).collect();
        drop(state);
        let ended = pass(&mut working, decoder, pool);
        state = self.lock();
        state.progress = working.iter().map(|(_, generation)| generation.progress()).collect();
        state.working = working;
        if !ended.is_empty() {
            state.ended.extend(ended);
            self.changed.notify_all();
        }
        state
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
    fn have_ended(&self, tickets: &Range<u64>) -> bool {
        tickets.clone().all(|ticket| self.ended.contains_key(&ticket))
    }

    /// All that work in the next pass, those that just came included.
    fn fill(&mut self) -> Vec<(u64, Generation)> {
        let mut working = std::mem::take(&mut self.working);
        let room = TOGETHER_MAX.saturating_sub(working.len()).min(self.waiting.len());
        working.extend(self.waiting.drain(..room));
        working
    }
}

/// One pass of the model for all; what is ended leaves `working`.
fn pass(working: &mut Vec<(u64, Generation)>, decoder: &Decoder, pool: &Pool) -> Vec<(u64, Ended)> {
    let tokens = working.iter().map(|(_, generation)| generation.next().len()).sum();
    let groups = decoder.groups(tokens, pool).min(working.len()).max(1);
    let mut ends: Vec<Vec<Option<Ended>>> = (0..groups).map(|_| Vec::new()).collect();
    let each = working.len().div_ceil(groups).max(1);
    let tasks: Vec<_> = working.chunks_mut(each).zip(&mut ends).collect();
    let work = |group, ends: &mut _| *ends = pass_of(group, decoder, pool);
    if groups > 1 {
        pool.run(|| pool::each(tasks, || (), |(), (group, ends)| work(group, ends)));
    } else {
        // Not inside of another run, so that it has all threads.
        tasks.into_iter().for_each(|(group, ends)| work(group, ends));
    }
    let mut ends = ends.into_iter().flatten();
    let mut ended = Vec::new();
    working.retain(|(ticket, _)| match ends.next().flatten() {
        Some(end) => {
            ended.push((*ticket, end));
            false
        }
        None => true,
    });
    ended
}

/// One pass for some; for each its end, if it has come. A panic is the end of them all, so that nobody waits forever.
fn pass_of(group: &mut [(u64, Generation)], decoder: &Decoder, pool: &Pool) -> Vec<Option<Ended>> {
    let count = group.len();
    let passed = || {
        let passed = decoder.pass(group.iter().map(|(_, generation)| generation.pass()).collect(), pool);
        let mut ends: Vec<Option<Ended>> = (0..count).map(|_| None).collect();
        let tasks = group.iter_mut().zip(passed).zip(&mut ends).collect();
        // To choose from a large vocabulary takes a while, too.
        let choose = |((group, passed), end): ((&mut (u64, Generation), Passed), &mut Option<Ended>)| {
            *end = take(&mut group.1, passed);
        };
        pool.run(|| pool::each(tasks, || (), |(), task| choose(task)));
        ends
    };
    let broke = || Some(Err("a panic while a text was generated; please report it".into()));
    catch_unwind(AssertUnwindSafe(passed)).unwrap_or_else(|_| (0..count).map(|_| broke()).collect())
}

fn take(generation: &mut Generation, passed: Passed) -> Option<Ended> {
    let end = match passed {
        Ok((logits, cache)) => generation.take(&logits, cache),
        Err(failure) => Some(Err(failure)),
    };
    end.map(Ok)
}
