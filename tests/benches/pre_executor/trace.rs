//! What arrives: transactions with fixed seeds, the same for every policy.

use alloy_primitives::{Address, B256, U256, keccak256};
use foreblock_pre_executor::schedule::Micros;

/// Time between two blocks.
pub(crate) const SLOT_US: Micros = 2_000_000;
/// Device time of each model's run; a block's worth of device time is about 200 runs.
pub(crate) const MODELS_US: [Micros; 8] = [1_000, 2_000, 4_000, 8_000, 12_000, 16_000, 24_000, 40_000];
/// Storage slots that inputs come from.
const INPUTS: u64 = 40;
/// One writer in this many is seen by nobody before the block (private order flow).
const PRIVATE_ONE_IN: u64 = 10;
/// Inference gas of a microsecond.
pub(crate) const GAS_PER_US: u64 = 5;

/// A transaction.
#[derive(Clone, Debug)]
pub(crate) struct Tx {
    pub hash: B256,
    pub sender: Address,
    pub contract: Address,
    pub arrives_us: Micros,
    /// When its sender gives up.
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

/// Fixed-seed random numbers (SplitMix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A normal variate (Box-Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Everything that arrives, in order of arrival.
pub(crate) fn trace(scenario: &Scenario) -> Vec<Tx> {
    let mut random = Random(scenario.seed);
    let mut txs = Vec::new();
    for block in 0..scenario.blocks {
        let mut device_us = 0;
        while (device_us as f64) < scenario.load * SLOT_US as f64 {
            let tx = asker(&mut random, block, txs.len());
            device_us += tx.device_us();
            txs.push(tx);
        }
        for _ in 0..scenario.writers {
            let tx = writer(&mut random, block, txs.len());
            txs.push(tx);
        }
        if let Some(attack) = scenario.attack {
            let mut device_us = 0;
            while device_us < 2 * SLOT_US {
                let tx = hostile(&mut random, block, txs.len(), attack);
                device_us += tx.device_us();
                txs.push(tx);
            }
        }
    }
    txs.sort_by_key(|tx| (tx.arrives_us, tx.hash));
    txs
}

fn asker(random: &mut Random, block: u64, number: usize) -> Tx {
    // Short models are asked more often; one call in eight feeds a second model.
    let mut model = || (random.below(8).min(random.below(8))) as usize;
    let mut models = vec![model()];
    if random.below(8) == 0 {
        models.push(random.below(4) as usize);
    }
    let device_ms: f64 = models.iter().map(|model| MODELS_US[*model] as f64 / 1_000.0).sum();
    let tip = (1.2 * random.normal()).exp() * device_ms.sqrt();
    let arrives_us = block * SLOT_US + random.below(SLOT_US);
    let mut patience = 3;
    while random.below(4) != 0 {
        patience += 1;
    }
    Tx {
        hash: hash(number),
        sender: Address::from_word(hash(number)),
        contract: Address::left_padding_from(&[1, random.below(20) as u8]),
        arrives_us,
        leaves_us: arrives_us + patience * SLOT_US,
        tip_wei: (tip * 1e15) as u128,
        models,
        reads: random.below(INPUTS),
        writes: None,
        // One in ten asks what others ask, too.
        salt: if random.below(10) == 0 { random.below(50) } else { 1_000 + number as u64 },
        private: false,
        hostile: false,
    }
}

fn writer(random: &mut Random, block: u64, number: usize) -> Tx {
    let writes = random.below(INPUTS);
    let tip = (1.2 * random.normal()).exp() * 3.0;
    Tx {
        models: Vec::new(),
        writes: Some(writes),
        private: random.below(PRIVATE_ONE_IN) == 0,
        tip_wei: (tip * 1e15) as u128,
        ..asker(random, block, number)
    }
}

fn hostile(random: &mut Random, block: u64, number: usize, attack: Attack) -> Tx {
    let mut tx = asker(random, block, number);
    tx.tip_wei *= 20;
    tx.hostile = true;
    tx.salt = 1_000 + number as u64;
    if attack == Attack::OneSender {
        tx.sender = Address::repeat_byte(0xee);
    }
    tx.contract = match attack {
        Attack::ManyContracts => Address::from_word(keccak256(hash(number))),
        _ => Address::repeat_byte(0xee),
    };
    // Cancelled ten milliseconds before the block.
    tx.leaves_us = (tx.arrives_us / SLOT_US + 1) * SLOT_US - 10_000;
    tx
}

fn hash(number: usize) -> B256 {
    keccak256(U256::from(number).to_be_bytes::<32>())
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
