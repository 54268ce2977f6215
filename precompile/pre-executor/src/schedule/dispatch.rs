//! Which batch a worker runs next, and what its end changes.

use super::{
    Batch, Ended, Finished, Micros, Scheduler, State,
    plan::{Load, Planned, Turn, plan, rows_max},
    work::Work,
};
use foreblock_precompile::{ModelId, Request, RequestId};

impl Scheduler {
    /// The next batch for a worker that is free, or nothing if nothing may run now.
    pub fn next(&mut self, worker: usize, now_us: Micros) -> Option<Batch> {
        if worker >= self.running.len() || self.running[worker].is_some() {
            return None;
        }
        self.roll_slot(now_us);
        let lead = self.oldest_due(worker, now_us).or_else(|| self.first_planned(worker, now_us))?;
        let batch = self.fill(lead, worker, now_us);
        // What runs because nobody else waits takes nothing from its model's share.
        if lead.turn != Turn::Spare {
            *self.used_us.entry(batch.model).or_default() += batch.ends_us - batch.started_us;
        }
        self.start(&batch);
        Some(batch)
    }

    /// When a worker that found nothing should look again although nothing new was asked: the end of a back-off.
    pub fn next_look_us(&self, now_us: Micros) -> Option<Micros> {
        self.work.values().filter(|work| work.state == State::Queued).map(|work| work.not_before_us.max(now_us)).min()
    }

    /// A block that does not come moves its seal by a slot; one that is a little late is still awaited.
    fn roll_slot(&mut self, now_us: Micros) {
        if now_us >= self.slot.seal_us + self.slot.length_us / 16 {
            let slots = (now_us - self.slot.seal_us) / self.slot.length_us.max(1) + 1;
            self.slot.seal_us += slots * self.slot.length_us.max(1);
            self.used_us.clear();
            self.changed = true;
            self.planned_us = 0;
        }
    }

    /// The oldest work, if it waited a block and its share of the capacity is enough for it.
    fn oldest_due(&mut self, worker: usize, now_us: Micros) -> Option<Planned> {
        let waited = |since_us: Micros| now_us.saturating_sub(since_us) >= self.slot.length_us;
        let due = self.by_age.iter().take_while(|(since_us, _)| waited(*since_us)).map(|(_, id)| *id);
        let due = due.take(OLDEST_LOOKED_AT).find(|id| self.may_run(*id, worker, now_us) && self.within_quota(*id));
        let workers = self.limits.workers as u64;
        let cost_us = due.map_or(0, |id| self.costs.batch_us(self.work[&id].request.model, 1));
        let cap_us = self.slot.length_us * workers + cost_us;
        self.oldest.accrue(now_us, workers, self.limits.oldest_divisor.max(1), cap_us, due.is_some());
        let id = due.filter(|_| self.oldest.take(cost_us))?;
        self.counts.oldest_runs += 1;
        let model = self.work[&id].request.model;
        let (turn, block, since_us) = (Turn::Now, self.slot.block, self.work[&id].since_us());
        Some(Planned { id, model, turn, block, deadline_us: Micros::MAX, rank: f64::INFINITY, since_us })
    }

    /// Device time that the oldest will take until the seal: what is promised to others must not count on it.
    fn oldest_us(&self, now_us: Micros) -> Micros {
        let Some((since_us, id)) = self.by_age.first() else { return 0 };
        let from_us = now_us.max(since_us + self.slot.length_us);
        let Some(left_us) = self.slot.seal_us.checked_sub(from_us) else { return 0 };
        let will_be_us = self.oldest.after(left_us * self.limits.workers as u64, self.limits.oldest_divisor.max(1));
        let cost_us = self.costs.batch_us(self.work[id].request.model, 1);
        if will_be_us >= cost_us { will_be_us } else { 0 }
    }

    fn within_quota(&self, id: RequestId) -> bool {
        self.work[&id]
            .waiters
            .values()
            .any(|d| self.senders.allowed(d.sender) > 0 && self.contracts.allowed(d.contract) > 0)
    }

    fn may_run(&self, id: RequestId, worker: usize, now_us: Micros) -> bool {
        self.work.get(&id).is_some_and(|work| {
            let elsewhere = work.avoid_worker == Some(worker) && self.running.len() > 1;
            work.state == State::Queued && work.not_before_us <= now_us && !elsewhere
        })
    }

