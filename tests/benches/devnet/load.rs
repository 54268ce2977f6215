//! What the nodes are asked to do.

use foreblock_tests::{
    node::{ALICE, BOB},
    rpc::Rpc,
};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 16;
/// One turn of `eth_call`s.
const TURN: Duration = Duration::from_secs(2);

/// `eth_call`s that all connections get through in a second. The call is a loop of 1,000 steps, run as creation code.
pub(crate) fn calls_per_second(rpc: &Rpc) -> f64 {
    // PUSH2 1000; JUMPDEST PUSH1 1 SWAP1 SUB DUP1 PUSH1 3 JUMPI
    let params = json!([{ "from": ALICE, "data": "0x6103e85b6001900380600357" }, "latest"]);
    let start = Instant::now();
    let counts: Vec<usize> = thread::scope(|scope| {
        let client = || {
            let mut count = 0;
            while start.elapsed() < TURN {
                rpc.call("eth_call", params.clone());
                count += 1;
            }
            count
        };
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("a client ends")).collect()
    });
    counts.iter().sum::<usize>() as f64 / start.elapsed().as_secs_f64()
}

/// From sending a payment to having its receipt, over ten payments.
pub(crate) fn send_to_receipt_seconds(rpc: &Rpc) -> f64 {
    const PAYMENTS: u32 = 10;
    let tx = json!([{ "from": ALICE, "to": BOB, "value": "0x1", "gas": "0x5208" }]);
    let start = Instant::now();
    for _ in 0..PAYMENTS {
        let hash = rpc.call("eth_sendTransaction", tx.clone());
        while rpc.call("eth_getTransactionReceipt", json!([hash])).is_null() {}
    }
    start.elapsed().as_secs_f64() / f64::from(PAYMENTS)
}

/// Mines blocks, as many as a call takes in reasonable time at once.
pub(crate) fn mine(rpc: &Rpc, blocks: u64) {
    for done in (0..blocks).step_by(100) {
        rpc.call("anvil_mine", json!([format!("{:#x}", (blocks - done).min(100))]));
    }
}

/// Of one empty block, over twenty.
pub(crate) fn empty_block_seconds(rpc: &Rpc) -> f64 {
    let start = Instant::now();
    mine(rpc, 20);
    start.elapsed().as_secs_f64() / 20.0
}

fn payment(nonce: u64) -> Value {
    json!([{
        "from": ALICE, "to": BOB, "value": "0x1", "gas": "0x5208", "nonce": format!("{nonce:#x}"),
        "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x3b9aca00",
    }])
}

/// Puts payments into the pool of a node that does not mine by itself.
pub(crate) fn queue_payments(rpc: &Rpc, count: u64) {
    for nonce in 0..count {
        rpc.call("eth_sendTransaction", payment(nonce));
    }
}

/// Sends payments, each in a block of its own.
pub(crate) fn mine_payments(rpc: &Rpc, count: u64) {
    for nonce in 0..count {
        rpc.call("eth_sendTransactionSync", payment(nonce));
    }
    assert_eq!(rpc.call("eth_blockNumber", json!([])), format!("{count:#x}"), "each payment has its block");
}

/// Of the last block's receipts, which must be `expected` many.
pub(crate) fn receipts_seconds(rpc: &Rpc, expected: usize) -> f64 {
    let start = Instant::now();
    let receipts = rpc.call("eth_getBlockReceipts", json!(["latest"]));
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(receipts.as_array().map(Vec::len), Some(expected), "all transfers are in one block");
    seconds
}
