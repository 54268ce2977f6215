//! Who waits no more, and the work that is cancelled with the last of them.

use super::{Scheduler, State, TransactionId, work::Work};
use foreblock_precompile::RequestId;

impl Scheduler {
    /// A transaction waits no more: it was dropped, replaced or expired. Returns the work that is cancelled with it.
    pub fn withdraw(&mut self, transaction: TransactionId) -> Vec<RequestId> {
        self.resolve(transaction, false)
    }

    /// A transaction is over. What became of those that had something computed says how likely the next ones are included.
    fn resolve(&mut self, transaction: TransactionId, included: bool) -> Vec<RequestId> {
        let Some(waiting) = self.transactions.get(&transaction) else { return Vec::new() };
        // A call is no transaction: it has no sender.
        if waiting.computed && !waiting.sender.is_zero() {
            let new_sender = self.senders.resolved(waiting.sender, included);
            let new_contract = self.contracts.resolved(waiting.contract, included);
            if new_sender && new_contract {
                self.newcomers.learn(included);
            }
        }
        let requests: Vec<RequestId> = waiting.requests.iter().copied().collect();
        let cancelled = requests.into_iter().filter(|id| self.leave(*id, transaction)).collect();
        self.forget_if_idle(transaction);
        cancelled
    }

    /// A transaction was included and paid `gas` for inference.
    pub fn included(&mut self, transaction: TransactionId, gas: u64) -> Vec<RequestId> {
        if let Some(waiting) = self.transactions.get(&transaction) {
            self.payers.pay(waiting.sender, gas);
            self.senders.included(waiting.sender);
            self.contracts.included(waiting.contract);
        }
        self.resolve(transaction, true)
    }

    /// A new simulation says that this is all that the transaction waits for: what it asked before and what has not started is
    /// of no use to it any more. Returns the work that is cancelled.
    pub fn wants_only(&mut self, transaction: TransactionId, wanted: Option<RequestId>) -> Vec<RequestId> {
        let Some(waiting) = self.transactions.get(&transaction) else { return Vec::new() };
        let others = waiting.requests.iter().copied().filter(|id| Some(*id) != wanted && self.is_queued(*id));
        let others: Vec<RequestId> = others.collect();
        others.into_iter().filter(|id| self.leave(*id, transaction)).collect()
    }

    /// One transaction stops waiting for one request. True if the work is cancelled with it.
    pub(super) fn leave(&mut self, id: RequestId, transaction: TransactionId) -> bool {
        let Some(waiting) = self.transactions.get_mut(&transaction) else { return false };
        if !waiting.requests.remove(&id) {
            return false;
        }
        self.senders.leave(waiting.sender);
        self.contracts.leave(waiting.contract);
        let Some(work) = self.work.get_mut(&id) else { return false };
        self.by_age.remove(&(work.since_us(), id));
        let Some(demand) = work.waiters.remove(&transaction) else { return false };
        if work.charged != Some(transaction) {
            self.payers.release(demand.sender, demand.gas);
        }
        if work.state != State::Queued {
            return false;
        }
        if work.waiters.is_empty() {
            self.remove_work(id);
            self.counts.cancelled += 1;
            return true;
        }
        self.by_age.insert((work.since_us(), id));
        false
    }

    /// Everybody stops waiting for a request. Who has nothing else to wait for and locked nothing is forgotten; of `all`, who
    /// locked something, too.
    pub(super) fn dismiss(&mut self, id: RequestId, all: bool) -> Vec<TransactionId> {
        let waiters: Vec<_> = self.work.get(&id).map(|work| work.waiters.keys().copied().collect()).unwrap_or_default();
        for transaction in &waiters {
            self.leave(id, *transaction);
            if all || self.transactions.get(transaction).is_some_and(|waiting| waiting.locked_gas == 0) {
                self.forget_if_idle(*transaction);
            }
        }
        waiters
    }

    pub(super) fn remove_work(&mut self, id: RequestId) -> Option<Work> {
        let work = self.work.remove(&id)?;
        self.queue_bytes -= work.size_bytes();
        self.by_age.remove(&(work.since_us(), id));
        self.changed = true;
        Some(work)
    }
}
