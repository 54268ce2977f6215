//! The builder of the virtual chain: what it includes, what it misses and asks first, and what its block changes.

use super::{Control, INPUTS, WARM_UP, World, changes, requests};
use crate::trace::{GAS_PER_US, SLOT_US, Tx};
use alloy_primitives::U256;
use foreblock_pre_executor::{Hold, PendingState, Phase, WriteSet, schedule::Micros};
use foreblock_precompile::{Request, RequestId};
use revm::{Database, DatabaseCommit};
use std::sync::Arc;

impl World {
    pub(super) fn build(&mut self, block: u64, now_us: Micros) {
        let counts = block > WARM_UP;
        let late = self.policy.late() as u64;
        if counts {
            self.results.late += late;
            self.results.promised += late + self.promised_in_slot;
        }
        self.promised_in_slot = 0;
        let mut writes = WriteSet::default();
        for tx in self.in_order(now_us) {
            if counts && !tx.models.is_empty() {
                self.results.pending += 1;
            }
            if !self.holds(&tx, block)
                && let Some(asked) = self.look_up(&tx, block, now_us, counts)
            {
                let changes = changes(&tx);
                writes.add(&changes);
                self.base.commit(changes);
                self.include(&tx, &asked, now_us, counts);
            }
        }
        let writes = (self.control != Control::SimulateAll).then_some(writes);
        let again = self.watchlist.new_head(block + 1, writes.as_ref()).ask_again;
        self.pending = PendingState::new(Arc::new(self.base.clone()));
        for (_, watched) in self.watchlist.in_order().filter(|(_, watched)| watched.phase == Phase::Ready) {
            watched.changes.iter().for_each(|changes| self.pending.put(watched.place, changes));
        }
        self.policy.set_slot(block + 1, now_us);
        for hash in again {
            let missing = self.watchlist.get(hash).and_then(|watched| watched.missing.clone());
            let tx = self.txs[&hash].clone();
            missing.into_iter().for_each(|request| self.ask(&tx, request, now_us));
        }
    }

    fn is_there(&self, id: RequestId) -> bool {
        self.control != Control::NoHits && self.outcomes.contains_key(&id)
    }

    /// Whether the builder leaves a transaction alone, as it is known to wait.
    fn holds(&self, tx: &Tx, block: u64) -> bool {
        match self.watchlist.hold(tx.hash, block) {
            Some(Hold::Waits(id)) => !self.is_there(id),
            hold => hold.is_some(),
        }
    }

    /// The builder runs a transaction: what it asks, if all of that is there. What is missing is asked first.
    fn look_up(&mut self, tx: &Tx, block: u64, now_us: Micros, counts: bool) -> Option<Vec<Request>> {
        let value = self.base.storage(INPUTS, U256::from(tx.reads)).unwrap_or_default();
        let asked = requests(tx, value);
        let missing = asked.iter().position(|request| !self.is_there(request.id));
        if counts {
            self.results.hits += missing.unwrap_or(asked.len()) as u64;
            self.results.misses += u64::from(missing.is_some());
        }
        let Some(request) = missing.map(|at| asked[at].clone()) else { return Some(asked) };
        if let Some(first) = self.watchlist.missed(tx.hash, &request, block) {
            let id = request.id;
            self.ask(tx, request, now_us);
            if first {
                self.policy.ask_first(id);
            }
        }
        None
    }

    /// The pool and what only the builder sees, highest tip first. Hostile transactions are cancelled by now.
    fn in_order(&self, now_us: Micros) -> Vec<Tx> {
        let seen = self.watchlist.in_order().map(|(hash, _)| self.txs[&hash].clone());
        let slot = now_us - SLOT_US..now_us;
        let private = self.txs.values().filter(|tx| tx.private && slot.contains(&tx.arrives_us)).cloned();
        let mut all: Vec<Tx> = seen.chain(private).collect();
        all.sort_by_key(|tx| (std::cmp::Reverse(tx.tip_wei), tx.hash));
        all
    }

    fn include(&mut self, tx: &Tx, asked: &[Request], now_us: Micros, counts: bool) {
        self.watchlist.included(tx.hash);
        self.policy.included(tx.hash, tx.device_us() * GAS_PER_US);
        let fresh: Micros =
            asked.iter().filter(|request| self.used.insert(request.id)).map(|request| self.outcomes[&request.id]).sum();
        if !tx.models.is_empty() {
            self.results.value += tx.tip_wei as f64;
        }
        if !counts || tx.models.is_empty() {
            return;
        }
        self.results.included += 1;
        self.results.goodput_us += fresh;
        self.results.blocks_waited.push((now_us - tx.arrives_us).div_ceil(SLOT_US));
        let first = self.first_asked.get(&tx.hash);
        self.results.moved += u64::from(first.is_some_and(|first| *first != asked[0].id));
    }
}
