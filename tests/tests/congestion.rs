//! A whole node under more load than it can compute, and under attack: what is included, what is deferred, and why.

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_precompile::abi::{DType, IInference, Tensor};
use foreblock_tests::{
    node::{Node, free_port},
    rpc::number,
    tools::{foreblock, python, succeed},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A model whose time does not depend on what it is asked: the mean of `(W + x) W W`, with `W` as large as is wanted.
const SLOW: &str = "import sys, numpy as np, onnx
from onnx import helper as h, numpy_helper as n, TensorProto as t
side = int(sys.argv[2])
w = (np.random.RandomState(1).rand(side, side).astype(np.float32) - 0.5) / side
nodes = [h.make_node('Slice', ['x', 'zero', 'one', 'axis'], ['first']), h.make_node('Add', ['w', 'first'], ['a']),
    h.make_node('MatMul', ['a', 'w'], ['b']), h.make_node('MatMul', ['b', 'w'], ['c']),
    h.make_node('ReduceMean', ['c'], ['m'], keepdims=1, axes=[1]), h.make_node('Slice', ['m', 'zero', 'one', 'zero'], ['y'])]
consts = [n.from_array(w, 'w')] + [n.from_array(np.array([v], dtype=np.int64), k) for k, v in (('zero', 0), ('one', 1), ('axis', 1))]
graph = h.make_graph(nodes, 'slow', [h.make_tensor_value_info('x', t.FLOAT, [1, 4])], [h.make_tensor_value_info('y', t.FLOAT, [1, 1])], consts)
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid('', 13)], ir_version=8), sys.argv[1])";

/// Asks what the calldata says and reverts if there is no answer.
const ASKING: [u8; 21] = hex!("365f5f375f5f365f611a0f5afa6013575f5ffd5b00");
/// The same with the block's randomness and time in the last word of the input.
const VOLATILE: [u8; 32] = hex!("365f5f37 4460c01c4201 6020360352 5f5f365f611a0f5afa 601e57 5f5ffd 5b00");
/// Asks, and reverts with the answer in its hands.
const REVERTING: [u8; 17] = hex!("365f5f375f5f365f611a0f5afa505f5ffd");
/// Asks with a counter in the input until its gas is gone.
const GREEDY: [u8; 29] = hex!("365f5f37 5b 60203603805160010190 52 5f5f365f611a0f5afa50 600456");
/// Never ends.
const LOOP: [u8; 3] = hex!("5b5f56");
/// Takes all the memory that its gas buys.
const BOMB: [u8; 6] = hex!("5b5959525f56");

/// Adds the model so large that a run takes about `run` on this machine, by what a node says of another size.
fn add_slow_model(data: &Path, run: Duration) {
    const SIDE: f64 = 384.0;
    let trial = Node::start_with(&[], |data| publish(data, SIDE as u32));
    let took = run_time(&trial, trial.model_id("slow").parse().unwrap());
    let side = SIDE * (run.as_secs_f64() / took.as_secs_f64()).cbrt();
    publish(data, side.clamp(48.0, 1_200.0) as u32);
}

/// The time of one run, from a call that asks something new.
fn run_time(node: &Node, model: B256) -> Duration {
    let time = |word: u64| {
        let started = Instant::now();
        let to = "0x0000000000000000000000000000000000001a0f";
        node.rpc("eth_call", json!([{ "to": to, "data": calldata(model, word) }]));
        started.elapsed()
    };
    (0..6).map(|word| time(u64::MAX - word)).min().unwrap()
}

fn publish(data: &Path, side: u32) {
    std::fs::create_dir_all(data).unwrap();
    let file = data.join("slow.onnx");
    succeed(python().args(["-c", SLOW]).arg(&file).arg(side.to_string()));
    let mut add = Command::new(foreblock());
    add.args(["model", "--data-dir"]).arg(data).args(["add", "--name", "slow"]).arg(&file);
    succeed(&mut add);
}

