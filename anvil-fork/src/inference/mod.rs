//! Where the chain and the pre-executor meet.

use crate::{
    chain::{Block, BlockPlan, View},
    pool::Pooled,
};
use alloy_primitives::{Address, B256};
use foreblock_precompile::{ForeblockEvmFactory, MemoryOutcomes, Outcomes, Request};
use std::{fmt, sync::Arc, time::Duration};

/// Inference, as the node uses it.
pub struct Inference {
    address: Address,
    store: Arc<MemoryOutcomes>,
}

impl fmt::Debug for Inference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inference").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Inference {
    /// Without a model.
    pub fn none(address: Address) -> Self {
        Self { address, store: Arc::default() }
    }

    fn factory(&self, outcomes: Arc<dyn Outcomes>) -> ForeblockEvmFactory {
        ForeblockEvmFactory::new(outcomes).with_address(self.address)
    }

    /// For building blocks.
    pub fn factory_of_builds(&self) -> ForeblockEvmFactory {
        self.factory(self.store.clone())
    }

    /// For calls, estimates and traces of pending work.
    pub fn factory_of_calls(&self) -> ForeblockEvmFactory {
        self.factory(self.store.clone())
    }

    /// For traces of a mined block: what it used, nothing else.
    pub fn factory_of(&self, block: &Block) -> ForeblockEvmFactory {
        let list = block.inferences.iter().map(|used| (used.id, used.outcome.clone()));
        self.factory(Arc::new(list.collect::<MemoryOutcomes>()))
    }

    /// The models served.
    pub fn models(&self) -> Vec<serde_json::Value> {
        Vec::new()
    }

    /// Where everything stands.
    pub fn status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Where a transaction's inferences stand.
    pub fn transaction_status(&self, _hash: B256) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Speculation waits while the guard lives.
    pub fn building(&self) {}

    /// A transaction came into the pool.
    pub fn submit(&self, _pooled: &Pooled, _replaced: Option<B256>) {}

    /// A transaction left the pool.
    pub fn dropped(&self, _hash: B256) {}

    /// A transaction was included.
    pub fn included(&self, _hash: B256, _gas: u64) {}

    /// The next block is being prepared.
    pub fn new_head(&self, _plan: &BlockPlan, _view: View, _interval: Option<Duration>) {}

    /// Runs a call until it misses no outcome.
    pub fn resolve<T>(&self, mut run: impl FnMut() -> Result<T, Request>) -> Result<T, String> {
        run().map_err(|request| format!("request {} of model {} has no outcome", request.id, request.model))
    }
}
