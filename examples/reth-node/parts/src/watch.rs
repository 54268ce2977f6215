//! What the pre-executor hears of a node that it runs in: pending transactions, heads, and state. No type of the client's EVM crosses here, so
//! that the two may be of different releases.

use crate::ledger::Certify;
use alloy_consensus::transaction::Recovered;
use alloy_evm::{EvmEnv, FromRecoveredTx};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use foreblock_pre_executor::{Compute, Config, Head, PendingTransaction, PreExecutor, StartError};
use foreblock_precompile::Outcomes;
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    context_interface::block::BlobExcessGasAndPrice,
    database_interface::{DatabaseRef, ErasedError},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};
use std::{fmt, sync::Arc, time::Duration};

/// Nonce, balance and, if there is code, its hash.
pub type AccountRead = (u64, U256, Option<B256>);

/// A node's state after one block.
pub trait NodeRead: fmt::Debug + Send + Sync + 'static {
    /// Why something cannot be read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// An account, if it is there.
    fn account(&self, address: Address) -> Result<Option<AccountRead>, Self::Error>;
    /// Code by its hash.
    fn code(&self, hash: B256) -> Result<Option<Bytes>, Self::Error>;
    /// A storage slot.
    fn slot(&self, address: Address, key: B256) -> Result<U256, Self::Error>;
    /// The hash of a block of the past.
    fn block_hash(&self, number: u64) -> Result<B256, Self::Error>;
}

/// The block after the head, as far as it can be known.
#[derive(Clone, Debug)]
pub struct NextBlock {
    /// The chain.
    pub chain_id: u64,
    /// The rules' name, such as `Prague`.
    pub fork: String,
    /// Its number.
    pub number: u64,
    /// Its time, seconds.
    pub timestamp: u64,
    /// Its gas limit.
    pub gas_limit: u64,
    /// Its base fee.
    pub base_fee: u64,
    /// Who is paid.
    pub beneficiary: Address,
    /// The head's randomness, since the block's own is not known.
    pub prevrandao: B256,
    /// Its excess of blob gas and the price that follows, where there are blobs.
    pub blobs: Option<(u64, u128)>,
}

/// A fork that this release does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fork that this release knows: expected such as Prague")]
pub struct UnknownFork(String);

impl NextBlock {
    fn env(&self) -> Result<EvmEnv, UnknownFork> {
        let spec: SpecId = self.fork.parse().map_err(|_| UnknownFork(self.fork.clone()))?;
        let cfg_env = CfgEnv::new().with_chain_id(self.chain_id).with_spec_and_mainnet_gas_params(spec);
        let block_env = BlockEnv {
            number: U256::from(self.number),
            timestamp: U256::from(self.timestamp),
            gas_limit: self.gas_limit,
            basefee: self.base_fee,
            beneficiary: self.beneficiary,
            prevrandao: Some(self.prevrandao),
            blob_excess_gas_and_price: self
                .blobs
                .map(|(excess_blob_gas, blob_gasprice)| BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice }),
            ..Default::default()
        };
        Ok(EvmEnv { cfg_env, block_env })
    }
}

/// The pre-executor inside a node.
#[derive(Clone)]
pub struct Watcher(PreExecutor);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

impl Watcher {
    /// Has `compute` run what pending transactions ask: an engine, or a panel of operators, whose certificates a network's lists need.
    ///
    /// # Errors
    /// [`StartError`] if the store cannot be opened, or a thread cannot be started.
    pub fn start(config: Config, compute: Arc<dyn Compute>) -> Result<Self, StartError> {
        PreExecutor::start(config, compute).map(Self)
    }

    /// The outcomes for the node's builder.
    pub fn outcomes(&self) -> Arc<dyn Outcomes> {
        self.0.builder_outcomes()
    }

    /// Makes the lists of built blocks.
    pub fn certify(&self) -> Certify {
        Certify::by_store(self.0.store())
    }

    /// A transaction came into the pool.
    pub fn came<T>(&self, hash: B256, tx: &Recovered<T>)
    where
        TxEnv: FromRecoveredTx<T>,
    {
        let env = TxEnv::from_recovered_tx(tx.inner(), tx.signer());
        self.0.submit(PendingTransaction { hash, env, replaces: None });
    }

    /// A transaction left the pool, and is in no block.
    pub fn left(&self, hash: B256) {
        self.0.drop_transaction(hash);
    }

    /// A transaction is in a block and used this much gas.
    pub fn included(&self, hash: B256, gas: u64) {
        self.0.included(hash, gas);
    }

    /// Whether a builder need not try a transaction: it is known to wait for an outcome.
    pub fn waits(&self, hash: B256) -> bool {
        self.0.hold(hash).is_some()
    }

    /// There is a new head, with this state, and `next` will be built in so long, one `slot` after it.
    ///
    /// # Errors
    /// [`UnknownFork`] if this release does not know the next block's rules: nothing is speculated on then.
    pub fn head(
        &self,
        next: &NextBlock,
        state: impl NodeRead,
        seal_in: Duration,
        slot: Duration,
    ) -> Result<(), UnknownFork> {
        let (block, env, state) = (next.number, next.env()?, Arc::new(Reading(state)));
        self.0.new_head(Head { block, env, state, seal_in, slot, writes: None });
        Ok(())
    }
}

/// A node's state in the pre-executor's words.
#[derive(Debug)]
struct Reading<R>(R);

#[derive(Debug, thiserror::Error)]
#[error("the node's state cannot be read: {0}")]
struct Unreadable(String);

fn erased(error: impl fmt::Display) -> ErasedError {
    ErasedError::new(Unreadable(error.to_string()))
}

impl<R: NodeRead> DatabaseRef for Reading<R> {
    type Error = ErasedError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, ErasedError> {
        let account = self.0.account(address).map_err(erased)?;
        Ok(account.map(|(nonce, balance, code_hash)| AccountInfo {
            nonce,
            balance,
            code_hash: code_hash.unwrap_or(KECCAK256_EMPTY),
            code: None,
            ..Default::default()
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, ErasedError> {
        let code = self.0.code(hash).map_err(erased)?;
        Ok(code.map(Bytecode::new_raw).unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, ErasedError> {
        self.0.slot(address, key.into()).map_err(erased)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, ErasedError> {
        self.0.block_hash(number).map_err(erased)
    }
}
