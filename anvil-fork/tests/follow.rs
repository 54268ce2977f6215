//! A follower takes the blocks of a producer, and no block that anybody has tampered with.

use alloy_consensus::{SignableTransaction, Transaction as _, TxEip1559, TxEnvelope, transaction::SignerRecoverable};
use alloy_eips::eip7685::Requests;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_rlp::{Decodable, Header};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolValue};
use clap::Parser;
use foreblock::{
    chain::Block,
    cli::{Config, Flags},
    follow::{Fetched, Invalid, accept},
    inference::operator_key,
    node::Node,
};
use foreblock_precompile::{
    Certificate, InferenceList, ListEntry, Outcome, PRECOMPILE_ADDRESS, StatementDomain,
    abi::{DType, IInference, Tensor},
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const CHAIN: u64 = 31_337;
const ALICE_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn config(flags: &[&str]) -> Config {
    let flags = Flags::parse_from([&["foreblock", "--operators", "4"], flags].concat());
    Config::new(flags.node).unwrap()
}

/// Asks a model in a transaction and waits until that is in a block.
fn ask(node: &Node, nonce: u64, at: usize) -> Arc<Block> {
    let entry = &node.inference.entries()[at];
    let input = node.inference.sample_input(entry).unwrap();
    let data = IInference::runCall { modelId: entry.manifest.id(), input }.abi_encode();
    let tx = TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 20_000_000,
        max_fee_per_gas: 100_000_000_000,
        to: TxKind::Call(PRECOMPILE_ADDRESS),
        input: data.into(),
        ..Default::default()
    };
    let key: PrivateKeySigner = ALICE_KEY.parse().unwrap();
    let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
    let tx: TxEnvelope = tx.into_signed(signature).into();
    node.submit(tx.try_into_recovered().unwrap()).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        node.mine_ready().unwrap();
        let head = node.head();
        if !head.inferences.is_empty() && head.transactions[0].nonce() == nonce {
            return head;
        }
        assert!(Instant::now() < end, "the transaction is not mined");
        thread::sleep(Duration::from_millis(10));
    }
}

fn fetched(block: &Block) -> Fetched {
    let list = block.inference_list().unwrap();
    Fetched { block: block.consensus(), list: list.encode(), requests: block.requests.clone() }
}

/// A producer whose second block asks one model, and a follower that has the first one.
struct Setting {
    producer: Arc<Node>,
    follower: Arc<Node>,
    good: Fetched,
}

fn setting(flags: &[&str]) -> Setting {
    let config = config(flags);
    let producer = config.start().unwrap();
    let first = producer.head();
    let first = Block::first(first.header.clone(), first.world.clone());
    let spec = (*producer.spec()).clone();
    let follower = config.start_following("http://producer", spec, PRECOMPILE_ADDRESS, first).unwrap();
    let good = fetched(&ask(&producer, 0, 0));
    Setting { producer, follower, good }
}

/// The same block with another list, to which its header commits; with none at all for the empty one.
fn with_list(good: &Fetched, list: Vec<u8>) -> Fetched {
    let mut other = good.clone();
    other.requests.retain(|request| request[0] != 0x0f);
    if list != encoded(&[]) {
        other.requests.push([&[0x0f], keccak256(&list).as_slice()].concat().into());
    }
    other.block.header.requests_hash = Some(Requests::new(other.requests.clone()).requests_hash());
    other.list = list.into();
    other
}

fn entries(good: &Fetched) -> Vec<ListEntry> {
    InferenceList::decode(&good.list).unwrap().entries().to_vec()
}

fn encoded(entries: &[ListEntry]) -> Vec<u8> {
    InferenceList::new(entries.iter().cloned()).unwrap().encode().to_vec()
}

/// The entries of an encoded list, each encoded.
fn raw_entries(list: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = list;
    Header::decode(&mut rest).unwrap();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let whole = rest;
        let header = Header::decode(&mut rest).unwrap();
        rest = &rest[header.payload_length..];
        entries.push(whole[..whole.len() - rest.len()].to_vec());
    }
    entries
}

fn joined(entries: &[Vec<u8>]) -> Vec<u8> {
    let payload = entries.concat();
    let mut list = Vec::new();
    Header { list: true, payload_length: payload.len() }.encode(&mut list);
    list.extend(payload);
    list
}

