//! A follower is a process of its own: what it says of blocks that a producer, or somebody between the two, has tampered with.

use alloy_consensus::{Block, TxEnvelope};
use alloy_eips::eip7685::Requests;
use alloy_primitives::{Address, B256, Bytes, keccak256};
use alloy_rlp::{Decodable, Header};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue;
use foreblock_precompile::{
    Certificate, FailureCode, InferenceList, ListEntry, Outcome, StatementDomain,
    abi::{DType, Tensor},
};
use foreblock_tests::{
    network::ask,
    node::{ALICE, Node, PATIENCE, free_port},
    tools::{cast, foreblock, succeed, workspace},
    upstream::{Fault, Proxy},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const OPERATOR_REGISTRY: &str = "0x0000000000000000000000000000000000001a2f";
const ALWAYS: usize = usize::MAX;

fn domain() -> StatementDomain {
    StatementDomain::new(31_337)
}

fn operators(numbers: &[usize]) -> Vec<PrivateKeySigner> {
    let key = |number| keccak256(format!("foreblock devnet operator {number}"));
    numbers.iter().map(|number| PrivateKeySigner::from_bytes(&key(*number)).unwrap()).collect()
}

/// A block as a producer gives it.
#[derive(Clone)]
struct Given {
    block: Block<TxEnvelope>,
    list: Vec<u8>,
    requests: Vec<Bytes>,
}

impl Given {
    fn by(node: &Node, number: &Value) -> Self {
        let raw: Bytes = node.rpc("debug_getRawBlock", json!([number])).as_str().unwrap().parse().unwrap();
        let list = node.rpc("inference_getList", json!([number]));
        let bytes = |value: &Value| value.as_str().unwrap().parse::<Bytes>().unwrap();
        Self {
            block: Block::decode(&mut raw.as_ref()).unwrap(),
            list: bytes(&list["encoded"]).to_vec(),
            requests: list["requests"].as_array().unwrap().iter().map(bytes).collect(),
        }
    }

    fn entries(&self) -> Vec<ListEntry> {
        InferenceList::decode(&self.list).unwrap().entries().to_vec()
    }

    /// The same block with another list, to which its header commits.
    fn with(&self, list: Vec<u8>) -> Self {
        let mut other = self.clone();
        other.requests.retain(|request| request[0] != 0x0f);
        if list != encoded(&[]) {
            other.requests.push([&[0x0f], keccak256(&list).as_slice()].concat().into());
        }
        other.block.header.requests_hash = Some(Requests::new(other.requests.clone()).requests_hash());
        Self { list, ..other }
    }

    /// Has a proxy give this block instead of the producer's.
    fn give(&self, proxy: &Proxy) {
        let raw = Bytes::from(alloy_rlp::encode(&self.block));
        proxy.fail("debug_getRawBlock", Fault::Result(json!(raw)), ALWAYS);
        let list = json!({ "encoded": Bytes::from(self.list.clone()), "requests": self.requests });
        proxy.fail("inference_getList", Fault::Result(list), ALWAYS);
    }
}

fn encoded(entries: &[ListEntry]) -> Vec<u8> {
    InferenceList::new(entries.iter().cloned()).unwrap().encode().to_vec()
}

/// An encoded list of entries that are encoded, in any order.
fn joined(entries: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<u8> = entries.concat();
    let mut list = Vec::new();
    Header { list: true, payload_length: entries.len() }.encode(&mut list);
    [list, entries].concat()
}

fn only_entry(list: &[u8]) -> Vec<u8> {
    let mut rest = list;
    Header::decode(&mut rest).unwrap();
    rest.to_vec()
}

fn signed(entry: &ListEntry, numbers: &[usize]) -> ListEntry {
    let digest = domain().digest(entry.id, &entry.outcome);
    let signatures = operators(numbers).into_iter().map(|key| key.sign_hash_sync(&digest).unwrap());
    ListEntry { certificate: Certificate::assemble(digest, signatures), ..entry.clone() }
}

fn signers(entry: &ListEntry) -> Vec<Address> {
    let digest = domain().digest(entry.id, &entry.outcome);
    entry.certificate.signatures.iter().map(|one| one.recover_address_from_prehash(&digest).unwrap()).collect()
}

/// What a follower says when it stops.
fn last_words(producer: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = Command::new(foreblock());
    command.args(["follow", producer, "--port", &free_port().to_string()]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    let running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    let status = child.wait().unwrap();
    let said = std::fs::read_to_string(log).unwrap();
    assert!(!running && !status.success(), "the follower goes on:\n{said}");
    said
}

#[test]
fn each_tampering_stops_a_follower_with_its_own_words() {
    let producer = Node::start(&["--operators", "4"]);
    let number = producer.receipt(&ask(&producer, "volatility", 1))["blockNumber"].clone();
    assert_eq!(number, "0x1");
    let good = Given::by(&producer, &number);
    let [entry] = &good.entries()[..] else { panic!("one question") };
    let another = |byte| signed(&ListEntry { id: B256::repeat_byte(byte), ..entry.clone() }, &[1, 2, 3]);
    let altered = ListEntry { outcome: Outcome::Output(output(9)), ..entry.clone() };
    let with = |entries: &[ListEntry]| good.with(encoded(entries));
    let raw = only_entry(&good.list);
    let [low, high] = [1, 2].map(|byte| only_entry(&encoded(&[another(byte)])));
    let uncommitted = Given { list: encoded(&[signed(&altered, &[1, 2, 3])]), ..good.clone() };
    for (name, tampered, words) in [
        ("missing", with(&[]), "is used by a transaction, but not listed"),
        ("unused", with(&[entry.clone(), another(1)]), "is listed, but no transaction used it"),
        ("altered", with(std::slice::from_ref(&altered)), "is not an operator at the parent block"),
        ("altered and signed again, not committed to", uncommitted, "but the header commits to"),
        ("duplicate", good.with(joined(&[&raw, &raw])), "is listed twice"),
        ("unsorted", good.with(joined(&[&high, &low])), "is listed out of order"),
        ("oversized", good.with(vec![0; (8 << 20) + 1]), "but a block may carry 8388608"),
        ("too few signers", with(&[signed(entry, &[1, 2])]), "2 signatures, but the committee of 4 needs 3"),
    ] {
        let proxy = Proxy::start(&producer.url());
        tampered.give(&proxy);
        let said = last_words(&proxy.url());
        assert!(said.contains(words) && said.contains("block 1 ("), "{name}: {said}");
        assert!(said.contains("The last block that was verified is 0"), "{name}: {said}");
    }
    let follower = Node::start(&["follow", &producer.url()]);
    reaches(&follower, &producer, &number);
}

/// Panics where a value is not what the parts of JSON Schema say that our schema uses.
fn conforms(schema: &Value, value: &Value, at: &str) {
    let types = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.iter().any(|allowed| allowed == kind), "{at} is {value}, but the schema says {types:?}");
    if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str()) {
        let digits = text.strip_prefix("0x").unwrap_or_else(|| panic!("{at}: {text} is no hex"));
        let lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let count = pattern.trim_start_matches("^0x[0-9a-f]").trim_end_matches('$').trim_matches(['{', '}']);
        let fits = count == "*" || count == "1,16" || count == digits.len().to_string();
        assert!(lower && fits, "{at}: {text} does not fit {pattern}");
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(&schema["items"], item, &format!("{at}[]"));
    }
    let Some(object) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(object.contains_key(name), "{at} has no {name}: {value}");
    }
    for (name, value) in object {
        let known = schema["properties"].get(name).unwrap_or_else(|| panic!("the schema knows no {at}.{name}"));
        conforms(known, value, &format!("{at}.{name}"));
    }
}

