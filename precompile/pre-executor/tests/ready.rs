//! Pending transactions whose outcomes are there before the block is built.

mod world;

use alloy_evm::{Evm, EvmFactory};
use alloy_primitives::{Bytes, U256};
use foreblock_pre_executor::{CallState, Deferral, Event, PendingTransaction, Phase, PreExecutor, WriteSet};
use foreblock_precompile::{ForeblockEvmFactory, Outcomes};
use revm::{DatabaseCommit, context::result::ExecutionResult};
use std::{sync::Arc, time::Duration};
use world::*;

/// Includes a transaction on `db` as a builder would; the gas it used, or nothing if it had to be skipped.
fn include(pre: &PreExecutor, db: &mut Db, block: u64, tx: &PendingTransaction) -> Option<(ExecutionResult, WriteSet)> {
    let factory = ForeblockEvmFactory::new(pre.builder_outcomes());
    let done = factory.create_evm(&mut *db, env(block)).transact_raw(tx.env.clone()).ok()?;
    let writes = WriteSet::of(&done.state);
    db.commit(done.state);
    Some((done.result, writes))
}

fn stored(db: &Db, contract: alloy_primitives::Address) -> U256 {
    db.cache.accounts[&contract].storage.get(&U256::ZERO).copied().unwrap_or_default()
}

#[test]
fn an_outcome_is_there_before_the_block() {
    let (pre, model) = start(AddOne::default(), 1);
    let mut db = db();
    let mut news = pre.subscribe();
    pre.new_head(head(1, &db, None));
    let tx = tx(1, 0, ONCE, asks(7));
    pre.submit(tx.clone());
    assert!(pre.wait_ready(tx.hash, SOON), "{:?}", pre.status(tx.hash));
    let status = pre.status(tx.hash).unwrap();
    assert_eq!((status.phase, status.block), (Phase::Ready, Some(1)));
    assert!(matches!(status.calls[0].state, CallState::Ready(_)));
    assert_eq!(news.blocking_recv().unwrap(), Event::Outcome { request: request(7).id });
    assert_eq!(news.blocking_recv().unwrap(), Event::Ready { transaction: tx.hash });

    let (result, _) = include(&pre, &mut db, 1, &tx).expect("not skipped");
    assert!(result.is_success());
    assert_eq!(stored(&db, ONCE), U256::from(8));
    pre.included(tx.hash, result.tx_gas_used());
    let metrics = pre.metrics();
    assert_eq!((metrics.build_hits, metrics.build_misses, metrics.computed), (1, 0, 1), "speculation counts no hits");
    assert_eq!(*model.ran.lock(), [U256::from(7)]);
    assert!(metrics.prometheus().contains("foreblock_pre_executor_build_hits_total 1\n"));
}

#[test]
fn calls_that_depend_on_one_another_are_found_in_rounds() {
    let (pre, model) = start(AddOne::default(), 1);
    let mut db = db();
    pre.new_head(head(1, &db, None));
    let tx = tx(1, 0, FIVE_TIMES, asks(7));
    pre.submit(tx.clone());
    assert!(pre.wait_ready(tx.hash, SOON), "{:?}", pre.status(tx.hash));
    assert_eq!(pre.status(tx.hash).unwrap().calls.len(), 5);
    assert_eq!(*model.ran.lock(), [7, 8, 9, 10, 11].map(U256::from));
    let watch = pre.metrics().watch;
    assert_eq!((watch.simulations, watch.rounds), (1, 5), "going on with an outcome is no new simulation");
    include(&pre, &mut db, 1, &tx).expect("not skipped");
    assert_eq!(stored(&db, FIVE_TIMES), U256::from(12));
}

