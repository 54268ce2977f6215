//! What may run, what it is worth, and whose quota it falls under.

use super::{
    Demand, MIN_INCLUSION_RATE_DENOMINATOR, Micros, Scheduler,
    plan::{Candidate, rank},
    work::Work,
};
use alloy_primitives::Address;
use std::collections::HashMap;

impl Scheduler {
    /// `p(included unchanged) * tip`: that the request stays, and that who asks it is included once it is computed. The sender's
    /// record says that; the contract's where the sender has none, and that of newcomers where neither has one.
    pub(super) fn worth_wei(&self, demand: &Demand) -> f64 {
        let contract = self.contracts.odds(demand.contract, self.newcomers);
        let odds = self.senders.odds(demand.sender, contract);
        demand.tip_wei as f64 * f64::from(demand.unchanged_ppm) / 1e6 * odds.chance()
    }

    /// The same of all who wait.
    pub(super) fn value_wei(&self, work: &Work) -> f64 {
        work.waiters.values().map(|demand| self.worth_wei(demand)).sum()
    }

    /// Whether at least one in so many as ERC-7562 expects is included of those that are computed for the like of this one. A call is
    /// no transaction: nobody includes it.
    fn is_likely(&self, demand: &Demand) -> bool {
        let contract = self.contracts.odds(demand.contract, self.newcomers);
        let odds = self.senders.odds(demand.sender, contract);
        demand.sender.is_zero() || odds.chance() * MIN_INCLUSION_RATE_DENOMINATOR as f64 >= 1.0
    }

    /// Queued work, the best first, and whether somebody who waits for it is within his quota: of one sender or contract the best
    /// ones are, and none of those that are hardly ever included.
    pub(super) fn candidates(&self, now_us: Micros) -> Vec<Candidate> {
        let mut ranked: Vec<(f64, Candidate)> = self
            .by_age
            .iter()
            .map(|(since_us, id)| {
                let work = &self.work[id];
                let value_wei = self.value_wei(work);
                let cost_us = self.costs.batch_us(work.request.model, 1);
                let candidate = Candidate {
                    id: *id,
                    model: work.request.model,
                    value_wei,
                    since_us: *since_us,
                    deadline_us: work.deadline_us(self.slot.seal_us),
                    asked_first: work.asked_first,
                    within_quota: false,
                };
                (rank(value_wei, cost_us, self.age_blocks(*since_us, now_us)), candidate)
            })
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1.since_us, a.1.id).cmp(&(b.1.since_us, b.1.id))));
        let mut quotas = Quotas { scheduler: self, senders: HashMap::new(), contracts: HashMap::new() };
        let mut candidates: Vec<Candidate> = ranked.into_iter().map(|(_, candidate)| candidate).collect();
        for candidate in &mut candidates {
            candidate.within_quota = quotas.take(&self.work[&candidate.id]);
        }
        candidates
    }
}

/// What is left of the quotas.
struct Quotas<'a> {
    scheduler: &'a Scheduler,
    senders: HashMap<Address, u64>,
    contracts: HashMap<Address, u64>,
}

impl Quotas<'_> {
    /// Takes a piece of work from the quota of one who waits for it and has any left.
    fn take(&mut self, work: &Work) -> bool {
        let scheduler = self.scheduler;
        work.waiters.values().any(|demand| {
            let sender = || scheduler.senders.allowed(demand.sender);
            let contract = || scheduler.contracts.allowed(demand.contract);
            let sender = self.senders.entry(demand.sender).or_insert_with(sender);
            let contract = self.contracts.entry(demand.contract).or_insert_with(contract);
            let room = *sender > 0 && *contract > 0 && scheduler.is_likely(demand);
            if room {
                *sender -= 1;
                *contract -= 1;
            }
            room
        })
    }
}
