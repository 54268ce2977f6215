//! What a builder pays for outcomes: a whole block of 200 transactions whose outcomes are there against the same with the outputs as
//! constants. Then execution alone, without tries, which would hide it: the same again, against skipping the transactions, and against
//! running the model inside the call.

use crate::{
    evm::{scouted, state},
    whole_block,
};
use alloy_evm::{Evm, EvmEnv, EvmFactory};
use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_precompile::{
    ForeblockEvmFactory, MemoryOutcomes, ModelId, Outcome, Outcomes, Request, RequestId,
    abi::{DType, IInference, Tensor},
};
use foreblock_tests::bench::{Report, Target};
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

pub(crate) const TRANSACTIONS: u64 = 200;
const ROUNDS: usize = 60;
const MODEL: ModelId = B256::repeat_byte(0x42);
const ASKING: Address = Address::repeat_byte(0xa1);
const CONSTANT: Address = Address::repeat_byte(0xa2);
const ANSWER: Address = Address::repeat_byte(0xa3);
const RECOVERING: Address = Address::repeat_byte(0xa4);
/// Copies the calldata to memory and puts all of it before a call that returns nothing to memory.
const AROUND: [u8; 8] = hex!("365f5f375f5f365f");

pub(crate) fn input(number: u64) -> Bytes {
    let data = [U256::from(number); 16].map(|word| word.to_be_bytes::<32>()).concat();
    vec![Tensor { dtype: DType::Wad, shape: vec![1, 16], data: data.into() }].abi_encode().into()
}

pub(crate) fn output() -> Bytes {
    let data = U256::from(7).to_be_bytes::<32>().to_vec();
    vec![Tensor { dtype: DType::Wad, shape: vec![1, 1], data: data.into() }].abi_encode().into()
}

fn sender(number: u64) -> Address {
    Address::left_padding_from(&[&[0xe0][..], &number.to_be_bytes()].concat())
}

/// Calls `to` with all its calldata, and stores the size of the answer under the caller.
fn around(to: Address) -> Bytecode {
    let store = hex!("5afa 50 3d 33 55 00");
    Bytecode::new_raw([&AROUND[..], &[0x73], to.as_slice(), &store].concat().into())
}

/// Copies the encoded output from its own code and returns it.
pub(crate) fn constant_code() -> Vec<u8> {
    let answer = IInference::runCall::abi_encode_returns(&output());
    let [high, low] = (answer.len() as u16).to_be_bytes();
    let code = [0x61, high, low, 0x60, 0x0d, 0x5f, 0x39, 0x61, high, low, 0x5f, 0xf3, 0x00];
    [&code[..], &answer].concat()
}

fn db(precompile: Address) -> CacheDB<EmptyDB> {
    let contracts = [
        (ASKING, around(precompile)),
        (CONSTANT, around(ANSWER)),
        (ANSWER, Bytecode::new_raw(constant_code().into())),
        (RECOVERING, around(Address::with_last_byte(1))),
    ];
    state(MODEL, 4_096, contracts, (0..TRANSACTIONS).map(sender))
}

fn transactions(to: Address, data: impl Fn(u64) -> Bytes) -> Vec<TxEnv> {
    let tx = |number: u64| {
        let tx = TxEnv::builder().caller(sender(number)).to(to).gas_limit(1_000_000).gas_price(10).data(data(number));
        tx.build_fill()
    };
    (0..TRANSACTIONS).map(tx).collect()
}

fn asks(number: u64) -> Bytes {
    IInference::runCall { modelId: MODEL, input: input(number) }.abi_encode().into()
}

struct Bench {
    factory: ForeblockEvmFactory,
    db: CacheDB<EmptyDB>,
}

impl Bench {
    fn new(outcomes: Arc<dyn Outcomes>) -> Self {
        let factory = ForeblockEvmFactory::new(outcomes);
        let db = db(factory.address());
        Self { factory, db }
    }

    /// Seconds to execute a block of these, how many were included, and the gas of one.
    fn block(&self, txs: &[TxEnv]) -> (f64, usize, u64) {
        let cfg_env = CfgEnv::<SpecId>::default().with_spec_and_mainnet_gas_params(SpecId::PRAGUE);
        let block_env = BlockEnv { gas_limit: 1_000_000_000, ..Default::default() };
        let mut db = self.db.clone();
        let started = Instant::now();
        let mut evm = self.factory.create_evm(&mut db, EvmEnv { cfg_env, block_env });
        let (mut included, mut gas) = (0, 0);
        for tx in txs {
            if let Ok(done) = evm.transact_commit(tx.clone()) {
                included += usize::from(done.is_success());
                gas = done.tx_gas_used();
            }
        }
        (black_box(started.elapsed().as_secs_f64()), included, gas)
    }

    /// The same many times.
    fn blocks(&self, txs: &[TxEnv]) -> Vec<f64> {
        (0..ROUNDS).map(|_| self.block(txs).0).collect()
    }
}

fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn p99(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

/// Runs a model of a given time inside the call: no store, no miss.
struct InsideTheCall {
    known: MemoryOutcomes,
    takes: Duration,
}

impl Outcomes for InsideTheCall {
    fn get(&self, id: RequestId) -> Option<Outcome> {
        let started = Instant::now();
        while started.elapsed() < self.takes {
            std::hint::spin_loop();
        }
        self.known.get(id)
    }
}

fn all_outcomes() -> Vec<(RequestId, Outcome)> {
    (0..TRANSACTIONS).map(|number| (Request::new(MODEL, input(number)).id, Outcome::Output(output()))).collect()
}

pub(crate) fn run(report: &mut Report) {
    whole_block::run(report);
    let answers = (0..TRANSACTIONS).map(|number| (input(number), output()));
    let bench = Bench::new(Arc::new(scouted(MODEL, answers)));
    let (ready, constant) = (transactions(ASKING, asks), transactions(CONSTANT, asks));
    assert_eq!((bench.block(&ready).1, bench.block(&constant).1), (200, 200), "all are included");
    // Alternating, so that both see the same machine.
    let (mut hit, mut same) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        hit.push(bench.block(&ready).0);
        same.push(bench.block(&constant).0);
    }
    let (hit_us, same_us) = (best(&hit) * 1e6 / 200.0, best(&same) * 1e6 / 200.0);
    let measure = "  the same, execution of the transactions alone";
    report.row(measure, hit_us / same_us, Target::Shown);
    report.row("  a transaction with its outcome ready (us)", hit_us, Target::Shown);
    report.row("  the same with a constant (us)", same_us, Target::Shown);

    let nothing = Bench::new(Arc::new(MemoryOutcomes::default()));
    assert_eq!(nothing.block(&ready).1, 0, "without outcomes nothing is included");
    let skip_us = best(&nothing.blocks(&ready)) * 1e6 / 200.0;
    report.row("  a transaction that is skipped (us)", skip_us, Target::Shown);
    crossover(report, &ready, hit_us, same_us, skip_us);
    ecrecover(report, &bench, &ready);
    saturated(report, &bench, &ready);
}

/// From which model time on looking up beats running the model inside the call, and until which the builder had better run the model
/// than skip its transaction.
fn crossover(report: &mut Report, ready: &[TxEnv], hit_us: f64, same_us: f64, skip_us: f64) {
    report.row("crossover: lookups win from a model time of (us), when they hit", hit_us - same_us, Target::Shown);
    report.row("crossover: when they miss, computing at once wins up to (us)", skip_us, Target::Shown);
    for takes_us in [1, 5, 20, 100] {
        let known = all_outcomes().into_iter().collect();
        let inside = Bench::new(Arc::new(InsideTheCall { known, takes: Duration::from_micros(takes_us) }));
        let inside_us = best(&inside.blocks(ready)) * 1e6 / 200.0;
        report.row(&format!("  lookups / a model of {takes_us} us inside the call"), hit_us / inside_us, Target::Shown);
    }
}

/// Gas a second of resolved calls against that of ecrecover, the whole transaction each.
fn ecrecover(report: &mut Report, bench: &Bench, ready: &[TxEnv]) {
    let data: Bytes = hex!(
        "18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c"
        "000000000000000000000000000000000000000000000000000000000000001c"
        "73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75f"
        "eeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549"
    )
    .into();
    let recovering = transactions(RECOVERING, |_| data.clone());
    let speed = |txs: &[TxEnv]| {
        let gas = bench.block(txs).2.saturating_sub(21_000);
        gas as f64 / best(&bench.blocks(txs)) * 200.0 / 1e6
    };
    report.row("resolved call, Mgas/s / ecrecover, Mgas/s", speed(ready) / speed(&recovering), Target::AtLeast(1.0));
}

/// Keeps the calling thread on one of this machine's processors; false where there are not that many.
fn pin(core: usize) -> bool {
    let mut one = CpuSet::new();
    let allowed = sched_getaffinity(None).unwrap_or_default();
    let Some(cpu) = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).nth(core) else { return false };
    one.set(cpu);
    sched_setaffinity(None, &one).is_ok()
}

/// The builder on one core, a worker that never rests on another; slots with and without it alternate.
fn saturated(report: &mut Report, bench: &Bench, ready: &[TxEnv]) {
    let (stop, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let worker = std::thread::spawn({
        let (stop, busy) = (stop.clone(), busy.clone());
        move || {
            let pinned = pin(1);
            let mut sums = vec![0.5_f32; 1 << 16];
            while pinned && !stop.load(Relaxed) {
                if busy.load(Relaxed) {
                    sums.iter_mut().for_each(|sum| *sum = black_box(sum.mul_add(0.999, 0.001)));
                } else {
                    std::thread::yield_now();
                }
            }
            pinned
        }
    });
    let times = std::thread::scope(|scope| {
        let builder = scope.spawn(|| {
            let pinned = pin(0);
            let (mut idle, mut saturated) = (Vec::new(), Vec::new());
            for round in 0..6 * ROUNDS {
                busy.store(round % 2 == 1, Relaxed);
                let times = if round % 2 == 1 { &mut saturated } else { &mut idle };
                times.push(bench.block(ready).0);
            }
            (pinned, idle, saturated)
        });
        builder.join().expect("the builder does not panic")
    });
    stop.store(true, Relaxed);
    let (mine, mut idle, mut busy) = times;
    if !worker.join().expect("the worker does not panic") || !mine {
        return println!("build time with workers saturated is left out: it takes two processors");
    }
    report.row("build time p99, workers saturated / idle", p99(&mut busy) / p99(&mut idle), Target::AtMost(1.10));
}
