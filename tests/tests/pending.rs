//! What the node says of a transaction's inferences while it waits, once it is included, replaced or given up, and what they cost.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_precompile::{
    Request,
    abi::{DType, IInference, Tensor},
};
use foreblock_tests::{
    node::{ALICE, Node, PATIENCE},
    rpc::number,
    tools::node_22,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

/// Asks what the calldata says and reverts if there is no answer.
const ASKING: [u8; 21] = hex!("365f5f375f5f365f611a0f5afa6013575f5ffd5b00");
/// Prints what a subscription says, the answer to the subscription first.
const LISTEN: &str = "const socket = new WebSocket(process.argv[1]);
socket.onopen = () => socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'inference_subscribe', params: JSON.parse(process.argv[2]) }));
socket.onmessage = (message) => console.log(message.data);";

/// A client that listens until it is dropped.
struct Listener {
    client: Child,
    lines: Receiver<Value>,
}

impl Listener {
    fn new(node: &Node, params: Value) -> Self {
        let url = node.url().replace("http", "ws");
        let mut client = node_22();
        client.args(["-e", LISTEN, &url]).arg(params.to_string()).stdout(Stdio::piped());
        let mut client = client.spawn().expect("Node.js can be started");
        let (sender, lines) = channel();
        let out = BufReader::new(client.stdout.take().expect("it is piped"));
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        let listener = Self { client, lines };
        let answer = listener.lines.recv_timeout(PATIENCE).expect("the node answers");
        assert!(answer["result"].is_string() || answer["result"].is_u64(), "{answer}");
        listener
    }

    /// The next news with this name.
    fn next(&self, name: &str) -> Value {
        loop {
            let news = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no news of {name}"));
            let event = &news["params"]["result"];
            if event["event"] == name {
                return event.clone();
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

struct World {
    node: Node,
    asker: Address,
    model: B256,
}

impl World {
    fn start() -> Self {
        let node = Node::start(&["--no-mining"]);
        let asker = Address::repeat_byte(0xa5);
        node.rpc("anvil_setCode", json!([asker, hex::encode_prefixed(ASKING)]));
        let model = node.model_id("volatility").parse().unwrap();
        Self { node, asker, model }
    }

    fn request(&self, number: u64) -> Request {
        let words = [U256::from(number * 1_000_000_000_000); 16].map(|word| word.to_be_bytes::<32>());
        let tensor = Tensor { dtype: DType::Wad, shape: vec![1, 16], data: words.concat().into() };
        Request::new(self.model, vec![tensor].abi_encode().into())
    }

    /// Sends a transaction that asks, with this nonce and tip.
    fn send(&self, number: u64, nonce: u64, tip_gwei: u64) -> String {
        let input = self.request(number).input;
        let data = Bytes::from(IInference::runCall { modelId: self.model, input }.abi_encode());
        let tip = U256::from(tip_gwei * 1_000_000_000);
        let tx = json!({
            "from": ALICE, "to": self.asker, "data": data, "gas": U256::from(2_000_000), "nonce": U256::from(nonce),
            "maxPriorityFeePerGas": tip, "maxFeePerGas": tip + U256::from(5_000_000_000_u64),
        });
        self.node.rpc("eth_sendTransaction", json!([tx])).as_str().unwrap().to_owned()
    }

    fn status(&self, hash: &str) -> Value {
        self.node.rpc("inference_status", json!([hash]))
    }

    fn wait_for(&self, hash: &str, phase: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status(hash);
            if status["phase"] == phase {
                return status;
            }
            assert!(Instant::now() < end, "not {phase}: {status}\n{}", self.node.log());
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn mine(&self, blocks: u64) {
        self.node.rpc("anvil_mine", json!([U256::from(blocks)]));
    }

    fn be_silent(&self) {
        let operator = &self.node.rpc("inference_operators", json!([]))[0]["number"];
        self.node.rpc("inference_setFault", json!([operator, "silent"]));
    }
}

#[test]
fn subscribers_hear_of_outcomes_and_of_the_transactions_they_name() {
    let world = World::start();
    let all = Listener::new(&world.node, json!([]));
    let first = world.send(1, 0, 1);
    assert_eq!(all.next("outcome")["request"], json!(world.request(1).id));
    assert_eq!(all.next("ready")["transaction"], json!(first));

    let one = Listener::new(&world.node, json!([first]));
    let second = world.send(2, 1, 1);
    assert_eq!(all.next("outcome")["request"], json!(world.request(2).id));
    assert_eq!(all.next("ready")["transaction"], json!(second));
    assert!(one.lines.try_recv().is_err(), "it named another transaction");

    world.be_silent();
    let never = world.send(3, 2, 1);
    world.wait_for(&never, "waiting");
    world.mine(70);
    let expired = all.next("expired");
    assert_eq!((&expired["transaction"], &expired["reason"]), (&json!(never), &json!("not ready within 64 blocks")));
}

#[test]
fn a_transactions_status_says_how_it_ended() {
    let world = World::start();
    let ready = world.send(1, 0, 1);
    let status = world.wait_for(&ready, "ready");
    let id = world.request(1).id;
    let call = &status["calls"][0];
    assert_eq!((&call["request"], &call["model"], &call["state"]), (&json!(id), &json!(world.model), &json!("ready")));
    world.mine(1);
    let included = world.status(&ready);
    assert_eq!((&included["phase"], &included["block"]), (&json!("included"), &json!("0x1")));
    assert_eq!(included["inferencesOfBlock"], json!([id]));

    world.be_silent();
    let old = world.send(2, 1, 1);
    world.wait_for(&old, "waiting");
    let new = world.send(3, 1, 10);
    let replaced = world.status(&old);
    assert_eq!((&replaced["phase"], &replaced["reason"]), (&json!("replaced"), &json!(format!("replaced by {new}"))));
    world.mine(70);
    let expired = world.wait_for(&new, "expired");
    assert_eq!(expired["reason"], "not ready within 64 blocks");
    assert_eq!(world.node.rpc("eth_getTransactionByHash", json!([new])), Value::Null, "the pool let it go");
    assert_eq!(world.status(&format!("{}", B256::repeat_byte(9))), Value::Null, "nobody knows it");
}

#[test]
fn the_fee_history_says_what_blocks_ran_and_what_the_next_one_costs() {
    let world = World::start();
    for block in 0..3_u64 {
        let hashes: Vec<_> =
            (0..block).map(|at| world.send(10 * block + at, block * (block - 1) / 2 + at, 1)).collect();
        hashes.iter().for_each(|hash| drop(world.wait_for(hash, "ready")));
        world.mine(1);
    }
    let history = world.node.rpc("inference_feeHistory", json!(["0x3", "latest"]));
    assert_eq!(history["oldestBlock"], "0x1");
    let used: Vec<u128> = history["inferenceGasUsed"].as_array().unwrap().iter().map(number).collect();
    assert!(used[0] == 0 && used[1] > 0 && used[2] == 2 * used[1], "none, one and two inferences: {history}");
    let prices: Vec<u128> = history["pricePerInferenceGas"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(prices.len(), 4, "one more than there are blocks");
    assert!(
        prices.iter().all(|price| *price >= number(&history["unit"])),
        "an inference gas costs an execution gas at least"
    );
    let one = world.node.rpc("inference_feeHistory", json!(["0x1", "0x2"]));
    assert_eq!((&one["oldestBlock"], &one["inferenceGasUsed"][0]), (&json!("0x2"), &history["inferenceGasUsed"][1]));
}
