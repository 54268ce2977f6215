//! The accounts that a chain needs before its first block.

use crate::{
    MODEL_REGISTRY_ADDRESS, ModelId, ModelSlot, OPERATOR_REGISTRY_ADDRESS, model_storage_key,
    operators::{GENESIS_STAKE_WEI, genesis_storage},
};
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, U256, hex};

pub use crate::operators::{GENESIS_ENDPOINT_BYTES_MAX, GenesisOperator};

/// Code of the precompile's account: `INVALID` (0xFE, EIP-141), so that tools see a contract and EIP-161 does not delete
/// the account when it is touched. It never runs.
pub const PRECOMPILE_CODE: [u8; 1] = [0xfe];

/// Nonce of the precompile's and the registries' accounts, as EIP-161 gives every contract.
pub const CONTRACT_NONCE: u64 = 1;

/// Runtime code of `ModelRegistry`, rebuilt from `contracts/` and compared by the tests.
pub fn model_registry_code() -> Bytes {
    hex::decode(include_str!("../artifacts/ModelRegistry.hex").trim()).expect("the artifact is hex").into()
}

/// Runtime code of `OperatorRegistry`, likewise.
pub fn operator_registry_code() -> Bytes {
    hex::decode(include_str!("../artifacts/OperatorRegistry.hex").trim()).expect("the artifact is hex").into()
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
    /// In wei: what operators have at stake.
    pub balance: U256,
    /// Storage, key and value.
    pub storage: Vec<(B256, B256)>,
}

/// The precompile's account, the registry of models with these registered, and the registry of operators with these
/// active, each of whom serves all these models.
pub fn accounts(
    precompile: Address,
    models: impl IntoIterator<Item = (ModelId, ModelSlot)>,
    operators: &[GenesisOperator],
) -> [GenesisAccount; 3] {
    let models: Vec<_> = models.into_iter().collect();
    let ids: Vec<ModelId> = models.iter().map(|(id, _)| *id).collect();
    let account =
        |address, code, storage| GenesisAccount { address, code, nonce: CONTRACT_NONCE, balance: U256::ZERO, storage };
    let slots = models.into_iter().map(|(id, slot)| (model_storage_key(id), slot.pack().into())).collect();
    let stakes = U256::from(GENESIS_STAKE_WEI) * U256::from(operators.len());
    let registry = account(OPERATOR_REGISTRY_ADDRESS, operator_registry_code(), genesis_storage(operators, &ids));
    [
        account(precompile, Bytes::from_static(&PRECOMPILE_CODE), Vec::new()),
        account(MODEL_REGISTRY_ADDRESS, model_registry_code(), slots),
        GenesisAccount { balance: stakes, ..registry },
    ]
}
