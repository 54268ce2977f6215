//! Where the chain and the pre-executor meet.

mod head;
mod report;

use crate::{
    chain::{Block, BlockPlan, Transaction, View},
    node::Node,
    pool::Pooled,
};
use alloy_evm::FromRecoveredTx;
use alloy_primitives::{Address, B256, Bytes};
use foreblock_engine::{Engine, catalog::Entry};
use foreblock_pre_executor::{Building, Config, Event, PendingTransaction, PreExecutor, StartError, Unresolved};
use foreblock_precompile::{ForeblockEvmFactory, MemoryOutcomes, ModelId, ModelSlot, Outcomes, Request, price};
use revm::context::TxEnv;
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::broadcast::error::RecvError;

/// Longest that a call waits for its outcomes, unless configured otherwise.
pub const CALL_PATIENCE: Duration = Duration::from_secs(30);

/// Inference, as the node uses it.
pub struct Inference {
    address: Address,
    engine: Engine,
    models: Vec<Entry>,
    pre_executor: PreExecutor,
    call_patience: Duration,
}

impl fmt::Debug for Inference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inference").field("address", &self.address).field("models", &self.models.len()).finish()
    }
}

impl Inference {
    /// Starts the pre-executor. `models` are those registered in the genesis block.
    pub fn start(
        engine: Engine,
        models: Vec<Entry>,
        config: Config,
        call_patience: Duration,
    ) -> Result<Self, StartError> {
        let address = config.address;
        let pre_executor = PreExecutor::start(config, Arc::new(engine.clone()))?;
        Ok(Self { address, engine, models, pre_executor, call_patience })
    }

    /// Where the precompile stands.
    pub fn address(&self) -> Address {
        self.address
    }

    /// What computes, in words.
    pub fn engine_name(&self) -> String {
        self.engine.engine_name()
    }

    /// The models registered from genesis on.
    pub fn entries(&self) -> &[Entry] {
        &self.models
    }

    /// Ids and slots of these models.
    pub fn slots(models: &[Entry]) -> Vec<(ModelId, ModelSlot)> {
        models.iter().map(|entry| (entry.manifest.id(), entry.manifest.slot())).collect()
    }

    /// An input that a model is known to answer, from its golden vectors.
    pub fn sample_input(&self, entry: &Entry) -> Option<Bytes> {
        report::sample_input(self.engine.catalog(), entry)
    }

    fn factory(&self, outcomes: Arc<dyn Outcomes>) -> ForeblockEvmFactory {
        ForeblockEvmFactory::new(outcomes).with_address(self.address)
    }

    /// For building blocks: what is missing is asked first.
    pub fn factory_of_builds(&self) -> ForeblockEvmFactory {
        self.factory(self.pre_executor.builder_outcomes())
    }

    /// For calls, estimates and traces of pending work.
    pub fn factory_of_calls(&self) -> ForeblockEvmFactory {
        self.factory(self.pre_executor.store())
    }

    /// For traces of a mined block: what it used, nothing else.
    pub fn factory_of(&self, block: &Block) -> ForeblockEvmFactory {
        let list = block.inferences.iter().map(|used| (used.id, used.outcome.clone()));
        self.factory(Arc::new(list.collect::<MemoryOutcomes>()))
    }

    /// Speculation waits while the guard lives.
    pub fn building(&self) -> Building {
        self.pre_executor.building()
    }

    /// A transaction that can be executed, at once or after others of its sender, is in the pool.
    pub fn submit(&self, pooled: &Pooled, replaces: Option<B256>) {
        let env = TxEnv::from_recovered_tx(pooled.tx.inner(), pooled.sender());
        self.pre_executor.submit(PendingTransaction { hash: pooled.hash, env, replaces });
    }

    /// A transaction left the pool.
    pub fn dropped(&self, hash: B256) {
        self.pre_executor.drop_transaction(hash);
    }

    /// A transaction was included and used this gas.
    pub fn included(&self, tx: &Transaction, gas: u64) {
        self.pre_executor.included(*tx.tx_hash(), gas);
    }

    /// The next block is being prepared.
    pub fn new_head(&self, plan: &BlockPlan, view: View, interval: Option<Duration>) {
        self.pre_executor.new_head(head::head(plan, view, interval));
    }

    /// Runs a call until it misses no outcome; bounded in rounds and time.
    pub fn resolve<T>(&self, run: impl FnMut() -> Result<T, Request>) -> Result<T, Unresolved> {
        self.pre_executor.resolve(self.call_patience, run)
    }

    /// Calldata of the system call that moves the price of inference by what `parent` ran.
    pub fn start_block_call(parent: &Block) -> Bytes {
        price::start_block_call(parent.inferences.iter().fold(0, |gas, used| gas.saturating_add(used.inference_gas)))
    }

    /// Stops workers and scout; what runs is finished and stored.
    pub fn stop(&self) {
        self.pre_executor.stop();
    }
}

/// Wakes the miner when a deferred transaction has its outcomes, and drops what will never have them.
pub async fn follow(node: Arc<Node>) {
    let mut events = node.inference.pre_executor.subscribe();
    loop {
        match events.recv().await {
            Ok(Event::Ready { transaction }) => {
                if node.pool(|pool| pool.get(&transaction).is_some()) {
                    node.wake_miner.notify_one();
                }
            }
            Ok(Event::Expired { transaction, reason }) => {
                tracing::warn!(%transaction, reason, "dropped a transaction whose inferences are not to be had");
                node.pool(|pool| pool.remove(&transaction));
            }
            Ok(Event::Deferred { transaction, reason }) => tracing::info!(%transaction, reason, "deferred"),
            Ok(Event::Outcome { .. }) => {}
            Err(RecvError::Lagged(_)) => node.wake_miner.notify_one(),
            Err(RecvError::Closed) => return,
        }
    }
}
