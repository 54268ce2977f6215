//! `eth_call`, estimates and traces of pending work: they wait until they are whole.

use crate::{
    pre_executor::PreExecutor,
    schedule::{Demand, Refused, TransactionId},
    shared::unpaid,
};
use alloy_primitives::keccak256;
use foreblock_precompile::{ModelId, Outcomes, Request, RequestId};
use parking_lot::MutexGuard;
use std::time::{Duration, Instant};

/// Why a call has no outcomes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The time is over.
    #[error("request {request} has no outcome after {} ms: ask again later", waited.as_millis())]
    Timeout {
        /// The first that is missing.
        request: RequestId,
        /// How long it was waited for.
        waited: Duration,
    },
    /// No worker could compute it.
    #[error("request {request} cannot be computed: {reason}")]
    Unavailable {
        /// The request.
        request: RequestId,
        /// What the workers said.
        reason: String,
    },
    /// The call makes too many inferences one after the other.
    #[error("more than {0} inferences depend on one another: split the call")]
    Rounds(u32),
}

/// Longest that a request waits whose transaction is not watched.
pub const WANTED_MAX: Duration = Duration::from_secs(60);

/// What became of a request that a client's builder missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Its outcome is there.
    There,
    /// It is queued or runs.
    Queued,
}

impl PreExecutor {
    /// Waits until there is an outcome for each request, asking for those that are missing.
    ///
    /// # Errors
    /// [`Unresolved`] once the time is over or a request is given up.
    pub fn wait(&self, requests: &[Request], timeout: Duration) -> Result<(), Unresolved> {
        let started = Instant::now();
        let missing = |request: &&Request| self.shared.store.get(request.id).is_none();
        let missing: Vec<&Request> = requests.iter().filter(missing).collect();
        let mut models: Vec<ModelId> = missing.iter().map(|request| request.model).collect();
        models.dedup();
        models.into_iter().for_each(|model| self.shared.describe(model));
        let mut state = self.shared.lock();
        let mut asked = Vec::new();
        for request in &missing {
            state.calls += 1;
            let call = keccak256([request.id.as_slice(), &state.calls.to_be_bytes()].concat());
            let unavailable =
                |refused: Refused| Unresolved::Unavailable { request: request.id, reason: refused.to_string() };
            let demand = unpaid(call, self.shared.now_us());
            let taken = self.shared.ask(&mut state, (*request).clone(), demand).map_err(unavailable);
            asked.push(call);
            // A worker that waits for the lock gets it now: it need not wait for hundreds of requests to be asked.
            MutexGuard::bump(&mut state);
            if let Err(error) = taken {
                asked.iter().for_each(|call| drop(state.scheduler.withdraw(*call)));
                return Err(error);
            }
        }
        let mut left = missing.iter().peekable();
        let result = loop {
            while left.next_if(|request| self.shared.store.get(request.id).is_some()).is_some() {}
            let Some(first) = left.peek() else { break Ok(()) };
            if state.stopped || !state.scheduler.holds(first.id) {
                break Err(Unresolved::Unavailable { request: first.id, reason: state.reason(first.id) });
            }
            if self.shared.news.wait_until(&mut state, started + timeout).timed_out() {
                break Err(Unresolved::Timeout { request: first.id, waited: started.elapsed() });
            }
        };
        asked.iter().for_each(|call| drop(state.scheduler.withdraw(*call)));
        result
    }

    /// A client's builder missed a request of a transaction that may not be watched here: it is asked before others, without waiting for
    /// it, and given up after [`WANTED_MAX`]. Whether its outcome is there, or will be.
    ///
    /// # Errors
    /// [`Refused`] if the queue does not take it.
    pub fn want(&self, transaction: TransactionId, request: &Request) -> Result<Wanted, Refused> {
        if self.missed(transaction, request) {
            return Ok(Wanted::There);
        }
        let mut state = self.shared.lock();
        if !state.scheduler.holds(request.id) {
            let now_us = self.shared.now_us();
            let expires_us = Some(now_us + WANTED_MAX.as_micros() as u64);
            // One demand for each request, however often it is missed.
            let demand = Demand { expires_us, ..unpaid(keccak256(request.id), now_us) };
            self.shared.ask(&mut state, request.clone(), demand)?;
            state.scheduler.ask_first(request.id);
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(Wanted::Queued)
    }

    /// Runs a call until it misses no outcome. `run` returns the request that aborted it, if one did.
    ///
    /// # Errors
    /// [`Unresolved`] once the time or the rounds are over, or a request is given up.
    pub fn resolve<T>(&self, timeout: Duration, mut run: impl FnMut() -> Result<T, Request>) -> Result<T, Unresolved> {
        let deadline = Instant::now() + timeout;
        let rounds_max = self.shared.config.call_rounds_max;
        for _ in 0..=rounds_max {
            match run() {
                Ok(done) => return Ok(done),
                Err(request) => self.wait(&[request], deadline.saturating_duration_since(Instant::now()))?,
            }
        }
        Err(Unresolved::Rounds(rounds_max))
    }
}
