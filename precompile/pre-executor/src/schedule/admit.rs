//! Which demands are taken, and who leaves a full queue.

use super::{
    Asked, Demand, Micros, Refused, Scheduler, State, TransactionId, Waiting, rank,
    work::{self, Work},
};
use foreblock_precompile::{Request, RequestId};
use std::collections::BTreeSet;

impl Scheduler {
    /// Takes one transaction's wish for a request.
    ///
    /// # Errors
    /// [`Refused`] at each bound. Nothing changed then.
    pub fn ask(&mut self, request: Request, demand: Demand, now_us: Micros) -> Result<Asked, Refused> {
        let asked = self.try_ask(request, demand, now_us);
        match asked {
            Ok(Asked::New) => self.counts.queued += 1,
            Ok(Asked::Merged) => self.counts.merged += 1,
            Ok(Asked::Known) => {}
            Err(_) => self.counts.refused += 1,
        }
        asked
    }

    /// Takes the cost of a request that is computed at once, beside the queue. The transaction's funds count for that long.
    ///
    /// # Errors
    /// [`Refused`] if they are not enough.
    pub fn charge(&mut self, demand: &Demand) -> Result<(), Refused> {
        self.admit_transaction(demand)?;
        self.payers.charge(demand.sender, demand.gas)
    }

    pub(super) fn try_ask(&mut self, request: Request, demand: Demand, now_us: Micros) -> Result<Asked, Refused> {
        let id = request.id;
        let known = self.work.get(&id);
        if known.is_some_and(|work| work.waiters.contains_key(&demand.transaction)) {
            return Ok(Asked::Known);
        }
        let waiting = self.senders.waiting(demand.sender);
        if waiting >= self.limits.sender_waiting_max {
            return Err(Refused::SenderFull { waiting, max: self.limits.sender_waiting_max });
        }
        if let Some(full) = known.map(|work| work.waiters.len()).filter(|waiters| *waiters >= self.limits.waiters_max) {
            return Err(Refused::RequestFull(full));
        }
        self.admit_transaction(&demand)?;
        let merged = known_or_new(self.work.contains_key(&id));
        let taken = self.payers.promise(demand.sender, demand.gas).and_then(|()| match merged {
            Asked::New => self
                .make_room_for(&request, &demand, now_us)
                .inspect_err(|_| self.payers.release(demand.sender, demand.gas)),
            _ => Ok(()),
        });
        if let Err(refused) = taken {
            self.forget_if_idle(demand.transaction);
            return Err(refused);
        }
        self.insert(request, demand);
        Ok(merged)
    }

    pub(super) fn insert(&mut self, request: Request, demand: Demand) {
        let id = request.id;
        self.senders.wait(demand.sender);
        self.contracts.wait(demand.contract);
        if let Some(waiting) = self.transactions.get_mut(&demand.transaction) {
            waiting.requests.insert(id);
        }
        let work = self.work.entry(id).or_insert_with(|| {
            self.queue_bytes += request.input.len() + work::WORK_OVERHEAD_BYTES;
            Work::new(request)
        });
        self.by_age.remove(&(work.since_us(), id));
        work.waiters.insert(demand.transaction, demand);
        if work.state == State::Queued {
            self.by_age.insert((work.since_us(), id));
        }
        self.changed = true;
    }

    /// Locks a new transaction's funds. A transaction that is known keeps what it locked first.
    pub(super) fn admit_transaction(&mut self, demand: &Demand) -> Result<(), Refused> {
        if self.transactions.contains_key(&demand.transaction) {
            return Ok(());
        }
        if self.transactions.len() >= 4 * self.limits.pieces_max {
            return Err(Refused::QueueFull { pieces: self.work.len(), bytes: self.queue_bytes });
        }
        self.payers.lock(demand.sender, demand.locked_gas);
        let waiting = Waiting {
            sender: demand.sender,
            contract: demand.contract,
            locked_gas: demand.locked_gas,
            requests: BTreeSet::new(),
            computed: false,
        };
        self.transactions.insert(demand.transaction, waiting);
        Ok(())
    }

    pub(super) fn forget_if_idle(&mut self, transaction: TransactionId) {
        let idle = self.transactions.get(&transaction).is_some_and(|waiting| waiting.requests.is_empty());
        if let Some(waiting) = idle.then(|| self.transactions.remove(&transaction)).flatten() {
            self.payers.unlock(waiting.sender, waiting.locked_gas);
        }
    }

    /// At the bound the lowest ranked work leaves, if the new one ranks higher.
    pub(super) fn make_room_for(&mut self, request: &Request, demand: &Demand, now_us: Micros) -> Result<(), Refused> {
        let size = request.input.len() + work::WORK_OVERHEAD_BYTES;
        let max_bytes = self.limits.queue_bytes_max;
        if size > max_bytes {
            return Err(Refused::InputTooLarge { size_bytes: size, max_bytes });
        }
        let value_wei = self.worth_wei(demand);
        let mine = rank(value_wei, self.costs.batch_us(request.model, 1), self.age_blocks(demand.since_us, now_us));
        while self.work.len() >= self.limits.pieces_max || self.queue_bytes + size > max_bytes {
            let full = Refused::QueueFull { pieces: self.work.len(), bytes: self.queue_bytes };
            let (theirs, victim) = self.worst(now_us).ok_or(full)?;
            if theirs >= mine {
                self.victims.push((theirs, victim));
                return Err(full);
            }
            let waiters = self.dismiss(victim, true);
            self.counts.evicted += 1;
            self.dropped.push((victim, waiters));
        }
        Ok(())
    }

    /// Takes the worst queued work off the list of victims, made anew when it is used up.
    pub(super) fn worst(&mut self, now_us: Micros) -> Option<(f64, RequestId)> {
        for fresh in [false, true] {
            if fresh {
                self.list_victims(now_us);
            }
            while let Some((rank, id)) = self.victims.pop() {
                if self.work.get(&id).is_some_and(|work| work.state == State::Queued) {
                    return Some((rank, id));
                }
            }
        }
        None
    }

    pub(super) fn list_victims(&mut self, now_us: Micros) {
        let ranked = self.by_age.iter().map(|(since_us, id)| {
            let work = &self.work[id];
            let cost_us = self.costs.batch_us(work.request.model, 1);
            (rank(self.value_wei(work), cost_us, self.age_blocks(*since_us, now_us)), *id)
        });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        self.victims = ranked.split_off(ranked.len() - ranked.len() / 16 - usize::from(!ranked.is_empty()));
    }

    pub(super) fn age_blocks(&self, since_us: Micros, now_us: Micros) -> f64 {
        (now_us.saturating_sub(since_us) / self.slot.length_us.max(1)) as f64
    }
}

fn known_or_new(known: bool) -> Asked {
    if known { Asked::Merged } else { Asked::New }
}
