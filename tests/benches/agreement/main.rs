//! `cargo xtask bench agreement`: what it costs that several operators decide, and what it is worth.

mod block;

use alloy_primitives::{Address, B256, Bytes, I256, Signature, U256, keccak256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue;
use foreblock_engine::Catalog;
use foreblock_pre_executor::{
    Compute, Unavailable,
    agreement::{Heard, RawAnswer, SignedStatement, agree, choose},
    oip::{Client, OipService, RemoteOperator, Tls, serve},
    operators::{Fault, LocalOperator, Operator, Panel, PanelConfig, Rule},
    schedule::Prior,
};
use foreblock_precompile::{
    Committee, InferenceList, ListEntry, ModelId, Outcome, Request, StatementDomain,
    abi::{DType, Tensor},
};
use foreblock_tests::bench::{Report, Target, best_seconds, workspace};
use std::{
    hint::black_box,
    net::TcpListener,
    sync::{Arc, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

const CHAIN: u64 = 31_337;
/// What one inference takes alone, at least, and how often it is asked for.
const INFERENCES: [(Duration, u64); 2] = [(Duration::from_millis(5), 60), (Duration::from_millis(20), 20)];
const CASES: u64 = 1_000_000;

/// A model of so much work, not of so much time: four operators on two cores share these, as with any other model.
#[derive(Clone, Copy)]
struct Busy {
    rounds: u32,
}

impl Busy {
    /// Such that one inference takes so long where nobody else computes.
    fn new(inference: Duration) -> Self {
        let few = Self { rounds: 1_000 };
        let seconds = best_seconds(50, 1, || few.work(B256::ZERO));
        Self { rounds: (inference.as_secs_f64() * 1.1 / seconds * f64::from(few.rounds)) as u32 }
    }

    fn work(self, seed: B256) -> B256 {
        (0..self.rounds).fold(seed, |hash, _| keccak256(hash))
    }
}

impl Compute for Busy {
    fn run(&self, _: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let one = |input: &Bytes| Ok(number(i64::from(self.work(keccak256(input))[0]) * 1_234_567_890_123));
        inputs.iter().map(one).collect()
    }

    fn prior(&self, _: ModelId) -> Option<Prior> {
        None
    }
}

fn number(value: i64) -> Outcome {
    let data = I256::try_from(value).expect("it fits").to_be_bytes::<32>().to_vec().into();
    Outcome::Output(vec![Tensor { dtype: DType::Wad, shape: vec![1, 1], data }].abi_encode().into())
}

fn key(number: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::from(U256::from(number))).expect("a small number is a key")
}

fn bundled() -> ModelId {
    Catalog::new(None).find("volatility").expect("it is bundled").manifest.id()
}

/// An operator behind gRPC on loopback.
fn remote(runtime: &tokio::runtime::Runtime, busy: Busy, number: u64, faults: &[Fault]) -> Arc<dyn Operator> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let operator = LocalOperator::new(key(number), StatementDomain::new(CHAIN), Arc::new(busy));
    operator.set_faults(faults.to_vec());
    let service = OipService::new(operator, Catalog::new(None), CHAIN);
    runtime.spawn(async move { serve(service, address, &Tls::default(), std::future::pending()).await });
    let client = Client::new(&format!("oip://{address}"), &Tls::default()).expect("an address is an address");
    Arc::new(RemoteOperator::introduce(client).expect("the operator listens").for_chain(CHAIN))
}

fn panel(runtime: &tokio::runtime::Runtime, busy: Busy, faults: [&[Fault]; 4], config: PanelConfig) -> Panel {
    let operators: Vec<_> = (1..).zip(faults).map(|(at, faults)| remote(runtime, busy, at, faults)).collect();
    Panel::new(config, StatementDomain::new(CHAIN), operators, |_| Some(Rule::Exact), |_| None)
}

fn input(value: u64) -> Bytes {
    let data = U256::from(value).to_be_bytes::<32>().to_vec().into();
    vec![Tensor { dtype: DType::Wad, shape: vec![1], data }].abi_encode().into()
}

/// Median seconds of one inference alone, until three of four that run at once are done, and until each of the panels has an
/// outcome's certificate, in turns, so that what else the machine does meets all alike.
fn latencies<const N: usize>(busy: Busy, panels: &[Panel; N], count: u64) -> (f64, f64, [f64; N]) {
    let (mut alone, mut three) = (Vec::new(), Vec::new());
    let mut each = [const { Vec::new() }; N];
    let seconds = |run: &dyn Fn()| {
        let start = Instant::now();
        run();
        let took = start.elapsed();
        // Whoever was not needed for the answer may still compute it.
        thread::sleep(took);
        took.as_secs_f64()
    };
    for at in 0..count {
        alone.push(seconds(&|| drop(black_box(busy.run(bundled(), &[input(at)])))));
        three.push(seconds(&|| third_of_four(busy, at)));
        for (panel, times) in panels.iter().zip(&mut each) {
            times.push(seconds(&|| drop(panel.run(bundled(), &[input(at)]).remove(0).expect("three of four agree"))));
        }
    }
    (median(alone), median(three), each.map(median))
}

/// Returns when three of four equal computations, on four threads, are done: no certificate can be there earlier.
fn third_of_four(busy: Busy, at: u64) {
    let (done, ends) = channel();
    for _ in 0..4 {
        let done = done.clone();
        thread::spawn(move || {
            black_box(busy.run(bundled(), &[input(at)]));
            // Nobody waits for the fourth.
            let _ = done.send(());
        });
    }
    ends.iter().take(3).for_each(drop);
}

/// From a question to an answer that counts, with four operators on this machine.
fn certification(report: &mut Report, runtime: &tokio::runtime::Runtime) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    report.row("cores, which the operators share", cores as f64, Target::Shown);
    let habits = [
        PanelConfig::default(),
        PanelConfig { hedge: true, ..PanelConfig::default() },
        PanelConfig { commit_first: true, ..PanelConfig::default() },
    ];
    for (inference, count) in INFERENCES {
        let busy = Busy::new(inference);
        let panels = habits.map(|habits| panel(runtime, busy, [&[]; 4], habits));
        let (alone, three, [all, hedge, paid]) = latencies(busy, &panels, count);
        report.row("one inference, ms", alone * 1e3, Target::AtLeast(inference.as_secs_f64() * 1e3));
        report.row("three of four that run at once, no certificate / one inference", three / alone, Target::Shown);
        report.row("certificate of 4 operators on loopback / one inference", all / alone, Target::AtMost(2.5));
        report.row("the same, a quorum asked first", hedge / alone, Target::AtMost(2.5));
        report.row("the same, commit before reveal", paid / alone, Target::Shown);
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Requests that stay without an outcome while one of four is so.
fn lost(runtime: &tokio::runtime::Runtime, busy: Busy, fault: Fault) -> usize {
    let panel = panel(runtime, busy, [&[fault], &[], &[], &[]], PanelConfig::default());
    (0..40).filter(|at| panel.run(bundled(), &[input(1_000 + at)]).remove(0).is_err()).count()
}

/// Cases in which anything but the honest outcome wins, although no more than f of 3f+1 are faulty.
fn false_accepts() -> usize {
    let id = B256::repeat_byte(7);
    let outcomes: Vec<Outcome> = (0..4).map(number).collect();
    let addresses: Vec<Address> = (1..=10).map(Address::with_last_byte).collect();
    let signature = Signature::test_signature();
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    (0..CASES)
        .filter(|_| {
            let f = 1 + draw.below(3);
            let n = 3 * f + 1;
            let committee = Committee::new(addresses[..n].iter().copied());
            let said = |who: usize, what: usize| {
                let statement = SignedStatement { id, outcome: outcomes[what].clone(), signature };
                Heard::own(addresses[who], statement)
            };
            let mut heard: Vec<Heard> = Vec::with_capacity(3 * n);
            for who in f..n {
                if draw.below(8) > 0 {
                    heard.push(said(who, 0));
                }
            }
            // The faulty say anything, several times, and strangers help them.
            for _ in 0..draw.below(3 * f + 1) {
                heard.push(said(draw.below(f), draw.below(4)));
            }
            if n < addresses.len() {
                heard.push(said(n, 1 + draw.below(3)));
            }
            let turn = draw.below(heard.len().max(1));
            heard.rotate_left(turn);
            agree(id, &committee, &heard).is_some_and(|agreed| agreed.outcome != outcomes[0])
        })
        .count()
}

/// Cases in which the answer chosen for a tolerance model is farther than eps from f+1 honest ones, or none is chosen although
/// the honest agree.
fn false_choices() -> usize {
    let addresses: Vec<Address> = (1..=10).map(Address::with_last_byte).collect();
    let mut draw = Draw(0x2545_f491_4f6c_dd1d);
    (0..CASES)
        .filter(|_| {
            let f = 1 + draw.below(3);
            // In thousandths of eps: the honest within half of it around the truth, the others anywhere near.
            let mut value = |range: usize| (draw.below(range + 1) as f64 - range as f64 / 2.0) / 1_000.0;
            let honest: Vec<f64> = (0..2 * f + 1).map(|_| value(1_000)).collect();
            let faulty: Vec<f64> = (0..f).map(|_| value(4_000)).collect();
            let mut answers: Vec<RawAnswer> = honest
                .iter()
                .chain(&faulty)
                .zip(&addresses)
                .map(|(value, operator)| RawAnswer { operator: *operator, outputs: vec![vec![*value]] })
                .collect();
            let turn = draw.below(answers.len());
            answers.rotate_left(turn);
            choose(&answers, &[1.0], 2 * f + 1).is_none_or(|choice| {
                let chosen = answers[choice.medoid].outputs[0][0];
                honest.iter().filter(|own| (**own - chosen).abs() <= 1.0).count() <= f
            })
        })
        .count()
}

/// Marsaglia's xorshift: cases must repeat, and need no better randomness.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// A block's list of 200 outcomes, each signed by three of four.
fn list() -> (InferenceList, StatementDomain, Committee) {
    let domain = StatementDomain::new(CHAIN);
    let engine: Arc<dyn Compute> = Arc::new(Fixed);
    let operators =
        (1..=4).map(|at| Arc::new(LocalOperator::new(key(at), domain.clone(), engine.clone())) as Arc<dyn Operator>);
    let panel = Panel::new(PanelConfig::default(), domain.clone(), operators, |_| Some(Rule::Exact), |_| None);
    let inputs: Vec<Bytes> = (0..200).map(input).collect();
    let outcomes = panel.run(B256::ZERO, &inputs);
    let used = inputs.iter().zip(outcomes).map(|(input, outcome)| {
        let (id, outcome) = (Request::new(B256::ZERO, input.clone()).id, outcome.expect("all agree"));
        let certificate = Compute::certified(&panel, id, outcome.clone()).certificate;
        ListEntry { id, outcome, certificate }
    });
    (InferenceList::new(used).expect("outputs are canonical"), domain, panel.committee())
}

/// A block of 200 inferences, verified and executed.
fn verification(report: &mut Report) {
    let Outcome::Output(output) = number(12_300_000_000_000_000) else { unreachable!("a number is an output") };
    let costs = block::costs(&output);
    let mut show = |measure: &str, seconds: f64| report.row(measure, seconds * 1e3, Target::Shown);
    show("a block of 200 inferences: its senders, ms", costs.senders);
    show("executed with constants: ms", costs.constants);
    show("executed with its list, and compared with the header: ms", costs.execute);
    show("reading that list, and hashing it for the header's commitment: ms", costs.read);
    show("the operators' 600 signatures: ms", costs.signatures);
    show("a block of 200 calls of a contract of constants, executed: ms", costs.contract);
    let verified = costs.read + costs.execute;
    let whole = (costs.senders + verified) / (costs.senders + costs.constants);
    report.row("verified without the operators' signatures / with constants", whole, Target::AtMost(1.05));
    report.row("the same without the senders' signatures", verified / costs.constants, Target::Shown);
    report.row("the same / a contract of constants", verified / costs.contract, Target::Shown);
}

struct Fixed;

impl Compute for Fixed {
    fn run(&self, _: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        inputs.iter().map(|_| Ok(number(12_300_000_000_000_000))).collect()
    }

    fn prior(&self, _: ModelId) -> Option<Prior> {
        None
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads can be started");
    let mut report = Report::new("agreement");
    certification(&mut report, &runtime);
    verification(&mut report);

    let (list, domain, committee) = list();
    let encoded = list.encode();
    let signatures: usize = list.entries().iter().map(|entry| entry.certificate.signatures.len()).sum();
    report.row("bytes of an outcome of one number, 3 signatures", encoded.len() as f64 / 200.0, Target::AtMost(320.0));
    let verify = best_seconds(5, 1, || list.verify_certificates(&domain, &committee).expect("they count"));
    let decode = best_seconds(20, 1, || InferenceList::decode(&encoded).expect("it decodes"));
    let hash = best_seconds(20, 1, || list.commitment());
    report.row("200 outcomes: certificates, ms", verify * 1e3, Target::Shown);
    report.row("the same, for each signature, us", verify * 1e6 / signatures as f64, Target::Shown);
    report.row("200 outcomes: decoding and hashing the list, ms", (decode + hash) * 1e3, Target::Shown);
    let lookups = list.outcomes();
    let ids: Vec<B256> = list.entries().iter().map(|entry: &ListEntry| entry.id).collect();
    let lookup = best_seconds(20, 10, || {
        ids.iter().filter(|id| foreblock_precompile::Outcomes::get(&lookups, **id).is_some()).count()
    });
    report.row("200 lookups, us", lookup * 1e6, Target::Shown);

    report.row("exact: false accepts in 1e6 cases, f faulty of 3f+1", false_accepts() as f64, Target::AtMost(0.0));
    report.row("tolerance: the same", false_choices() as f64, Target::AtMost(0.0));
    let busy = Busy::new(INFERENCES[0].0);
    for (name, fault) in
        [("dead", Fault::Silent), ("lying", Fault::Lie), ("slow", Fault::Slow(Duration::from_secs(20)))]
    {
        let measure = format!("requests without an outcome, one of four {name}");
        report.row(&measure, lost(&runtime, busy, fault) as f64, Target::AtMost(0.0));
    }
    report.write(workspace()).expect("target/bench can be written");
}