fn signed_by(domain: &StatementDomain, entry: &ListEntry, keys: &[PrivateKeySigner]) -> ListEntry {
    let digest = domain.digest(entry.id, &entry.outcome);
    let signatures = keys.iter().map(|key| key.sign_hash_sync(&digest).unwrap());
    ListEntry { certificate: Certificate::assemble(digest, signatures), ..entry.clone() }
}

fn operators(numbers: &[usize]) -> Vec<PrivateKeySigner> {
    numbers.iter().map(|number| operator_key(*number)).collect()
}

fn number(value: u8) -> Outcome {
    let data = B256::with_last_byte(value).to_vec().into();
    Outcome::Output(vec![Tensor { dtype: DType::Wad, shape: vec![1, 1], data }].abi_encode().into())
}

fn refused(setting: &Setting, tampered: &Fetched) -> Invalid {
    match accept(&setting.follower, tampered) {
        Ok(_) => panic!("the block is invalid, and was taken"),
        Err(error) => error,
    }
}

#[track_caller]
fn expect(setting: &Setting, name: &str, tampered: &Fetched, message: &str) {
    let error = refused(setting, tampered).to_string();
    assert!(error.contains(message), "{name}: {error}");
    assert_eq!(setting.follower.head().header.number, 0, "{name}: the head has not moved");
}

#[test]
fn a_follower_reaches_the_same_state_without_a_model() {
    let Setting { producer, follower, good } = setting(&[]);
    accept(&follower, &good).unwrap();
    let second = ask(&producer, 1, 1);
    accept(&follower, &fetched(&second)).unwrap();
    let head = follower.head();
    assert_eq!((head.hash, head.header.state_root), (second.hash, second.header.state_root));
    assert_eq!(head.inferences, second.inferences);
    assert!(follower.inference.entries().is_empty(), "it has no models");
    assert_eq!(second.certificates[0].signatures.len(), 3, "2f+1 of 4 vouch");
}

#[test]
fn before_prague_the_list_stands_beside_the_block() {
    let Setting { follower, good, .. } = setting(&["--hardfork", "cancun"]);
    assert_eq!(good.block.header.requests_hash, None);
    let none = Fetched { list: Bytes::new(), ..good.clone() };
    let error = accept(&follower, &none).unwrap_err().to_string();
    assert!(error.contains("is used by a transaction, but not listed"), "{error}");
    accept(&follower, &good).unwrap();
}

#[test]
fn a_list_that_was_tampered_with_is_refused() {
    let setting = setting(&[]);
    let good = &setting.good;
    let domain = StatementDomain::new(CHAIN);
    let listed = entries(good);
    let extra =
        signed_by(&domain, &ListEntry { id: B256::repeat_byte(1), ..listed[0].clone() }, &operators(&[1, 2, 3]));
    let altered = ListEntry { outcome: number(9), ..listed[0].clone() };
    let raw = raw_entries(&good.list);
    let [low, high] = [B256::repeat_byte(1), B256::repeat_byte(2)]
        .map(|id| raw_entries(&encoded(&[ListEntry { id, ..listed[0].clone() }])).remove(0));

    for (name, tampered, message) in [
        ("missing", with_list(good, encoded(&[])), "is used by a transaction, but not listed"),
        ("missing, not committed to", Fetched { list: Bytes::new(), ..good.clone() }, "but the header commits to"),
        ("unused", with_list(good, encoded(&[listed[0].clone(), extra])), "is listed, but no transaction used it"),
        ("altered", with_list(good, encoded(std::slice::from_ref(&altered))), "is not an operator at the parent block"),
        (
            "altered, signed by a quorum, not committed to",
            Fetched { list: encoded(&[signed_by(&domain, &altered, &operators(&[1, 2, 3]))]).into(), ..good.clone() },
            "but the header commits to",
        ),
        ("duplicate", with_list(good, joined(&[raw[0].clone(), raw[0].clone()])), "is listed twice"),
        ("unsorted", with_list(good, joined(&[high, low])), "is listed out of order"),
        ("oversized", with_list(good, vec![0; (8 << 20) + 1]), "but a block may carry 8388608"),
        ("cut off", with_list(good, good.list[..good.list.len() - 1].to_vec()), "does not decode"),
        ("HTML", with_list(good, b"<html>502 Bad Gateway</html>".to_vec()), "does not decode"),
    ] {
        expect(&setting, name, &tampered, message);
    }
    accept(&setting.follower, good).expect("the block itself is good");
}

