//! Nodes under load.

use alloy_primitives::{B256, Bytes, I256};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_engine::Catalog;
use foreblock_precompile::{
    InferenceList, PRECOMPILE_ADDRESS,
    abi::{DType, IInference, Tensor},
    request_id,
};
use foreblock_tests::{
    node::{ALICE, Node},
    rpc::Rpc,
    sidecar::Sidecar,
};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

fn returns(number: u64) -> Bytes {
    let day = |day: u64| I256::try_from(day * 1_000_000_000_000_000 + number * 1_000_000_000).expect("small");
    let data: Vec<u8> = (0..16).flat_map(|at| day(at).to_be_bytes::<32>()).collect();
    vec![Tensor { dtype: DType::Wad, shape: vec![1, 16], data: data.into() }].abi_encode().into()
}

fn question(model: B256, number: u64, from: &str, nonce: Option<u64>) -> (B256, Value) {
    let input = returns(number);
    let id = request_id(model, &input);
    let data = Bytes::from(IInference::runCall { modelId: model, input }.abi_encode());
    let mut tx = json!({ "from": from, "to": PRECOMPILE_ADDRESS, "data": data, "gas": "0x249f0" });
    if let Some(nonce) = nonce {
        tx["nonce"] = json!(format!("{nonce:#x}"));
    }
    (id, tx)
}

fn model() -> B256 {
    Catalog::new(None).find("volatility").expect("it is bundled").manifest.id()
}

/// Sends a question and returns its request's id.
pub(crate) fn ask(rpc: &Rpc, number: u64, nonce: Option<u64>) -> B256 {
    let (id, tx) = question(model(), number, ALICE, nonce);
    rpc.call("eth_sendTransaction", json!([tx]));
    id
}

/// Puts questions into a pool, all of them different, from all the node's accounts: of one sender it takes only so many.
pub(crate) fn fill_pool(rpc: &Rpc, count: u64) {
    const BATCH: u64 = 1_000;
    let model = model();
    let accounts = rpc.call("eth_accounts", json!([]));
    let accounts: Vec<&str> = accounts.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for first in (0..count).step_by(BATCH as usize) {
        let send = |number| {
            let (of, nonce) = (number as usize % accounts.len(), number / accounts.len() as u64);
            let tx = question(model, number, accounts[of], Some(nonce)).1;
            json!({ "jsonrpc": "2.0", "id": number, "method": "eth_sendTransaction", "params": [tx] })
        };
        let batch: Vec<Value> = (first..(first + BATCH).min(count)).map(send).collect();
        let mut answer = ureq::post(rpc.url()).send_json(batch).expect("the node answers");
        let answers: Vec<Value> = answer.body_mut().read_json().expect("the node answers in JSON");
        let refused = answers.iter().find(|answer| answer.get("error").is_some());
        assert!(refused.is_none(), "{refused:?}");
    }
}

/// Memory of a process, now and at its peak, MiB.
pub(crate) fn resident_mib(pid: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs, on Linux");
    let read = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says it");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1_024.0
    };
    (read("VmRSS:"), read("VmHWM:"))
}

/// Full blocks for a while, every transaction another question; the share of outcomes that the sidecar has as a block appears.
pub(crate) fn hit_rate(url: impl Fn(&Node) -> String) -> f64 {
    const TIME: Duration = Duration::from_secs(20);
    /// Blocks of 100 questions a second: what the node takes in, so that its pool neither runs dry nor grows without end.
    const GAS_LIMIT: &str = "6000000";
    const PAUSE: Duration = Duration::from_millis(9);
    let node = Node::start(&["--block-time", "1", "--gas-limit", GAS_LIMIT]);
    let sidecar = Sidecar::start(&url(&node), &["--block-time", "1"]);
    let stop = AtomicBool::new(false);
    let (mut hits, mut all, mut full) = (0usize, 0usize, 0usize);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Relaxed) {
                ask(&node.rpc, number, Some(number));
                number += 1;
                thread::sleep(PAUSE);
            }
        });
        let mut client = sidecar.client();
        let mut seen = node.rpc("eth_blockNumber", json!([]));
        let end = Instant::now() + TIME;
        while Instant::now() < end {
            let latest = node.rpc("eth_blockNumber", json!([]));
            if latest == seen {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            seen = latest;
            let encoded = node.rpc("inference_getList", json!([seen]))["encoded"].take();
            let encoded: Bytes = serde_json::from_value(encoded).expect("a list in hex");
            if encoded.is_empty() {
                continue;
            }
            let list = InferenceList::decode(&encoded).expect("the node's lists decode");
            let ids: Vec<B256> = list.entries().iter().map(|entry| entry.id).collect();
            hits += client.lookup(&ids).expect("the sidecar answers").iter().flatten().count();
            all += ids.len();
            full += 1;
        }
        stop.store(true, Relaxed);
        sender.join().expect("the sender ends");
    });
    println!("  {hits} of {all} outcomes in {full} blocks");
    assert!(all > 100, "the node included too few questions: {all}\n{}", node.log());
    hits as f64 / all as f64
}
