//! What happened, in numbers: for `inference_status`, a Prometheus endpoint and tests.

use crate::{schedule, watchlist::WatchCounts};
use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counters that threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) build_hits: AtomicU64,
    pub(crate) build_misses: AtomicU64,
    pub(crate) computed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) unwanted: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) crashes: AtomicU64,
    pub(crate) device_us: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) at_once: AtomicU64,
    pub(crate) admitted: AtomicU64,
    pub(crate) admitted_late: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Relaxed);
    }
}

/// A snapshot of all numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Lookups of block building that found an outcome.
    pub build_hits: u64,
    /// Lookups of block building that did not.
    pub build_misses: u64,
    /// Requests that the workers answered.
    pub computed: u64,
    /// Of these, with a failure for an answer.
    pub failed: u64,
    /// Requests that were answered when nobody waited any more.
    pub unwanted: u64,
    /// Requests given up after too many failed runs.
    pub given_up: u64,
    /// Runs that crashed.
    pub crashes: u64,
    /// Device time, in microseconds.
    pub device_us: u64,
    /// Outcomes on disk since the start.
    pub stored: u64,
    /// Requests that a builder computed itself.
    pub at_once: u64,
    /// Requests promised for a block when it was built or already there.
    pub admitted: u64,
    /// Of these, not ready.
    pub admitted_late: u64,
    /// Transactions watched.
    pub transactions: u64,
    /// Pieces of work queued or running.
    pub queue: u64,
    /// Bytes that the queue holds.
    pub queue_bytes: u64,
    /// What the scheduler counted.
    pub schedule: schedule::Counts,
    /// What the watchlist counted.
    pub watch: WatchCounts,
}

impl Metrics {
    pub(crate) fn of(counters: &Counters) -> Self {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Self {
            build_hits: read(&counters.build_hits),
            build_misses: read(&counters.build_misses),
            computed: read(&counters.computed),
            failed: read(&counters.failed),
            unwanted: read(&counters.unwanted),
            given_up: read(&counters.given_up),
            crashes: read(&counters.crashes),
            device_us: read(&counters.device_us),
            stored: read(&counters.stored),
            at_once: read(&counters.at_once),
            admitted: read(&counters.admitted),
            admitted_late: read(&counters.admitted_late),
            ..Self::default()
        }
    }

    /// The Prometheus text format.
    pub fn prometheus(&self) -> String {
        let rows = [
            ("build_hits_total", "counter", "lookups of block building that found an outcome", self.build_hits),
            ("build_misses_total", "counter", "lookups of block building that found none", self.build_misses),
            ("computed_total", "counter", "requests answered", self.computed),
            ("failed_total", "counter", "requests answered with a failure", self.failed),
            ("unwanted_total", "counter", "requests answered when nobody waited any more", self.unwanted),
            ("given_up_total", "counter", "requests given up after failed runs", self.given_up),
            ("crashes_total", "counter", "runs that crashed", self.crashes),
            ("device_microseconds_total", "counter", "device time", self.device_us),
            ("stored_total", "counter", "outcomes written to disk", self.stored),
            ("at_once_total", "counter", "requests that a builder computed itself", self.at_once),
            ("admitted_total", "counter", "requests promised for a block", self.admitted),
            ("admitted_late_total", "counter", "requests promised for a block and not ready", self.admitted_late),
            ("transactions", "gauge", "pending transactions watched", self.transactions),
            ("queue", "gauge", "pieces of work queued or running", self.queue),
            ("queue_bytes", "gauge", "bytes of queued inputs", self.queue_bytes),
            ("queued_total", "counter", "pieces of work queued", self.schedule.queued),
            ("merged_total", "counter", "demands merged with work that was there", self.schedule.merged),
            ("cancelled_total", "counter", "pieces of work cancelled before they ran", self.schedule.cancelled),
            ("evicted_total", "counter", "pieces of work that left a full queue", self.schedule.evicted),
            ("refused_total", "counter", "demands refused at a bound", self.schedule.refused),
            ("batches_total", "counter", "batches run", self.schedule.batches),
            ("batch_rows_total", "counter", "requests in batches", self.schedule.rows),
            ("oldest_runs_total", "counter", "requests run as the oldest", self.schedule.oldest_runs),
            ("retried_total", "counter", "requests run again", self.schedule.retried),
            ("simulations_total", "counter", "transactions simulated", self.watch.simulations),
            ("rounds_total", "counter", "simulations continued with a new outcome", self.watch.rounds),
            ("simulations_saved_total", "counter", "transactions that a new head left alone", self.watch.kept),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in rows {
            let full = format!("foreblock_pre_executor_{name}");
            let _ = writeln!(text, "# HELP {full} {help}\n# TYPE {full} {kind}\n{full} {value}");
        }
        text
    }
}