#[test]
fn a_certificate_that_does_not_count_is_refused() {
    let setting = setting(&[]);
    let good = &setting.good;
    let domain = StatementDomain::new(CHAIN);
    let entry = entries(good).remove(0);
    let with = |certificate: Certificate| with_list(good, encoded(&[ListEntry { certificate, ..entry.clone() }]));
    let signed = |domain: &StatementDomain, keys: &[PrivateKeySigner]| signed_by(domain, &entry, keys).certificate;
    let three = signed(&domain, &operators(&[1, 2, 3]));
    let [first, second, third] = three.signatures[..] else { panic!("three signatures") };
    let stranger = PrivateKeySigner::from_bytes(&B256::with_last_byte(99)).unwrap();
    let many = || {
        let mut signatures = signed(&domain, &operators(&[1, 2, 3, 4])).signatures;
        signatures.push(signatures[3]);
        Certificate { signatures }
    };
    let forged = alloy_primitives::Signature::new(first.r() ^ U256::ONE, first.s(), first.v());
    let elsewhere = StatementDomain::at(CHAIN, Address::repeat_byte(7));

    for (name, tampered, message) in [
        ("nobody", with(Certificate::default()), "0 signatures, but the committee of 4 needs 3"),
        ("too few", with(signed(&domain, &operators(&[1, 2]))), "2 signatures, but the committee of 4 needs 3"),
        ("too many", with(many()), "5 signatures, but the committee has only 4"),
        ("repeated", with(Certificate { signatures: vec![first, second, second] }), "is repeated or out of order"),
        ("reordered", with(Certificate { signatures: vec![second, first, third] }), "is repeated or out of order"),
        (
            "a signer who departed or never was",
            with(signed(&domain, &[operators(&[1, 2]), vec![stranger]].concat())),
            "is not an operator at the parent block",
        ),
        ("forged", with(Certificate { signatures: vec![forged, second, third] }), "the certificate of request"),
        (
            "replayed from another chain",
            with(signed(&StatementDomain::new(1), &operators(&[1, 2, 3]))),
            "the certificate of request",
        ),
        ("of another registry", with(signed(&elsewhere, &operators(&[1, 2, 3]))), "the certificate of request"),
    ] {
        expect(&setting, name, &tampered, message);
    }
    let truncated = {
        let raw = &raw_entries(&good.list)[0];
        let mut fields = raw.as_slice();
        Header::decode(&mut fields).unwrap();
        let id = B256::decode(&mut fields).unwrap();
        let code = u16::decode(&mut fields).unwrap();
        let data = Bytes::decode(&mut fields).unwrap();
        let signatures = Bytes::decode(&mut fields).unwrap();
        let fields = [
            alloy_rlp::encode(id),
            alloy_rlp::encode(code),
            alloy_rlp::encode(&data),
            alloy_rlp::encode(signatures.slice(..signatures.len() - 1)),
        ];
        joined(&[joined(&fields)])
    };
    expect(&setting, "truncated", &with_list(good, truncated), "signatures are 65 bytes each");
    accept(&setting.follower, good).expect("the block itself is good");
}

#[test]
fn a_block_that_was_tampered_with_is_refused() {
    let setting = setting(&[]);
    let change = |change: fn(&mut Fetched)| {
        let mut tampered = setting.good.clone();
        change(&mut tampered);
        tampered
    };
    for (name, tampered, message) in [
        ("state root", change(|it| it.block.header.state_root = B256::ZERO), "executing it gives state root"),
        ("gas", change(|it| it.block.header.gas_used += 1), "executing it gives gas used"),
        ("receipts", change(|it| it.block.header.receipts_root = B256::ZERO), "executing it gives receipts root"),
        ("transactions", change(|it| it.block.header.transactions_root = B256::ZERO), "gives transactions root"),
        ("time", change(|it| it.block.header.timestamp += 1), "but the header says"),
        ("parent", change(|it| it.block.header.parent_hash = B256::ZERO), "it builds on"),
        ("number", change(|it| it.block.header.number += 1), "it builds on"),
        ("requests", change(|it| it.requests.clear()), "the EIP-7685 requests hash to"),
        ("left out", change(|it| it.block.body.transactions.clear()), "is listed, but no transaction used it"),
        (
            "two commitments",
            change(|it| {
                it.requests.push(it.requests.last().unwrap().clone());
                it.block.header.requests_hash = Some(Requests::new(it.requests.clone()).requests_hash());
            }),
            "is not one hash",
        ),
    ] {
        expect(&setting, name, &tampered, message);
    }
    accept(&setting.follower, &setting.good).expect("the block itself is good");
}
