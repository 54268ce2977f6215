//! Certificates and inference lists: what counts, and every way in which they do not.

use alloy_primitives::{Address, B256, Bytes, Signature, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue;
use foreblock_precompile::{
    Certificate, CertificateError, Committee, Failure, FailureCode, InferenceList, LIST_BYTES_MAX, ListEntry,
    ListError, Outcome, StatementDomain, Used,
    abi::{DType, Tensor},
};

const CHAIN: u64 = 31_337;

fn signer(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::with_last_byte(number)).unwrap()
}

fn committee(n: u8) -> Committee {
    Committee::new((1..=n).map(|number| signer(number).address()))
}

fn certify(domain: &StatementDomain, id: B256, outcome: &Outcome, signers: &[u8]) -> Certificate {
    let digest = domain.digest(id, outcome);
    Certificate::assemble(digest, signers.iter().map(|number| signer(*number).sign_hash_sync(&digest).unwrap()))
}

fn output(text: &'static str) -> Outcome {
    let data = Bytes::from_static(text.as_bytes());
    Outcome::Output(vec![Tensor { dtype: DType::Text, shape: vec![], data }].abi_encode().into())
}

fn list(entries: &[(u8, Outcome)]) -> InferenceList {
    let domain = StatementDomain::new(CHAIN);
    InferenceList::new(entries.iter().map(|(id, outcome)| {
        let id = B256::repeat_byte(*id);
        ListEntry { id, outcome: outcome.clone(), certificate: certify(&domain, id, outcome, &[1, 2, 3]) }
    }))
    .unwrap()
}

fn both() -> InferenceList {
    list(&[
        (7, output("seven")),
        (3, Outcome::Failed(Failure::new(FailureCode::OutOfRange, "index 9 of 4"))),
        (7, output("seven")),
    ])
}

#[test]
fn quorum_is_two_thirds_and_one() {
    for (n, f, quorum) in [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 1, 3), (5, 1, 4), (7, 2, 5), (10, 3, 7), (13, 4, 9)] {
        let committee = Committee::new((0..n).map(Address::with_last_byte));
        assert_eq!((committee.faulty_max(), committee.quorum()), (f, quorum), "n = {n}");
    }
}

#[test]
fn a_list_is_sorted_deduplicated_and_survives_encoding() {
    let list = both();
    let ids: Vec<_> = list.entries().iter().map(|entry| entry.id[0]).collect();
    assert_eq!(ids, [3, 7]);
    assert_eq!(InferenceList::decode(&list.encode()), Ok(list.clone()));
    let signers = list.verify_certificates(&StatementDomain::new(CHAIN), &committee(4)).unwrap();
    assert_eq!(signers.len(), list.entries().len());
    assert!(signers.iter().all(|signers| committee(4).accepts(signers)), "{signers:?}");
    assert_eq!(InferenceList::decode_committed(&list.encode(), list.commitment()), Ok(list.clone()));
    assert_eq!(InferenceList::decode_committed(&[], None), Ok(InferenceList::default()));
    assert_eq!(InferenceList::default().commitment(), None);
    // What a block pays for an outcome: three signatures, the id, and a short output.
    assert!(list.encode().len() / 2 <= 320, "{} bytes an outcome", list.encode().len() / 2);
    let wire = Used { id: B256::ZERO, model: B256::ZERO, outcome: Outcome::Output("raw".into()), inference_gas: 0 };
    let refused = InferenceList::new([(wire, Certificate::default())]);
    assert!(matches!(refused, Err(ListError::Output { .. })), "{refused:?}");
}

