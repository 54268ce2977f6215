//! Which work is for which block, and in which order it runs. Pure.

use super::{Costs, Limits, Micros, Slot};
use foreblock_precompile::{ModelId, RequestId};
use std::collections::HashMap;

/// What the plan needs to know of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The request.
    pub id: RequestId,
    /// Its model.
    pub model: ModelId,
    /// `p(included unchanged) * tip`, in wei.
    pub value_wei: f64,
    /// Since when its oldest transaction waits.
    pub since_us: Micros,
    /// When its answer is needed, at the latest at the seal.
    pub deadline_us: Micros,
    /// The builder missed it.
    pub asked_first: bool,
    /// Some transaction that waits is within its sender's and contract's quota.
    pub within_quota: bool,
}

/// Order of the groups; within one the earliest deadline runs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// Missed by the builder.
    AskedFirst,
    /// For the block that is being prepared, within the model's share.
    Now,
    /// For the same block, with capacity that other models leave.
    NowBeyondShare,
    /// For a later block.
    Later,
    /// Beyond a quota: only when nobody else waits.
    Spare,
}

/// A piece of work in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    /// The request.
    pub id: RequestId,
    /// Its model.
    pub model: ModelId,
    /// Its group.
    pub turn: Turn,
    /// First block that is predicted to have the answer.
    pub block: u64,
    /// When the answer is needed.
    pub deadline_us: Micros,
    /// `p * tip / time * (1 + age/4)`.
    pub rank: f64,
    /// Since when it waits: of equal ranks the older goes first.
    pub since_us: Micros,
}

/// `p(included unchanged) * tip / predicted device time * (1 + age/4)`, age in blocks.
pub fn rank(value_wei: f64, cost_us: Micros, age_blocks: f64) -> f64 {
    value_wei / cost_us.max(1) as f64 * (1.0 + age_blocks / 4.0)
}

/// What the workers are busy with when the plan is made.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// When each worker is predicted to be free, at the earliest now.
    pub free_us: Vec<Micros>,
    /// Device time of this slot that each model has used or is using.
    pub used_us: HashMap<ModelId, Micros>,
    /// Device time that the oldest will take until the seal, whatever is planned.
    pub oldest_us: Micros,
}

/// Deadlines within a slot are told apart this finely.
const STEPS: u64 = 64;

/// Room that is left until the seal: time by worker, by deadline and by model.
struct Room<'a> {
    free_us: Vec<Micros>,
    /// When the workers become free for the plan, before anything is in it.
    start_us: Vec<Micros>,
    /// Time planned for work due in each step of the slot; as the earliest deadline runs first, work due later waits.
    due_us: Vec<Micros>,
    used_us: HashMap<ModelId, Micros>,
    model_max_us: Micros,
    now_us: Micros,
    slot: &'a Slot,
}

impl<'a> Room<'a> {
    fn new(load: &Load, limits: &Limits, slot: &'a Slot, now_us: Micros) -> Self {
        let oldest_us = load.oldest_us.div_ceil(load.free_us.len().max(1) as u64);
        let start_us: Vec<Micros> = load.free_us.iter().map(|free| free + oldest_us).collect();
        Self {
            free_us: start_us.clone(),
            start_us,
            due_us: vec![0; STEPS as usize + 1],
            used_us: load.used_us.clone(),
            model_max_us: slot.length_us * limits.workers as u64 / limits.model_divisor.max(1),
            now_us,
            slot,
        }
    }

    /// Takes the time of one request if all that is taken still ends in time.
    fn take(&mut self, model: ModelId, cost_us: Micros, deadline_us: Micros, share_only: bool) -> bool {
        let used = self.used_us.get(&model).copied().unwrap_or(0);
        if share_only && used + cost_us > self.model_max_us {
            return false;
        }
        let step = self.step(deadline_us);
        if !self.in_time(step, cost_us) {
            return false;
        }
        let Some(free) = self.free_us.iter_mut().min() else { return false };
        if *free + cost_us > self.slot.seal_us {
            return false;
        }
        *free += cost_us;
        self.due_us[step] += cost_us;
        self.used_us.insert(model, used + cost_us);
        true
    }

    /// The last step that ends at or before the deadline.
    fn step(&self, deadline_us: Micros) -> usize {
        let whole_us = self.slot.seal_us.saturating_sub(self.now_us).max(1);
        let until_us = deadline_us.min(self.slot.seal_us).saturating_sub(self.now_us);
        (until_us * STEPS / whole_us) as usize
    }

    /// Whether `cost_us` more, due at the end of `first`, leaves everything due then or later in time.
    fn in_time(&self, first: usize, cost_us: Micros) -> bool {
        let whole_us = self.slot.seal_us.saturating_sub(self.now_us);
        let mut due_us = self.due_us[..first].iter().sum::<Micros>() + cost_us;
        (first..=STEPS as usize).all(|step| {
            due_us += self.due_us[step];
            let end_us = self.now_us + whole_us * step as u64 / STEPS;
            due_us <= self.start_us.iter().map(|start| end_us.saturating_sub(*start)).sum()
        })
    }
}

