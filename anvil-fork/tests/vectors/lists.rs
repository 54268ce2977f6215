//! Inference lists and what vouches for them.

use super::{Asked, calls::tensor};
use alloy_primitives::{Address, B256, Bytes, Signature, U256, keccak256, uint};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue;
use foreblock::conformance::Question;
use foreblock_precompile::{
    Certificate, Failure, FailureCode, InferenceList, ListEntry, Outcome, StatementDomain, abi::DType,
};

const CHAIN: u64 = 31_337;
/// Order of secp256k1.
const ORDER: U256 = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);

fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::with_last_byte(number)).unwrap()
}

fn operators(count: u8) -> Vec<Address> {
    (1..=count).map(|number| key(number).address()).collect()
}

fn id(number: u8) -> B256 {
    B256::repeat_byte(number)
}

fn number(value: i64) -> Outcome {
    let word = alloy_primitives::I256::try_from(value).unwrap().to_be_bytes::<32>();
    Outcome::Output(vec![tensor(DType::Wad, &[1, 1], word.into())].abi_encode().into())
}

fn failure() -> Outcome {
    Outcome::Failed(Failure::new(FailureCode::OutOfRange, "index 9 of 4"))
}

fn sign(chain_id: u64, id: B256, outcome: &Outcome, signers: &[u8]) -> Certificate {
    let digest = StatementDomain::new(chain_id).digest(id, outcome);
    Certificate::assemble(digest, signers.iter().map(|signer| key(*signer).sign_hash_sync(&digest).unwrap()))
}

/// A list of these, each with this certificate.
fn list_with(entries: &[(u8, Outcome)], certify: impl Fn(B256, &Outcome) -> Certificate) -> Bytes {
    let entry = |(number, outcome): &(u8, Outcome)| ListEntry {
        id: id(*number),
        outcome: outcome.clone(),
        certificate: certify(id(*number), outcome),
    };
    InferenceList::new(entries.iter().map(entry)).unwrap().encode()
}

fn list(entries: &[(u8, Outcome)]) -> Bytes {
    list_with(entries, |id, outcome| sign(CHAIN, id, outcome, &[1, 2, 3]))
}

/// Asked with the right commitment, four operators, and these requests used.
fn asked(name: &str, encoded: Bytes, used: &[u8]) -> Asked {
    let commitment = (!encoded.is_empty()).then(|| keccak256(&encoded));
    let used = used.iter().map(|number| id(*number)).collect();
    (name.to_owned(), Question::List { encoded, commitment, chain_id: CHAIN, operators: operators(4), used })
}

fn by(mut asked: Asked, of: Vec<Address>) -> Asked {
    if let Question::List { operators, .. } = &mut asked.1 {
        *operators = of;
    }
    asked
}

pub(super) fn certificates() -> Vec<Asked> {
    let one = [(7, number(42))];
    let signed = |signers: &'static [u8]| list_with(&one, move |id, outcome| sign(CHAIN, id, outcome, signers));
    let altered = |alter: fn(&mut Vec<Signature>)| {
        list_with(&one, move |id, outcome| {
            let mut certificate = sign(CHAIN, id, outcome, &[1, 2, 3]);
            alter(&mut certificate.signatures);
            certificate
        })
    };
    let high_s = altered(|signatures| {
        let first = signatures[0];
        signatures[0] = Signature::new(first.r(), ORDER - first.s(), !first.v());
    });
    vec![
        asked("three of four", signed(&[1, 2, 3]), &[7]),
        asked("four of four", signed(&[1, 2, 3, 4]), &[7]),
        asked("two of four", signed(&[1, 2]), &[7]),
        asked("nobody", signed(&[]), &[7]),
        asked("a stranger", signed(&[1, 2, 9]), &[7]),
        by(asked("one of one", signed(&[1]), &[7]), operators(1)),
        by(asked("five of seven", signed(&[1, 2, 3, 4, 5]), &[7]), operators(7)),
        by(asked("four of seven", signed(&[1, 2, 3, 4]), &[7]), operators(7)),
        by(asked("two of two", signed(&[1, 2]), &[7]), operators(2)),
        by(asked("one of two", signed(&[1]), &[7]), operators(2)),
        by(asked("more signatures than operators", signed(&[1, 2, 3, 4]), &[7]), operators(3)),
        asked("signers out of order", altered(|signatures| signatures.swap(0, 1)), &[7]),
        asked("one who signs twice", altered(|signatures| signatures[1] = signatures[0]), &[7]),
        asked("s in the upper half", high_s, &[7]),
        asked("for another chain", list_with(&one, |id, outcome| sign(1, id, outcome, &[1, 2, 3])), &[7]),
        asked("for another outcome", list_with(&one, |id, _| sign(CHAIN, id, &number(43), &[1, 2, 3])), &[7]),
        asked("for another request", list_with(&one, |_, outcome| sign(CHAIN, id(8), outcome, &[1, 2, 3])), &[7]),
        asked("for a failure", list(&[(7, failure())]), &[7]),
    ]
}