fn calldata(model: B256, word: u64) -> Bytes {
    let data = [U256::ZERO, U256::ZERO, U256::ZERO, U256::from(word)].map(|wad| wad.to_be_bytes::<32>()).concat();
    let tensor = Tensor { dtype: DType::Wad, shape: vec![1, 4], data: data.into() };
    IInference::runCall { modelId: model, input: vec![tensor].abi_encode().into() }.abi_encode().into()
}

/// A node with the slow model, a block each second and accounts that it signs for.
struct World {
    node: Node,
    model: B256,
    accounts: Vec<String>,
    gas: u64,
    metrics: String,
}

impl World {
    fn start(run: Duration) -> Self {
        let metrics = format!("127.0.0.1:{}", free_port());
        let args = ["--block-time", "1", "--accounts", "500", "--gas-limit", "1000000000", "--metrics", &metrics];
        let node = Node::start_with(&args, |data| add_slow_model(data, run));
        let model: B256 = node.model_id("slow").parse().unwrap();
        let models = node.rpc("inference_models", json!([]));
        let slow = models.as_array().unwrap().iter().find(|one| one["name"] == "slow").unwrap();
        let gas = 3 * number(&slow["gasPerRun"]) as u64 + 200_000;
        let accounts = node.rpc("eth_accounts", json!([]));
        let accounts = accounts.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect();
        Self { node, model, accounts, gas, metrics: format!("http://{metrics}/metrics") }
    }

    /// Puts code somewhere.
    fn contract(&self, code: &[u8], number: u64) -> Address {
        let to = Address::left_padding_from(&[&[0xc0, 0xde][..], &number.to_be_bytes()].concat());
        self.node.rpc("anvil_setCode", json!([to, hex::encode_prefixed(code)]));
        to
    }

    /// Sends a transaction from an account, and returns its hash.
    fn send(&self, from: usize, to: Address, data: Bytes, gas: u64, tip_gwei: u64) -> String {
        let tip = U256::from(tip_gwei) * U256::from(1_000_000_000);
        let tx = json!({
            "from": self.accounts[from], "to": to, "data": data, "gas": U256::from(gas),
            "maxPriorityFeePerGas": tip, "maxFeePerGas": tip + U256::from(5_000_000_000_u64),
        });
        self.node.rpc("eth_sendTransaction", json!([tx])).as_str().unwrap().to_owned()
    }

    fn height(&self) -> u64 {
        number(&self.node.rpc("eth_blockNumber", json!([]))) as u64
    }

