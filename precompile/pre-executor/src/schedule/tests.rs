//! The rule, case by case.

use super::*;
use alloy_primitives::{B256, Bytes};
use foreblock_precompile::Request;

const MS: Micros = 1_000;
const SLOT_US: Micros = 1_000 * MS;

fn model(byte: u8) -> ModelId {
    ModelId::repeat_byte(byte)
}

fn scheduler(limits: Limits) -> Scheduler {
    let slot = Slot { block: 1, start_us: 0, seal_us: SLOT_US, length_us: SLOT_US };
    let mut scheduler = Scheduler::new(limits, slot);
    for byte in 1..=8 {
        scheduler.describe(model(byte), Prior { single_us: 100 * MS, rows_max: 1 });
    }
    scheduler
}

fn request(model_byte: u8, word: u64) -> Request {
    Request::new(model(model_byte), Bytes::from(word.to_be_bytes().to_vec()))
}

/// A transaction of its own sender that pays `tip`.
fn demand(number: u64, tip: u128) -> Demand {
    Demand {
        transaction: B256::from(alloy_primitives::U256::from(number)),
        sender: Address::left_padding_from(&(1_000 + number).to_be_bytes()),
        contract: Address::ZERO,
        tip_wei: tip,
        unchanged_ppm: 1_000_000,
        gas: 100,
        locked_gas: 100,
        since_us: 0,
        expires_us: None,
        followup_us: 0,
    }
}

/// Runs everything on one worker, each as long as predicted, and says in which order; stops at `until_us`.
fn order(scheduler: &mut Scheduler, mut now_us: Micros, until_us: Micros) -> Vec<RequestId> {
    let mut order = Vec::new();
    while now_us < until_us
        && let Some(batch) = scheduler.next(0, now_us)
    {
        now_us = batch.ends_us;
        order.extend(batch.requests.iter().map(|request| request.id));
        scheduler.finish(0, &vec![Ended::Done; batch.requests.len()], now_us);
    }
    order
}

#[test]
fn identical_requests_are_one_piece_of_work_until_the_last_leaves() {
    let mut scheduler = scheduler(Limits::default());
    assert_eq!(scheduler.ask(request(1, 1), demand(1, 5), 0), Ok(Asked::New));
    assert_eq!(scheduler.ask(request(1, 1), demand(2, 5), 0), Ok(Asked::Merged));
    assert_eq!(scheduler.ask(request(1, 1), demand(2, 5), 0), Ok(Asked::Known));
    assert_eq!(scheduler.len(), 1);
    assert!(scheduler.withdraw(demand(1, 5).transaction).is_empty());
    assert_eq!(scheduler.withdraw(demand(2, 5).transaction), [request(1, 1).id]);
    assert!(scheduler.is_empty());
    assert_eq!(scheduler.next(0, 0), None);
}

#[test]
fn the_best_paid_for_a_unit_of_device_time_is_for_this_block() {
    let mut scheduler = scheduler(Limits { model_divisor: 1, ..Limits::default() });
    scheduler.describe(model(2), Prior { single_us: 400 * MS, rows_max: 1 });
    scheduler.ask(request(2, 1), demand(1, 300), 0).unwrap(); // 0.75 a millisecond
    scheduler.ask(request(1, 2), demand(2, 100), 0).unwrap(); // 1.0
    scheduler.ask(request(1, 3), demand(3, 50), 0).unwrap(); // 0.5
    assert_eq!(order(&mut scheduler, 0, SLOT_US), [request(1, 2).id, request(2, 1).id, request(1, 3).id]);
}

#[test]
fn a_request_likely_to_change_ranks_lower() {
    let mut scheduler = scheduler(Limits::default());
    scheduler.ask(request(1, 1), Demand { unchanged_ppm: 400_000, ..demand(1, 200) }, 0).unwrap();
    scheduler.ask(request(1, 2), demand(2, 100), 0).unwrap();
    assert_eq!(order(&mut scheduler, 0, SLOT_US)[0], request(1, 2).id);
}

#[test]
fn only_what_ends_before_the_seal_is_for_this_block() {
    let mut scheduler = scheduler(Limits { model_divisor: 1, ..Limits::default() });
    for number in 0..25 {
        scheduler.ask(request(1, number), demand(number, 1_000 - u128::from(number)), 0).unwrap();
    }
    assert!(scheduler.next(0, 0).is_some());
    // With the margin nine runs of 100 ms fit into a second.
    let block = |number: u64| scheduler.place(request(1, number).id).unwrap().block;
    let blocks: Vec<u64> = (0..25).map(block).collect();
    assert_eq!(blocks.iter().filter(|block| **block == 1).count(), 9, "{blocks:?}");
    assert!(blocks.is_sorted(), "{blocks:?}");
    assert_eq!(*blocks.last().unwrap(), 3, "{blocks:?}");
}

