//! `cargo xtask bench agreement`: what it costs that several operators decide, and what it is worth.

use alloy_primitives::{Address, B256, Bytes, I256, Signature, U256, keccak256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue;
use foreblock_engine::Catalog;
use foreblock_pre_executor::{
    Compute, Unavailable,
    agreement::{Heard, SignedStatement, agree},
    oip::{Client, OipService, RemoteOperator, Tls, serve},
    operators::{Fault, LocalOperator, Operator, Panel, PanelConfig, Rule},
    schedule::Prior,
};
use foreblock_precompile::{
    Committee, InferenceList, ListEntry, ModelId, Outcome, Request, StatementDomain, Used,
    abi::{DType, Tensor},
};
use foreblock_tests::bench::{Report, Target, best_seconds, workspace};
use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

const CHAIN: u64 = 31_337;
/// What one inference takes.
const INFERENCE: Duration = Duration::from_millis(5);
const CASES: u64 = 1_000_000;

/// A model that keeps one core busy for [`INFERENCE`], and answers one number.
struct Busy;

impl Compute for Busy {
    fn run(&self, _: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let one = |input: &Bytes| {
            let end = Instant::now() + INFERENCE;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            Ok(number(i64::from(keccak256(input)[0]) * 1_234_567_890_123))
        };
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
fn remote(runtime: &tokio::runtime::Runtime, number: u64, faults: &[Fault]) -> Arc<dyn Operator> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    drop(listener);
    let operator = LocalOperator::new(key(number), StatementDomain::new(CHAIN), Arc::new(Busy));
    operator.set_faults(faults.to_vec());
    let service = OipService::new(operator, Catalog::new(None), CHAIN);
    runtime.spawn(async move { serve(service, address, &Tls::default(), std::future::pending()).await });
    let client = Client::new(&format!("oip://{address}"), &Tls::default()).expect("an address is an address");
    Arc::new(RemoteOperator::introduce(client).expect("the operator listens").for_chain(CHAIN))
}

fn panel(runtime: &tokio::runtime::Runtime, faults: [&[Fault]; 4], config: PanelConfig) -> Panel {
    let operators: Vec<_> = (1..).zip(faults).map(|(at, faults)| remote(runtime, at, faults)).collect();
    Panel::new(config, StatementDomain::new(CHAIN), operators, |_| Some(Rule::Exact), |_| None)
}

fn input(value: u64) -> Bytes {
    let data = U256::from(value).to_be_bytes::<32>().to_vec().into();
    vec![Tensor { dtype: DType::Wad, shape: vec![1], data }].abi_encode().into()
}

/// Seconds until a panel has an outcome's certificate, the median of `count`.
fn latency(panel: &Panel, count: u64) -> f64 {
    let one = |at: u64| {
        let start = Instant::now();
        panel.run(bundled(), &[input(at)]).remove(0).expect("three of four agree");
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = (0..count).map(one).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Requests that stay without an outcome while one of four is so.
fn lost(runtime: &tokio::runtime::Runtime, fault: Fault) -> usize {
    let panel = panel(runtime, [&[fault], &[], &[], &[]], PanelConfig::default());
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
        (Used { id, model: B256::ZERO, outcome, inference_gas: 2_000 }, certificate)
    });
    (InferenceList::new(used).expect("outputs are canonical"), domain, panel.committee())
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

    let alone = best_seconds(20, 1, || Busy.run(bundled(), &[input(0)]));
    let all = latency(&panel(&runtime, [&[]; 4], PanelConfig::default()), 60);
    let hedge = latency(&panel(&runtime, [&[]; 4], PanelConfig { hedge: true, ..PanelConfig::default() }), 60);
    let paid = latency(&panel(&runtime, [&[]; 4], PanelConfig { commit_first: true, ..PanelConfig::default() }), 60);
    report.row("certificate of 4 operators on loopback / one inference of 5 ms", all / alone, Target::AtMost(2.5));
    report.row("the same, a quorum asked first", hedge / alone, Target::Shown);
    report.row("the same, commit before reveal", paid / alone, Target::Shown);

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

    report.row("false accepts in 1e6 cases with f faulty of 3f+1", false_accepts() as f64, Target::AtMost(0.0));
    for (name, fault) in
        [("dead", Fault::Silent), ("lying", Fault::Lie), ("slow", Fault::Slow(Duration::from_secs(20)))]
    {
        let measure = format!("requests without an outcome, one of four {name}");
        report.row(&measure, lost(&runtime, fault) as f64, Target::AtMost(0.0));
    }
    report.write(workspace()).expect("target/bench can be written");
}
