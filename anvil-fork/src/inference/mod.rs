//! Where the chain and the pre-executor meet.

mod head;
mod metrics;
mod nothing;
mod operators;
mod record;
mod report;

pub use head::{Seal, next_excess};
pub use metrics::{MetricsError, serve_metrics};
pub use operators::{NoOperator, Operators, OperatorsConfig, in_genesis, key as operator_key};
pub use record::{RecordError, Recorder, Replay};
pub use report::event;

use crate::{
    chain::{Advice, Block, BlockPlan, Certificates, Transaction, View},
    node::Node,
    pool::Pooled,
    signatures::Signatures,
};
use alloy_evm::FromRecoveredTx;
use alloy_primitives::{Address, B256, Bytes};
use foreblock_engine::{Engine, catalog::Entry};
use foreblock_pre_executor::{
    Building, Certified, Config, Event, Hold, PendingTransaction, PreExecutor, StartError, Unresolved, WriteSet,
};
use foreblock_precompile::{
    Committee, ForeblockEvmFactory, InferenceList, ListEntry, MemoryOutcomes, ModelId, ModelSlot,
    OPERATOR_REGISTRY_ADDRESS, Outcomes, Request, RequestId, price,
};
use revm::{context::TxEnv, database_interface::DatabaseRef};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::broadcast::error::RecvError;

/// Longest that a call waits for its outcomes, unless configured otherwise.
pub const CALL_PATIENCE: Duration = Duration::from_secs(30);

/// Inference, as the node uses it.
pub struct Inference {
    address: Address,
    engine: Option<Engine>,
    models: Vec<Entry>,
    operators: Option<Operators>,
    warned: AtomicBool,
    pre_executor: PreExecutor,
    call_patience: Duration,
    /// Signatures that are of whom the user says.
    pub signatures: Signatures,
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
        operators: Operators,
        config: Config,
        call_patience: Duration,
    ) -> Result<Self, StartError> {
        let address = config.address;
        let pre_executor = PreExecutor::start(config, operators.panel().clone())?;
        let (engine, operators, warned) = (Some(engine), Some(operators), AtomicBool::new(false));
        let signatures = Signatures::default();
        Ok(Self { address, engine, models, operators, warned, pre_executor, call_patience, signatures })
    }

    /// For a node that computes nothing: outcomes come from verified blocks.
    pub fn following(config: Config, call_patience: Duration) -> Result<Self, StartError> {
        let address = config.address;
        let pre_executor = PreExecutor::start(config, Arc::new(nothing::Nothing))?;
        let (engine, models, operators, warned) = (None, Vec::new(), None, AtomicBool::new(false));
        let signatures = Signatures::default();
        Ok(Self { address, engine, models, operators, warned, pre_executor, call_patience, signatures })
    }

    /// Where the precompile stands.
    pub fn address(&self) -> Address {
        self.address
    }

    /// What computes, in words.
    pub fn engine_name(&self) -> String {
        self.engine.as_ref().map_or_else(|| "none: this node verifies blocks".to_owned(), Engine::engine_name)
    }

    /// The operators that this node runs.
    pub fn operators(&self) -> Option<&Operators> {
        self.operators.as_ref()
    }

    /// What vouches for outcomes, for blocks that use them.
    pub fn certificates(&self) -> Certificates {
        let store = self.pre_executor.store();
        Certificates::new(move |id| Some(store.certified(id)?.certificate))
    }

    /// The operators whose answers make an outcome count.
    pub fn signers(&self, id: RequestId) -> Vec<Address> {
        self.pre_executor.store().certified(id).map(|found| found.signers).unwrap_or_default()
    }

    /// Makes a verified block's outcomes known to calls; `signers` are those that were found to vouch for each entry.
    pub fn learn(&self, list: &InferenceList, signers: Vec<Vec<Address>>) {
        let learned = |(entry, signers): (&ListEntry, Vec<Address>)| {
            let (outcome, certificate) = (entry.outcome.clone(), entry.certificate.clone());
            (entry.id, Certified { outcome, certificate, signers })
        };
        let outcomes: Vec<_> = list.entries().iter().zip(signers).map(learned).collect();
        if let Err(error) = self.pre_executor.store().put(&outcomes) {
            tracing::warn!(%error, "outcomes are only in memory");
        }
    }

    /// The operators of the head's state decide from now on. A chain whose state has none goes on with those of this node,
    /// but nobody else can verify it.
    fn new_operators(&self, view: &View) {
        let storage = |key| view.storage_ref(OPERATOR_REGISTRY_ADDRESS, key);
        let mut committee = match Committee::read(storage) {
            Ok(committee) => committee,
            Err(error) => return tracing::error!(%error, "the operators cannot be read"),
        };
        let Some(operators) = &self.operators else { return self.pre_executor.store().set_committee(committee) };
        let panel = operators.panel();
        if committee.operators().is_empty() {
            committee = panel.seated();
            if !self.warned.swap(true, Relaxed) {
                tracing::warn!(
                    "OperatorRegistry has no operators in this state: blocks with inferences cannot be verified"
                );
            }
        }
        if committee != panel.committee() {
            tracing::info!(operators = committee.operators().len(), quorum = committee.quorum(), "operators changed");
            panel.set_committee(committee.clone());
        }
        self.pre_executor.store().set_committee(committee);
    }

    /// The models registered from genesis on.
    pub fn entries(&self) -> &[Entry] {
        &self.models
    }

    /// Ids and slots of these models.
    pub fn slots(models: &[Entry]) -> Vec<(ModelId, ModelSlot)> {
        models.iter().map(|entry| (entry.manifest.id(), entry.manifest.slot())).collect()
    }

    /// Names and ids of these models; of several with one name the first, as names are given away once.
    pub fn names(models: &[Entry]) -> Vec<(String, ModelId)> {
        let mut names: Vec<(String, ModelId)> = Vec::new();
        for entry in models {
            let name = entry.manifest.name();
            if names.iter().all(|(known, _)| known != name) {
                names.push((name.to_owned(), entry.manifest.id()));
            }
        }
        names
    }

    /// An input that a model is known to answer, from its golden vectors.
    pub fn sample_input(&self, entry: &Entry) -> Option<Bytes> {
        report::sample_input(self.engine.as_ref()?.catalog(), entry)
    }

    fn factory(&self, outcomes: Arc<dyn Outcomes>) -> ForeblockEvmFactory {
        let signatures = self.signatures.clone();
        let factory = ForeblockEvmFactory::new(outcomes).with_address(self.address);
        factory.with_precompiles(move |precompiles| signatures.install(precompiles))
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
    pub fn new_head(&self, plan: &BlockPlan, view: View, seal: Seal, writes: Option<WriteSet>) {
        self.new_operators(&view);
        self.pre_executor.new_head(head::head(plan, view, seal, writes));
    }

    /// Gives up what waits too long although no block comes.
    pub fn sweep(&self) {
        self.pre_executor.sweep();
    }

    /// News of outcomes and transactions.
    pub fn news(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.pre_executor.subscribe()
    }

    /// Runs a call until it misses no outcome; bounded in rounds and time.
    pub fn resolve<T>(&self, run: impl FnMut() -> Result<T, Request>) -> Result<T, Unresolved> {
        self.pre_executor.resolve(self.call_patience, run)
    }

    /// Calldata of the system call that moves the price of inference by what `parent` ran.
    pub fn start_block_call(parent: &Block) -> Bytes {
        price::start_block_call(inference_gas(parent))
    }

    /// Stops workers and scout; what runs is finished and stored.
    pub fn stop(&self) {
        self.pre_executor.stop();
    }
}