/// Plans all candidates: the best ranked that end before the seal are for this block, the rest for later ones.
pub fn plan(
    candidates: &[Candidate],
    load: &Load,
    costs: &Costs,
    limits: &Limits,
    slot: &Slot,
    now_us: Micros,
) -> Vec<Planned> {
    let row_us = row_costs(candidates, costs, limits);
    let mut planned: Vec<Planned> = candidates.iter().map(|c| ranked(c, row_us[&c.model].0, slot, now_us)).collect();
    planned.sort_by(|a, b| {
        a.turn.cmp(&b.turn).then(b.rank.total_cmp(&a.rank)).then(a.since_us.cmp(&b.since_us)).then(a.id.cmp(&b.id))
    });
    let mut room = Room::new(load, limits, slot, now_us);
    for (share_only, turn) in [(true, Turn::Now), (false, Turn::NowBeyondShare)] {
        for work in planned.iter_mut().filter(|work| matches!(work.turn, Turn::AskedFirst | Turn::Later)) {
            let first = work.turn == Turn::AskedFirst;
            if work.block == slot.block || (first && !share_only) {
                continue;
            }
            if room.take(work.model, row_us[&work.model].1, work.deadline_us, share_only && !first) {
                work.block = slot.block;
                work.turn = if first { Turn::AskedFirst } else { turn };
            }
        }
    }
    spread_over_later_blocks(&mut planned, &room, &row_us, slot);
    let order = |a: &Planned, b: &Planned| {
        let later = if a.turn == Turn::Later { a.block.cmp(&b.block) } else { std::cmp::Ordering::Equal };
        a.turn
            .cmp(&b.turn)
            .then(later)
            .then(a.deadline_us.cmp(&b.deadline_us))
            .then(b.rank.total_cmp(&a.rank))
            .then(a.since_us.cmp(&b.since_us))
            .then(a.id.cmp(&b.id))
    };
    planned.sort_by(order);
    planned
}

fn ranked(candidate: &Candidate, cost_us: Micros, slot: &Slot, now_us: Micros) -> Planned {
    let age_blocks = now_us.saturating_sub(candidate.since_us) as f64 / slot.length_us.max(1) as f64;
    let turn = match candidate {
        Candidate { within_quota: false, .. } => Turn::Spare,
        Candidate { asked_first: true, .. } => Turn::AskedFirst,
        _ => Turn::Later,
    };
    Planned {
        id: candidate.id,
        model: candidate.model,
        turn,
        block: u64::MAX,
        deadline_us: candidate.deadline_us,
        rank: rank(candidate.value_wei, cost_us, age_blocks.floor()),
        since_us: candidate.since_us,
    }
}

/// Longest batch of a model: as long as it gains, or so short that it ends soon anyway.
pub(super) fn rows_max(costs: &Costs, limits: &Limits, model: ModelId) -> usize {
    costs.rows_max(model).max(costs.rows_within(model, limits.quick_us)).min(limits.batch_rows_max)
}

/// Mean and late time of one row of each model, in batches as long as the queue allows.
fn row_costs(candidates: &[Candidate], costs: &Costs, limits: &Limits) -> HashMap<ModelId, (Micros, Micros)> {
    let mut waiting: HashMap<ModelId, usize> = HashMap::new();
    candidates.iter().for_each(|candidate| *waiting.entry(candidate.model).or_default() += 1);
    let cost = |(model, waiting): (ModelId, usize)| {
        let rows = waiting.min(rows_max(costs, limits, model)).max(1);
        let row = |batch_us: Micros| batch_us.div_ceil(rows as u64).max(1);
        let late = row(costs.batch_late_us(model, rows));
        (model, (row(costs.batch_us(model, rows)), late + late * limits.margin_percent / 100))
    };
    waiting.into_iter().map(cost).collect()
}

/// A computed later block for everything that does not fit: the work before it, at full capacity.
fn spread_over_later_blocks(
    planned: &mut [Planned],
    room: &Room<'_>,
    row_us: &HashMap<ModelId, (Micros, Micros)>,
    slot: &Slot,
) {
    let workers = room.free_us.len().max(1) as u64;
    let start_us = room.free_us.iter().copied().min().unwrap_or(slot.seal_us).max(slot.seal_us);
    let mut before_us = 0;
    for work in planned.iter_mut().filter(|work| work.block == u64::MAX) {
        before_us += row_us[&work.model].1;
        work.block = slot.block_at(start_us + before_us.div_ceil(workers)).max(slot.block + 1);
        // Its own deadline was this block's; from now on it is the seal of the block it is for.
        let later = (work.block - slot.block) * slot.length_us;
        work.deadline_us = work.deadline_us.max(slot.seal_us.saturating_add(later));
    }
}