#[test]
fn every_kind_of_caller_is_seen() {
    let creation = [&asking(&[], 1)[..], &[0x00]].concat();
    // A constructor has no calldata: it asks for what stands in its own code.
    let data = asks(3);
    let from_code = |code: &[u8]| {
        let size = data.len() as u16;
        let copy = |at: u16| [&[0x61][..], &size.to_be_bytes(), &[0x61], &at.to_be_bytes(), &[0x5f, 0x39]].concat(); // codecopy
        let call = [&[0x5f, 0x5f, 0x61][..], &size.to_be_bytes(), &[0x5f, 0x61, 0x1a, 0x0f, 0x5a, 0xfa, 0x00]].concat();
        let at = (copy(0).len() + call.len()) as u16;
        let _ = code;
        [copy(at), call, data.to_vec()].concat()
    };
    let (pre, _) = start(AddOne::default(), 1);
    pre.new_head(head(1, &db(), None));
    let mut constructor = tx(3, 0, ONCE, from_code(&creation).into());
    constructor.env.kind = alloy_primitives::TxKind::Create;
    let cases = [
        ("a contract that another one calls", tx(1, 0, NESTED, asks(1)), request(1)),
        ("a transaction that reverts afterwards", tx(2, 0, REVERTING, asks(2)), request(2)),
        ("a constructor", constructor, request(3)),
    ];
    for (name, tx, request) in cases {
        pre.submit(tx.clone());
        assert!(pre.wait_ready(tx.hash, SOON), "{name}: {:?}", pre.status(tx.hash));
        assert!(pre.store().get(request.id).is_some(), "{name}");
    }
}

#[test]
fn identical_requests_run_once() {
    let (pre, model) = start(AddOne { takes: Duration::from_millis(20), ..Default::default() }, 2);
    pre.new_head(head(1, &db(), None));
    let txs: Vec<_> = (1..=20).map(|from| tx(from, 0, ONCE, asks(7))).collect();
    txs.iter().for_each(|tx| pre.submit(tx.clone()));
    for tx in &txs {
        assert!(pre.wait_ready(tx.hash, SOON), "{:?}", pre.status(tx.hash));
    }
    assert_eq!(model.ran.lock().len(), 1);
}

#[test]
fn fifty_transactions_of_one_sender_are_ready_for_one_block() {
    let (pre, model) = start(AddOne::default(), 1);
    let mut db = db();
    pre.new_head(head(1, &db, None));
    let txs: Vec<_> = (0..50).map(|nonce| tx(1, nonce, ONCE, asks(1_000 * (nonce + 1)))).collect();
    txs.iter().for_each(|tx| pre.submit(tx.clone()));
    for tx in &txs {
        assert!(pre.wait_ready(tx.hash, SOON), "{:?}", pre.status(tx.hash));
    }
    let _building = pre.building();
    for tx in &txs {
        assert!(include(&pre, &mut db, 1, tx).is_some());
    }
    assert_eq!(model.ran.lock().len(), 50);
    assert_eq!(pre.metrics().build_misses, 0);
}

#[test]
fn a_new_head_runs_again_only_what_it_touched() {
    let (pre, _) = start(AddOne::default(), 1);
    let mut db = db();
    pre.new_head(head(1, &db, None));
    let moving = tx(1, 0, FROM_SLOT, asks(0));
    let still: Vec<_> = (2..=10).map(|from| tx(from, 0, ONCE, asks(1_000 * u64::from(from)))).collect();
    for tx in still.iter().chain([&moving]) {
        pre.submit(tx.clone());
        assert!(pre.wait_ready(tx.hash, SOON));
    }
    let before = pre.metrics().watch.simulations;
    let set = tx(50, 0, FROM_SLOT, Bytes::from(U256::from(99).to_be_bytes_vec()));
    let (_, writes) = include(&pre, &mut db, 1, &set).unwrap();
    pre.new_head(head(2, &db, Some(writes)));
    assert!(pre.wait_ready(moving.hash, SOON), "{:?}", pre.status(moving.hash));
    let after = pre.metrics().watch;
    assert_eq!(after.simulations - before, 1, "one of ten read what was written");
    assert_eq!(after.kept, 9);
    assert!(pre.store().get(request(99).id).is_some());
    include(&pre, &mut db, 2, &moving).expect("not skipped");
    assert_eq!(stored(&db, FROM_SLOT), U256::from(100));
}

#[test]
fn the_effect_of_a_transaction_before_it_is_seen() {
    let (pre, _) = start(AddOne::default(), 1);
    pre.new_head(head(1, &db(), None));
    let later = tx(1, 0, FROM_SLOT, asks(0));
    pre.submit(later.clone());
    assert!(pre.wait_ready(later.hash, SOON));
    // It pays more, so a builder takes it first, and it moves the input of the one that is ready already.
    let first = tx(90, 0, FROM_SLOT, Bytes::from(U256::from(77).to_be_bytes_vec()));
    pre.submit(first.clone());
    assert!(pre.wait_ready(first.hash, SOON));
    assert!(pre.wait_ready(later.hash, SOON));
    assert!(pre.store().get(request(77).id).is_some(), "{:?}", pre.status(later.hash));
}