    fn first_planned(&mut self, worker: usize, now_us: Micros) -> Option<Planned> {
        // A long queue is planned less often, so that planning stays a small part of the time, but the more often the closer the
        // seal is: what is planned for this block must still end in time when it starts.
        let often_us = self.limits.replan_us * (1 + self.by_age.len() as u64 / 64);
        let left_us = self.slot.seal_us.saturating_sub(now_us);
        let replan_us = often_us.min(left_us / 8).max(self.limits.replan_us);
        if self.changed && (self.planned_us == 0 || now_us.saturating_sub(self.planned_us) >= replan_us) {
            self.make_plan(now_us);
        }
        if let Some(first) = self.first_in_order(worker, now_us) {
            return Some(first);
        }
        if !self.changed {
            return None;
        }
        self.make_plan(now_us);
        self.first_in_order(worker, now_us)
    }

    fn first_in_order(&mut self, worker: usize, now_us: Micros) -> Option<Planned> {
        while self.order.get(self.cursor).is_some_and(|planned| !self.is_queued(planned.id)) {
            self.cursor += 1;
        }
        self.order[self.cursor..].iter().find(|planned| self.may_run(planned.id, worker, now_us)).copied()
    }

    /// Makes the plan anew. Waiters whose answer is of no use any more leave first.
    fn make_plan(&mut self, now_us: Micros) {
        self.expire(now_us);
        let candidates = self.candidates(now_us);
        let free = |batch: &Option<Batch>| batch.as_ref().map_or(now_us, |batch| batch.ends_us.max(now_us));
        let free_us = self.running.iter().map(free).collect();
        let load = Load { free_us, used_us: self.used_us.clone(), oldest_us: self.oldest_us(now_us) };
        self.order = plan(&candidates, &load, &self.costs, &self.limits, &self.slot, now_us);
        self.order_by_model.clear();
        for (at, planned) in self.order.iter().enumerate().rev() {
            self.order_by_model.entry(planned.model).or_default().push(at);
        }
        self.cursor = 0;
        self.changed = false;
        self.planned_us = now_us.max(1);
    }

    fn expire(&mut self, now_us: Micros) {
        let over = |work: &&Work| work.state == State::Queued;
        let mut expired = Vec::new();
        for work in self.work.values().filter(over) {
            let late = work.waiters.values().filter(|demand| demand.expires_us.is_some_and(|at| at <= now_us));
            expired.extend(late.map(|demand| (work.request.id, demand.transaction)));
        }
        expired.sort_unstable();
        for (id, transaction) in expired {
            self.leave(id, transaction);
        }
    }

    /// Adds work of the same model and block to the first, as far as the model gains from it and no deadline is missed.
    fn fill(&mut self, lead: Planned, worker: usize, now_us: Micros) -> Batch {
        let rows_max = if self.crashed(lead.id) { 1 } else { self.rows_max(lead.model) };
        let mut requests = vec![self.work[&lead.id].request.clone()];
        let mut deadline_us = lead.deadline_us;
        let places = self.order_by_model.remove(&lead.model).unwrap_or_default();
        let mut passed = 0;
        for at in places.iter().rev() {
            let planned = self.order[*at];
            let together = (planned.turn == Turn::Spare) == (lead.turn == Turn::Spare) && planned.block <= lead.block;
            if requests.len() >= rows_max || !together {
                break;
            }
            if planned.id != lead.id && self.may_run(planned.id, worker, now_us) && !self.crashed(planned.id) {
                let tightest_us = deadline_us.min(planned.deadline_us);
                if !self.ends_in_time(lead.model, requests.len() + 1, now_us, tightest_us) {
                    break;
                }
                deadline_us = tightest_us;
                requests.push(self.work[&planned.id].request.clone());
            }
            passed += 1;
        }
        // What was taken or is gone is not looked at again; what may not run now is.
        let kept: Vec<usize> =
            places.iter().rev().take(passed).filter(|at| self.stays(**at, &requests)).copied().collect();
        let mut rest = places;
        rest.truncate(rest.len() - passed);
        rest.extend(kept.into_iter().rev());
        self.order_by_model.insert(lead.model, rest);
        let ends_us = now_us + self.costs.batch_us(lead.model, requests.len());
        // What the plan said may have become too late meanwhile.
        let late_us = now_us + self.costs.batch_late_us(lead.model, requests.len());
        let block = lead.block.max(self.slot.block_at(late_us));
        Batch { model: lead.model, requests, worker, started_us: now_us, ends_us, block }
    }

