//! Vectors that Rust and Solidity both read.

use alloy_primitives::{Address, B256, Bytes, Signature, keccak256};
use foreblock_precompile::{Certificate, Committee, Failure, FailureCode, Outcome, StatementDomain};
use serde_json::Value;
use std::str::FromStr;

fn parse<T: FromStr>(value: &Value) -> T
where
    T::Err: std::fmt::Debug,
{
    value.as_str().expect("a string of hex").parse().expect("hex of the right length")
}

#[test]
fn the_certificate_that_solidity_accepts_is_accepted() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/certificate.json");
    let vector: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let input: Bytes = parse(&vector["input"]);
    let id: B256 = parse(&vector["requestId"]);
    assert_eq!(keccak256([parse::<B256>(&vector["modelId"]), keccak256(input)].concat()), id);

    let outcome = Outcome::Output(parse(&vector["output"]));
    assert_eq!(outcome.hash(), parse::<B256>(&vector["outcomeHash"]));
    let failure = Failure::new(FailureCode::NotFinite, vector["failure"]["reason"].as_str().unwrap());
    assert_eq!(failure.code as u64, vector["failure"]["code"]);
    assert_eq!(Outcome::Failed(failure).hash(), parse::<B256>(&vector["failure"]["outcomeHash"]));

    let digest = StatementDomain::new(vector["chainId"].as_u64().unwrap()).digest(id, &outcome);
    let operators = vector["operators"].as_array().unwrap().iter().map(parse::<Address>);
    let signatures: Bytes = parse(&vector["signatures"]);
    let certificate =
        Certificate { signatures: signatures.chunks(65).map(|bytes| Signature::from_raw(bytes).unwrap()).collect() };
    assert_eq!(certificate.verify(digest, &Committee::new(operators)).unwrap().len(), 3);
}
