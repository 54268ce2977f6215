//! Workers: crashes, calls that wait, the builder's misses, and the end.

mod world;

use alloy_evm::{Evm, EvmFactory};
use alloy_primitives::U256;
use foreblock_pre_executor::Unresolved;
use foreblock_precompile::ForeblockEvmFactory;
use foreblock_precompile::Outcomes;
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use world::*;

#[test]
fn a_crash_is_run_again_on_another_worker() {
    let (pre, model) = start(AddOne { crashes: Mutex::new(2), ..Default::default() }, 2);
    pre.wait(&[request(5)], SOON).unwrap();
    assert_eq!(*model.ran.lock(), [U256::from(5)]);
    let metrics = pre.metrics();
    assert_eq!((metrics.crashes, metrics.schedule.retried, metrics.given_up), (2, 2, 0));
}

#[test]
fn a_request_that_always_crashes_is_given_up_and_the_workers_go_on() {
    let (pre, _) = start(AddOne { crashes: Mutex::new(3), ..Default::default() }, 1);
    let error = pre.wait(&[request(5)], SOON).unwrap_err();
    let reason = "the run crashed: the model crashed".to_owned();
    assert_eq!(error, Unresolved::Unavailable { request: request(5).id, reason });
    pre.wait(&[request(6)], SOON).unwrap();
}

#[test]
fn a_call_runs_until_it_is_whole() {
    let (pre, _) = start(AddOne::default(), 1);
    let factory = ForeblockEvmFactory::new(pre.store());
    let call = tx(1, 0, FIVE_TIMES, asks(10)).env;
    let output = pre.resolve(SOON, || {
        let mut evm = factory.create_evm(db(), env(1));
        evm.transact_raw(call.clone()).map_err(|_| evm.take_missing().expect("nothing else fails"))
    });
    let changed = output.unwrap().state[&FIVE_TIMES].storage[&U256::ZERO].present_value;
    assert_eq!(changed, U256::from(15));
    assert_eq!(pre.metrics().build_hits, 0);
}

#[test]
fn a_call_that_takes_too_long_says_so_and_leaves_no_work_behind() {
    let (pre, _) = start(AddOne { takes: Duration::from_millis(300), ..Default::default() }, 1);
    let waits = [request(1), request(2)];
    let error = pre.wait(&waits, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, Unresolved::Timeout { .. }), "{error}");
    assert!(pre.metrics().queue <= 1, "only what runs already");
}

#[test]
fn what_the_builder_misses_is_asked_first() {
    let (pre, model) = start(AddOne { takes: Duration::from_millis(30), ..Default::default() }, 1);
    pre.new_head(head(1, &db(), None));
    let txs: Vec<_> = (1..=6).map(|from| tx(from, 0, ONCE, asks(u64::from(from)))).collect();
    txs.iter().for_each(|tx| pre.submit(tx.clone()));
    while pre.metrics().queue < 6 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The one that pays least sees another input when the block is built.
    assert_eq!(pre.builder_outcomes().get(request(50).id), None);
    assert!(!pre.missed(txs[0].hash, &request(50)), "the builder does not wait");
    while pre.store().get(request(50).id).is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let ran = model.ran.lock().clone();
    let at = ran.iter().position(|word| *word == U256::from(50)).unwrap();
    assert!(at <= 2, "after what ran already, before the rest: {ran:?}");
    assert_eq!(pre.metrics().build_misses, 1);
}

#[test]
fn speculation_waits_for_the_builder() {
    let (pre, _) = start(AddOne::default(), 1);
    pre.new_head(head(1, &db(), None));
    let building = pre.building();
    let tx = tx(1, 0, ONCE, asks(5));
    pre.submit(tx.clone());
    assert!(!pre.wait_ready(tx.hash, Duration::from_millis(100)));
    assert_eq!(pre.metrics().watch.simulations, 0);
    drop(building);
    assert!(pre.wait_ready(tx.hash, SOON));
}

#[test]
fn the_threads_stop_with_the_last_handle() {
    let (pre, model) = start(AddOne::default(), 3);
    pre.wait(&[request(5)], SOON).unwrap();
    let other = pre.clone();
    drop(pre);
    other.wait(&[request(6)], SOON).unwrap();
    let started = Instant::now();
    drop(other);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(std::sync::Arc::strong_count(&model), 1, "no thread holds it");
}
