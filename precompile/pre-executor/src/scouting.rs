//! The thread that simulates pending transactions, in the builder's order, on the head's state and the effects of those
//! before them. It yields to the builder.

use crate::{
    config::{Event, Head},
    pending_state::PendingState,
    schedule::TransactionId,
    scout::{Found, Scout, Simulation},
    shared::{Shared, State, demand, inference_gas},
    watchlist::{Phase, Place},
};
use foreblock_precompile::{ForeblockEvmFactory, Outcomes};
use revm::{context::TxEnv, state::EvmState};
use std::{sync::Arc, thread::JoinHandle};

/// What the scout knows of one head.
struct Pending {
    generation: u64,
    state: PendingState,
}

/// What is simulated next, and on what.
struct Task {
    place: Place,
    env: TxEnv,
    head: Arc<Head>,
    generation: u64,
    /// Effects of transactions that the new head left alone; only where the head is new.
    effects: Vec<(Place, Arc<EvmState>)>,
    /// Transactions that left since the last task.
    departed: Vec<Place>,
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
        let known = pending.take().filter(|pending| pending.generation == task.generation);
        let mut on = known.unwrap_or_else(|| {
            let mut state = PendingState::new(task.head.state.clone());
            task.effects.iter().for_each(|(place, effects)| state.put(*place, effects));
            Pending { generation: task.generation, state }
        });
        task.departed.iter().for_each(|place| on.state.remove(*place));
        let simulation = scout.simulate(on.state.before(task.place), task.head.env.clone(), task.env);
        match &simulation.found {
            Found::Complete { changes, .. } => on.state.put(task.place, changes),
            _ => on.state.remove(task.place),
        }
        record(shared, task.place.2, &task.head, task.generation, simulation);
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
            && let Some((place, env)) = state.watchlist.next()
        {
            let new = generation != Some(state.generation);
            let effects = if new { effects(&state) } else { Vec::new() };
            let departed = state.watchlist.take_departed();
            return Some(Task { place, env, head, generation: state.generation, effects, departed });
        }
        shared.scout.wait(&mut state);
    }
}

fn effects(state: &State) -> Vec<(Place, Arc<EvmState>)> {
    let effects = state.watchlist.in_order().filter(|(_, watched)| watched.phase == Phase::Ready);
    effects.filter_map(|(_, watched)| Some((watched.place, watched.changes.clone()?))).collect()
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
    state.watchlist.priced(hash, gas);
    state.scheduler.wants_only(hash, missing.as_ref().map(|request| request.id));
    let base_fee = state.base_fee();
    match (missing, state.watchlist.get(hash)) {
        // It may have come while the simulation ran on.
        (Some(request), Some(_)) if shared.store.get(request.id).is_some() => {
            state.watchlist.outcome_ready(hash, request.id);
        }
        (Some(request), Some(watched)) => {
            let demand = demand(hash, watched, gas, base_fee);
            let _ = shared.ask(&mut state, request, demand);
        }
        (None, Some(watched)) if watched.phase == Phase::Ready => shared.say(Event::Ready { transaction: hash }),
        _ => {}
    }
    shared.news.notify_all();
}
