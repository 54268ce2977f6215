//! Every way in which a transaction can come to ask a model is seen by the scout.

mod world;

use alloy_primitives::{Address, U256, address};
use foreblock_pre_executor::PendingTransaction;
use foreblock_precompile::Outcomes;
use revm::{
    bytecode::Bytecode,
    context::{
        TxEnv,
        transaction::{Authorization, RecoveredAuthority, RecoveredAuthorization},
    },
    state::AccountInfo,
};
use world::*;

/// Tries something that asks and then reverts, catches that, and asks for one more.
const CATCHING: Address = address!("0x00000000000000000000000000000000000c0ca7");
/// Takes a list of accounts to call, as an ERC-4337 entry point does, and goes on where one fails.
const ENTRY_POINT: Address = address!("0x0000000000000000000000000000000000004337");
/// An externally owned account whose code is another contract's (EIP-7702).
const DELEGATED: Address = address!("0x0000000000000000000000000000000000007702");

/// `call(to, calldata)`, whatever comes of it.
fn call(to: Address) -> Vec<u8> {
    [&[0x5f, 0x5f, 0x36, 0x5f, 0x5f, 0x73][..], to.as_slice(), &[0x5a, 0xf1, 0x50]].concat()
}

/// `mstore(calldatasize - 32, mload(calldatasize - 32) + 1)`.
const NEXT_WORD: [u8; 13] = [0x60, 0x20, 0x36, 0x03, 0x80, 0x51, 0x60, 0x01, 0x01, 0x90, 0x52, 0x5b, 0x5b];

fn put(db: &mut Db, address: Address, code: Bytecode) {
    db.insert_account_info(address, AccountInfo { nonce: 1, ..Default::default() }.with_code(code));
}

fn callers() -> Db {
    let mut db = db();
    let load = [0x36, 0x5f, 0x5f, 0x37];
    let catching = [&load[..], &call(REVERTING), &NEXT_WORD, &call(ONCE), &[0x00]].concat();
    put(&mut db, CATCHING, Bytecode::new_raw(catching.into()));
    let entry =
        [&load[..], &call(REVERTING), &NEXT_WORD, &call(NESTED), &NEXT_WORD, &call(DELEGATED), &[0x00]].concat();
    put(&mut db, ENTRY_POINT, Bytecode::new_raw(entry.into()));
    put(&mut db, DELEGATED, Bytecode::new_eip7702(ONCE));
    db
}

fn asked(tx: PendingTransaction, words: &[u64]) {
    let (pre, model) = start(AddOne::default(), 1);
    pre.new_head(head(1, &callers(), None));
    pre.submit(tx.clone());
    assert!(pre.wait_ready(tx.hash, SOON), "{:?}", pre.status(tx.hash));
    assert_eq!(*model.ran.lock(), words.iter().map(|word| U256::from(*word)).collect::<Vec<_>>());
    let calls = pre.status(tx.hash).unwrap().calls;
    assert_eq!(
        calls.iter().map(|call| call.request).collect::<Vec<_>>(),
        words.iter().map(|word| request(*word).id).collect::<Vec<_>>()
    );
    assert!(words.iter().all(|word| pre.store().get(request(*word).id).is_some()));
}

#[test]
fn what_is_asked_after_a_caught_failure_is_found() {
    asked(tx(1, 0, CATCHING, asks(7)), &[7, 8]);
}

#[test]
fn a_bundle_of_user_operations_asks_for_each_of_them() {
    asked(tx(1, 0, ENTRY_POINT, asks(7)), &[7, 8, 9]);
}

#[test]
fn an_account_with_delegated_code_asks_as_a_contract_does() {
    asked(tx(1, 0, DELEGATED, asks(7)), &[7]);
}

#[test]
fn an_account_delegated_by_the_same_transaction_asks() {
    let authority = sender(50);
    let authorization = Authorization { chain_id: U256::from(1), address: ONCE, nonce: 0 };
    let recovered = RecoveredAuthorization::new_unchecked(authorization, RecoveredAuthority::Valid(authority));
    let plain = tx(1, 0, authority, asks(7));
    let env = TxEnv::builder()
        .caller(plain.env.caller)
        .nonce(0)
        .to(authority)
        .gas_limit(1_000_000)
        .gas_price(11)
        .gas_priority_fee(Some(1))
        .data(plain.env.data.clone())
        .chain_id(Some(1))
        .authorization_list_recovered(vec![recovered])
        .build()
        .unwrap();
    asked(PendingTransaction { env, ..plain }, &[7]);
}

#[test]
fn ten_thousand_inferences_are_put_off_and_others_go_on() {
    let greedy = address!("0x0000000000000000000000000000000000010000");
    let mut db = callers();
    // Asks with a counter until its gas is gone.
    let body = [
        &[0x36, 0x5f, 0x5f, 0x37, 0x5b][..],
        &NEXT_WORD[..11],
        &[0x5f, 0x5f, 0x36, 0x5f, 0x61, 0x1a, 0x0f, 0x5a, 0xfa, 0x50, 0x60, 0x04, 0x56],
    ]
    .concat();
    put(&mut db, greedy, Bytecode::new_raw(body.into()));
    let (pre, _) = start(AddOne::default(), 1);
    pre.new_head(head(1, &db, None));
    let mut many = tx(90, 0, greedy, asks(1_000_000));
    many.env.gas_limit = 16_000_000;
    let honest = tx(1, 0, ONCE, asks(7));
    pre.submit(many.clone());
    pre.submit(honest.clone());
    assert!(pre.wait_ready(honest.hash, SOON), "{:?}", pre.status(honest.hash));
    assert!(!pre.wait_ready(many.hash, SOON), "64 for one block, and goes on with the next");
    let calls = pre.status(many.hash).unwrap().calls.len();
    assert!((64..=66).contains(&calls), "{calls} calls");
    assert!(pre.metrics().queue <= 1);
}