    fn wait_for_blocks(&self, blocks: u64) {
        let until = self.height() + blocks;
        while self.height() < until {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.node.get(&self.metrics);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("foreblock_pre_executor_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    fn receipt(&self, hash: &str) -> Option<Value> {
        Some(self.node.rpc("eth_getTransactionReceipt", json!([hash]))).filter(|receipt| !receipt.is_null())
    }
}

/// A number that looks random and is the same in every run.
fn scattered(seed: u64, below: u64) -> u64 {
    u64::from_be_bytes(keccak256(seed.to_be_bytes())[..8].try_into().unwrap()) % below
}

#[test]
fn five_times_what_fits_is_ranked_and_the_rest_deferred_with_a_reason() {
    const BLOCKS: u64 = 4;
    let world = World::start(Duration::from_millis(30));
    let askers: Vec<Address> = (0..40).map(|number| world.contract(&ASKING, number)).collect();
    let fits = (1.0 / run_time(&world.node, world.model).as_secs_f64()).clamp(2.0, 50.0);
    let per_block = (5.0 * fits) as u64;

    world.wait_for_blocks(1);
    let first = world.height() + 1;
    let (before, started) =
        ((world.metric("computed_total"), world.metric("device_microseconds_total")), Instant::now());
    let mut sent: Vec<(String, u64)> = Vec::new();
    while world.height() < first + BLOCKS - 1 {
        let block = world.height();
        for _ in 0..per_block {
            let word = sent.len() as u64;
            let tip = 1 + scattered(word, 100);
            let to = askers[(word % 40) as usize];
            sent.push((world.send((word % 500) as usize, to, calldata(world.model, word), world.gas, tip), tip));
        }
        while world.height() == block {
            thread::sleep(Duration::from_millis(10));
        }
    }

    // Deferred: every one of them is known, with the model, the state, the place in the queue and a predicted block.
    let head = world.height();
    let pending = world.node.rpc("inference_pending", json!([]));
    let pending = pending.as_array().unwrap();
    let queued: Vec<&Value> = pending.iter().filter(|one| one["calls"][0]["state"] == "queued").collect();
    assert!(queued.len() as f64 > fits, "{} wait where {fits} fit a block", queued.len());
    for one in &queued {
        assert_eq!(one["calls"][0]["model"], json!(world.model), "{one}");
        // The head may have moved between the two questions.
        assert!(number(&one["predictedBlock"]) >= head.into(), "{one} at block {head}");
        assert!(one["calls"][0]["position"].is_u64(), "{one}");
    }
    let predicted: Vec<u128> = queued.iter().map(|one| number(&one["predictedBlock"])).collect();
    let last = predicted.iter().max().copied().unwrap_or(0);
    let count = queued.len();
    assert!(
        last > (head + 1).into(),
        "{count} wait where {fits} fit a block, at block {head}; the last for block {last}"
    );
    let hash = queued[0]["hash"].as_str().unwrap();
    assert_eq!(world.node.rpc("inference_status", json!([hash]))["hash"], json!(hash));

    // Included: with their outcomes, without a block that waited, the better paying ones first.
    world.wait_for_blocks(2);
    // Before the receipts, so that what is included meanwhile is not missed by both.
    let left = world.node.rpc("inference_pending", json!([])).as_array().unwrap().len();
    let receipts: Vec<(Value, u64)> =
        sent.iter().filter_map(|(hash, tip)| Some((world.receipt(hash)?, *tip))).collect();
    assert!(receipts.iter().all(|(receipt, _)| receipt["status"] == "0x1"), "nobody is charged for a missing outcome");
    let last = world.height();
    let blocks = last - first + 1;
    let run = receipts.len() as f64 / blocks as f64;
    let mean = |tips: &mut dyn Iterator<Item = u64>| {
        let tips: Vec<u64> = tips.collect();
        tips.iter().sum::<u64>() as f64 / tips.len().max(1) as f64
    };
    let (paid, offered) = (mean(&mut receipts.iter().map(|one| one.1)), mean(&mut sent.iter().map(|one| one.1)));
    let misses = world.metric("build_misses_total");
    println!(
        "{} sent, {} included in {blocks} blocks: {run:.1} a block where {fits:.1} fit; mean tip {paid:.0} of {offered:.0} \
         offered; {misses} misses; {} of {} promised were late",
        sent.len(),
        receipts.len(),
        world.metric("admitted_late_total"),
        world.metric("admitted_total"),
    );
    // A shared machine computes less than it did alone: the device must have been busy, and for blocks.
    let computed = world.metric("computed_total") - before.0;
    let busy = (world.metric("device_microseconds_total") - before.1) as f64 / started.elapsed().as_micros() as f64;
    println!("{computed} computed, the device busy {:.0} % of the time", busy * 100.0);
    assert!(busy >= 0.6, "the device was busy for {busy} of the time");
    assert!(receipts.len() as f64 >= 0.7 * computed as f64, "{} included of {computed} computed", receipts.len());
    // Of those that were left out, since how many are included depends on the machine.
    let (all, included) = (sent.len() as f64, receipts.len() as f64);
    let left_out = (offered * all - paid * included) / (all - included).max(1.0);
    assert!(paid > 1.2 * left_out, "mean tip of the included: {paid}, of the others: {left_out}");
    assert!(misses <= 5 + receipts.len() as u64 / 20, "{misses} misses: what is known to wait is not run");
    let times: Vec<u128> = (first..=last)
        .map(|block| number(&world.node.rpc("eth_getBlockByNumber", json!([U256::from(block), false]))["timestamp"]))
        .collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 3), "blocks come at their time: {times:?}");
    assert!(left + receipts.len() >= sent.len(), "nothing is lost: {left} pending");

    let log = world.node.log();
    let line = log.lines().rev().find(|line| line.contains("mined block") && line.contains("wait for an outcome"));
    println!("{}", line.unwrap_or_else(|| panic!("no line says what was deferred and why:\n{log}")));
}

