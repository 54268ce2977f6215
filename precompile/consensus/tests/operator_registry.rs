//! The registry of a genesis block, read by its own code and by block verification; and the certificate that Rust and
//! Solidity both read.

use alloy_evm::{Evm, EvmEnv, EvmFactory};
use alloy_primitives::{Address, B256, Bytes, Signature, U256, hex, keccak256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use foreblock_precompile::{
    Certificate, Committee, Failure, FailureCode, ForeblockEvmFactory, MemoryOutcomes, ModelSlot,
    OPERATOR_REGISTRY_ADDRESS, Outcome, PRECOMPILE_ADDRESS, Profile, Request, StatementDomain,
    abi::IOperatorRegistry as Registry,
    genesis::{GenesisAccount, GenesisOperator, accounts},
};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};
use std::sync::Arc;

const MODEL: B256 = B256::repeat_byte(0x42);
const SLOT: ModelSlot =
    ModelSlot { gas_per_run: 5_000, max_input_bytes: 2_048, max_output_bytes: 1_024, profile: Profile::ExactF32 };

fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::with_last_byte(number)).unwrap()
}

fn state(operators: &[GenesisOperator]) -> CacheDB<EmptyDB> {
    let mut db = CacheDB::new(EmptyDB::default());
    for GenesisAccount { address, code, nonce, balance, storage } in
        accounts(PRECOMPILE_ADDRESS, [(MODEL, SLOT)], operators)
    {
        let info = AccountInfo { nonce, balance, ..Default::default() }.with_code(Bytecode::new_raw(code));
        db.insert_account_info(address, info);
        for (key, value) in storage {
            db.insert_account_storage(address, key.into(), value.into()).unwrap();
        }
    }
    db
}

fn operators(count: u8) -> Vec<GenesisOperator> {
    (1..=count)
        .map(|number| GenesisOperator { address: key(number).address(), endpoint: format!("operator {number}") })
        .collect()
}

/// What the registry's own code says; the revert data where it reverts.
fn call<C: SolCall>(db: &CacheDB<EmptyDB>, call: C) -> Result<C::Return, Bytes> {
    let cfg_env = CfgEnv::<SpecId>::default().with_spec_and_mainnet_gas_params(SpecId::PRAGUE).with_chain_id(31_337);
    let env = EvmEnv { cfg_env, block_env: BlockEnv { gas_limit: u64::MAX, ..Default::default() } };
    let factory = ForeblockEvmFactory::new(Arc::new(MemoryOutcomes::default()));
    let mut evm = factory.create_evm(db.clone(), env);
    let tx = TxEnv::builder().to(OPERATOR_REGISTRY_ADDRESS).gas_limit(10_000_000).chain_id(Some(31_337));
    let result = evm.transact_raw(tx.data(call.abi_encode().into()).build().unwrap()).unwrap().result;
    let output = result.output().cloned().unwrap_or_default();
    if result.is_success() { Ok(C::abi_decode_returns(&output).unwrap()) } else { Err(output) }
}

#[test]
fn the_registrys_code_reads_the_storage_of_the_genesis_block() {
    let given = operators(4);
    let db = state(&given);
    assert_eq!(call(&db, Registry::operatorsCall {}).unwrap(), given.iter().map(|one| one.address).collect::<Vec<_>>());
    assert_eq!(call(&db, Registry::quorumCall {}).unwrap(), U256::from(3));
    for (at, operator) in given.iter().enumerate() {
        let known = call(&db, Registry::operatorCall { account: operator.address }).unwrap();
        assert_eq!((known.stake, known.freeAt, known.place), (1_000_000_000_000_000_000, 0, at as u32 + 1));
        assert_eq!((known.endpoint, known.banned), (operator.endpoint.clone(), false));
        assert!(call(&db, Registry::servesCall { account: operator.address, modelId: MODEL }).unwrap());
    }
    let storage = |key| db.storage_ref(OPERATOR_REGISTRY_ADDRESS, key);
    assert_eq!(Committee::read(storage).unwrap(), Committee::new(given.iter().map(|operator| operator.address)));
    let account = db.basic_ref(OPERATOR_REGISTRY_ADDRESS).unwrap().unwrap();
    assert_eq!(account.balance, U256::from(4_000_000_000_000_000_000u128), "the stakes are there to be taken");
}

#[test]
fn a_chain_without_operators_has_an_empty_registry() {
    let db = state(&[]);
    assert_eq!(call(&db, Registry::operatorsCall {}).unwrap(), Vec::<Address>::new());
    assert!(call(&db, Registry::operatorCall { account: Address::ZERO }).unwrap().endpoint.is_empty());
}

#[test]
fn the_shared_certificate_counts_in_rust_and_on_chain() {
    let vector: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/certificate.json")).unwrap();
    let bytes = |name: &str| -> Bytes { vector[name].as_str().unwrap().parse().unwrap() };
    let word = |name: &str| B256::from_slice(&bytes(name));

    let request = Request::new(word("modelId"), bytes("input"));
    assert_eq!(request.id, word("requestId"));
    let outcome = Outcome::Output(bytes("output"));
    assert_eq!(outcome.hash(), word("outcomeHash"));
    let (code, reason) = (&vector["failure"]["code"], vector["failure"]["reason"].as_str().unwrap());
    let code = FailureCode::try_from(code.as_u64().unwrap() as u16).unwrap();
    let failed = Outcome::Failed(Failure::new(code, reason)).hash();
    assert_eq!(hex::encode_prefixed(failed), vector["failure"]["outcomeHash"]);

    let committee = Committee::new(operators(4).into_iter().map(|operator| operator.address));
    let named = vector["operators"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().parse().unwrap());
    assert_eq!(committee, Committee::new(named));
    let signatures = bytes("signatures");
    let certificate =
        Certificate { signatures: signatures.chunks(65).map(|raw| Signature::from_raw(raw).unwrap()).collect() };
    let digest = StatementDomain::new(vector["chainId"].as_u64().unwrap()).digest(request.id, &outcome);
    let signers = certificate.verify(digest, &committee).unwrap();
    assert!(committee.accepts(&signers) && signers.len() == 3);
    assert_eq!(Certificate::assemble(digest, certificate.signatures.iter().rev().copied()), certificate);

    let db = state(&operators(4));
    let check = |outcome: B256, signatures: Bytes| {
        call(&db, Registry::checkCertificateCall { requestId: request.id, outcomeHash: outcome, signatures })
    };
    check(outcome.hash(), signatures.clone()).unwrap();
    check(keccak256("another"), signatures.clone()).map(drop).unwrap_err();
    check(outcome.hash(), signatures.slice(..130)).map(drop).unwrap_err();
}
