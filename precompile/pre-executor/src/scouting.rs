//! The thread that simulates pending transactions, in the builder's order, on the head's state and the effects of those
//! before them. It yields to the builder.

use crate::{
    pre_executor::{Event, Head},
    schedule::TransactionId,
    scout::{Found, HeadState, Scout, Simulation},
    shared::{Shared, State, demand, inference_gas},
    watchlist::Phase,
};
use foreblock_precompile::{ForeblockEvmFactory, Outcomes};
use revm::{DatabaseCommit, context::TxEnv, database::CacheDB, state::EvmState};
use std::{sync::Arc, thread::JoinHandle};

/// The head's state with the effects of pending transactions on it.
struct Pending {
    generation: u64,
    state: CacheDB<HeadState>,
}

/// What is simulated next, and on what.
struct Task {
    hash: TransactionId,
    env: TxEnv,
    head: Arc<Head>,
    generation: u64,
    /// Effects of transactions that the new head left alone; only where the head is new.
    effects: Vec<EvmState>,
}

/// Starts the scout.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let outcomes: Arc<dyn Outcomes> = shared.store.clone();
    let scout = Scout::new(ForeblockEvmFactory::new(outcomes).with_address(shared.config.address));
    let shared = shared.clone();
    std::thread::Builder::new().name("foreblock-scout".to_owned()).spawn(move || run(&shared, &scout))
}

fn run(shared: &Shared, scout: &Scout) {
    let mut pending: Option<Pending> = None;
    while let Some(task) = next(shared, pending.as_ref().map(|pending| pending.generation)) {
        let fresh = pending.take().filter(|pending| pending.generation == task.generation);
        let mut on = fresh.unwrap_or_else(|| {
            let mut state = CacheDB::new(task.head.state.clone());
            task.effects.into_iter().for_each(|effects| state.commit(effects));
            Pending { generation: task.generation, state }
        });
        let simulation = scout.simulate(&mut on.state, task.head.env.clone(), task.env);
        if let Found::Complete { changes, .. } = &simulation.found {
            on.state.commit(changes.clone());
        }
        record(shared, task.hash, &task.head, task.generation, simulation);
        pending = Some(on);
    }
    tracing::debug!("scout stopped: the pre-executor was stopped");
}

/// Waits for a transaction to simulate; nothing once the pre-executor stops.
fn next(shared: &Shared, generation: Option<u64>) -> Option<Task> {
    let mut state = shared.lock();
    loop {
        if state.stopped {
            return None;
        }
        let head = state.head.clone().filter(|_| state.building == 0 && state.watchlist.has_next());
        if let Some(head) = head
            && let Some((hash, env)) = state.watchlist.next()
        {
            let new = generation != Some(state.generation);
            let effects = if new { effects(&state) } else { Vec::new() };
            return Some(Task { hash, env, head, generation: state.generation, effects });
        }
        shared.scout.wait(&mut state);
    }
}

fn effects(state: &State) -> Vec<EvmState> {
    let ready = state.watchlist.in_order().filter(|(_, watched)| watched.phase == Phase::Ready);
    ready.filter_map(|(_, watched)| watched.changes.clone()).collect()
}

/// Keeps what was found, and asks for what is missing.
fn record(shared: &Shared, hash: TransactionId, head: &Head, generation: u64, simulation: Simulation) {
    let gas = match &simulation.found {
        Found::Missing(request) => {
            shared.describe(request.model);
            inference_gas(head, request)
        }
        _ => 0,
    };
    let mut state = shared.lock();
    if state.generation != generation {
        return state.watchlist.put_back(hash);
    }
    let missing = state.watchlist.record(hash, simulation);
    let base_fee = state.base_fee();
    match (missing, state.watchlist.get(hash)) {
        // It may have come while the simulation ran on.
        (Some(request), Some(_)) if shared.store.get(request.id).is_some() => state.watchlist.outcome_ready(hash),
        (Some(request), Some(watched)) => {
            let demand = demand(hash, watched, gas, base_fee);
            let _ = shared.ask(&mut state, request, demand);
        }
        (None, Some(watched)) if watched.phase == Phase::Ready => shared.say(Event::Ready { transaction: hash }),
        _ => {}
    }
    shared.news.notify_all();
}
