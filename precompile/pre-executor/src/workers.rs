//! Threads that run batches, apart from whoever builds blocks, and one that writes outcomes to disk.

use crate::{
    compute::Unavailable,
    counters::Counters,
    schedule::{Batch, Ended},
    shared::Shared,
    store::Certified,
};
use alloy_primitives::Bytes;
use foreblock_precompile::{Outcome, RequestId};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

type Written = Vec<(RequestId, Certified)>;

/// Batches that wait to be written; a worker that is faster than the disk waits here.
const UNWRITTEN_MAX: usize = 64;
/// Shortest and longest sleep of a worker that found nothing to run although something is queued.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Starts the workers and the writer.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let (sender, receiver) = sync_channel(UNWRITTEN_MAX);
    let mut threads = Vec::new();
    for worker in 0..shared.config.limits.workers.max(1) {
        let (shared, sender) = (shared.clone(), sender.clone());
        let named = std::thread::Builder::new().name(format!("foreblock-worker-{worker}"));
        threads.push(named.spawn(move || work(&shared, worker, &sender))?);
    }
    let shared = shared.clone();
    let named = std::thread::Builder::new().name("foreblock-store".to_owned());
    threads.push(named.spawn(move || write(&shared, &receiver))?);
    Ok(threads)
}

fn work(shared: &Shared, worker: usize, written: &SyncSender<Written>) {
    let mut batches = 0_u64;
    while let Some(batch) = next(shared, worker) {
        batches += 1;
        let outcomes = run(shared, &batch);
        // The writer ends after the last worker, so it is there.
        if !outcomes.is_empty() {
            let _ = written.send(outcomes);
        }
    }
    tracing::debug!(worker, batches, "worker stopped: the pre-executor was stopped");
}

/// Waits for a batch; nothing once the pre-executor stops.
fn next(shared: &Shared, worker: usize) -> Option<Batch> {
    let mut state = shared.lock();
    loop {
        if state.stopped {
            return None;
        }
        let now_us = shared.now_us();
        if let Some(batch) = state.scheduler.next(worker, now_us) {
            return Some(batch);
        }
        match state.scheduler.next_look_us(now_us) {
            None => shared.work.wait(&mut state),
            Some(at_us) => {
                let wait = Duration::from_micros(at_us - now_us).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1);
                shared.work.wait_for(&mut state, wait);
            }
        }
    }
}

/// Runs a batch and tells who waited. Returns the outcomes, which are visible already.
fn run(shared: &Shared, batch: &Batch) -> Written {
    let inputs: Vec<Bytes> = batch.requests.iter().map(|request| request.input.clone()).collect();
    let started_us = shared.now_us();
    let results = compute(shared, batch, &inputs);
    Counters::add(&shared.counters.device_us, shared.now_us() - started_us);

    let ended: Vec<Ended> =
        results.iter().map(|result| if result.is_ok() { Ended::Done } else { Ended::Again }).collect();
    let mut outcomes = Vec::new();
    let mut reasons = Vec::new();
    for (request, result) in batch.requests.iter().zip(results) {
        match result {
            Ok(outcome) => outcomes.push((request.id, shared.compute.certified(request.id, outcome))),
            Err(unavailable) => reasons.push((request.id, unavailable.0)),
        }
    }
    let failed = outcomes.iter().filter(|(_, stored)| matches!(stored.outcome, Outcome::Failed(_))).count();
    Counters::add(&shared.counters.computed, outcomes.len() as u64);
    Counters::add(&shared.counters.failed, failed as u64);
    shared.store.show(&outcomes);

    let mut state = shared.lock();
    reasons.into_iter().for_each(|(id, reason)| state.note_reason(id, reason));
    let finished = state.scheduler.finish(batch.worker, &ended, shared.now_us());
    Counters::add(&shared.counters.unwanted, finished.unwanted as u64);
    Counters::add(&shared.counters.given_up, finished.given_up.len() as u64);
    shared.finished(&mut state, &finished);
    if finished.again > 0 {
        shared.work.notify_all();
    }
    outcomes
}

/// A crash of the model is no crash of the worker: the requests run again, on another worker where there is one.
fn compute(shared: &Shared, batch: &Batch, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
    let all = |reason: String| vec![Err(Unavailable(reason)); inputs.len()];
    match catch_unwind(AssertUnwindSafe(|| shared.compute.run(batch.model, inputs))) {
        Ok(results) if results.len() == inputs.len() => results,
        Ok(results) => all(format!("the engine gave {} results for {} inputs", results.len(), inputs.len())),
        Err(panic) => {
            Counters::add(&shared.counters.crashes, 1);
            let reason = panic_text(&*panic);
            tracing::warn!(model = %batch.model, worker = batch.worker, reason, "a run crashed; its requests run again");
            all(format!("the run crashed: {reason}"))
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Writes what the workers send, as much as there is in one transaction.
fn write(shared: &Shared, receiver: &Receiver<Written>) {
    while let Ok(mut outcomes) = receiver.recv() {
        outcomes.extend(receiver.try_iter().take(UNWRITTEN_MAX).flatten());
        match shared.store.write(&outcomes) {
            Ok(()) => Counters::add(&shared.counters.stored, outcomes.len() as u64),
            Err(error) => tracing::warn!(%error, outcomes = outcomes.len(), "outcomes are only in memory"),
        }
    }
    tracing::debug!("outcome store closed: the last worker stopped");
}