/// Inference gas that a block ran, each request once.
pub fn inference_gas(block: &Block) -> u64 {
    block.inferences.iter().fold(0, |gas, used| gas.saturating_add(used.inference_gas))
}

impl Advice for Inference {
    fn hold(&self, hash: B256) -> Option<Hold> {
        self.pre_executor.hold(hash)
    }

    fn missed(&self, hash: B256, request: &Request) -> bool {
        self.pre_executor.missed(hash, request)
    }

    fn is_there(&self, id: RequestId) -> bool {
        self.pre_executor.store().get(id).is_some()
    }
}

/// How often what waits too long is looked for where no block comes.
const SWEEP: Duration = Duration::from_secs(10);

/// Wakes the miner when a deferred transaction has its outcomes, and drops what will never have them.
pub async fn follow(node: Arc<Node>) {
    let mut events = node.inference.news();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = sweep.tick() => {
                node.inference.sweep();
                continue;
            }
        };
        match event {
            Ok(Event::Ready { transaction }) => {
                if node.pool(|pool| pool.get(&transaction).is_some()) {
                    node.wake_miner.notify_one();
                }
            }
            Ok(Event::Expired { transaction, reason }) => {
                tracing::warn!(%transaction, reason, "dropped a transaction whose inferences are not to be had");
                node.pool(|pool| pool.remove(&transaction));
            }
            Ok(Event::Deferred { transaction, reason }) => tracing::debug!(%transaction, reason, "deferred"),
            Ok(Event::Outcome { .. }) => {}
            Err(RecvError::Lagged(_)) => node.wake_miner.notify_one(),
            Err(RecvError::Closed) => return,
        }
    }
}
