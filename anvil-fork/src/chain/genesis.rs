//! The first block: funded accounts, system contracts, the inference precompile and its registry.

use super::{Account, Block, Spec, World};
use crate::fork::UpstreamError;
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header};
use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, B256, Bytes, U256, address, bytes};
use foreblock_precompile::{
    ModelId, ModelSlot,
    genesis::{self, GenesisAccount, GenesisOperator},
};
use revm::bytecode::Bytecode;
use std::sync::Arc;

/// A genesis that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// Code that is no bytecode.
    #[error("code of genesis account {0} is not valid bytecode: {1}")]
    Code(Address, String),
    /// The chain below.
    #[error("{0}")]
    Upstream(#[from] Arc<UpstreamError>),
}

/// Where the deterministic deployment proxy stands on every chain; forge deploys through it.
pub(super) const CREATE2_DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
/// Its code.
pub(super) const CREATE2_DEPLOYER_CODE: Bytes = bytes!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// What the first block is made of.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// Its number.
    pub number: u64,
    /// Unix seconds.
    pub timestamp: u64,
    /// Gas limit of the block.
    pub gas_limit: u64,
    /// Base fee, from London on, wei.
    pub base_fee: u64,
    /// Who gets the fees.
    pub coinbase: Address,
    /// Accounts with money, wei.
    pub funded: Vec<(Address, U256)>,
    /// Whether there is nothing but `alloc`, so that the state root is the one that other clients have.
    pub exact: bool,
    /// Whether the deterministic deployment proxy is there.
    pub create2_deployer: bool,
    /// Accounts of a geth genesis file.
    pub alloc: Vec<(Address, alloy_genesis::GenesisAccount)>,
    /// Difficulty, before the merge.
    pub difficulty: U256,
    /// Extra data.
    pub extra_data: Bytes,
    /// Mix hash or randomness.
    pub mix_hash: B256,
    /// Proof-of-work nonce.
    pub nonce: u64,
    /// Where the inference precompile stands.
    pub precompile: Address,
    /// Models registered from the first block on.
    pub models: Vec<(ModelId, ModelSlot)>,
    /// Operators whose certificates count from the second block on.
    pub operators: Vec<GenesisOperator>,
    /// Further contracts.
    pub contracts: Vec<GenesisAccount>,
}

impl Genesis {
    /// The genesis block under these rules.
    pub fn block(&self, spec: &Spec) -> Result<Block, GenesisError> {
        let world = self.world(spec)?;
        let header = self.header(spec, world.root());
        Ok(Block::first(header, world))
    }

    /// The precompile, the registries, and the contracts beside them.
    pub(super) fn inference_contracts(&self) -> Vec<GenesisAccount> {
        let own = genesis::accounts(self.precompile, self.models.iter().copied(), &self.operators);
        own.into_iter().chain(self.contracts.iter().cloned()).collect()
    }

    fn header(&self, spec: &Spec, state_root: B256) -> Header {
        let cancun = spec.is_cancun_active_at_timestamp(self.timestamp);
        Header {
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: self.coinbase,
            state_root,
            transactions_root: EMPTY_ROOT_HASH,
            receipts_root: EMPTY_ROOT_HASH,
            difficulty: self.difficulty,
            number: self.number,
            gas_limit: self.gas_limit,
            timestamp: self.timestamp,
            extra_data: self.extra_data.clone(),
            mix_hash: self.mix_hash,
            nonce: self.nonce.to_be_bytes().into(),
            base_fee_per_gas: spec.is_london_active_at_block(self.number).then_some(self.base_fee),
            withdrawals_root: spec.is_shanghai_active_at_timestamp(self.timestamp).then_some(EMPTY_ROOT_HASH),
            blob_gas_used: cancun.then_some(0),
            excess_blob_gas: cancun.then_some(0),
            parent_beacon_block_root: cancun.then_some(B256::ZERO),
            requests_hash: spec
                .is_prague_active_at_timestamp(self.timestamp)
                .then_some(alloy_eips::eip7685::EMPTY_REQUESTS_HASH),
            ..Default::default()
        }
    }

    fn world(&self, spec: &Spec) -> Result<World, GenesisError> {
        let mut world = World::default();
        if self.exact {
            self.put_alloc(&mut world)?;
            return Ok(world);
        }
        for (address, code) in system_contracts(spec, self.timestamp) {
            put_contract(&mut world, address, code, [])?;
        }
        for given in self.inference_contracts() {
            put_contract(&mut world, given.address, given.code, given.storage)?;
            if let Some(mut account) = world.account(&given.address).cloned() {
                account.balance = given.balance;
                world.put(account);
            }
        }
        if self.create2_deployer {
            put_contract(&mut world, CREATE2_DEPLOYER, CREATE2_DEPLOYER_CODE, [])?;
        }
        for (address, balance) in &self.funded {
            let mut account = Account::new(*address);
            account.balance = *balance;
            world.put(account);
        }
        self.put_alloc(&mut world)?;
        Ok(world)
    }

    pub(super) fn put_alloc(&self, world: &mut World) -> Result<(), GenesisError> {
        for (address, given) in &self.alloc {
            let code = given.code.clone().unwrap_or_default();
            let storage = given.storage.clone().unwrap_or_default();
            let mut account = contract(world, *address, code, storage)?;
            account.balance = given.balance;
            account.nonce = given.nonce.unwrap_or(0);
            world.put(account);
        }
        Ok(())
    }
}

fn system_contracts(spec: &Spec, timestamp: u64) -> Vec<(Address, Bytes)> {
    let mut contracts = Vec::new();
    if spec.is_cancun_active_at_timestamp(timestamp) {
        contracts.push((eip4788::BEACON_ROOTS_ADDRESS, eip4788::BEACON_ROOTS_CODE.clone()));
    }
    if spec.is_prague_active_at_timestamp(timestamp) {
        contracts.push((eip2935::HISTORY_STORAGE_ADDRESS, eip2935::HISTORY_STORAGE_CODE.clone()));
        contracts
            .push((eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE.clone()));
        contracts.push((
            eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
            eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE.clone(),
        ));
    }
    contracts
}

fn put_contract(
    world: &mut World,
    address: Address,
    code: Bytes,
    storage: impl IntoIterator<Item = (B256, B256)>,
) -> Result<(), GenesisError> {
    let mut account = contract(world, address, code, storage)?;
    account.nonce = genesis::CONTRACT_NONCE;
    world.put(account);
    Ok(())
}

fn contract(
    world: &mut World,
    address: Address,
    code: Bytes,
    storage: impl IntoIterator<Item = (B256, B256)>,
) -> Result<Account, GenesisError> {
    let code = Bytecode::new_raw_checked(code).map_err(|error| GenesisError::Code(address, error.to_string()))?;
    let mut account = Account::new(address);
    account.code_hash = world.put_code(code);
    for (key, value) in storage {
        account.set_slot(key.into(), value.into());
    }
    Ok(account)
}
