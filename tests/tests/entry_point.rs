//! A bundle of user operations through the ERC-4337 entry point that chains run: its accounts ask models, and the block has the answers.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolEvent, SolValue, sol};
use foreblock_precompile::abi::{DType, IInference, Tensor};
use foreblock_tests::{
    node::{ALICE, Node},
    tools::npm,
};
use serde_json::{Value, json};
use std::{fs, thread, time::Duration};

sol! {
    /// A user operation as `EntryPoint` 0.7 and later take it.
    struct PackedUserOperation {
        address sender;
        uint256 nonce;
        bytes initCode;
        bytes callData;
        bytes32 accountGasLimits;
        uint256 preVerificationGas;
        bytes32 gasFees;
        bytes paymasterAndData;
        bytes signature;
    }

    interface IEntryPoint {
        event UserOperationEvent(bytes32 indexed userOpHash, address indexed sender, address indexed paymaster, uint256 nonce, bool success, uint256 actualGasCost, uint256 actualGasUsed);

        function handleOps(PackedUserOperation[] calldata ops, address payable beneficiary) external;
        function getUserOpHash(PackedUserOperation calldata userOp) external view returns (bytes32);
        function depositTo(address account) external payable;
    }

    interface ISimpleAccountFactory {
        function createAccount(address owner, uint256 salt) external returns (address);
        function getAddress(address owner, uint256 salt) external view returns (address);
    }

    interface ISimpleAccount {
        function execute(address target, uint256 value, bytes calldata data) external;
    }
}

/// Asks what the calldata says and reverts if there is no answer.
const ASKING: [u8; 21] = hex!("365f5f375f5f365f611a0f5afa6013575f5ffd5b00");
const GWEI: u64 = 1_000_000_000;

/// A package's contract, as it was published.
fn published(name: &str) -> Bytes {
    let file = npm().join(format!("@account-abstraction/contracts/artifacts/{name}.json"));
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let artifact: Value = serde_json::from_str(&text).unwrap();
    artifact["bytecode"].as_str().unwrap().parse().unwrap()
}

fn send(node: &Node, to: Option<Address>, data: impl Into<Bytes>, value: U256) -> Value {
    let tx = json!({ "from": ALICE, "to": to, "data": data.into(), "value": value, "gas": U256::from(12_000_000) });
    let hash = node.rpc("eth_sendTransaction", json!([tx]));
    let receipt = node.receipt(hash.as_str().unwrap());
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    receipt
}

fn create(node: &Node, name: &str, arguments: &[u8]) -> Address {
    let receipt = send(node, None, [&published(name), arguments].concat(), U256::ZERO);
    receipt["contractAddress"].as_str().unwrap().parse().unwrap()
}

fn call<C: SolCall>(node: &Node, to: Address, call: &C) -> C::Return {
    let answer = node.rpc("eth_call", json!([{ "to": to, "data": Bytes::from(call.abi_encode()) }]));
    C::abi_decode_returns(&answer.as_str().unwrap().parse::<Bytes>().unwrap()).unwrap()
}

fn pair(high: u64, low: u64) -> B256 {
    B256::from((U256::from(high) << 128) | U256::from(low))
}

/// An operation of an account that comes into being with it, signed by its owner.
fn operation(
    node: &Node,
    entry: Address,
    factory: Address,
    salt: u64,
    target: Address,
    ask: Vec<u8>,
) -> PackedUserOperation {
    let owner = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
    let salt = U256::from(salt);
    let sender = call(node, factory, &ISimpleAccountFactory::getAddressCall { owner: owner.address(), salt });
    let creation = ISimpleAccountFactory::createAccountCall { owner: owner.address(), salt }.abi_encode();
    let execute = ISimpleAccount::executeCall { target, value: U256::ZERO, data: ask.into() }.abi_encode();
    let mut operation = PackedUserOperation {
        sender,
        nonce: U256::ZERO,
        initCode: [factory.as_slice(), &creation].concat().into(),
        callData: execute.into(),
        accountGasLimits: pair(1_000_000, 2_000_000),
        preVerificationGas: U256::from(100_000),
        gasFees: pair(GWEI, 10 * GWEI),
        paymasterAndData: Bytes::new(),
        signature: Bytes::new(),
    };
    let hash = call(node, entry, &IEntryPoint::getUserOpHashCall { userOp: operation.clone() });
    let signature = owner.sign_hash_sync(&hash).unwrap();
    operation.signature = signature.as_bytes().into();
    send(
        node,
        Some(entry),
        IEntryPoint::depositToCall { account: sender }.abi_encode(),
        U256::from(10).pow(U256::from(18)),
    );
    operation
}

#[test]
fn accounts_behind_the_entry_point_get_answers_from_a_block_that_never_waits() {
    let node = Node::start(&["--block-time", "1"]);
    let entry = create(&node, "EntryPoint", &[]);
    let factory = create(&node, "SimpleAccountFactory", &entry.abi_encode());
    let asker = Address::repeat_byte(0xa5);
    node.rpc("anvil_setCode", json!([asker, hex::encode_prefixed(ASKING)]));

    let model: B256 = node.model_id("volatility").parse().unwrap();
    let ask = |number: u64| {
        let words = (0..16).map(|at| U256::from(number * 1_000_000_000_000 * at).to_be_bytes::<32>());
        let tensor = Tensor { dtype: DType::Wad, shape: vec![1, 16], data: words.collect::<Vec<_>>().concat().into() };
        IInference::runCall { modelId: model, input: vec![tensor].abi_encode().into() }.abi_encode()
    };
    let operations: Vec<_> = (1..=3).map(|salt| operation(&node, entry, factory, salt, asker, ask(salt))).collect();
    let before = node.rpc("inference_status", json!([]));
    assert_eq!(before["computed"], 0, "nobody has asked yet: {before}");

    let beneficiary = ALICE.parse().unwrap();
    let bundle = IEntryPoint::handleOpsCall { ops: operations.clone(), beneficiary };
    // A whole slot before its block.
    let height = node.rpc("eth_blockNumber", json!([]));
    while node.rpc("eth_blockNumber", json!([])) == height {
        thread::sleep(Duration::from_millis(5));
    }
    let receipt = send(&node, Some(entry), bundle.abi_encode(), U256::ZERO);
    let logs = receipt["logs"].as_array().unwrap();
    let done: Vec<_> =
        logs.iter().filter(|log| log["topics"][0] == json!(IEntryPoint::UserOperationEvent::SIGNATURE_HASH)).collect();
    assert_eq!(done.len(), 3, "{receipt}");
    for (log, operation) in done.iter().zip(&operations) {
        let data: Bytes = log["data"].as_str().unwrap().parse().unwrap();
        let topics =
            log["topics"].as_array().unwrap().iter().map(|topic| topic.as_str().unwrap().parse::<B256>().unwrap());
        let event = IEntryPoint::UserOperationEvent::decode_raw_log(topics, &data).unwrap();
        assert!(event.success && event.sender == operation.sender, "{log}");
    }
    let list = node.rpc("inference_getList", json!([receipt["blockNumber"]]));
    assert_eq!(list["entries"].as_array().unwrap().len(), 3, "one outcome for each operation: {list}");
    let after = node.rpc("inference_status", json!([]));
    assert_eq!((&after["computed"], &after["buildMisses"]), (&json!(3), &json!(0)), "found before the build: {after}");
}
