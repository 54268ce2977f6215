//! Who waits no more, and the work that is cancelled with the last of them.

use super::{Scheduler, State, TransactionId, Waiting, work::Work};
use foreblock_precompile::RequestId;

impl Scheduler {
    /// A transaction waits no more: it was dropped, replaced or expired. Returns the work that is cancelled with it.
    pub fn withdraw(&mut self, transaction: TransactionId) -> Vec<RequestId> {
        let Some(waiting) = self.transactions.remove(&transaction) else { return Vec::new() };
        self.payers.unlock(waiting.sender, waiting.locked_gas);
        let leave = |id: RequestId| self.leave(id, transaction, &waiting).then_some(id);
        waiting.requests.iter().copied().filter_map(leave).collect()
    }

    /// A transaction was included and paid `gas` for inference.
    pub fn included(&mut self, transaction: TransactionId, gas: u64) -> Vec<RequestId> {
        if let Some(waiting) = self.transactions.get(&transaction) {
            self.payers.pay(waiting.sender, gas);
            self.senders.included(waiting.sender);
            self.contracts.included(waiting.contract);
        }
        self.withdraw(transaction)
    }

    /// One transaction stops waiting for one request. True if the work is cancelled with it.
    pub(super) fn leave(&mut self, id: RequestId, transaction: TransactionId, waiting: &Waiting) -> bool {
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

    /// Removes a piece of queued work with everybody who waits.
    pub(super) fn cancel(&mut self, id: RequestId) -> Vec<TransactionId> {
        let waiters: Vec<_> = self.work.get(&id).map(|work| work.waiters.keys().copied().collect()).unwrap_or_default();
        for transaction in &waiters {
            if let Some(waiting) = self.transactions.get_mut(transaction) {
                waiting.requests.remove(&id);
                let waiting = waiting.clone();
                self.leave(id, *transaction, &waiting);
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
