//! `cargo xtask bench pre-executor`: is inference ready before the block, also under congestion?
//!
//! Virtual slots and fixed seeds: the rows are the same on every machine. Load 1x is arriving device time of 0.9 of the device's.

mod policy;
mod trace;
mod world;

use crate::{
    policy::Rule,
    trace::{Attack, SLOT_US, Scenario, fractional_knapsack},
    world::{Control, Results, WARM_UP, run},
};
use foreblock_tests::bench::{Report, Target, workspace};

const BLOCKS: u64 = 60;
const ONE: Scenario = Scenario { load: 0.9, writers: 0, blocks: BLOCKS, attack: None, seed: 7 };
const FIVE: Scenario = Scenario { load: 4.5, ..ONE };
/// Writers in a slot at which about 14 and 46 % of transactions see their input move.
const SOME: u64 = 10;
const MANY: u64 = 45;

fn main() -> std::io::Result<()> {
    let mut report = Report::new("pre-executor");
    moving_inputs(&mut report);
    congestion(&mut report);
    attacks(&mut report);
    controls(&mut report);
    report.write(workspace())
}

fn hit_rate(results: &Results) -> f64 {
    100.0 * results.hits as f64 / (results.hits + results.misses).max(1) as f64
}

/// Without those that came in the last twentieth of the slot.
fn hit_rate_in_time(results: &Results) -> f64 {
    let misses = results.misses - results.misses_of_late_comers;
    100.0 * results.hits as f64 / (results.hits + misses).max(1) as f64
}

fn moving_inputs(report: &mut Report) {
    for (writers, name, target) in [(0, "0 %", 99.0), (SOME, "14 %", 95.0), (MANY, "46 %", 85.0)] {
        let scenario = Scenario { writers, ..ONE };
        let results = run(&scenario, Rule::Foreblock, Control::None);
        let moved = 100.0 * results.moved as f64 / results.included.max(1) as f64;
        report.row(&format!("transactions that saw their input move, aimed at {name} (%)"), moved, Target::Shown);
        report.row(&format!("hit rate at build, 1x, {name} move (%)"), hit_rate(&results), Target::AtLeast(target));
        let in_time = hit_rate_in_time(&results);
        report.row(
            &format!("  of those that came before the slot's last 5 %, {name} move (%)"),
            in_time,
            Target::Shown,
        );
        if writers == 0 {
            waits(report, results.blocks_waited);
        }
        if writers == SOME {
            let all = run(&scenario, Rule::Foreblock, Control::SimulateAll);
            let share = results.watch.simulations as f64 / all.watch.simulations as f64;
            report.row("simulations / simulating all on each head, 14 % move", share, Target::AtMost(0.25));
            report.row("  hit rate when all are simulated on each head (%)", hit_rate(&all), Target::Shown);
            let wasted = 100.0 * results.wasted_us as f64 / results.device_us as f64;
            report.row("device time never used / total, 14 % move (%)", wasted, Target::AtMost(10.0));
        }
    }
}

fn waits(report: &mut Report, mut blocks: Vec<u64>) {
    blocks.sort_unstable();
    let at = |part: f64| blocks.get((blocks.len() as f64 * part) as usize).copied().unwrap_or(0) as f64;
    report.row("blocks from submission to inclusion, 1x, median", at(0.5), Target::AtMost(1.0));
    report.row("blocks from submission to inclusion, 1x, p99", at(0.99), Target::AtMost(2.0));
}

fn congestion(report: &mut Report) {
    let one = run(&ONE, Rule::Foreblock, Control::None);
    let device_us = ((BLOCKS - WARM_UP) * SLOT_US) as f64;
    let five = run(&FIVE, Rule::Foreblock, Control::None);
    report.row("goodput at 5x / at 1x", five.goodput_us as f64 / one.goodput_us as f64, Target::AtLeast(0.95));
    report.row("  goodput at 5x / device time", five.goodput_us as f64 / device_us, Target::Shown);
    let bound = fractional_knapsack(&counted(&five), (BLOCKS - WARM_UP) * SLOT_US);
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

/// What arrived in the blocks that are counted, or a patience before them.
fn counted(results: &Results) -> Vec<trace::Tx> {
    let txs = results.trace.iter().filter(|tx| tx.leaves_us > WARM_UP * SLOT_US);
    txs.cloned().collect()
}

fn attacks(report: &mut Report) {
    let calm = run(&Scenario { writers: SOME, ..ONE }, Rule::Foreblock, Control::None);
    for (attack, name) in [
        (Attack::OneSender, "one sender"),
        (Attack::ManySenders, "a sender for each, one contract"),
        (Attack::ManyContracts, "a sender and a contract for each"),
    ] {
        let results = run(&Scenario { writers: SOME, attack: Some(attack), ..ONE }, Rule::Foreblock, Control::None);
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
