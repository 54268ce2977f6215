//! The EVM's way to a state.

use super::{Account, Block, World};
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
    #[error("the state of block {0} is not kept: state files hold the last state only")]
    NotKept(u64),
}

impl DBErrorMarker for StateError {}

/// A state and the blocks before it, to be read by the EVM.
#[derive(Clone)]
pub struct View {
    /// The state.
    pub world: World,
    /// Blocks, for `BLOCKHASH`.
    pub blocks: imbl::Vector<Arc<Block>>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("blocks", &self.blocks.len()).finish_non_exhaustive()
    }
}

impl View {
    /// The account at `address`, from wherever it is known.
    pub fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        Ok(self.world.account(&address).cloned())
    }

    /// Nonce, balance and code hash of `address`; those of an empty account where there is none.
    pub fn account_or_empty(&self, address: Address) -> Result<Account, StateError> {
        Ok(self.account(address)?.unwrap_or_else(|| Account::new(address)))
    }
}

impl DatabaseRef for View {
    type Error = StateError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StateError> {
        let Some(account) = self.world.account(&address) else { return Ok(None) };
        let mut info = account.info();
        info.code = self.world.code(&account.code_hash);
        Ok(Some(info))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, StateError> {
        self.world.code(&hash).ok_or(StateError::MissingCode(hash))
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, StateError> {
        Ok(self.world.account(&address).and_then(|account| account.slot(key)).unwrap_or_default())
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, StateError> {
        let first = self.blocks.front().map_or(0, |block| block.header.number);
        let at = number.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        Ok(at.and_then(|at| self.blocks.get(at)).map_or(B256::ZERO, |block| block.hash))
    }
}