/// An entry as it is encoded.
#[derive(Clone, RlpEncodable, RlpDecodable)]
struct Wire {
    id: B256,
    code: u16,
    data: Bytes,
    signatures: Bytes,
}

fn encode(entries: &[Wire]) -> Bytes {
    alloy_rlp::encode(entries.to_vec()).into()
}

pub(super) fn lists() -> Vec<Asked> {
    let texts = vec![tensor(DType::Text, &[], b"seven".to_vec()), tensor(DType::U8, &[0, 3], vec![])].abi_encode();
    let both = list(&[(7, number(-1)), (3, failure())]);
    let parts: Vec<Wire> = alloy_rlp::decode_exact(&both).unwrap();
    let [first, second] = &parts[..] else { panic!("two entries") };
    let swapped = encode(&[second.clone(), first.clone()]);
    let doubled = encode(&[first.clone(), first.clone(), second.clone()]);
    let with = |alter: fn(&mut Wire)| {
        let mut parts = parts.clone();
        alter(&mut parts[1]);
        encode(&parts)
    };
    let mut other_commitment = asked("a commitment to another list", both.clone(), &[3, 7]);
    let mut no_commitment = asked("no commitment", both.clone(), &[3, 7]);
    let mut commitment_to_nothing = asked("a commitment without a list", Bytes::new(), &[]);
    let commitments = [
        (&mut other_commitment, Some(B256::repeat_byte(1))),
        (&mut no_commitment, None),
        (&mut commitment_to_nothing, Some(B256::repeat_byte(1))),
    ];
    for (asked, wanted) in commitments {
        if let Question::List { commitment, .. } = &mut asked.1 {
            *commitment = wanted;
        }
    }
    let mut cases = vec![
        asked("nothing used, nothing listed", Bytes::new(), &[]),
        asked("two, one of them a failure", both.clone(), &[7, 3, 7]),
        asked("text and an empty tensor", list(&[(1, Outcome::Output(texts.into()))]), &[1]),
        asked("one that nobody used", both.clone(), &[3]),
        asked("one that is not listed", both.clone(), &[3, 7, 9]),
        asked("out of order", swapped, &[3, 7]),
        asked("one twice", doubled, &[3, 7]),
        asked("cut", both.slice(..both.len() - 1), &[3, 7]),
        asked("trailing bytes", [&both[..], &[0]].concat().into(), &[3, 7]),
        asked("an empty list that is encoded", Bytes::from_static(&[0xc0]), &[]),
        asked("no RLP", Bytes::from_static(b"nonsense"), &[]),
        other_commitment,
        no_commitment,
        commitment_to_nothing,
    ];
    for (name, value) in [
        ("zero", 0),
        ("one", 1),
        ("minus one", -1),
        ("127", 127),
        ("128", 128),
        ("-128", -128),
        ("-129", -129),
        ("the greatest i64", i64::MAX),
    ] {
        cases.push(asked(&format!("the number {name}"), list(&[(5, number(value))]), &[5]));
    }
    // The second entry is the number -1: one tensor, Wad, rank 2, [1,1], then one byte 0xff.
    for (name, encoded) in [
        (
            "a number in more bytes than it needs",
            with(|entry| entry.data = [&entry.data[..11], &[2, 0xff, 0xff]].concat().into()),
        ),
        ("a byte after the tensors", with(|entry| entry.data = [&entry.data[..], &[0]].concat().into())),
        ("an unknown dtype", with(|entry| entry.data = [&[1, 12], &entry.data[2..]].concat().into())),
        (
            "a shape without its numbers",
            with(|entry| entry.data = [&entry.data[..7], &[0, 0, 0, 9, 1, 1]].concat().into()),
        ),
        ("a failure code that does not exist", with(|entry| entry.code = 11)),
        ("half a signature", with(|entry| entry.signatures = entry.signatures.slice(..100))),
        ("a reason that is too long", with(|entry| (entry.code, entry.data) = (4, vec![b'x'; 257].into()))),
        ("a reason that is no UTF-8", with(|entry| (entry.code, entry.data) = (4, vec![0xff].into()))),
    ] {
        cases.push(asked(name, encoded, &[3, 7]));
    }
    cases
}
