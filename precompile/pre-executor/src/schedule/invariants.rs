//! What holds for any sequence of demands, blocks and runs.

use super::*;
use alloy_primitives::{B256, Bytes, U256};
use foreblock_precompile::Request;
use proptest::prelude::*;

const SLOT_US: Micros = 1_000_000;

#[derive(Clone, Debug)]
enum Step {
    Ask { request: u8, model: u8, transaction: u8, sender: u8, tip: u16, gas: u8 },
    Withdraw(u8),
    Included(u8),
    AskFirst { request: u8, model: u8 },
    Pass(u32),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = (any::<u8>(), 1..5_u8, any::<u8>(), 0..20_u8, any::<u16>(), 1..100_u8);
    let ask = ask.prop_map(|(request, model, transaction, sender, tip, gas)| Step::Ask {
        request: request % 64,
        model,
        transaction,
        sender,
        tip,
        gas,
    });
    let step = prop_oneof![
        8 => ask,
        1 => any::<u8>().prop_map(Step::Withdraw),
        1 => any::<u8>().prop_map(Step::Included),
        1 => (0..64_u8, 1..5_u8).prop_map(|(request, model)| Step::AskFirst { request, model }),
        6 => (1..300_000_u32).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..300)
}

fn model(byte: u8) -> ModelId {
    ModelId::repeat_byte(byte)
}

fn request(model_byte: u8, byte: u8) -> Request {
    Request::new(model(model_byte), Bytes::from(vec![byte; 8]))
}

/// A scheduler with two workers that are kept busy, and a clock.
struct World {
    scheduler: Scheduler,
    now_us: Micros,
    block: u64,
    ran: Vec<(Micros, usize, Vec<RequestId>)>,
    crash: bool,
}

impl World {
    fn new() -> Self {
        let limits = Limits { workers: 2, pieces_max: 40, replan_us: 1, ..Limits::default() };
        let slot = Slot { block: 1, start_us: 0, seal_us: SLOT_US, length_us: SLOT_US };
        let mut scheduler = Scheduler::new(limits, slot);
        for byte in 1..5 {
            scheduler.describe(model(byte), Prior { single_us: 10_000 * u64::from(byte), rows_max: usize::from(byte) });
        }
        Self { scheduler, now_us: 0, block: 1, ran: Vec::new(), crash: false }
    }

    fn apply(&mut self, step: &Step) {
        let transaction = |byte: u8| B256::from(U256::from(byte));
        match *step {
            Step::Ask { request: byte, model, transaction: tx, sender, tip, gas } => {
                let demand = Demand {
                    transaction: transaction(tx),
                    // One transaction has one sender.
                    sender: Address::repeat_byte(1 + tx % 20),
                    contract: Address::repeat_byte(1 + sender),
                    tip_wei: tip.into(),
                    unchanged_ppm: 1_000_000,
                    gas: gas.into(),
                    locked_gas: 300,
                    since_us: self.now_us,
                    expires_us: (tip % 7 == 0).then_some(self.now_us + 500_000),
                    followup_us: 0,
                };
                let _ = self.scheduler.ask(request(model, byte), demand, self.now_us);
            }
            Step::Withdraw(tx) => drop(self.scheduler.withdraw(transaction(tx))),
            Step::Included(tx) => drop(self.scheduler.included(transaction(tx), 50)),
            Step::AskFirst { request: byte, model } => drop(self.scheduler.ask_first(request(model, byte).id)),
            Step::Crash => self.crash = true,
            Step::Pass(us) => self.pass(self.now_us + u64::from(us)),
        }
        self.start();
    }

    fn start(&mut self) {
        for worker in 0..2 {
            if let Some(batch) = self.scheduler.next(worker, self.now_us) {
                self.ran.push((self.now_us, worker, batch.requests.iter().map(|request| request.id).collect()));
            }
        }
    }

    /// Time passes: batches end when they were predicted to, and blocks come.
    fn pass(&mut self, until_us: Micros) {
        while let Some(end_us) = self.next_event().filter(|at| *at <= until_us) {
            self.now_us = end_us;
            for worker in 0..2 {
                let Some(batch) = self.scheduler.running[worker].clone().filter(|batch| batch.ends_us <= end_us) else {
                    continue;
                };
                let ended = if std::mem::take(&mut self.crash) { Ended::Again } else { Ended::Done };
                self.scheduler.finish(worker, &vec![ended; batch.requests.len()], end_us);
            }
            if end_us >= self.block * SLOT_US {
                self.block += 1;
                let seal_us = self.block * SLOT_US;
                self.scheduler
                    .set_slot(Slot { block: self.block, start_us: end_us, seal_us, length_us: SLOT_US }, end_us);
            }
            self.start();
        }
        self.now_us = until_us;
    }

    fn next_event(&self) -> Option<Micros> {
        let ends = self.scheduler.running.iter().flatten().map(|batch| batch.ends_us);
        ends.chain([self.block * SLOT_US]).min()
    }

