//! `cargo xtask bench pre-executor`: is inference ready before the block, also under congestion?
//!
//! Scheduling: virtual slots and fixed seeds, the same on every machine; the watchlist and the scheduler are the node's. At load 1x the
//! device is busy 0.9 of the time, with what is computed again because an input moved. Building blocks: the real EVM and the clock.
//! Throughput: ONNX Runtime behind the pre-executor. `cargo xtask bench pre-executor -- --only congestion` runs one part.

mod blocks;
#[path = "../engine/engines.rs"]
mod engines;
#[path = "../evm/mod.rs"]
mod evm;
mod policy;
mod throughput;
mod trace;
mod whole_block;
mod world;

use crate::{
    policy::Rule,
    trace::{Attack, SLOT_US, Scenario, fractional_knapsack},
    world::{Control, Results, WARM_UP, run},
};
use foreblock_tests::bench::{Report, Target, workspace};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const BLOCKS: u64 = 40;
const ONE: Scenario = Scenario { load: 0.9, writers: 0, blocks: BLOCKS, attack: None, seed: 7 };
const FIVE: Scenario = Scenario { load: 4.5, ..ONE };
/// Writers in a slot at which about 14 and 46 % of transactions see their input move.
const SOME: u64 = 20;
const MANY: u64 = 170;
/// The same for at least 14 % at five times the load, where everybody waits longer.
const FEW: u64 = 2;

type Part = (&'static str, fn(&mut Report));

/// What is measured, in parts that can be run alone.
const PARTS: [Part; 7] = [
    ("inputs", moving_inputs),
    ("simulations", simulations),
    ("congestion", congestion),
    ("attacks", attacks),
    ("controls", controls),
    ("blocks", blocks::run),
    ("throughput", throughput::run),
];

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == throughput::WORKER) {
        throughput::worker();
    }
    let only = arguments.iter().skip_while(|argument| *argument != "--only").nth(1);
    let parts = PARTS.iter().filter(|(name, _)| only.is_none_or(|only| only == name));
    if parts.clone().count() == 0 {
        let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
        return Err(std::io::Error::other(format!("--only takes one of {}", names.join(", "))));
    }
    let mut report = Report::new(if only.is_none() { "pre-executor" } else { "pre-executor-part" });
    parts.for_each(|(_, run)| run(&mut report));
    report.write(workspace())
}

fn hit_rate(results: &Results) -> f64 {
    100.0 * results.hits as f64 / (results.hits + results.misses).max(1) as f64
}

/// Of the inference transactions that are in the pool when a block is built, those that are in it then.
fn coverage(results: &Results) -> f64 {
    100.0 * results.included as f64 / results.pending.max(1) as f64
}

fn moving_inputs(report: &mut Report) {
    for (writers, load, name, target) in [(0, 0.9, "0 %", 99.0), (SOME, 0.78, "14 %", 95.0), (MANY, 0.49, "46 %", 85.0)]
    {
        let scenario = Scenario { writers, load, ..ONE };
        let results = run(&scenario, Rule::Foreblock, Control::None);
        let moved = 100.0 * results.moved as f64 / results.included.max(1) as f64;
        report.row(&format!("transactions that saw their input move, aimed at {name} (%)"), moved, Target::Shown);
        let busy = results.device_us as f64 / (BLOCKS * SLOT_US) as f64;
        report.row("  device busy", busy, Target::Shown);
        report.row(&format!("hit rate at build, 1x, {name} move (%)"), hit_rate(&results), Target::AtLeast(target));
        report.row("  of all in the pool when the block is built, those in it (%)", coverage(&results), Target::Shown);
        let wasted = 100.0 * results.wasted_us as f64 / results.device_us as f64;
        let targets = match writers {
            0 => (Target::AtMost(1.0), Target::AtMost(2.0), Target::Shown),
            SOME => (Target::AtMost(1.0), Target::AtMost(2.0), Target::AtMost(10.0)),
            _ => (Target::Shown, Target::Shown, Target::Shown),
        };
        let mut blocks = results.blocks_waited;
        blocks.sort_unstable();
        let at = |part: f64| blocks.get((blocks.len() as f64 * part) as usize).copied().unwrap_or(0) as f64;
        report.row(&format!("blocks from submission to inclusion, 1x, {name} move, median"), at(0.5), targets.0);
        report.row(&format!("blocks from submission to inclusion, 1x, {name} move, p99"), at(0.99), targets.1);
        report.row(&format!("device time never used / total, {name} move (%)"), wasted, targets.2);
    }
}