#[test]
fn the_earliest_deadline_runs_first_among_the_chosen() {
    let mut scheduler = scheduler(Limits::default());
    scheduler.ask(request(1, 1), demand(1, 1_000), 0).unwrap();
    scheduler.ask(request(2, 2), Demand { expires_us: Some(500 * MS), ..demand(2, 10) }, 0).unwrap();
    scheduler.ask(request(3, 3), Demand { followup_us: 700 * MS, ..demand(3, 10) }, 0).unwrap();
    assert_eq!(order(&mut scheduler, 0, SLOT_US), [request(3, 3).id, request(2, 2).id, request(1, 1).id]);
}

#[test]
fn what_expired_is_not_run() {
    let mut scheduler = scheduler(Limits::default());
    scheduler.ask(request(1, 1), Demand { expires_us: Some(10 * MS), ..demand(1, 10) }, 0).unwrap();
    assert_eq!(scheduler.next(0, 20 * MS), None);
    assert!(scheduler.is_empty());
}

#[test]
fn one_model_takes_a_quarter_while_others_wait_and_all_when_none_does() {
    let mut scheduler = scheduler(Limits::default());
    for number in 0..20 {
        scheduler.ask(request(1, number), demand(number, 1_000), 0).unwrap();
    }
    for number in 20..25 {
        scheduler.ask(request(2, number), demand(number, 1), 0).unwrap();
    }
    let run = order(&mut scheduler, 0, SLOT_US);
    let of_the_second = run.iter().filter(|id| (20..25).any(|number| request(2, number).id == **id)).count();
    assert_eq!(of_the_second, 2, "a quarter of a second is two runs and a bit, whatever the first model pays");
    assert_eq!(run.len(), 10, "and the rest is not left idle");
}

#[test]
fn the_oldest_get_an_eighth_with_the_deficit_carried() {
    let mut scheduler = scheduler(Limits { model_divisor: 1, ..Limits::default() });
    scheduler.describe(model(2), Prior { single_us: 300 * MS, rows_max: 1 });
    let poor = request(2, 0);
    scheduler.ask(poor.clone(), demand(0, 0), 0).unwrap();
    let mut ran_in_slot = None;
    for block in 1..=8 {
        let start_us = (block - 1) * SLOT_US;
        let slot = Slot { block, start_us, seal_us: start_us + SLOT_US, length_us: SLOT_US };
        scheduler.set_slot(slot, start_us);
        for number in 0..20 {
            let rich = Demand { since_us: start_us, ..demand(block * 100 + number, 1_000_000) };
            scheduler.ask(request(1, block * 100 + number), rich, start_us).unwrap();
        }
        if order(&mut scheduler, start_us, start_us + SLOT_US).contains(&poor.id) {
            ran_in_slot.get_or_insert(block);
        }
        // What the rich do not get does not come back.
        for number in 0..20 {
            scheduler.withdraw(demand(block * 100 + number, 0).transaction);
        }
    }
    // It counts as old after one slot, and 300 ms are three slots' eighths and a bit.
    assert_eq!(ran_in_slot, Some(4));
}

#[test]
fn what_the_oldest_will_take_is_promised_to_nobody() {
    let mut scheduler = scheduler(Limits { model_divisor: 1, ..Limits::default() });
    scheduler.describe(model(2), Prior { single_us: 300 * MS, rows_max: 1 });
    scheduler.ask(request(2, 0), demand(0, 0), 0).unwrap();
    // Of ten runs of 100 ms nine fit with the margin. In the fourth slot three slots' eighths are enough for the oldest.
    for (block, promised) in [(1, 9), (2, 9), (3, 9), (4, 6)] {
        let start_us = (block - 1) * SLOT_US;
        let slot = Slot { block, start_us, seal_us: start_us + SLOT_US, length_us: SLOT_US };
        scheduler.set_slot(slot, start_us);
        for number in block * 100..block * 100 + 20 {
            let rich = Demand { since_us: start_us, ..demand(number, 1_000_000) };
            scheduler.ask(request(1, number), rich, start_us).unwrap();
        }
        assert!(scheduler.next(0, start_us).is_some());
        assert_eq!(scheduler.admitted().len(), promised, "block {block}");
        scheduler.finish(0, &[Ended::Done], start_us + 100 * MS);
        for number in block * 100..block * 100 + 20 {
            scheduler.withdraw(demand(number, 0).transaction);
        }
    }
}