#[test]
fn certificates_count_only_for_their_statement() {
    let domain = StatementDomain::new(CHAIN);
    let (id, outcome) = (B256::repeat_byte(1), output("yes"));
    let digest = domain.digest(id, &outcome);
    let good = certify(&domain, id, &outcome, &[1, 2, 3]);
    let signers = good.verify(digest, &committee(4)).unwrap();
    assert!(signers.is_sorted() && signers.len() == 3);

    let swapped = Certificate { signatures: good.signatures.iter().rev().copied().collect() };
    let repeated = Certificate { signatures: vec![good.signatures[0]; 3] };
    let two = Certificate { signatures: good.signatures[..2].to_vec() };
    let five = certify(&domain, id, &outcome, &[1, 2, 3, 4, 5]);
    let high_s = {
        let signature = good.signatures[0];
        let order =
            U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
        let mut signatures = good.signatures.clone();
        signatures[0] = Signature::new(signature.r(), order - signature.s(), !signature.v());
        Certificate { signatures }
    };
    let zeros = Certificate { signatures: vec![Signature::new(U256::ZERO, U256::ZERO, false); 3] };
    for (name, certificate, expected) in [
        ("too few", two, CertificateError::TooFew { found: 2, quorum: 3, operators: 4 }),
        ("too many", five, CertificateError::TooMany { found: 5, operators: 4 }),
        ("reordered", swapped, CertificateError::Order(signers[1])),
        ("repeated", repeated, CertificateError::Order(signers[0])),
        ("malleable", high_s, CertificateError::Invalid(0)),
        ("no key", zeros, CertificateError::Invalid(0)),
    ] {
        assert_eq!(certificate.verify(digest, &committee(4)), Err(expected), "{name}");
    }
    // A stranger, another outcome, another request, another chain: recovery gives addresses that are no operators.
    for (name, certificate) in [
        ("a stranger", certify(&domain, id, &outcome, &[1, 2, 9])),
        ("another outcome", certify(&domain, id, &output("no"), &[1, 2, 3])),
        ("a failure with the same text", {
            certify(&domain, id, &Outcome::Failed(Failure::new(FailureCode::WrongShape, "yes")), &[1, 2, 3])
        }),
        ("another request", certify(&domain, B256::repeat_byte(2), &outcome, &[1, 2, 3])),
        ("another chain", certify(&StatementDomain::new(1), id, &outcome, &[1, 2, 3])),
    ] {
        let error = certificate.verify(digest, &committee(4)).unwrap_err();
        assert!(matches!(error, CertificateError::Stranger(_)), "{name}: {error}");
    }
    // One who left.
    let departed = Committee::new(committee(4).operators().iter().copied().filter(|operator| *operator != signers[0]));
    assert_eq!(good.verify(digest, &departed), Err(CertificateError::Stranger(signers[0])));
}

#[test]
fn tampering_with_a_list_is_named() {
    let (list, domain) = (both(), StatementDomain::new(CHAIN));
    let committed = list.commitment();
    let other = self::list(&[(7, output("seven"))]);
    for encoded in [other.encode(), Bytes::new()] {
        let refused = InferenceList::decode_committed(&encoded, committed);
        assert!(matches!(refused, Err(ListError::Commitment { .. })), "{refused:?}");
    }
    let unasked = InferenceList::decode_committed(&list.encode(), None);
    assert!(matches!(unasked, Err(ListError::Commitment { .. })), "{unasked:?}");

    let used = |ids: &[u8]| ids.iter().map(|id| B256::repeat_byte(*id)).collect::<Vec<_>>();
    assert_eq!(list.verify_used(used(&[7, 3, 7])), Ok(()));
    assert_eq!(list.verify_used(used(&[7])), Err(ListError::Unused(B256::repeat_byte(3))));
    assert_eq!(list.verify_used(used(&[3, 7, 9])), Err(ListError::Missing(B256::repeat_byte(9))));

    // An altered output keeps its certificate, which then speaks of another one.
    let position = list.encode().windows(5).position(|window| window == b"seven").unwrap();
    let mut altered = list.encode().to_vec();
    altered[position] = b'S';
    let altered = InferenceList::decode(&altered).unwrap();
    let error = altered.verify_certificates(&domain, &committee(4)).unwrap_err();
    assert!(matches!(&error, ListError::Certificate { id, .. } if *id == B256::repeat_byte(7)), "{error}");
}