/// What a new head costs: in a pool that stands, and in one that the next block empties, where there is little to save.
fn simulations(report: &mut Report) {
    for (load, writers, name, target) in [(4.5, FEW, "5x", Target::AtMost(0.25)), (0.78, SOME, "1x", Target::Shown)] {
        let scenario = Scenario { writers, load, ..ONE };
        let kept = run(&scenario, Rule::Foreblock, Control::None);
        let all = run(&scenario, Rule::Foreblock, Control::SimulateAll);
        let share = kept.watch.simulations as f64 / all.watch.simulations as f64;
        report.row(&format!("simulations / simulating all on each head, {name}"), share, target);
        // The first of each is needed in any case.
        let first = kept.trace.iter().filter(|tx| !tx.private).count() as u64;
        let again = |results: &Results| results.watch.simulations.saturating_sub(first) as f64;
        report.row("  of those, beyond the first of each transaction", again(&kept) / again(&all), Target::Shown);
        let moved = 100.0 * kept.moved as f64 / kept.included.max(1) as f64;
        report.row("  transactions that saw their input move (%)", moved, Target::Shown);
        report.row("  hit rate (%)", hit_rate(&kept), Target::Shown);
        report.row("  hit rate when each head simulates all (%)", hit_rate(&all), Target::Shown);
    }
}

fn congestion(report: &mut Report) {
    let one = run(&ONE, Rule::Foreblock, Control::None);
    let device_us = ((BLOCKS - WARM_UP) * SLOT_US) as f64;
    let five = run(&FIVE, Rule::Foreblock, Control::None);
    report.row("goodput at 5x / at 1x", five.goodput_us as f64 / one.goodput_us as f64, Target::AtLeast(0.95));
    report.row("  device time never used / total, 5x", five.wasted_us as f64 / five.device_us as f64, Target::Shown);
    report.row("  goodput at 5x / device time", five.goodput_us as f64 / device_us, Target::Shown);
    let bound = fractional_knapsack(&five.trace, BLOCKS * SLOT_US);
    report.row("value at 5x / fractional-knapsack bound", five.value / bound, Target::AtLeast(0.90));
    for (rule, name) in [
        (Rule::FeeOnly, "fee only"),
        (Rule::DeadlineOnly, "deadline only"),
        (Rule::FirstCome, "first come first served"),
    ] {
        let other = run(&FIVE, rule, Control::None);
        report.row(&format!("  {name}: value at 5x / the same bound"), other.value / bound, Target::Shown);
    }
    let late = 100.0 * five.late as f64 / five.promised.max(1) as f64;
    report.row("admitted for a block and not ready at its build, 5x (%)", late, Target::AtMost(0.1));
    let late = 100.0 * one.late as f64 / one.promised.max(1) as f64;
    report.row("admitted for a block and not ready at its build, 1x (%)", late, Target::AtMost(0.1));
    report.row("longest wait / its stated bound, 5x", five.wait_over_bound, Target::AtMost(1.0));
}

fn attacks(report: &mut Report) {
    let scenario = Scenario { writers: SOME, load: 0.78, ..ONE };
    let calm = run(&scenario, Rule::Foreblock, Control::None);
    for (attack, name) in [
        (Attack::OneSender, "one sender"),
        (Attack::ManySenders, "a sender for each, one contract"),
        (Attack::ManyContracts, "a sender and a contract for each"),
    ] {
        let results = run(&Scenario { attack: Some(attack), ..scenario }, Rule::Foreblock, Control::None);
        let locked_us: u64 = results.trace.iter().filter(|tx| tx.hostile).map(trace::Tx::device_us).sum();
        let spent = results.hostile_us as f64 / locked_us as f64;
        report.row(
            &format!("flood of 2x, cancelled before each build, {name}: device time / locked"),
            spent,
            Target::AtMost(1.0),
        );
        let goodput = results.goodput_us as f64 / calm.goodput_us as f64;
        report.row(&format!("  honest goodput / without, {name}"), goodput, Target::AtLeast(0.90));
    }
}

/// Runs that must fail, or the harness sees nothing.
fn controls(report: &mut Report) {
    let off = run(&ONE, Rule::Foreblock, Control::EngineOff);
    report.row("control: hit rate with the engine off (%)", hit_rate(&off), Target::AtMost(0.0));
    report.row("control: included with the engine off", off.included as f64, Target::AtMost(0.0));
    let blind = run(&ONE, Rule::Foreblock, Control::NoHits);
    report.row("control: hit rate of a builder that sees no answers (%)", hit_rate(&blind), Target::AtMost(0.0));
}
