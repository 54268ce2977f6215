//! The accounts that a chain needs before its first block.

use crate::{MODEL_REGISTRY_ADDRESS, ModelId, ModelSlot, model_storage_key};
use alloy_primitives::{Address, B256, Bytes, hex};

/// Code of the precompile's account: `INVALID` (0xFE, EIP-141), so that tools see a contract and EIP-161 does not delete
/// the account when it is touched. It never runs.
pub const PRECOMPILE_CODE: [u8; 1] = [0xfe];

/// Nonce of the precompile's and the registries' accounts, as EIP-161 gives every contract.
pub const CONTRACT_NONCE: u64 = 1;

/// Runtime code of `ModelRegistry`, rebuilt from `contracts/` and compared by the tests.
pub fn model_registry_code() -> Bytes {
    hex::decode(include_str!("../artifacts/ModelRegistry.hex").trim()).expect("the artifact is hex").into()
}

/// An account of the genesis block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisAccount {
    /// Where.
    pub address: Address,
    /// Runtime code.
    pub code: Bytes,
    /// Nonce.
    pub nonce: u64,
    /// Storage, key and value.
    pub storage: Vec<(B256, B256)>,
}

/// The precompile's account, and the registry with these models registered.
pub fn accounts(precompile: Address, models: impl IntoIterator<Item = (ModelId, ModelSlot)>) -> [GenesisAccount; 2] {
    [
        GenesisAccount {
            address: precompile,
            code: Bytes::from_static(&PRECOMPILE_CODE),
            nonce: CONTRACT_NONCE,
            storage: Vec::new(),
        },
        GenesisAccount {
            address: MODEL_REGISTRY_ADDRESS,
            code: model_registry_code(),
            nonce: CONTRACT_NONCE,
            storage: models.into_iter().map(|(id, slot)| (model_storage_key(id), slot.pack().into())).collect(),
        },
    ]
}
