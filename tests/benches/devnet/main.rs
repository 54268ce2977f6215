//! The devnet beside the real `anvil`: both run at once and are measured in turns, so that what else the machine does
//! falls on both.

mod load;
mod process;

use foreblock_tests::bench::{Report, Target, workspace};
use load::{
    calls_per_second, empty_block_seconds, mine, mine_payments, queue_payments, receipts_seconds,
    send_to_receipt_seconds,
};
use process::{Pair, start_seconds};

/// Starts of each node: the best counts.
const STARTS: usize = 7;
/// Turns of each measure.
const TURNS: usize = 5;

fn main() {
    let mut report = Report::new("devnet");
    starts(&mut report);

    let pair = Pair::start();
    let idle = pair.each(|node| node.resident_mib());
    report.row("idle resident memory, MiB", idle.foreblock, Target::AtMost(60.0));
    report.row("idle resident memory / anvil's", idle.ratio(), Target::AtMost(1.5));

    let calls = pair.best(TURNS, f64::max, |node| calls_per_second(&node.rpc));
    report.row("eth_call a second, 16 connections", calls.foreblock, Target::Shown);
    report.row("eth_call a second, 16 connections / anvil's", calls.ratio(), Target::AtLeast(1.0));

    let low = pair.best(TURNS, f64::min, |node| send_to_receipt_seconds(&node.rpc));
    report.row("automine send to receipt at height 0, ms", low.foreblock * 1e3, Target::Shown);
    report.row("automine send to receipt at height 0: anvil's time / this", 1.0 / low.ratio(), Target::AtLeast(1.0));
    drop(pair);

    growth(&mut report);
    receipts(&mut report);
    memory(&mut report);
    report.write(workspace()).expect("the report can be written");
}

fn starts(report: &mut Report) {
    let (mut ours, mut theirs) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..STARTS {
        ours = ours.min(start_seconds::<foreblock_tests::node::Node>());
        theirs = theirs.min(start_seconds::<foreblock_tests::anvil::Anvil>());
    }
    report.row("start to first RPC reply, ms", ours * 1e3, Target::AtMost(150.0));
    report.row("start to first RPC reply / anvil's", ours / theirs, Target::AtMost(1.0));
}

/// What a long chain costs.
fn growth(report: &mut Report) {
    let pair = Pair::start();
    pair.each(|node| mine(&node.rpc, 50));
    let at_50 = pair.best(TURNS, f64::min, |node| empty_block_seconds(&node.rpc));
    pair.each(|node| mine(&node.rpc, 2_900));
    let at_3000 = pair.best(TURNS, f64::min, |node| send_to_receipt_seconds(&node.rpc));
    report.row(
        "automine send to receipt at height 3,000: anvil's time / this",
        1.0 / at_3000.ratio(),
        Target::AtLeast(3.0),
    );
    pair.each(|node| mine(&node.rpc, 900));
    let at_4000 = pair.best(TURNS, f64::min, |node| empty_block_seconds(&node.rpc));
    report.row("empty block at height 4,000 / at 50", at_4000.foreblock / at_50.foreblock, Target::AtMost(1.2));
    report.row("the same for anvil", at_4000.anvil / at_50.anvil, Target::Shown);
}

fn receipts(report: &mut Report) {
    let pair = Pair::with(&["--no-mining"]);
    pair.each(|node| {
        queue_payments(&node.rpc, 1_000);
        mine(&node.rpc, 1);
    });
    let time = pair.best(TURNS, f64::min, |node| receipts_seconds(&node.rpc, 1_000));
    report.row("eth_getBlockReceipts of 1,000 transfers, ms", time.foreblock * 1e3, Target::Shown);
    report.row(
        "eth_getBlockReceipts of 1,000 transfers: anvil's time / this",
        1.0 / time.ratio(),
        Target::AtLeast(5.0),
    );
}

fn memory(report: &mut Report) {
    let pair = Pair::start();
    pair.each(|node| mine_payments(&node.rpc, 5_000));
    let resident = pair.each(|node| node.resident_mib());
    report.row("resident memory after 5,000 blocks and transactions, MiB", resident.foreblock, Target::Shown);
    report.row("resident memory after 5,000 blocks and transactions / anvil's", resident.ratio(), Target::AtMost(1.0));
}