#[test]
fn honest_transactions_get_in_under_every_attack_and_memory_stays_bounded() {
    let world = World::start(Duration::from_millis(8));
    run_time(&world.node, world.model);
    let before = world.node.resident_bytes();
    let at = |code: &[u8], number| world.contract(code, number);
    let (asking, honest_contract) = (at(&ASKING, 1), at(&ASKING, 2));
    let (volatile, reverting, greedy) = (at(&VOLATILE, 3), at(&REVERTING, 4), at(&GREEDY, 5));
    let (endless, bomb) = (at(&LOOP, 6), at(&BOMB, 7));
    let ask = |word: u64| calldata(world.model, word);
    const ATTACK_TIP: u64 = 100;

    let mut hostile = Vec::new();
    let mut attack = |from: usize, to: Address, data: Bytes, gas: u64| {
        hostile.push(world.send(from, to, data, gas, ATTACK_TIP));
    };
    for number in 0..3 {
        attack(number, endless, Bytes::new(), 16_000_000);
        attack(10 + number, bomb, Bytes::new(), 16_000_000);
        attack(20 + number, asking, calldata(B256::repeat_byte(9), 0), world.gas);
        attack(23 + number, greedy, ask(1_000_000 * (1 + number as u64)), 16_000_000);
        attack(26 + number, volatile, ask(0), world.gas);
        attack(30 + number, reverting, ask(5_000 + number as u64), world.gas);
    }
    // A flood from one sender, and from many, each of which asks something new.
    (0..100).for_each(|word| attack(40, asking, ask(10_000 + word), world.gas));
    (0..45).for_each(|from| attack(45 + from, asking, ask(20_000 + from as u64), world.gas));

    let honest: Vec<String> = (0..8)
        .map(|number| world.send(90 + number, honest_contract, ask(90_000 + number as u64), world.gas, 2))
        .collect();
    let sent_at = world.height();
    // Cancelled right before the build, again and again.
    for round in 0..3 {
        let block = world.height();
        (0..5).for_each(|from| {
            drop(world.send(33 + from, asking, ask(30_000 + 10 * round + from as u64), world.gas, 50))
        });
        for from in 33..38 {
            let nonce = world.node.rpc("eth_getTransactionCount", json!([world.accounts[from], "latest"]));
            let tip = U256::from(200_000_000_000_u64 + round * 100_000_000_000);
            let cancel = json!({
                "from": world.accounts[from], "to": world.accounts[from], "nonce": nonce, "gas": "0x5208",
                "maxPriorityFeePerGas": tip, "maxFeePerGas": tip + U256::from(5_000_000_000_u64),
            });
            world.node.rpc("eth_sendTransaction", json!([cancel]));
        }
        while world.height() == block {
            thread::sleep(Duration::from_millis(20));
        }
    }

    let end = Instant::now() + Duration::from_secs(60);
    while honest.iter().any(|hash| world.receipt(hash).is_none()) {
        assert!(
            Instant::now() < end,
            "an honest transaction waits: {}\n{}",
            world.node.rpc("inference_pending", json!([])),
            world.node.log()
        );
        thread::sleep(Duration::from_millis(100));
    }
    let included: Vec<u64> =
        honest.iter().map(|hash| number(&world.receipt(hash).unwrap()["blockNumber"]) as u64 - sent_at).collect();
    let attacks = hostile.iter().filter(|hash| world.receipt(hash).is_some()).count();
    println!(
        "honest transactions waited {included:?} blocks; {attacks} of {} hostile ones were included",
        hostile.len()
    );
    assert!(honest.iter().all(|hash| world.receipt(hash).unwrap()["status"] == "0x1"));
    assert!(world.metric("queue") <= 8_192 && world.metric("queue_bytes") <= 64 << 20);
    if let (Some(before), Some(after)) = (before, world.node.resident_bytes()) {
        println!("memory: {} MiB before, {} MiB after", before >> 20, after >> 20);
        assert!(after < before + (512 << 20), "{before} bytes before, {after} after");
    }
}