    /// Whether a run of it failed: it runs alone then, so that it takes no other down with it again.
    fn crashed(&self, id: RequestId) -> bool {
        self.work.get(&id).is_some_and(|work| work.crashes > 0)
    }

    fn stays(&self, at: usize, taken: &[Request]) -> bool {
        let id = self.order[at].id;
        self.is_queued(id) && !taken.iter().any(|request| request.id == id)
    }

    /// Longest batch: worth running, and short enough not to block the queue.
    fn rows_max(&self, model: ModelId) -> usize {
        let most = rows_max(&self.costs, &self.limits, model);
        let block_us = self.slot.length_us / self.limits.batch_slot_divisor.max(1);
        let fits = |rows: &usize| self.costs.batch_us(model, *rows) <= block_us;
        (1..=most).rev().find(fits).unwrap_or(1)
    }

    /// Whether a batch of `rows` ends before the deadline; once it is missed anyway, length does not matter.
    fn ends_in_time(&self, model: ModelId, rows: usize, now_us: Micros, deadline_us: Micros) -> bool {
        let missed_anyway = now_us + self.costs.batch_late_us(model, 1) > deadline_us;
        missed_anyway || now_us + self.costs.batch_late_us(model, rows) <= deadline_us
    }

    fn start(&mut self, batch: &Batch) {
        self.counts.batches += 1;
        self.counts.rows += batch.requests.len() as u64;
        for request in &batch.requests {
            let Some(work) = self.work.get_mut(&request.id) else { continue };
            self.by_age.remove(&(work.since_us(), request.id));
            work.state = State::Running { worker: batch.worker };
            if work.charged.is_none() {
                // One payer is charged for one run, whoever else waits: the one who asked first.
                if let Some(demand) = work.waiters.values().min_by_key(|d| (d.since_us, d.transaction)) {
                    work.charged = Some(demand.transaction);
                    self.payers.spend(demand.sender, demand.gas);
                    self.senders.computed(demand.sender);
                    self.contracts.computed(demand.contract);
                    if let Some(waiting) = self.transactions.get_mut(&demand.transaction) {
                        waiting.computed = true;
                    }
                }
            }
        }
        self.running[batch.worker] = Some(batch.clone());
    }

    /// A worker's batch ended, one [`Ended`] for each of its requests; missing ones count as [`Ended::Again`].
    pub fn finish(&mut self, worker: usize, ended: &[Ended], now_us: Micros) -> Finished {
        let mut finished = Finished::default();
        let Some(batch) = self.running.get_mut(worker).and_then(Option::take) else { return finished };
        if ended.len() == batch.requests.len() && ended.iter().all(|one| *one == Ended::Done) {
            self.costs.learn(batch.model, batch.requests.len(), now_us.saturating_sub(batch.started_us));
        }
        for (at, request) in batch.requests.iter().enumerate() {
            match ended.get(at) {
                Some(Ended::Done) => match self.end(request.id) {
                    waiters if waiters.is_empty() => finished.unwanted += 1,
                    waiters => finished.done.push((request.id, waiters)),
                },
                _ => match self.put_back(request.id, worker, now_us) {
                    Some(waiters) => finished.given_up.push((request.id, waiters)),
                    None => finished.again += 1,
                },
            }
        }
        self.changed = true;
        finished
    }

    /// Removes work that ran, and says who waited.
    fn end(&mut self, id: RequestId) -> Vec<super::TransactionId> {
        let waiters = self.dismiss(id, false);
        self.remove_work(id);
        waiters
    }

    /// Puts work back after a failed run, or gives it up after too many.
    fn put_back(&mut self, id: RequestId, worker: usize, now_us: Micros) -> Option<Vec<super::TransactionId>> {
        let work = self.work.get_mut(&id)?;
        work.crashes += 1;
        if work.crashes >= self.limits.crashes_max || work.waiters.is_empty() {
            return Some(self.end(id));
        }
        self.counts.retried += 1;
        work.state = State::Queued;
        work.avoid_worker = Some(worker);
        work.not_before_us = now_us + (self.limits.backoff_us << (work.crashes - 1).min(16));
        self.by_age.insert((work.since_us(), id));
        None
    }
}

/// Work that may not run now (a back-off) is passed over when the oldest is looked for, at most this many.
const OLDEST_LOOKED_AT: usize = 64;
