//! The scheduler, and the three simple rules that it is compared with, behind one face.

use alloy_primitives::B256;
use foreblock_pre_executor::schedule::{Asked, Demand, Ended, Limits, Micros, Prior, Refused, Scheduler, Slot};
use foreblock_precompile::{ModelId, Request, RequestId};
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::trace::{MODELS_US, SLOT_US};

/// Which rule orders the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `docs/scheduling.md`.
    Foreblock,
    FirstCome,
    FeeOnly,
    DeadlineOnly,
}

pub(crate) enum Policy {
    Foreblock(Box<Scheduler>),
    Simple(Simple),
}

pub(crate) fn model_id(model: usize) -> ModelId {
    ModelId::repeat_byte(1 + model as u8)
}

impl Policy {
    pub(crate) fn new(rule: Rule) -> Self {
        if rule != Rule::Foreblock {
            return Self::Simple(Simple {
                rule,
                work: HashMap::new(),
                order: BTreeMap::new(),
                asked_by: HashMap::new(),
                running: None,
                asked: 0,
            });
        }
        let mut scheduler = Scheduler::new(Limits::default(), slot(1, 0));
        for (model, single_us) in MODELS_US.into_iter().enumerate() {
            scheduler.describe(model_id(model), Prior { single_us, rows_max: 1 });
        }
        Self::Foreblock(Box::new(scheduler))
    }

    pub(crate) fn set_slot(&mut self, block: u64, now_us: Micros) {
        if let Self::Foreblock(scheduler) = self {
            scheduler.set_slot(slot(block, now_us), now_us);
        }
    }

    /// True if the demand is a new piece of work.
    pub(crate) fn ask(&mut self, request: Request, demand: Demand, now_us: Micros) -> Result<bool, Refused> {
        match self {
            Self::Foreblock(scheduler) => scheduler.ask(request, demand, now_us).map(|asked| asked == Asked::New),
            Self::Simple(simple) => Ok(simple.ask(request, &demand)),
        }
    }

    /// A new simulation says that this is all that the transaction waits for.
    pub(crate) fn wants_only(&mut self, transaction: B256, wanted: Option<RequestId>) {
        match self {
            Self::Foreblock(scheduler) => drop(scheduler.wants_only(transaction, wanted)),
            Self::Simple(simple) => simple.leave(transaction, wanted),
        }
    }

    /// The builder missed this.
    pub(crate) fn ask_first(&mut self, id: RequestId) {
        if let Self::Foreblock(scheduler) = self {
            scheduler.ask_first(id);
        }
    }

    pub(crate) fn withdraw(&mut self, transaction: B256) {
        match self {
            Self::Foreblock(scheduler) => drop(scheduler.withdraw(transaction)),
            Self::Simple(simple) => simple.leave(transaction, None),
        }
    }

    pub(crate) fn included(&mut self, transaction: B256, gas: u64) {
        match self {
            Self::Foreblock(scheduler) => drop(scheduler.included(transaction, gas)),
            Self::Simple(simple) => simple.leave(transaction, None),
        }
    }

    /// What the device runs next.
    pub(crate) fn next(&mut self, now_us: Micros) -> Option<Vec<Request>> {
        match self {
            Self::Foreblock(scheduler) => scheduler.next(0, now_us).map(|batch| batch.requests),
            Self::Simple(simple) => simple.next().map(|request| vec![request]),
        }
    }

    /// So many requests have ended: which, and who waited for each.
    pub(crate) fn finish(&mut self, count: usize, now_us: Micros) -> Vec<(RequestId, Vec<B256>)> {
        match self {
            Self::Foreblock(scheduler) => scheduler.finish(0, &vec![Ended::Done; count], now_us).done,
            Self::Simple(simple) => simple.finish().into_iter().collect(),
        }
    }

    /// Promised for the block that is built now, and not ready.
    pub(crate) fn late(&self) -> usize {
        if let Self::Foreblock(scheduler) = self { scheduler.admitted().len() } else { 0 }
    }

    pub(crate) fn scheduler(&self) -> Option<&Scheduler> {
        if let Self::Foreblock(scheduler) = self { Some(scheduler) } else { None }
    }
}

fn slot(block: u64, now_us: Micros) -> Slot {
    Slot { block, start_us: now_us, seal_us: block * SLOT_US, length_us: SLOT_US }
}

/// A request, the key by which it is taken, and who waits for it.
type Work = (Request, (u128, u64), HashSet<B256>);

/// A queue with one key: with merging and cancellation, as the scheduler has them.
pub(crate) struct Simple {
    rule: Rule,
    work: HashMap<RequestId, Work>,
    order: BTreeMap<(u128, u64), RequestId>,
    asked_by: HashMap<B256, Vec<RequestId>>,
    running: Option<RequestId>,
    asked: u64,
}

impl Simple {
    fn ask(&mut self, request: Request, demand: &Demand) -> bool {
        self.asked += 1;
        let key = match self.rule {
            Rule::FeeOnly => u128::MAX - demand.tip_wei,
            Rule::DeadlineOnly => u128::from(demand.expires_us.unwrap_or(Micros::MAX)),
            _ => 0,
        };
        let key = (key, self.asked);
        let id = request.id;
        let (_, old, waiters) = self.work.entry(id).or_insert_with(|| (request, key, HashSet::new()));
        if waiters.insert(demand.transaction) {
            self.asked_by.entry(demand.transaction).or_default().push(id);
        }
        if self.running != Some(id) {
            self.order.remove(old);
            *old = key.min(*old);
            self.order.insert(*old, id);
        }
        true
    }

    /// The transaction waits for this at most.
    fn leave(&mut self, transaction: B256, wanted: Option<RequestId>) {
        let asked = self.asked_by.remove(&transaction).unwrap_or_default();
        let (kept, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|id| Some(*id) == wanted);
        for id in others {
            let Some((_, key, waiters)) = self.work.get_mut(&id) else { continue };
            waiters.remove(&transaction);
            if waiters.is_empty() && self.running != Some(id) {
                self.order.remove(key);
                self.work.remove(&id);
            }
        }
        if !kept.is_empty() {
            self.asked_by.insert(transaction, kept);
        }
    }

    fn next(&mut self) -> Option<Request> {
        let (_, id) = self.order.pop_first()?;
        self.running = Some(id);
        Some(self.work[&id].0.clone())
    }

    fn finish(&mut self) -> Option<(RequestId, Vec<B256>)> {
        let (request, _, waiters) = self.running.take().and_then(|id| self.work.remove(&id))?;
        Some((request.id, waiters.into_iter().collect()))
    }
}
