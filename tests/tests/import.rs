//! `--init` and `--import`: genesis files in geth's format, and chains that another client has made.

use foreblock_tests::{
    node::{ALICE, Node, STRANGER, free_port},
    rpc::number,
    tools::{finish, foreblock, workspace},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn vectors() -> PathBuf {
    workspace().join("tests/vectors/chain")
}

/// A chain that ethereumjs has made: its genesis file, the hashes of its blocks, and the blocks.
fn foreign(name: &str) -> (PathBuf, Vec<String>, Vec<Vec<u8>>) {
    let genesis = vectors().join(name).with_extension("json");
    let file: Value = serde_json::from_slice(&fs::read(&genesis).unwrap()).unwrap();
    let hashes = file["hashes"].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().to_owned()).collect();
    let blocks = fs::read_to_string(vectors().join(format!("{name}.rlp.hex"))).unwrap();
    (genesis, hashes, blocks.lines().map(bytes).collect())
}

/// Nobody who made these roots has seen a line of this project: `merged` goes from Shanghai to Prague with blobs, withdrawals,
/// delegations and requests; `mined` from Frontier to London with the miner's reward.
#[test]
fn chains_of_another_client_have_the_same_blocks_here() {
    let folder = tempfile::tempdir().unwrap();
    for (name, height) in [("merged", 9), ("mined", 11)] {
        let (genesis, hashes, blocks) = foreign(name);
        let file = folder.path().join("chain.rlp");
        fs::write(&file, blocks.concat()).unwrap();
        let args = ["--init", genesis.to_str().unwrap(), "--import", file.to_str().unwrap()];
        let node = Node::start(&args);
        for (at, hash) in hashes.iter().enumerate() {
            assert_eq!(node.block(&format!("{at:#x}"))["hash"], json!(hash), "block {at} of {name}");
        }
        assert_eq!(hashes.len(), height + 1, "{name}");
        assert_eq!(number(&node.rpc("eth_blockNumber", json!([]))), height as u128);
        // The chain goes on here.
        node.rpc("evm_mine", json!([]));
        assert_eq!(node.block("latest")["parentHash"], json!(hashes[height]));

        // A header that claims another state is refused, by whatever its hash says.
        let mut forged = blocks.clone();
        let root = bytes(&node.block("0x2")["stateRoot"].as_str().unwrap()[2..]);
        let place = forged[1].windows(32).position(|window| window == root).expect("the header holds it");
        forged[1][place] ^= 1;
        fs::write(&file, forged.concat()).unwrap();
        let text = refused(&args);
        assert!(text.contains("block 2") && text.contains("the state root"), "{text}");
    }
}

/// The hash and root that every client of Sepolia knows.
#[test]
fn a_public_chains_genesis_has_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let (genesis, file) = (vectors().join("sepolia.json"), folder.path().join("chain.rlp"));
    fs::write(&file, b"").unwrap();
    let node = Node::start(&["--init", genesis.to_str().unwrap(), "--import", file.to_str().unwrap()]);
    let first = node.block("0x0");
    assert_eq!(first["hash"], "0x25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9");
    assert_eq!(first["stateRoot"], "0x5eb6e371a698b8d68f665192350ffcecbbbf322916f4b51bd79bb6887da3f494");
}

/// A genesis in geth's format whose only account with money is Alice's.
fn genesis(folder: &Path) -> String {
    let path = folder.join("genesis.json");
    let file = json!({
        "config": {
            "chainId": 1337, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
            "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0, "berlinBlock": 0,
            "londonBlock": 0, "terminalTotalDifficulty": 0, "shanghaiTime": 0, "cancunTime": 4_000_000_000u64
        },
        "alloc": { ALICE: { "balance": "0x3635c9adc5dea00000" }, STRANGER: { "balance": "0x7" } },
        "difficulty": "0x0", "gasLimit": "0x1c9c380", "timestamp": "0x65000000", "baseFeePerGas": "0x3b9aca00"
    });
    fs::write(&path, file.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_genesis_file_gives_accounts_chain_id_and_forks() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&["--init", &genesis(folder.path())]);
    assert_eq!(node.rpc("eth_chainId", json!([])), "0x539");
    assert_eq!(node.balance(STRANGER), 7);
    let first = node.block("0x0");
    assert_eq!((&first["timestamp"], &first["baseFeePerGas"]), (&json!("0x65000000"), &json!("0x3b9aca00")));
    assert!(first.get("excessBlobGas").is_none());
    // Cancun comes at its time.
    node.rpc("evm_setNextBlockTimestamp", json!([4_000_000_000u64]));
    node.rpc("evm_mine", json!([]));
    assert_eq!(node.block("latest")["excessBlobGas"], "0x0");
}

#[test]
fn an_imported_chain_is_the_one_that_was_exported_and_a_forged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let init = genesis(folder.path());
    let file = folder.path().join("chain.rlp");
    let import = ["--init", &init, "--import", file.to_str().unwrap()];
    fs::write(&file, b"").unwrap();
    let source = Node::start(&import);
    (1..=3).for_each(|value| drop(source.pay(value)));
    // PUSH1 1 PUSH1 0 SSTORE STOP, deployed by its own constructor: storage is part of the root.
    source.rpc("eth_sendTransaction", json!([{ "from": ALICE, "data": "0x600160005500" }]));
    let raw = |at: u64| {
        let text = source.rpc("debug_getRawBlock", json!([format!("{at:#x}")]));
        bytes(&text.as_str().unwrap()[2..])
    };
    let blocks: Vec<Vec<u8>> = (1..=4).map(raw).collect();
    fs::write(&file, blocks.concat()).unwrap();
    let copy = Node::start(&import);
    assert_eq!(copy.block("latest"), source.block("latest"));
    assert_eq!(copy.balance(STRANGER), 13);
    assert_eq!(copy.rpc("eth_getBalance", json!([STRANGER, "0x1"])), "0x8");

    // The state root is 32 bytes after parent hash, ommers' hash and beneficiary in the header.
    let at = |block: &[u8], root: &str| {
        let root = bytes(&root[2..]);
        block.windows(32).position(|window| window == root).unwrap()
    };
    let header = source.block("0x4");
    for (field, words) in [
        ("stateRoot", "the state root"),
        ("receiptsRoot", "the receipts' root"),
        ("transactionsRoot", "the transactions' root"),
        ("parentHash", "parent hash"),
    ] {
        let mut forged = blocks.clone();
        let place = at(&forged[3], header[field].as_str().unwrap());
        forged[3][place] ^= 1;
        fs::write(&file, forged.concat()).unwrap();
        let text = refused(&import);
        assert!(text.contains("block 4") && text.contains(words), "{field}: {text}");
    }
    for (name, bytes, words) in [
        ("a missing block", [&blocks[0][..], &blocks[2]].concat(), "block 3 does not follow"),
        ("half a block", blocks[0][..100].to_vec(), "entry 0 of the file is no RLP"),
        ("text", b"nonsense".to_vec(), "no RLP"),
    ] {
        fs::write(&file, bytes).unwrap();
        let text = refused(&import);
        assert!(text.contains(words), "{name}: {text}");
    }
}

fn refused(args: &[&str]) -> String {
    let port = free_port().to_string();
    let mut node = Command::new(foreblock());
    let output = finish(node.args(["--port", &port]).args(args));
    assert!(!output.status.success(), "the node started");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
