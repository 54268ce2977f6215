//! The chain's head in the pre-executor's words.

use crate::chain::{Block, BlockPlan, StateError, View};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use foreblock_pre_executor::{Head, WriteSet};
use foreblock_precompile::{MODEL_REGISTRY_ADDRESS, price};
use revm::{
    bytecode::Bytecode,
    database_interface::{DatabaseRef, ErasedError},
    state::AccountInfo,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Where no clock seals blocks, no request is too late for the next one.
const NO_SEAL: Duration = Duration::from_secs(600);

/// When the next block is built, where a clock says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seal {
    /// Time between blocks.
    pub interval: Option<Duration>,
    /// When the next one is due, as far as that is known.
    pub due: Option<Instant>,
}

/// The excess that prices inference in the block after `parent`, whose state `view` shows. None where the registry has no code, so
/// that the system call does nothing.
pub fn next_excess(view: &View, parent: &Block) -> Option<U256> {
    let registry = view.account(MODEL_REGISTRY_ADDRESS).ok().flatten()?;
    if registry.code_hash == KECCAK256_EMPTY {
        return None;
    }
    let excess = view.storage_ref(MODEL_REGISTRY_ADDRESS, price::EXCESS_SLOT).ok()?;
    let ran = super::inference_gas(parent);
    Some(U256::from(price::next_excess(u64::try_from(excess).unwrap_or(u64::MAX), ran)))
}

pub(super) fn head(plan: &BlockPlan, view: View, seal: Seal, writes: Option<WriteSet>) -> Head {
    let slot = seal.interval.unwrap_or(NO_SEAL);
    let due = seal.due.filter(|_| seal.interval.is_some());
    let seal_in = due.map_or(slot, |due| due.saturating_duration_since(Instant::now()));
    let excess = next_excess(&view, &plan.parent);
    Head {
        block: plan.env.block_env.number.saturating_to(),
        env: plan.env.clone(),
        state: Arc::new(HeadView { view, excess }),
        seal_in,
        slot,
        writes,
    }
}

/// The state as the next block's first transaction finds it: the price of inference has moved by then. Its errors have no type,
/// as whoever reads any state wants it.
#[derive(Debug)]
struct HeadView {
    view: View,
    excess: Option<U256>,
}

fn erased(error: StateError) -> ErasedError {
    ErasedError::new(error)
}

impl DatabaseRef for HeadView {
    type Error = ErasedError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, ErasedError> {
        self.view.basic_ref(address).map_err(erased)
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, ErasedError> {
        self.view.code_by_hash_ref(hash).map_err(erased)
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, ErasedError> {
        if let Some(excess) = self.excess.filter(|_| address == MODEL_REGISTRY_ADDRESS && key == price::EXCESS_SLOT) {
            return Ok(excess);
        }
        self.view.storage_ref(address, key).map_err(erased)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, ErasedError> {
        self.view.block_hash_ref(number).map_err(erased)
    }
}