#[test]
fn lists_fit_their_json_schema() {
    let file = workspace().join("docs/inference-list.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let node = Node::start(&["--operators", "4"]);
    let empty = node.rpc("inference_getList", json!(["0x0"]));
    let output = node.receipt(&ask(&node, "volatility", 1))["blockNumber"].clone();
    // A model that takes other shapes has an outcome, too: a failure.
    let failure = node.receipt(&ask(&node, "risk", 1))["blockNumber"].clone();
    let [output, failure] = [output, failure].map(|number| node.rpc("inference_getList", json!([number])));
    assert!(output["entries"][0]["output"].is_string() && failure["entries"][0]["failure"].is_object());
    [&empty, &output, &failure].iter().for_each(|list| conforms(&schema, list, "list"));
    let code = &schema["properties"]["entries"]["items"]["properties"]["failure"]["properties"]["code"];
    let is_code = |code: u64| FailureCode::try_from(u16::try_from(code).expect("a small number")).is_ok();
    let (first, last) = (code["minimum"].as_u64().unwrap(), code["maximum"].as_u64().unwrap());
    assert!(
        (first..=last).all(is_code) && !is_code(first - 1) && !is_code(last + 1),
        "{code} are the failures there are"
    );
}

/// The output of a model with one number.
fn output(value: u8) -> Bytes {
    let data = B256::with_last_byte(value).to_vec().into();
    vec![Tensor { dtype: DType::Wad, shape: vec![1, 1], data }].abi_encode().into()
}

/// Waits until a follower has this block, with the producer's state.
fn reaches(follower: &Node, producer: &Node, number: &Value) {
    let end = Instant::now() + PATIENCE;
    let block = |node: &Node| node.rpc("eth_getBlockByNumber", json!([number, false]));
    while block(follower).is_null() {
        assert!(Instant::now() < end, "the follower does not get there:\n{}", follower.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(block(follower)["stateRoot"], block(producer)["stateRoot"]);
}

#[test]
fn whoever_leaves_the_registry_vouches_for_nothing_in_later_blocks() {
    let producer = Node::start(&["--operators", "4"]);
    let proxy = Proxy::start(&producer.url());
    let follower = Node::start(&["follow", &proxy.url()]);
    let number = producer.receipt(&ask(&producer, "volatility", 1))["blockNumber"].clone();
    let old = Given::by(&producer, &number).entries().remove(0);
    let leaving = (1..=4).find(|at| signers(&old).contains(&operators(&[*at])[0].address())).unwrap();
    let key = operators(&[leaving]).remove(0);

    let pay = json!({ "from": ALICE, "to": key.address(), "value": "0xde0b6b3a7640000" });
    producer.receipt(producer.rpc("eth_sendTransaction", json!([pay])).as_str().unwrap());
    let secret = key.to_bytes().to_string();
    succeed(cast().args([
        "send",
        "--rpc-url",
        &producer.url(),
        "--private-key",
        &secret,
        OPERATOR_REGISTRY,
        "retire()",
    ]));

    // The same question again: the old certificate has a signer who left, and without one of the others there is no new one.
    let silent = leaving % 4 + 1;
    producer.rpc("inference_setFault", json!([silent, "silent"]));
    let waiting = ask(&producer, "volatility", 1);
    thread::sleep(Duration::from_secs(1));
    assert!(
        producer.rpc("eth_getTransactionReceipt", json!([waiting])).is_null(),
        "the old certificate does not count"
    );
    let head = producer.rpc("eth_blockNumber", json!([]));
    reaches(&follower, &producer, &head);
    proxy.fail("eth_blockNumber", Fault::Result(head), ALWAYS);
    producer.rpc("inference_setFault", json!([silent]));
    producer.rpc("evm_mine", json!([]));
    let number = producer.receipt(&waiting)["blockNumber"].clone();
    let given = Given::by(&producer, &number);
    let new = given.entries().remove(0);
    assert_eq!((signers(&new).len(), signers(&new).contains(&key.address())), (3, false));
    assert_eq!(new.outcome, old.outcome);

    // With the old certificate in it, the same block is invalid to who follows; the true one is fine.
    let honest = Node::start(&["follow", &producer.url()]);
    reaches(&honest, &producer, &number);
    let at = u64::from_str_radix(&number.as_str().unwrap()[2..], 16).unwrap();
    let before = json!(format!("{:#x}", at - 1));
    proxy.fail("eth_blockNumber", Fault::Result(before.clone()), ALWAYS);
    reaches(&follower, &producer, &before);
    given.with(encoded(&[old])).give(&proxy);
    proxy.fail("eth_blockNumber", Fault::Result(number), ALWAYS);
    let end = Instant::now() + PATIENCE;
    while !follower.log().contains("is not an operator at the parent block") {
        assert!(Instant::now() < end, "the follower takes a departed operator's word:\n{}", follower.log());
        thread::sleep(Duration::from_millis(50));
    }
}