#[test]
fn what_reads_the_block_is_predicted_for_the_next_one() {
    let (pre, _) = start(AddOne::default(), 1);
    let mut db = db();
    let volatile = tx(1, 0, FROM_TIME, asks(0));
    pre.submit(volatile.clone());
    for block in 1..=3 {
        pre.new_head(head(block, &db, Some(WriteSet::default())));
        assert!(pre.wait_ready(volatile.hash, SOON), "{:?}", pre.status(volatile.hash));
        assert!(pre.status(volatile.hash).unwrap().volatile);
        assert!(pre.store().get(request(1_800_000_000 + 12 * block).id).is_some(), "block {block}");
    }
    include(&pre, &mut db, 3, &volatile).expect("not skipped");
}

#[test]
fn an_endless_loop_ends_with_its_gas() {
    let (pre, _) = start(AddOne::default(), 1);
    pre.new_head(head(1, &db(), None));
    let (endless, honest) = (tx(90, 0, LOOP, Bytes::new()), tx(1, 0, ONCE, asks(5)));
    pre.submit(endless.clone());
    pre.submit(honest.clone());
    assert!(pre.wait_ready(honest.hash, SOON));
    assert!(pre.wait_ready(endless.hash, SOON), "it can be included: it pays for its gas");
}

#[test]
fn a_request_that_cannot_be_computed_defers_its_transaction() {
    let (pre, _) = start(AddOne { unavailable: true, ..Default::default() }, 1);
    pre.new_head(head(1, &db(), None));
    let tx = tx(1, 0, ONCE, asks(5));
    pre.submit(tx.clone());
    assert!(!pre.wait_ready(tx.hash, SOON));
    let status = pre.status(tx.hash).unwrap();
    let Phase::Deferred(Deferral::Unavailable { reason, .. }) = &status.phase else { panic!("{status:?}") };
    assert_eq!(reason, "the model's file is not there");
    assert_eq!(status.block, Some(2), "tried again for the next block");
}

#[test]
fn a_transaction_that_is_never_ready_expires() {
    let (pre, _) = start(AddOne { unavailable: true, ..Default::default() }, 1);
    let mut news = pre.subscribe();
    let db = db();
    pre.new_head(head(1, &db, None));
    let tx = tx(1, 0, ONCE, asks(5));
    pre.submit(tx.clone());
    assert!(!pre.wait_ready(tx.hash, SOON));
    pre.new_head(head(66, &db, Some(WriteSet::default())));
    let expired = std::iter::from_fn(|| news.blocking_recv().ok()).find(|event| matches!(event, Event::Expired { .. }));
    assert_eq!(expired, Some(Event::Expired { transaction: tx.hash, reason: "not ready within 64 blocks".to_owned() }));
    assert_eq!(pre.status(tx.hash), None);
}

#[test]
fn a_replacement_keeps_the_age_and_cancels_the_work() {
    let (pre, model) = start(AddOne { takes: Duration::from_millis(50), ..Default::default() }, 1);
    pre.new_head(head(1, &db(), None));
    let busy = tx(9, 0, ONCE, asks(1));
    let old = tx(1, 0, ONCE, asks(2));
    pre.submit(busy.clone());
    pre.submit(old.clone());
    while pre.status(old.hash).unwrap().phase != Phase::Waiting {
        std::thread::sleep(Duration::from_millis(1));
    }
    let new = PendingTransaction { replaces: Some(old.hash), ..tx(1, 0, ONCE, asks(3)) };
    pre.submit(new.clone());
    assert!(pre.wait_ready(new.hash, SOON));
    assert_eq!(pre.status(old.hash), None);
    assert!(!model.ran.lock().contains(&U256::from(2)), "nobody waited for it any more");
    assert_eq!(pre.metrics().schedule.cancelled, 1);
    let factory: Arc<dyn Outcomes> = pre.store();
    assert!(factory.get(request(3).id).is_some());
}
