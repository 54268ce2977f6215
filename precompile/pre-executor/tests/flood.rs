//! A flood from ten thousand senders: honest transactions get in, memory stays bounded, and nothing is lost.

mod world;

use alloy_primitives::{Address, B256, U256};
use foreblock_pre_executor::{Event, PendingTransaction, Phase, PreExecutor, WriteSet, schedule::Limits};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};
use world::*;

const SENDERS: u64 = 10_000;
/// Small, so that the flood reaches it.
const PIECES_MAX: usize = 2_000;

/// One of ten thousand, each of which asks something else and pays more than anybody honest.
fn hostile(number: u64) -> PendingTransaction {
    let mut tx = tx(99, 0, ONCE, asks(1_000_000 + number));
    tx.env.caller = Address::left_padding_from(&(1_u64 << 40 | number).to_be_bytes());
    tx.env.gas_price = 1_000 + u128::from(number % 7);
    PendingTransaction { hash: B256::from(U256::from(1_u64 << 50 | number)), ..tx }
}

fn start_small() -> (PreExecutor, Arc<AddOne>) {
    let model = Arc::new(AddOne { takes: Duration::from_millis(1), ..Default::default() });
    let limits = Limits { pieces_max: PIECES_MAX, ..Limits::default() };
    let config = foreblock_pre_executor::Config { limits, ..Default::default() };
    (PreExecutor::start(config, model.clone()).unwrap(), model)
}

#[test]
fn honest_transactions_get_in_through_a_flood_from_ten_thousand_senders() {
    let (pre, model) = start_small();
    let db = db();
    let mut news = pre.subscribe();
    pre.new_head(head(1, &db, None));
    let flood: Vec<_> = (0..SENDERS).map(hostile).collect();
    flood.iter().for_each(|tx| pre.submit(tx.clone()));
    let honest: Vec<_> = (1..=20).map(|from| tx(from, 0, NESTED, asks(u64::from(from)))).collect();
    honest.iter().for_each(|tx| pre.submit(tx.clone()));

    let started = Instant::now();
    let mut block = 1;
    let mine: HashSet<B256> = honest.iter().map(|tx| tx.hash).collect();
    loop {
        // Long enough for the scout to see everybody once.
        std::thread::sleep(Duration::from_secs(2));
        let metrics = pre.metrics();
        assert!(metrics.queue <= PIECES_MAX as u64 + 64, "{} pieces of work", metrics.queue);
        assert!(metrics.queue_bytes <= 64 << 20, "{} bytes", metrics.queue_bytes);
        assert!(metrics.transactions <= 16_384, "{} transactions", metrics.transactions);
        let ready: Vec<B256> = pre
            .pending(usize::MAX)
            .into_iter()
            .filter_map(|one| (one.phase == Phase::Ready).then_some(one.transaction))
            .collect();
        println!("block {block}: {} ready, {} in the queue", ready.len(), metrics.queue);
        let (honest_ready, hostile_ready): (Vec<B256>, Vec<B256>) =
            ready.into_iter().partition(|hash| mine.contains(hash));
        if honest_ready.len() == mine.len() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "block {block}: {:?}", pre.status(honest[0].hash));
        // A block before which the attacker cancels everything that was computed for it.
        hostile_ready.into_iter().for_each(|hash| pre.drop_transaction(hash));
        block += 1;
        pre.new_head(head(block, &db, Some(WriteSet::default())));
    }
    println!("ready in block {block}, after {} runs", model.ran.lock().len());
    assert!(block <= 12, "{block} blocks");

    // Nobody was lost: who is not there any more was cancelled, and the rest still waits with a state.
    let watched: HashSet<B256> = pre.pending(usize::MAX).into_iter().map(|one| one.transaction).collect();
    assert_eq!(watched.len() as u64, pre.metrics().transactions);
    let gone = flood.iter().filter(|tx| !watched.contains(&tx.hash)).count();
    assert!(gone <= model.ran.lock().len(), "{gone} are gone, although so many were never computed");
    let expired = std::iter::from_fn(|| news.try_recv().ok()).filter(|event| matches!(event, Event::Expired { .. }));
    assert_eq!(expired.count(), 0, "nobody was made to leave");
}
