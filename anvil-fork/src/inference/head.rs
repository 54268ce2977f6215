//! The chain's head in the pre-executor's words.

use crate::chain::{BlockPlan, StateError, View};
use alloy_primitives::{Address, B256, U256};
use foreblock_pre_executor::Head;
use revm::{
    bytecode::Bytecode,
    database_interface::{DatabaseRef, ErasedError},
    state::AccountInfo,
};
use std::{sync::Arc, time::Duration};

/// Where no clock seals blocks, no request is too late for the next one.
const NO_SEAL: Duration = Duration::from_secs(600);

pub(super) fn head(plan: &BlockPlan, view: View, interval: Option<Duration>) -> Head {
    let slot = interval.unwrap_or(NO_SEAL);
    Head {
        block: plan.env.block_env.number.saturating_to(),
        env: plan.env.clone(),
        state: Arc::new(HeadView(view)),
        seal_in: slot,
        slot,
        writes: None,
    }
}

/// A view whose errors have no type, as whoever reads any state wants it.
#[derive(Debug)]
struct HeadView(View);

fn erased(error: StateError) -> ErasedError {
    ErasedError::new(error)
}

impl DatabaseRef for HeadView {
    type Error = ErasedError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, ErasedError> {
        self.0.basic_ref(address).map_err(erased)
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, ErasedError> {
        self.0.code_by_hash_ref(hash).map_err(erased)
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, ErasedError> {
        self.0.storage_ref(address, key).map_err(erased)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, ErasedError> {
        self.0.block_hash_ref(number).map_err(erased)
    }
}
