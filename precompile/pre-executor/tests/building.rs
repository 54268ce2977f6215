//! What a builder leaves alone, what it misses, and what it computes itself.

mod world;

use foreblock_pre_executor::{Hold, Phase, WriteSet};
use foreblock_precompile::Outcomes;
use std::time::Duration;
use world::*;

#[test]
fn a_transaction_that_is_known_to_wait_is_not_run() {
    let (pre, _) = start(AddOne { takes: Duration::from_millis(100), ..Default::default() }, 1);
    pre.new_head(head(1, &db(), None));
    let tx = tx(1, 0, ONCE, asks(7));
    pre.submit(tx.clone());
    while pre.status(tx.hash).unwrap().phase != Phase::Waiting {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(pre.hold(tx.hash), Some(Hold::Waits(request(7).id)));
    assert!(pre.wait_ready(tx.hash, SOON));
    assert_eq!(pre.hold(tx.hash), None);
}

#[test]
fn after_three_misses_the_builder_backs_off_for_longer_and_longer() {
    let (pre, _) = start(AddOne::default(), 1);
    let db = db();
    let tx = tx(1, 0, ONCE, asks(7));
    pre.submit(tx.clone());
    let mut tried = Vec::new();
    for block in 1..=20 {
        pre.new_head(head(block, &db, Some(WriteSet::default())));
        assert!(pre.wait_ready(tx.hash, SOON), "{:?}", pre.status(tx.hash));
        match pre.hold(tx.hash) {
            // Each build sees another input than every simulation.
            None => {
                tried.push(block);
                assert!(!pre.missed(tx.hash, &request(1_000 + block)));
                pre.missed(tx.hash, &request(2_000 + block));
            }
            Some(Hold::BackedOff { misses, until }) => {
                assert!(misses >= 3 && until > block, "{misses} misses, until {until} at {block}");
                assert_eq!(pre.status(tx.hash).unwrap().block, Some(until));
            }
            Some(hold) => panic!("{hold}"),
        }
    }
    assert_eq!(tried, [1, 2, 3, 5, 8, 13], "two misses in one block count once");
}

#[test]
fn a_model_of_microseconds_is_computed_by_the_builder_that_misses_it() {
    for (name, at_once_us, computed) in
        [("fast", Some(5), true), ("slow", Some(5_000), false), ("not exact", None, false)]
    {
        let (pre, model) = start(AddOne { at_once_us, ..Default::default() }, 1);
        pre.new_head(head(1, &db(), None));
        let tx = tx(1, 0, ONCE, asks(7));
        pre.submit(tx.clone());
        assert!(pre.wait_ready(tx.hash, SOON), "{name}");
        assert_eq!(pre.missed(tx.hash, &request(50)), computed, "{name}");
        assert_eq!(pre.metrics().at_once, u64::from(computed), "{name}");
        if computed {
            assert!(pre.store().get(request(50).id).is_some() && model.ran.lock().len() == 2, "{name}");
        }
    }
}

#[test]
fn what_is_computed_at_once_is_paid_for() {
    let (pre, model) = start(AddOne { at_once_us: Some(5), ..Default::default() }, 1);
    pre.new_head(head(1, &db(), None));
    let tx = tx(1, 0, ONCE, asks(7));
    pre.submit(tx.clone());
    assert!(pre.wait_ready(tx.hash, SOON));
    let done = (0..10_000_u64).take_while(|word| pre.missed(tx.hash, &request(100 + word))).count();
    // Its gas limit of 1,000,000 at four times the base fee buys no more than this.
    assert!((1..=4_000_000 / 8_000).contains(&done), "{done} computed");
    assert_eq!(model.ran.lock().len(), done + 1);
}
