//! What arrives: transactions with fixed seeds, the same for every policy.

use alloy_primitives::{Address, B256, keccak256};
use fastrand::Rng;
use foreblock_pre_executor::schedule::Micros;

/// Time between two blocks.
pub(crate) const SLOT_US: Micros = 2_000_000;
/// Device time of each model's run; a block's worth of device time is about 200 runs.
pub(crate) const MODELS_US: [Micros; 8] = [1_000, 2_000, 4_000, 8_000, 12_000, 16_000, 24_000, 40_000];
/// Storage slots that inputs come from.
const INPUTS: u64 = 40;
/// One writer in this many is seen by nobody before the block (private order flow).
const PRIVATE_ONE_IN: u64 = 10;
/// An attacker's device time over the device's.
const HOSTILE_LOAD: f64 = 2.0;
/// What an attacker asks nobody else asks.
const HOSTILE_SALTS: u64 = 1 << 40;
/// Inference gas of a microsecond.
pub(crate) const GAS_PER_US: u64 = 5;

/// A transaction.
#[derive(Clone, Debug)]
pub(crate) struct Tx {
    pub hash: B256,
    pub sender: Address,
    pub contract: Address,
    pub arrives_us: Micros,
    /// Last block in which it is of use; its sender gives up right after.
    pub last_block: u64,
    pub leaves_us: Micros,
    /// What the producer earns, in wei.
    pub tip_wei: u128,
    /// Models asked one after the other, each with the last answer as input; none for a writer.
    pub(crate) models: Vec<usize>,
    /// Input slot that is read; its value is part of the first input.
    pub reads: u64,
    /// Input slot that is written.
    pub writes: Option<u64>,
    /// Transactions with the same salt ask the same.
    pub salt: u64,
    /// Only the builder sees it.
    pub private: bool,
    /// It is cancelled right before the build.
    pub hostile: bool,
}

impl Tx {
    /// Device time of all its runs, as predicted.
    pub(crate) fn device_us(&self) -> Micros {
        self.models.iter().map(|model| MODELS_US[*model]).sum()
    }
}

/// A flood that is cancelled right before each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// One sender.
    OneSender,
    /// A new sender for each transaction, all of one contract.
    ManySenders,
    /// The same, and a new contract for each.
    ManyContracts,
}

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Arriving device time over the device's.
    pub load: f64,
    /// Writers in a slot.
    pub writers: u64,
    pub blocks: u64,
    pub attack: Option<Attack>,
    pub seed: u64,
}

/// A normal variate (Box-Muller).
pub(crate) fn normal(random: &mut Rng) -> f64 {
    (-2.0 * random.f64().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos()
}

/// Everything that arrives, in order of arrival. Each kind has its own numbers, so that who asks is the same with and without the rest.
pub(crate) fn trace(scenario: &Scenario) -> Vec<Tx> {
    let [mut asking, mut writing, mut hostile] = [1, 2, 3].map(|kind| Kind {
        random: Rng::with_seed(scenario.seed.wrapping_mul(3) + kind),
        name: kind,
        made: 0,
    });
    let mut txs = Vec::new();
    for block in 0..scenario.blocks {
        let mut fill = |share: f64, make: &mut dyn FnMut() -> Tx| {
            let mut device_us = 0;
            while (device_us as f64) < share * SLOT_US as f64 {
                let tx = make();
                device_us += tx.device_us();
                txs.push(tx);
            }
        };
        fill(scenario.load, &mut || asker(&mut asking, block));
        if let Some(attack) = scenario.attack {
            fill(HOSTILE_LOAD, &mut || attacker(&mut hostile, block, attack));
        }
        txs.extend((0..scenario.writers).map(|_| writer(&mut writing, block)));
    }
    txs.sort_by_key(|tx| (tx.arrives_us, tx.hash));
    txs
}

/// What one kind of transactions is made of.
struct Kind {
    random: Rng,
    name: u64,
    made: u64,
}

impl Kind {
    fn hash(&mut self) -> B256 {
        self.made += 1;
        keccak256([self.name, self.made].map(u64::to_be_bytes).concat())
    }
}

fn asker(kind: &mut Kind, block: u64) -> Tx {
    let hash = kind.hash();
    let random = &mut kind.random;
    // Short models are asked more often; one call in eight feeds a second model.
    let mut models = vec![random.usize(..8).min(random.usize(..8))];
    if random.u64(..8) == 0 {
        models.push(random.usize(..4));
    }
    let device_ms: f64 = models.iter().map(|model| MODELS_US[*model] as f64 / 1_000.0).sum();
    let tip = (1.2 * normal(random)).exp() * device_ms.sqrt();
    let arrives_us = block * SLOT_US + random.u64(..SLOT_US);
    let mut patience = 3;
    while random.u64(..4) != 0 {
        patience += 1;
    }
    Tx {
        hash,
        sender: Address::from_word(hash),
        contract: Address::left_padding_from(&[1, random.u8(..20)]),
        arrives_us,
        last_block: block + patience,
        leaves_us: (block + patience) * SLOT_US + 1,
        tip_wei: (tip * 1e15) as u128,
        models,
        reads: random.u64(..INPUTS),
        writes: None,
        // One in ten asks what others ask, too.
        salt: if random.u64(..10) == 0 { random.u64(..50) } else { 1_000 + kind.made },
        private: false,
        hostile: false,
    }
}

fn writer(kind: &mut Kind, block: u64) -> Tx {
    let tx = asker(kind, block);
    let random = &mut kind.random;
    Tx {
        models: Vec::new(),
        writes: Some(random.u64(..INPUTS)),
        private: random.u64(..PRIVATE_ONE_IN) == 0,
        tip_wei: ((1.2 * normal(random)).exp() * 3e15) as u128,
        ..tx
    }
}

fn attacker(kind: &mut Kind, block: u64, attack: Attack) -> Tx {
    let tx = asker(kind, block);
    let new = Address::from_word(keccak256(tx.hash));
    Tx {
        tip_wei: 20 * tx.tip_wei,
        hostile: true,
        salt: HOSTILE_SALTS + kind.made,
        sender: if attack == Attack::OneSender { Address::repeat_byte(0xee) } else { tx.sender },
        contract: if attack == Attack::ManyContracts { new } else { Address::repeat_byte(0xee) },
        // Cancelled ten milliseconds before the block, without a word.
        leaves_us: (block + 1) * SLOT_US - 10_000,
        ..tx
    }
}

/// An upper bound on the value of any schedule: the best paying work for a unit of device time until the device is full, the last
/// piece in part, with arrival times and patience ignored and identical requests run once.
pub(crate) fn fractional_knapsack(txs: &[Tx], device_us: Micros) -> f64 {
    let mut groups: std::collections::HashMap<(u64, Vec<usize>), (f64, Micros)> = Default::default();
    for tx in txs.iter().filter(|tx| !tx.models.is_empty() && !tx.hostile) {
        // A salt that is shared stands for one request; others have their own.
        let group = groups.entry((tx.salt, tx.models.clone())).or_insert((0.0, tx.device_us()));
        group.0 += tx.tip_wei as f64;
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| (b.0 / b.1 as f64).total_cmp(&(a.0 / a.1 as f64)));
    let mut left_us = device_us as f64;
    let mut value = 0.0;
    for (tip, cost_us) in groups {
        let part = (left_us / cost_us as f64).min(1.0);
        value += tip * part;
        left_us -= cost_us as f64 * part;
        if left_us <= 0.0 {
            break;
        }
    }
    value
}