#[test]
fn the_builder_is_asked_first() {
    let mut scheduler = scheduler(Limits::default());
    scheduler.ask(request(1, 1), demand(1, 1_000), 0).unwrap();
    scheduler.ask(request(1, 2), demand(2, 0), 0).unwrap();
    assert!(scheduler.ask_first(request(1, 2).id));
    assert!(!scheduler.ask_first(request(1, 3).id), "nobody asked for it");
    assert_eq!(order(&mut scheduler, 0, SLOT_US), [request(1, 2).id, request(1, 1).id]);
}

#[test]
fn beyond_the_quota_only_when_nobody_else_waits() {
    let mut scheduler = scheduler(Limits::default());
    let flood =
        |number: u64| Demand { sender: Address::repeat_byte(9), locked_gas: 10_000, ..demand(number, 1_000_000) };
    for number in 0..8 {
        scheduler.ask(request(1, number), flood(number), 0).unwrap();
    }
    scheduler.ask(request(2, 100), demand(100, 1), 0).unwrap();
    let run = order(&mut scheduler, 0, SLOT_US);
    assert_eq!(run.len(), 9, "spare capacity is used");
    let honest = run.iter().position(|id| *id == request(2, 100).id).unwrap();
    assert!(honest <= 4, "four of the flood are within the quota of a sender: {honest}");
}

#[test]
fn who_is_hardly_ever_included_gets_what_nobody_else_wants() {
    let mut scheduler = scheduler(Limits::default());
    let newcomer = |number: u64| Demand {
        contract: Address::left_padding_from(&(5_000 + number).to_be_bytes()),
        ..demand(number, 1_000_000_000)
    };
    // Two hundred newcomers cancel what was computed for them; somebody else does not.
    for number in 0..200 {
        scheduler.ask(request(1, number), newcomer(number), 0).unwrap();
        order(&mut scheduler, 0, 1);
        scheduler.withdraw(newcomer(number).transaction);
    }
    let honest = |number: u64| Demand { sender: Address::repeat_byte(7), ..demand(number, 1) };
    scheduler.ask(request(1, 500), honest(500), 0).unwrap();
    order(&mut scheduler, 0, 1);
    scheduler.included(honest(500).transaction, 100);

    scheduler.set_slot(Slot { block: 2, start_us: SLOT_US, seal_us: 2 * SLOT_US, length_us: SLOT_US }, SLOT_US);
    let now = |demand: Demand| Demand { since_us: SLOT_US, ..demand };
    for number in 0..3 {
        scheduler.ask(request(2 + number as u8, 600 + number), now(newcomer(600 + number)), SLOT_US).unwrap();
    }
    for number in 700..704 {
        scheduler.ask(request(1, number), now(honest(number)), SLOT_US).unwrap();
    }
    let run = order(&mut scheduler, SLOT_US, 2 * SLOT_US);
    assert!((700..704).all(|number| run[..4].contains(&request(1, number).id)), "whatever the newcomers pay");
    assert_eq!(run.len(), 7, "and they get the rest");
}

#[test]
fn at_the_bounds() {
    let limits = Limits { pieces_max: 4, sender_waiting_max: 3, waiters_max: 2, ..Limits::default() };
    let mut scheduler = scheduler(limits);
    for number in 0..4 {
        scheduler.ask(request(1, number), demand(number, 100 + u128::from(number)), 0).unwrap();
    }
    let full = scheduler.ask(request(1, 9), demand(9, 50), 0);
    assert!(matches!(full, Err(Refused::QueueFull { pieces: 4, .. })), "{full:?}");
    assert_eq!(scheduler.ask(request(1, 10), demand(10, 200), 0), Ok(Asked::New));
    assert_eq!(
        scheduler.take_dropped(),
        [(request(1, 0).id, vec![demand(0, 0).transaction])],
        "the lowest ranked left"
    );

    assert_eq!(scheduler.ask(request(1, 10), demand(11, 1), 0), Ok(Asked::Merged));
    assert_eq!(scheduler.ask(request(1, 10), demand(12, 1), 0), Err(Refused::RequestFull(2)));

    let spent = scheduler.ask(request(2, 20), Demand { gas: 101, ..demand(20, 1_000) }, 0);
    assert!(matches!(spent, Err(Refused::PayerSpent { locked: 100, asked: 101, .. })), "{spent:?}");
    assert_eq!(scheduler.account(demand(20, 0).sender), Account::default(), "nothing stays locked");
}

