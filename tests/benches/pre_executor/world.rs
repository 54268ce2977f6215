//! Virtual time: a chain with a slot every two seconds, a pool, a scout, a device. The watchlist, the pending state and the scheduler
//! are the real ones; the EVM is a function of one storage slot and the answers.

mod building;

use crate::{
    policy::{Policy, Rule, model_id},
    trace::{GAS_PER_US, MODELS_US, SLOT_US, Scenario, Tx, normal, trace},
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use foreblock_pre_executor::{
    Deferral, Found, PendingState, PendingTransaction, Phase, ReadSet, Simulation, StateKey, WatchCounts, WatchLimits,
    schedule::{Demand, Micros},
    watchlist::{Place, Watchlist},
};
use foreblock_precompile::{Outcome, Request, RequestId, Used};
use revm::{
    Database,
    context::TxEnv,
    database::{CacheDB, EmptyDBTyped},
    database_interface::ErasedError,
    state::{Account, AccountInfo, EvmState, EvmStorageSlot, TransactionId},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Time of one simulation, on a thread of its own.
const SIMULATION_US: Micros = 100;
/// Gas of a transaction beside its inferences.
const EXECUTION_GAS: u64 = 100_000;
/// Blocks that are not counted while the queue fills.
pub(crate) const WARM_UP: u64 = 5;
/// The contract that holds the inputs.
const INPUTS: Address = Address::repeat_byte(0x11);

/// What is switched off, to prove that the harness can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Control {
    #[default]
    None,
    /// No answer is ever computed.
    EngineOff,
    /// The builder sees no answer.
    NoHits,
    /// Every head simulates everything.
    SimulateAll,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    /// Outcomes that the builder looked up and found, and did not find.
    pub hits: u64,
    pub misses: u64,
    /// Inference transactions in the pool when a block was built, each build counted.
    pub pending: u64,
    pub included: u64,
    pub blocks_waited: Vec<u64>,
    /// Tips of all that were included, of the first blocks, too.
    pub value: f64,
    /// Device time of included answers.
    pub goodput_us: Micros,
    pub device_us: Micros,
    pub wasted_us: Micros,
    pub moved: u64,
    pub promised: u64,
    pub late: u64,
    /// Largest wait over its bound.
    pub wait_over_bound: f64,
    pub hostile_us: Micros,
    pub watch: WatchCounts,
    pub trace: Vec<Tx>,
}

type Db = CacheDB<EmptyDBTyped<ErasedError>>;

/// How long a request waits at most, as it was when it was asked and as older work came.
struct Bound {
    asked_us: Micros,
    since_us: Micros,
    bound_us: Micros,
}

/// What the device runs: requests, each with the time that it takes.
struct Running {
    requests: Vec<(RequestId, Micros)>,
    ends_us: Micros,
}

struct World {
    txs: HashMap<B256, Tx>,
    watchlist: Watchlist,
    policy: Policy,
    pending: PendingState,
    base: Db,
    outcomes: HashMap<RequestId, Micros>,
    used: HashSet<RequestId>,
    first_asked: HashMap<B256, RequestId>,
    bounds: HashMap<RequestId, Bound>,
    running: Option<Running>,
    scout_free_us: Micros,
    random: fastrand::Rng,
    control: Control,
    promised_in_slot: u64,
    results: Results,
}

/// Runs a scenario under a rule.
pub(crate) fn run(scenario: &Scenario, rule: Rule, control: Control) -> Results {
    let arrivals = trace(scenario);
    let base: Db = CacheDB::new(EmptyDBTyped::new());
    let mut world = World {
        txs: arrivals.iter().map(|tx| (tx.hash, tx.clone())).collect(),
        watchlist: Watchlist::new(WatchLimits::default()),
        policy: Policy::new(rule),
        pending: PendingState::new(Arc::new(base.clone())),
        base,
        outcomes: HashMap::new(),
        used: HashSet::new(),
        first_asked: HashMap::new(),
        bounds: HashMap::new(),
        running: None,
        scout_free_us: 0,
        random: fastrand::Rng::with_seed(scenario.seed),
        control,
        promised_in_slot: 0,
        results: Results::default(),
    };
    world.simulate(&arrivals, scenario.blocks);
    world.results.watch = world.watchlist.counts();
    let unused: Micros = world.outcomes.iter().filter(|(id, _)| !world.used.contains(*id)).map(|(_, us)| us).sum();
    world.results.wasted_us = unused;
    world.results.trace = arrivals;
    world.results
}

impl World {
    fn simulate(&mut self, arrivals: &[Tx], blocks: u64) {
        let mut leaving: Vec<(Micros, B256)> = arrivals.iter().map(|tx| (tx.leaves_us, tx.hash)).collect();
        leaving.sort_unstable();
        let (mut arriving, mut leaving) = (arrivals.iter().peekable(), leaving.into_iter().peekable());
        let mut block = 1;
        let mut now_us = 0;
        while block <= blocks {
            let seal_us = block * SLOT_US;
            let scout_us = self.watchlist.has_next().then_some(self.scout_free_us.max(now_us));
            let device_us = self.running.as_ref().map(|running| running.ends_us);
            let arrival_us = arriving.peek().map(|tx| tx.arrives_us);
            let leave_us = leaving.peek().map(|leave| leave.0);
            now_us = [scout_us, device_us, arrival_us, leave_us, Some(seal_us)]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(seal_us);
            if device_us == Some(now_us) {
                self.device_done(now_us);
            } else if arrival_us == Some(now_us) {
                self.arrive(arriving.next().expect("peeked"), block, now_us);
            } else if leave_us == Some(now_us) {
                self.leave(leaving.next().expect("peeked").1);
            } else if now_us == seal_us {
                self.build(block, now_us);
                block += 1;
            } else {
                self.scout(now_us);
            }
            self.start(now_us);
        }
    }

    fn arrive(&mut self, tx: &Tx, block: u64, now_us: Micros) {
        if tx.private {
            return;
        }
        // One unit of gas: the tip for it is the whole tip, and orders the builder's block.
        let env = TxEnv::builder().caller(tx.sender).gas_limit(1).gas_price(tx.tip_wei).build_fill();
        self.watchlist.add(PendingTransaction { hash: tx.hash, env, replaces: None }, 0, block, now_us);
    }

    fn leave(&mut self, hash: B256) {
        if let Some(gone) = self.watchlist.remove(hash) {
            self.pending.remove(gone.place);
            self.policy.withdraw(hash);
        }
    }

    fn scout(&mut self, now_us: Micros) {
        self.scout_free_us = now_us + SIMULATION_US;
        let Some((place, _)) = self.watchlist.next() else { return };
        let tx = self.txs[&place.2].clone();
        let simulation = self.execute(&tx, place);
        match &simulation.found {
            Found::Complete { changes, .. } => self.pending.put(place, changes),
            _ => self.pending.remove(place),
        }
        let missing = self.watchlist.record(tx.hash, simulation);
        self.policy.wants_only(tx.hash, missing.as_ref().map(|request| request.id));
        if let Some(request) = missing {
            self.first_asked.entry(tx.hash).or_insert(request.id);
            self.ask(&tx, request, now_us);
        }
    }

    /// The EVM: the first input is what stands in the slot, every further one the answer before.
    fn execute(&self, tx: &Tx, place: Place) -> Simulation {
        let value = self.pending.before(place).storage(INPUTS, U256::from(tx.reads)).unwrap_or_default();
        let reads = if tx.models.is_empty() { ReadSet::default() } else { reads(tx.reads, value) };
        let mut used = Vec::new();
        for request in requests(tx, value) {
            if !self.outcomes.contains_key(&request.id) {
                return Simulation { found: Found::Missing(request), used, reads, volatile: false };
            }
            let outcome = Outcome::Output(Bytes::new());
            used.push(Used { id: request.id, model: request.model, outcome, inference_gas: 0 });
        }
        let found = Found::Complete { changes: changes(tx), gas_used: 1, success: true };
        Simulation { found, used, reads, volatile: false }
    }

    fn ask(&mut self, tx: &Tx, request: Request, now_us: Micros) {
        let id = request.id;
        let model_us = MODELS_US[usize::from(request.model[0]) - 1];
        let gas = tx.device_us() * GAS_PER_US;
        // What the transaction itself does, a fifth more for safety, and a fee cap of twice the base fee, as wallets have it.
        let honest_gas = 2 * (gas + EXECUTION_GAS) * 6 / 5;
        let demand = Demand {
            transaction: tx.hash,
            sender: tx.sender,
            contract: tx.contract,
            tip_wei: tx.tip_wei,
            unchanged_ppm: self.watchlist.get(tx.hash).map_or(1_000_000, |watched| watched.unchanged_ppm()),
            gas: model_us * GAS_PER_US,
            locked_gas: if tx.hostile { gas } else { honest_gas },
            since_us: tx.arrives_us,
            expires_us: Some(tx.last_block * SLOT_US),
            followup_us: 0,
        };
        match self.policy.ask(request, demand, now_us) {
            Ok(true) => self.note_bound(id, tx.arrives_us, model_us, now_us),
            Ok(false) => {}
            Err(refused) => self.watchlist.set_phase(tx.hash, Phase::Deferred(Deferral::Refused(refused))),
        }
    }

    /// The stated bound on the wait: a slot, eight times the older work and its own, and two runs of the longest model. The next call
    /// of an older transaction is older work, too. One request in eight is watched.
    fn note_bound(&mut self, id: RequestId, since_us: Micros, model_us: Micros, now_us: Micros) {
        let Some(scheduler) = self.policy.scheduler() else { return };
        for bound in self.bounds.values_mut().filter(|bound| bound.since_us >= since_us) {
            bound.bound_us += 8 * model_us;
        }
        if id[0] < 32 {
            let bound_us = SLOT_US + 8 * scheduler.older_work_us(since_us) + 2 * MODELS_US[7];
            self.bounds.insert(id, Bound { asked_us: now_us, since_us, bound_us });
        }
    }

    fn start(&mut self, now_us: Micros) {
        if self.running.is_some() || self.control == Control::EngineOff {
            return;
        }
        let Some(batch) = self.policy.next(now_us) else { return };
        let mut requests = Vec::with_capacity(batch.len());
        for request in batch {
            if let Some(bound) = self.bounds.remove(&request.id) {
                let ratio = (now_us - bound.asked_us) as f64 / bound.bound_us as f64;
                self.results.wait_over_bound = self.results.wait_over_bound.max(ratio);
            }
            let predicted_us = MODELS_US[usize::from(request.model[0]) - 1] as f64;
            let took_us = (predicted_us * (1.0 + 0.02 * normal(&mut self.random)).clamp(0.9, 1.1)) as Micros;
            requests.push((request.id, took_us));
        }
        let ends_us = now_us + requests.iter().map(|(_, took_us)| took_us).sum::<Micros>();
        self.running = Some(Running { requests, ends_us });
    }

    fn device_done(&mut self, now_us: Micros) {
        let Some(Running { requests, .. }) = self.running.take() else { return };
        let count = requests.len();
        let took_us: HashMap<RequestId, Micros> = requests.into_iter().collect();
        self.results.device_us += took_us.values().sum::<Micros>();
        self.outcomes.extend(&took_us);
        for (id, waiters) in self.policy.finish(count, now_us) {
            self.promised_in_slot += u64::from(!waiters.is_empty());
            let hostile = waiters.iter().all(|hash| self.txs[hash].hostile);
            if hostile && !waiters.is_empty() {
                self.results.hostile_us += took_us[&id];
            }
            waiters.into_iter().for_each(|hash| self.watchlist.outcome_ready(hash, id));
        }
    }
}

fn reads(slot: u64, value: U256) -> ReadSet {
    ReadSet { values: [(StateKey::Slot(INPUTS, U256::from(slot)), value)].into(), ..ReadSet::default() }
}

fn requests(tx: &Tx, value: U256) -> Vec<Request> {
    let mut input = keccak256([&value.to_be_bytes::<32>()[..], &tx.salt.to_be_bytes()].concat());
    let request = |model: &usize| {
        let request = Request::new(model_id(*model), Bytes::from(input.to_vec()));
        input = keccak256(input);
        request
    };
    tx.models.iter().map(request).collect()
}

fn changes(tx: &Tx) -> EvmState {
    let mut state = EvmState::default();
    let Some(slot) = tx.writes else { return state };
    let mut account = Account::from(AccountInfo { nonce: 1, ..AccountInfo::default() });
    account.mark_touch();
    let written = EvmStorageSlot::new_changed(U256::ZERO, U256::from_be_bytes(tx.hash.0), TransactionId::ZERO);
    account.storage.insert(U256::from(slot), written);
    state.insert(INPUTS, account);
    state
}
