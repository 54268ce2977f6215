//! What a client gets from the sidecar: how fast a lookup is, how many there are in a second, how many outcomes are there when a block is built,
//! and what it costs in memory. And how many crates the precompile brings into a client.

mod load;

use alloy_primitives::B256;
use foreblock_sidecar::Client;
use foreblock_tests::{
    bench::{Report, Target, workspace},
    node::{Node, PATIENCE},
    sidecar::Sidecar,
    tools::succeed,
};
use load::{ask, fill_pool, hit_rate, resident_mib};
use std::{
    collections::BTreeSet,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Connections that ask at once.
const CONNECTIONS: usize = 4;
/// Ids in a frame where many are asked at once: a block's candidates.
const TOGETHER: usize = 64;
const TURN: Duration = Duration::from_secs(2);
const TURNS: usize = 3;
/// Pending transactions of the memory row.
const PENDING: u64 = 50_000;

type Part = (&'static str, fn(&mut Report));

/// What is measured, by name: arguments name what to measure, all of it without any.
const PARTS: [Part; 4] = [("lookups", lookups), ("hits", hits), ("memory", memory), ("crates", dependencies)];

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut report = Report::new("clients");
    let chosen = |name: &str| named.is_empty() || named.iter().any(|named| named == name);
    PARTS.iter().filter(|(name, _)| chosen(name)).for_each(|(_, part)| part(&mut report));
    report.write(workspace()).expect("the report can be written");
}

fn hits(report: &mut Report) {
    let socket = "outcomes there as a full block appears, devnet as the client by WebSocket, %";
    report.row(socket, hit_rate(Node::socket_url) * 100.0, Target::AtLeast(97.0));
    report.row("the same by HTTP, %", hit_rate(Node::url) * 100.0, Target::AtLeast(97.0));
}

fn dependencies(report: &mut Report) {
    report.row("crates of foreblock-precompile alone, itself included", crates(&[]), Target::AtMost(120.0));
    // What an adapter adds is alloy-evm and revm, which its client has already.
    let adapter = crates(&["--features", "evm"]);
    report.row("the same with the adapter for alloy-evm 0.39 and revm 43", adapter, Target::Shown);
}

fn lookups(report: &mut Report) {
    let node = Node::start(&["--no-mining"]);
    let sidecar = Sidecar::start(&node.url(), &[]);
    let ids: Vec<B256> = (0..64).map(|number| ask(&node.rpc, number, None)).collect();
    ids.iter().for_each(|id| drop(sidecar.output(*id)));

    let mut client = sidecar.client();
    let p50 = (0..TURNS).map(|_| p50_us(&mut client, &ids)).fold(f64::INFINITY, f64::min);
    report.row("lookup over the Unix socket, p50, us", p50, Target::AtMost(30.0));
    let best = |together: usize| (0..TURNS).map(|_| a_second(&sidecar, &ids, together)).fold(0.0, f64::max);
    report.row("lookups a second, 4 connections, 64 a frame", best(TOGETHER), Target::AtLeast(100_000.0));
    report.row("lookups a second, 4 connections, one by one", best(1), Target::Shown);
}

fn p50_us(client: &mut Client, ids: &[B256]) -> f64 {
    let mut times: Vec<f64> = (0..20_000)
        .map(|at| {
            let start = Instant::now();
            let found = client.lookup_one(ids[at % ids.len()]).expect("the sidecar answers");
            assert!(found.is_some());
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn a_second(sidecar: &Sidecar, ids: &[B256], together: usize) -> f64 {
    let start = Instant::now();
    let count: usize = thread::scope(|scope| {
        let ask = || {
            let mut client = Client::connect(&sidecar.socket(), 0, PATIENCE).expect("the sidecar listens");
            let mut count = 0;
            while start.elapsed() < TURN {
                for some in ids.chunks(together) {
                    let found = client.lookup(some).expect("the sidecar answers");
                    assert!(found.iter().all(Option::is_some));
                    count += found.len();
                }
            }
            count
        };
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().expect("a client ends")).sum()
    });
    count as f64 / start.elapsed().as_secs_f64()
}

fn memory(report: &mut Report) {
    let node = Node::start(&["--no-mining"]);
    fill_pool(&node.rpc, PENDING);
    let sidecar = Sidecar::start(&node.url(), &[]);
    let end = Instant::now() + Duration::from_secs(180);
    let simulated = |status: &serde_json::Value| status["simulations"].as_u64() >= Some(PENDING);
    while !sidecar.status().is_some_and(|status| simulated(&status)) {
        assert!(Instant::now() < end, "not all are simulated: {:?}", sidecar.status());
        thread::sleep(Duration::from_millis(200));
    }
    let (now, peak) = resident_mib(sidecar.pid());
    report.row("memory with 50,000 pending transactions, MiB", now, Target::AtMost(512.0));
    report.row("the same at its peak, MiB", peak, Target::AtMost(512.0));
}

/// Crates that a build of `foreblock-precompile` compiles, itself and proc macros included.
fn crates(flags: &[&str]) -> f64 {
    let mut tree = Command::new("cargo");
    tree.args(["tree", "--package", "foreblock-precompile", "--edges", "normal,build", "--prefix", "none"]);
    tree.args(["--no-dedupe", "--offline", "--format", "{p}"]).args(flags).current_dir(workspace());
    let printed = succeed(&mut tree);
    printed
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty())
        .collect::<BTreeSet<_>>()
        .len() as f64
}
