//! The node's last block in the pre-executor's words: its state by JSON-RPC, and the environment of the block after it.

use crate::{
    chain::{Spec, StateError, wall},
    fork::Upstream,
};
use alloy_evm::EvmEnv;
use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth as rpc;
use revm::{
    bytecode::Bytecode,
    context_interface::block::BlobExcessGasAndPrice,
    database_interface::{DatabaseRef, ErasedError},
    state::AccountInfo,
};
use std::sync::Arc;

/// State after a block, read from the node as it is needed and kept until the next block.
#[derive(Clone, Debug)]
pub(super) struct NodeState(pub(super) Arc<Upstream>);

fn erased(error: impl Into<StateError>) -> ErasedError {
    ErasedError::new(error.into())
}

impl DatabaseRef for NodeState {
    type Error = ErasedError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, ErasedError> {
        let told = self.0.account(address).map_err(erased)?;
        if told.is_empty() {
            return Ok(None);
        }
        let code = self.0.code_of(address, &told.code_hash).map_err(erased)?;
        Ok(Some(AccountInfo {
            balance: told.balance,
            nonce: told.nonce,
            code_hash: told.code_hash,
            code: Some(code.unwrap_or_default()),
            ..Default::default()
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, ErasedError> {
        self.0.code(&hash).ok_or_else(|| erased(StateError::MissingCode(hash)))
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, ErasedError> {
        self.0.slot(address, key).map_err(erased)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, ErasedError> {
        self.0.block_hash(number).map_err(erased)
    }
}

/// The block after `parent`, as far as it can be known: prevrandao is the parent's, and the time is now.
pub(super) fn next_env(spec: &Spec, parent: &rpc::Header) -> EvmEnv {
    let (number, timestamp) = (parent.number + 1, wall().max(parent.timestamp + 1));
    let mut env = spec.evm_env(number, timestamp);
    // Nodes for development let contracts send, and take transactions of any gas: what they include has to run here.
    env.cfg_env.disable_eip3607 = true;
    env.cfg_env.tx_gas_limit_cap = Some(u64::MAX);
    let block = &mut env.block_env;
    block.beneficiary = parent.beneficiary;
    block.gas_limit = parent.gas_limit;
    block.basefee = parent.inner.next_block_base_fee(spec.base_fees()).unwrap_or(0);
    block.difficulty = parent.difficulty;
    block.prevrandao = Some(parent.mix_hash);
    block.blob_excess_gas_and_price = spec.blobs(timestamp).map(|params| {
        let excess_blob_gas = parent.inner.next_block_excess_blob_gas(params).unwrap_or(0);
        BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice: params.calc_blob_fee(excess_blob_gas) }
    });
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_block_follows_from_the_last() {
        let inner = alloy_consensus::Header {
            number: 7,
            timestamp: wall() + 1_000,
            gas_limit: 30_000_000,
            gas_used: 30_000_000,
            base_fee_per_gas: Some(1_000_000_000),
            excess_blob_gas: Some(0),
            blob_gas_used: Some(0),
            ..Default::default()
        };
        let parent = rpc::Header::new(inner);
        let env = next_env(&Spec::up_to(5, "latest").unwrap(), &parent);
        assert_eq!((env.cfg_env.chain_id, env.block_env.number), (5, U256::from(8)));
        assert_eq!(env.block_env.timestamp, U256::from(parent.timestamp + 1), "never before its parent");
        assert_eq!(env.block_env.basefee, 1_125_000_000, "a full block raises the base fee by an eighth");
        assert!(env.block_env.blob_excess_gas_and_price.is_some());
    }
}