    fn check(&self) {
        let scheduler = &self.scheduler;
        assert!(
            scheduler.len() <= scheduler.limits.pieces_max + 2 * scheduler.limits.batch_rows_max,
            "the queue is bounded"
        );
        let bytes: usize = scheduler.work.values().map(|work| work.size_bytes()).sum();
        assert_eq!(bytes, scheduler.queue_bytes, "bytes are counted");

        let queued = scheduler.work.values().filter(|work| work.state == State::Queued).count();
        assert_eq!(queued, scheduler.by_age.len(), "queued work has its age");
        assert!(scheduler.by_age.iter().all(|(_, id)| scheduler.is_queued(*id)));
        let running: usize = scheduler.running.iter().flatten().map(|batch| batch.requests.len()).sum();
        assert_eq!(running, scheduler.work.len() - queued, "what is not queued runs");

        let waits: usize = scheduler.work.values().map(|work| work.waiters.len()).sum();
        let asked: usize = scheduler.transactions.values().map(|waiting| waiting.requests.len()).sum();
        assert_eq!(waits, asked, "both sides of waiting agree");
        for byte in 0..=21 {
            let account = scheduler.account(Address::repeat_byte(byte));
            let promised = account.spent + account.promised;
            // A withdrawn transaction takes its lock away, and what it had computed stays spent.
            let sender = Address::repeat_byte(byte);
            let pending = scheduler.transactions.values().filter(|waiting| waiting.sender == sender).count() as u64;
            assert_eq!(account.locked, 300 * pending, "what is locked is what is pending");
            assert!(pending == 0 || account.promised == 0 || promised <= account.paid + account.locked + account.spent);
        }
        // Work conservation: a free worker means that nothing may run now.
        let free = scheduler.running.iter().any(Option::is_none);
        let may = |work: &&Work| {
            work.state == State::Queued && work.not_before_us <= self.now_us && work.avoid_worker.is_none()
        };
        assert!(!free || scheduler.work.values().filter(may).count() == 0, "a worker is idle and work waits");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn books_agree_and_no_worker_idles(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
            world.check();
        }
    }

    #[test]
    fn the_same_steps_give_the_same_runs(steps in steps()) {
        let (mut one, mut other) = (World::new(), World::new());
        steps.iter().for_each(|step| one.apply(step));
        steps.iter().for_each(|step| other.apply(step));
        prop_assert_eq!(one.ran, other.ran);
    }

    #[test]
    fn the_plan_never_exceeds_the_capacity(costs_us in proptest::collection::vec(1_000..400_000_u64, 1..80), workers in 1..4_usize, now_us in 0..SLOT_US) {
        let slot = Slot { block: 7, start_us: 0, seal_us: SLOT_US, length_us: SLOT_US };
        let limits = Limits { workers, ..Limits::default() };
        let mut costs = Costs::new(1_000);
        let candidates: Vec<_> = costs_us.iter().enumerate().map(|(at, cost)| {
            let model = ModelId::from(U256::from(at + 1));
            costs.describe(model, Prior { single_us: *cost, rows_max: 1 });
            plan::Candidate { id: B256::from(U256::from(at)), model, value_wei: 1.0, since_us: 0, deadline_us: SLOT_US, asked_first: at % 5 == 0, within_quota: at % 7 != 0 }
        }).collect();
        let load = plan::Load { free_us: vec![now_us; workers], ..Default::default() };
        let planned = plan::plan(&candidates, &load, &costs, &limits, &slot, now_us);
        prop_assert_eq!(planned.len(), candidates.len());
        let time_of = |planned: &plan::Planned| costs.batch_us(planned.model, 1);
        let this_block: u64 = planned.iter().filter(|p| p.block == 7).map(time_of).sum();
        prop_assert!(this_block <= (SLOT_US - now_us) * workers as u64);
        prop_assert!(planned.iter().all(|p| p.block >= 7 && p.block < 7 + 80));
    }

    /// The bound that `docs/scheduling.md` states: a slot, then eight times the older work and its own, a worker's share of it,
    /// then the batch that runs and its own.
    #[test]
    fn nobody_waits_longer_than_the_stated_bound(older in proptest::collection::vec(1..5_u8, 0..12), flood in 20..60_u64, mine in 1..5_u8) {
        let mut scheduler = World::new().scheduler;
        scheduler.limits.workers = 1;
        scheduler.running.truncate(1);
        scheduler.limits.pieces_max = 1_000;
        let cost_us = |byte: u8| 10_000 * u64::from(byte);
        let unpaid = |number: u64, since_us| Demand {
            transaction: B256::from(U256::from(number)), sender: Address::left_padding_from(&number.to_be_bytes()), contract: Address::ZERO,
            tip_wei: 0, unchanged_ppm: 1_000_000, gas: 1, locked_gas: 1, since_us, expires_us: None, followup_us: 0,
        };
        let mut older_us = 0;
        for (at, byte) in older.iter().enumerate() {
            scheduler.ask(Request::new(model(*byte), Bytes::from(vec![at as u8, 1])), unpaid(1 + at as u64, 0), 0).unwrap();
            older_us += cost_us(*byte);
        }
        let poor = Request::new(model(mine), Bytes::from_static(b"mine"));
        scheduler.ask(poor.clone(), unpaid(999, 1), 1).unwrap();
        let longest_batch_us = SLOT_US / 16 + 40_000;
        let bound_us = SLOT_US + 8 * (older_us + cost_us(mine)) + 2 * longest_batch_us;
        let (mut now_us, mut number) = (2, 10_000);
        let done_us = loop {
            prop_assert!(now_us <= bound_us, "{now_us} > {bound_us}");
            let block = now_us / SLOT_US + 1;
            if block != scheduler.slot().block {
                scheduler.set_slot(Slot { block, start_us: now_us, seal_us: block * SLOT_US, length_us: SLOT_US }, now_us);
            }
            while (scheduler.len() as u64) < flood {
                number += 1;
                let rich = Demand { tip_wei: 1_000_000_000, ..unpaid(number, now_us) };
                scheduler.ask(Request::new(model(1 + (number % 4) as u8), Bytes::from(number.to_be_bytes().to_vec())), rich, now_us).unwrap();
            }
            let batch = scheduler.next(0, now_us).expect("there is always work");
            now_us = batch.ends_us;
            scheduler.finish(0, &vec![Ended::Done; batch.requests.len()], now_us);
            if batch.requests.contains(&poor) {
                break now_us;
            }
        };
        prop_assert!(done_us <= bound_us);
    }
}
