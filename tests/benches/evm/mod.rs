//! A state in memory with one model, contracts, and senders who can pay for anything; and the answers that a builder finds.

use alloy_primitives::{Address, Bytes, U256};
use foreblock_pre_executor::{Store, StoreLimits};
use foreblock_precompile::{
    MODEL_REGISTRY_ADDRESS, ModelId, ModelSlot, Outcome, Outcomes, Profile, Request, model_storage_key,
};
use revm::{
    bytecode::Bytecode,
    database::{CacheDB, EmptyDB},
    state::AccountInfo,
};

/// The state; inputs and outputs of the model take at most `bytes_max` bytes each.
pub(crate) fn state(
    model: ModelId,
    bytes_max: u32,
    contracts: impl IntoIterator<Item = (Address, Bytecode)>,
    senders: impl IntoIterator<Item = Address>,
) -> CacheDB<EmptyDB> {
    let slot = ModelSlot {
        gas_per_run: 5_000,
        max_input_bytes: bytes_max,
        max_output_bytes: bytes_max,
        profile: Profile::ExactF32,
    };
    let mut db = CacheDB::new(EmptyDB::default());
    let contract = AccountInfo { nonce: 1, ..AccountInfo::default() };
    db.insert_account_info(MODEL_REGISTRY_ADDRESS, contract.clone());
    db.insert_account_storage(MODEL_REGISTRY_ADDRESS, model_storage_key(model).into(), slot.pack())
        .expect("an in-memory database has no errors");
    for (address, code) in contracts {
        db.insert_account_info(address, contract.clone().with_code(code));
    }
    for sender in senders {
        db.insert_account_info(sender, AccountInfo::from_balance(U256::MAX >> 1));
    }
    db
}

/// The node's store after a scout has asked with these inputs and a worker has answered.
pub(crate) fn scouted(model: ModelId, answers: impl IntoIterator<Item = (Bytes, Bytes)>) -> Store {
    let store = Store::in_memory(StoreLimits::default());
    for (input, output) in answers {
        let request = Request::new(model, input);
        store.missing(&request);
        store.put(&[(request.id, Outcome::Output(output).into())]).expect("a store in memory takes everything");
    }
    store
}