#[test]
fn a_sender_waits_with_a_bounded_number() {
    let mut scheduler = scheduler(Limits { sender_waiting_max: 3, ..Limits::default() });
    let same = |number: u64| Demand { sender: Address::repeat_byte(9), ..demand(number, 10) };
    for number in 0..3 {
        scheduler.ask(request(1, number), same(number), 0).unwrap();
    }
    assert_eq!(scheduler.ask(request(1, 3), same(3), 0), Err(Refused::SenderFull { waiting: 3, max: 3 }));
    order(&mut scheduler, 0, SLOT_US);
    assert_eq!(scheduler.ask(request(1, 3), same(3), 0), Ok(Asked::New));
}

#[test]
fn one_payer_is_charged_for_one_run() {
    let mut scheduler = scheduler(Limits::default());
    scheduler.ask(request(1, 1), demand(1, 5), 0).unwrap();
    scheduler.ask(request(1, 1), demand(2, 5), 0).unwrap();
    order(&mut scheduler, 0, SLOT_US);
    let accounts = [1, 2].map(|number| scheduler.account(demand(number, 0).sender));
    assert_eq!(accounts.map(|account| account.spent), [100, 0]);
    assert_eq!(accounts.map(|account| account.promised), [0, 0]);
}

#[test]
fn batches_are_as_long_as_the_model_gains_and_the_seal_allows() {
    let mut scheduler = scheduler(Limits { batch_slot_divisor: 2, ..Limits::default() });
    scheduler.describe(model(3), Prior { single_us: 10 * MS, rows_max: 32 });
    for number in 0..100 {
        scheduler.ask(request(3, number), demand(number, 10), 0).unwrap();
    }
    assert_eq!(scheduler.next(0, 0).unwrap().requests.len(), 32);
    scheduler.finish(0, &[Ended::Done; 32], 320 * MS);
    let late = scheduler.next(0, 950 * MS).unwrap();
    assert!(late.ends_us <= SLOT_US, "50 ms are left: {} rows", late.requests.len());
    assert!(late.requests.len() >= 4);
}

#[test]
fn requests_of_a_small_model_are_handed_over_together() {
    let mut scheduler = scheduler(Limits::default());
    scheduler.describe(model(3), Prior { single_us: 100, rows_max: 1 });
    for number in 0..50 {
        scheduler.ask(request(3, number), demand(number, 10), 0).unwrap();
    }
    let batch = scheduler.next(0, 0).unwrap();
    assert_eq!((batch.requests.len(), batch.ends_us), (10, MS), "as many as take a millisecond");
}

#[test]
fn what_crashed_runs_alone_and_takes_no_other_with_it() {
    let mut scheduler = scheduler(Limits { backoff_us: 1, ..Limits::default() });
    scheduler.describe(model(3), Prior { single_us: 10 * MS, rows_max: 4 });
    for number in 0..4 {
        scheduler.ask(request(3, number), demand(number, 10), 0).unwrap();
    }
    let bad = request(3, 2).id;
    let (mut now_us, mut sizes, mut given_up) = (0, Vec::new(), Vec::new());
    while let Some(batch) = scheduler.next(0, now_us) {
        let crashes = batch.requests.iter().any(|request| request.id == bad);
        sizes.push(batch.requests.len());
        let ended = if crashes { Ended::Again } else { Ended::Done };
        let finished = scheduler.finish(0, &vec![ended; batch.requests.len()], now_us);
        given_up.extend(finished.given_up.into_iter().map(|(id, _)| id));
        now_us += 10 * MS;
    }
    assert_eq!(sizes, [4, 1, 1, 1, 1, 1]);
    assert_eq!(given_up, [bad]);
}

#[test]
fn a_crash_goes_to_another_worker_and_three_are_the_end() {
    let mut scheduler = scheduler(Limits { workers: 2, ..Limits::default() });
    scheduler.ask(request(1, 1), demand(1, 10), 0).unwrap();
    let mut now_us = 0;
    for (run, worker) in [(1, 0), (2, 1), (3, 0)] {
        assert_eq!(scheduler.next(worker, now_us).unwrap().worker, worker, "run {run}");
        let finished = scheduler.finish(worker, &[Ended::Again], now_us);
        assert_eq!(finished.given_up.len(), usize::from(run == 3));
        assert_eq!(scheduler.next(worker, now_us + SLOT_US), None, "not on the same worker");
        assert_eq!(scheduler.next(1 - worker, now_us), None, "and not at once");
        now_us += SLOT_US;
    }
    assert!(scheduler.is_empty());
}
