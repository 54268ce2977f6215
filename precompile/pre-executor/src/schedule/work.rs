//! What the scheduler is told, what it holds, and what it hands out.

use super::Micros;
use alloy_primitives::{Address, B256};
use foreblock_precompile::{ModelId, Request, RequestId};
use std::collections::BTreeMap;

/// Hash of a pending transaction; for an `eth_call`, the id of the call.
pub type TransactionId = B256;

/// One transaction's wish for one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Who waits.
    pub transaction: TransactionId,
    /// Who pays for the transaction.
    pub sender: Address,
    /// The contract that the transaction calls; the zero address for a creation.
    pub contract: Address,
    /// What the producer earns when the transaction is included, in wei.
    pub tip_wei: u128,
    /// Chance that the transaction is included with this request unchanged, in parts per million.
    pub unchanged_ppm: u32,
    /// Inference gas of the request: the unit in which device time is charged.
    pub gas: u64,
    /// Gas that the transaction's locked funds buy at the current base fee.
    pub locked_gas: u64,
    /// When the transaction was first seen: a request asked later for the same transaction keeps its age.
    pub since_us: Micros,
    /// When the answer stops being of use (a `runOr` deadline, the transaction's expiry).
    pub expires_us: Option<Micros>,
    /// Device time expected after this request for the same transaction, when its calls depend on one another.
    pub followup_us: Micros,
}

/// What became of an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A new piece of work.
    New,
    /// Somebody waits for the same answer already: no second run.
    Merged,
    /// The same transaction waits for it already.
    Known,
}

/// Why a demand is not taken. Nothing is lost: the transaction stays in the pool and may ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full and everything in it ranks higher.
    #[error("queue is full ({pieces} pieces of work, {bytes} bytes) of better paying work: raise the tip or ask again")]
    QueueFull {
        /// Pieces of work in the queue.
        pieces: usize,
        /// Bytes of their inputs.
        bytes: usize,
    },
    /// More requests of one sender than may wait.
    #[error("{waiting} requests of this sender wait, at most {max} may: wait until some are included")]
    SenderFull {
        /// Requests that wait.
        waiting: usize,
        /// Most that may wait.
        max: usize,
    },
    /// The payer's device time is used up.
    #[error(
        "{spent} gas of device time is spent of {paid} paid and {locked} locked, {asked} more is asked: lock more or wait for inclusion"
    )]
    PayerSpent {
        /// Gas computed for the payer or promised to it.
        spent: u64,
        /// Gas of its included transactions.
        paid: u64,
        /// Gas that its pending transactions lock.
        locked: u64,
        /// Gas of the refused request.
        asked: u64,
    },
    /// Too many transactions wait for one request.
    #[error("{0} transactions wait for this request already: ask again when it is answered")]
    RequestFull(usize),
    /// The input is larger than the whole queue may hold.
    #[error("input of {size_bytes} bytes, at most {max_bytes} are queued")]
    InputTooLarge {
        /// Bytes of the input.
        size_bytes: usize,
        /// Most bytes in the queue.
        max_bytes: usize,
    },
}

/// Where a piece of work stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In the queue.
    Queued,
    /// On a worker.
    Running {
        /// Which.
        worker: usize,
    },
}

/// A place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the work stands.
    pub state: State,
    /// How many pieces of work run before it.
    pub position: usize,
    /// First block that is predicted to have the answer.
    pub block: u64,
}

/// One piece of work: a request and all who wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) request: Request,
    pub(crate) waiters: BTreeMap<TransactionId, Demand>,
    pub(crate) state: State,
    /// The builder missed it: it goes before all but the oldest.
    pub(crate) asked_first: bool,
    /// Failed runs, and the worker of the last one.
    pub(crate) crashes: u32,
    pub(crate) avoid_worker: Option<usize>,
    /// Not before this time: a back-off after a failure.
    pub(crate) not_before_us: Micros,
    /// The transaction whose payer was charged for the run.
    pub(crate) charged: Option<TransactionId>,
}

impl Work {
    pub(crate) fn new(request: Request) -> Self {
        Self {
            request,
            waiters: BTreeMap::new(),
            state: State::Queued,
            asked_first: false,
            crashes: 0,
            avoid_worker: None,
            not_before_us: 0,
            charged: None,
        }
    }

    pub(crate) fn since_us(&self) -> Micros {
        self.waiters.values().map(|demand| demand.since_us).min().unwrap_or(Micros::MAX)
    }

    /// The earliest time at which every waiter's answer stops being of use, less the work that follows it.
    pub(crate) fn deadline_us(&self, seal_us: Micros) -> Micros {
        let latest =
            |demand: &Demand| demand.expires_us.unwrap_or(seal_us).min(seal_us).saturating_sub(demand.followup_us);
        self.waiters.values().map(latest).min().unwrap_or(seal_us)
    }

    /// Bytes that the work occupies in the queue: its input and a flat charge for each waiter.
    pub(crate) fn size_bytes(&self) -> usize {
        self.request.input.len() + WORK_OVERHEAD_BYTES
    }
}

/// Flat charge for the bookkeeping of one piece of work, in bytes.
pub(crate) const WORK_OVERHEAD_BYTES: usize = 512;

/// Requests of one model that run together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The model.
    pub model: ModelId,
    /// What it is asked, at least one.
    pub requests: Vec<Request>,
    /// The worker that asked for it.
    pub worker: usize,
    /// When it started.
    pub started_us: Micros,
    /// When it is predicted to end.
    pub ends_us: Micros,
    /// First block that it was planned for: who waits may count on that.
    pub block: u64,
}

/// How one request of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is an outcome.
    Done,
    /// The worker crashed or the model is not available now: run it elsewhere, or later.
    Again,
}

/// What came of the end of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    /// Requests with an outcome, and the transactions that waited for them.
    pub done: Vec<(RequestId, Vec<TransactionId>)>,
    /// Requests given up after too many failed runs, and who waited.
    pub given_up: Vec<(RequestId, Vec<TransactionId>)>,
    /// Requests put back.
    pub again: usize,
    /// Requests with an outcome that nobody waits for any more.
    pub unwanted: usize,
}