#[test]
fn encodings_that_are_not_canonical_are_refused() {
    let list = both();
    let encoded = list.encode().to_vec();
    let entry = |at: usize| {
        let ids: Vec<_> = list.entries().iter().map(|ListEntry { id, .. }| *id).collect();
        encoded.windows(32).position(|window| window == ids[at].as_slice()).unwrap()
    };
    let with_id = |at: usize, byte: u8| {
        let mut bytes = encoded.clone();
        bytes[entry(at)..entry(at) + 32].fill(byte);
        bytes
    };
    assert_eq!(InferenceList::decode(&with_id(0, 7)), Err(ListError::Duplicate(B256::repeat_byte(7))));
    assert_eq!(InferenceList::decode(&with_id(0, 9)), Err(ListError::Unsorted(B256::repeat_byte(7))));
    assert_eq!(InferenceList::decode(&vec![0; LIST_BYTES_MAX + 1]), Err(ListError::TooLong(LIST_BYTES_MAX + 1)));

    let trailing = [encoded.clone(), vec![0]].concat();
    let last_v = encoded.len() - 1;
    let mut small_v = encoded.clone();
    small_v[last_v] -= 27;
    for (name, bytes) in [
        ("empty", vec![]),
        ("truncated", encoded[..encoded.len() - 1].to_vec()),
        ("trailing", trailing),
        ("v of 0 or 1", small_v),
        ("html", b"<html>502</html>".to_vec()),
    ] {
        assert!(matches!(InferenceList::decode(&bytes), Err(ListError::Encoding(_))), "{name}");
    }
}

#[test]
fn no_mutation_of_a_list_passes_for_the_list() {
    let (list, domain) = (both(), StatementDomain::new(CHAIN));
    let encoded = list.encode();
    for at in 0..encoded.len() {
        let mut bytes = encoded.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let Ok(decoded) = InferenceList::decode(&bytes) else { continue };
        assert!(
            decoded.verify_certificates(&domain, &committee(4)).is_err() || decoded == list,
            "byte {at} can be changed unseen"
        );
    }
}

/// The vectors that other implementations read. `BLESS=1` writes them.
#[test]
fn the_shared_vectors_are_what_lists_encode_to() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/inference-list.json");
    let cases = [
        ("an output and a failure", both()),
        ("one number", list(&[(1, number(12_300_000_000_000_000))])),
        ("a negative number", list(&[(2, number(-1))])),
        ("no output tensors", list(&[(3, Outcome::Output(Vec::<Tensor>::new().abi_encode().into()))])),
    ];
    let vectors: Vec<_> = cases.iter().map(|(name, list)| vector(name, list)).collect();
    let written = serde_json::json!({
        "about": "Encoded inference lists of chain 31337, certified by the operators whose secret keys are 1, 2 and 3, of 4. docs/inference-list.md says how.",
        "chainId": CHAIN,
        "operators": committee(4).operators().iter().map(Address::to_string).collect::<Vec<_>>(),
        "lists": vectors,
    });
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&written).unwrap() + "\n").unwrap();
    }
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(kept, written);
    for vector in kept["lists"].as_array().unwrap() {
        let encoded: Bytes = vector["encoded"].as_str().unwrap().parse().unwrap();
        let commitment: B256 = vector["commitment"].as_str().unwrap().parse().unwrap();
        let decoded = InferenceList::decode_committed(&encoded, Some(commitment)).unwrap();
        decoded.verify_certificates(&StatementDomain::new(CHAIN), &committee(4)).unwrap();
        assert_eq!(decoded.entries().len(), vector["entries"].as_array().unwrap().len());
    }
}

fn number(value: i64) -> Outcome {
    let data = alloy_primitives::I256::try_from(value).unwrap().to_be_bytes::<32>().to_vec().into();
    Outcome::Output(vec![Tensor { dtype: DType::Wad, shape: vec![1], data }].abi_encode().into())
}

fn vector(name: &str, list: &InferenceList) -> serde_json::Value {
    let entry = |entry: &ListEntry| match &entry.outcome {
        Outcome::Output(output) => {
            serde_json::json!({ "requestId": entry.id.to_string(), "output": output.to_string() })
        }
        Outcome::Failed(failure) => {
            serde_json::json!({ "requestId": entry.id.to_string(), "code": failure.code as u16, "reason": failure.reason })
        }
    };
    let entries: Vec<_> = list.entries().iter().map(entry).collect();
    let commitment = list.commitment().unwrap();
    let request = [&[foreblock_precompile::REQUEST_TYPE], commitment.as_slice()].concat();
    serde_json::json!({
        "name": name,
        "entries": entries,
        "encoded": list.encode().to_string(),
        "commitment": commitment.to_string(),
        "eip7685Request": Bytes::from(request).to_string(),
    })
}
