//! The EVM's way to a state.

use super::{Account, Block, World};
use crate::fork::{Upstream, UpstreamError};
use alloy_primitives::{Address, B256, U256};
use revm::{bytecode::Bytecode, context::DBErrorMarker, database_interface::DatabaseRef, state::AccountInfo};
use std::{fmt, sync::Arc};

/// A state that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Code that an account names is not there.
    #[error("code {0} is missing from the state: the state file it came from is incomplete")]
    MissingCode(B256),
    /// A block whose state is not here.
    #[error("the state of block {0} is not kept: state files hold the last state only, and --prune-history forgets")]
    NotKept(u64),
    /// The forked chain's node did not say.
    #[error("{0}")]
    Upstream(#[from] Arc<UpstreamError>),
}

impl DBErrorMarker for StateError {}

/// A state and the blocks before it, to be read by the EVM.
#[derive(Clone)]
pub struct View {
    /// The state.
    pub world: World,
    /// Blocks, for `BLOCKHASH`.
    pub blocks: imbl::Vector<Arc<Block>>,
    /// The forked chain, which knows what the state does not.
    pub upstream: Option<Arc<Upstream>>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("blocks", &self.blocks.len()).finish_non_exhaustive()
    }
}

impl View {
    /// The account at `address`, from wherever it is known.
    pub fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        if let Some(account) = self.world.account(&address) {
            return Ok(Some(account.clone()));
        }
        let Some(upstream) = &self.upstream else { return Ok(None) };
        let remote = upstream.account(address)?;
        let account = Account {
            nonce: remote.nonce,
            balance: remote.balance,
            code_hash: remote.code_hash,
            storage_known: false,
            ..Account::new(address)
        };
        Ok((!remote.is_empty()).then_some(account))
    }

    /// Nonce, balance and code hash of `address`; those of an empty account where there is none.
    pub fn account_or_empty(&self, address: Address) -> Result<Account, StateError> {
        Ok(self.account(address)?.unwrap_or_else(|| Account::new(address)))
    }

    /// Nonce of `address`.
    pub fn nonce(&self, address: Address) -> Result<u64, StateError> {
        Ok(self.account(address)?.map_or(0, |account| account.nonce))
    }

    /// Code of `address`.
    pub fn code(&self, address: Address) -> Result<Bytecode, StateError> {
        let hash = self.account_or_empty(address)?.code_hash;
        self.code_of(address, hash)
    }

    /// Code of `address`, whose hash is known.
    pub fn code_of(&self, address: Address, hash: B256) -> Result<Bytecode, StateError> {
        if let Some(code) = self.world.code(&hash) {
            return Ok(code);
        }
        let told = self.upstream.as_ref().map(|upstream| upstream.code_of(address, &hash)).transpose()?;
        told.flatten().ok_or(StateError::MissingCode(hash))
    }
}

impl DatabaseRef for View {
    type Error = StateError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StateError> {
        let Some(account) = self.account(address)? else { return Ok(None) };
        let mut info = account.info();
        info.code = Some(self.code_of(address, account.code_hash)?);
        Ok(Some(info))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, StateError> {
        let told = || self.upstream.as_ref().and_then(|upstream| upstream.code(&hash));
        self.world.code(&hash).or_else(told).ok_or(StateError::MissingCode(hash))
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, StateError> {
        let known = self.world.account(&address).and_then(|account| account.slot(key));
        match (known, &self.upstream) {
            (Some(value), _) => Ok(value),
            (None, Some(upstream)) => Ok(upstream.slot(address, key)?),
            (None, None) => Ok(U256::ZERO),
        }
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, StateError> {
        let first = self.blocks.front().map_or(0, |block| block.header.number);
        if let Some(upstream) = self.upstream.as_ref().filter(|_| number < first) {
            return Ok(upstream.block_hash(number)?);
        }
        let at = number.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        Ok(at.and_then(|at| self.blocks.get(at)).map_or(B256::ZERO, |block| block.hash))
    }
}
