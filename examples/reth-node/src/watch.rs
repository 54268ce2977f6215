//! The pre-executor inside the node: it hears of the pool by its listener, of heads by the canonical stream, and reads their state from
//! the node's provider.

use alloy_consensus::BlockHeader;
use alloy_primitives::{Address, B256, Bytes, U256};
use foreblock_engine::{Catalog, Engine, ModelDir, engine::Config as EngineConfig, model_dir::data_dir};
use foreblock_pre_executor::{
    Config,
    operators::{LocalOperator, Panel, PanelConfig, Rule},
};
use foreblock_precompile::StatementDomain;
use foreblock_reth_parts::{NextBlock, NodeRead, Watcher};
use futures_util::StreamExt;
use reth_ethereum::{
    EthPrimitives, TransactionSigned,
    chainspec::{ChainSpec, EthChainSpec},
    pool::{FullTransactionEvent, PoolTransaction, TransactionPool, ValidPoolTransaction},
    provider::{CanonStateNotification, CanonStateSubscriptions},
    storage::{StateProviderBox, StateProviderFactory, errors::provider::ProviderError},
};
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// Time between two blocks.
const SLOT: Duration = Duration::from_secs(12);

/// Starts a pre-executor with the bundled and installed models, signing as one operator.
pub(crate) fn start(data: &Path, chain_id: u64, key: &str) -> eyre::Result<Watcher> {
    let catalog = Catalog::new(Some(ModelDir::new(&data_dir(Some(data))?)));
    let engine = Engine::new(catalog, EngineConfig::named("exact")?);
    let domain = StatementDomain::new(chain_id);
    let operator = LocalOperator::new(key.parse()?, domain.clone(), Arc::new(engine.clone()));
    let priors = move |model| foreblock_pre_executor::Compute::prior(&engine, model);
    let exact = |_| Some(Rule::Exact);
    let panel = Panel::new(PanelConfig::default(), domain, [Arc::new(operator) as _], exact, priors);
    Ok(Watcher::start(Config { data_dir: Some(data.to_owned()), ..Config::default() }, Arc::new(panel))?)
}

/// Tells it of everything until the node ends.
pub(crate) async fn watch<Pool, Provider>(watcher: Watcher, pool: Pool, provider: Provider, spec: Arc<ChainSpec>)
where
    Pool: TransactionPool<Transaction: PoolTransaction<Consensus = TransactionSigned>>,
    Provider: StateProviderFactory + CanonStateSubscriptions<Primitives = EthPrimitives>,
{
    let (mut new, mut events) = (pool.new_transactions_listener(), pool.all_transactions_event_listener());
    let mut heads = provider.canonical_state_stream();
    pool.pending_transactions().iter().for_each(|tx| came(&watcher, tx));
    loop {
        tokio::select! {
            Some(event) = new.recv() => came(&watcher, &event.transaction),
            Some(event) = events.next() => left(&watcher, event),
            Some(news) = heads.next() => head(&watcher, &provider, &spec, &news),
            else => return,
        }
    }
}

fn came<T: PoolTransaction<Consensus = TransactionSigned>>(watcher: &Watcher, tx: &ValidPoolTransaction<T>) {
    watcher.came(*tx.hash(), &tx.transaction.clone_into_consensus());
}

fn left<T: PoolTransaction>(watcher: &Watcher, event: FullTransactionEvent<T>) {
    match event {
        FullTransactionEvent::Discarded(hash) | FullTransactionEvent::Invalid(hash) => watcher.left(hash),
        FullTransactionEvent::Replaced { transaction, .. } => watcher.left(*transaction.hash()),
        _ => {}
    }
}

fn head<Provider: StateProviderFactory>(
    watcher: &Watcher,
    provider: &Provider,
    spec: &ChainSpec,
    news: &CanonStateNotification<EthPrimitives>,
) {
    let committed = news.committed();
    for (block, receipts) in committed.blocks_and_receipts() {
        let mut before = 0;
        for (tx, receipt) in block.body().transactions().zip(receipts) {
            watcher.included(*tx.tx_hash(), receipt.cumulative_gas_used - before);
            before = receipt.cumulative_gas_used;
        }
    }
    let tip = committed.tip().sealed_header();
    let next = next(spec, tip.header());
    let state = provider.state_by_block_hash(tip.hash()).map_err(|error| error.to_string());
    let told = state
        .and_then(|state| watcher.head(&next, Read(Mutex::new(state)), SLOT, SLOT).map_err(|error| error.to_string()));
    if let Err(error) = told {
        tracing::warn!(error, "nothing is speculated on");
    }
}

fn next(spec: &ChainSpec, tip: &impl BlockHeader) -> NextBlock {
    let (number, timestamp) = (tip.number() + 1, tip.timestamp() + SLOT.as_secs());
    let fork: &'static str =
        reth_ethereum::evm::revm_spec_by_timestamp_and_block_number(spec, timestamp, number).into();
    NextBlock {
        chain_id: spec.chain().id(),
        fork: fork.to_owned(),
        number,
        timestamp,
        gas_limit: tip.gas_limit(),
        base_fee: spec.next_block_base_fee(tip, timestamp).unwrap_or_default(),
        beneficiary: tip.beneficiary(),
        prevrandao: tip.mix_hash().unwrap_or_default(),
        blobs: spec.blob_params_at_timestamp(timestamp).and_then(|params| {
            let excess = tip.maybe_next_block_excess_blob_gas(Some(params))?;
            Some((excess, params.calc_blob_fee(excess)))
        }),
    }
}

/// The node's state. A provider is for one thread at a time.
struct Read(Mutex<StateProviderBox>);

impl Read {
    fn state(&self) -> MutexGuard<'_, StateProviderBox> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

impl NodeRead for Read {
    type Error = ProviderError;

    fn account(&self, address: Address) -> Result<Option<(u64, U256, Option<B256>)>, ProviderError> {
        let account = self.state().basic_account(&address)?;
        Ok(account.map(|account| (account.nonce, account.balance, account.bytecode_hash)))
    }

    fn code(&self, hash: B256) -> Result<Option<Bytes>, ProviderError> {
        Ok(self.state().bytecode_by_hash(&hash)?.map(|code| code.original_bytes()))
    }

    fn slot(&self, address: Address, key: B256) -> Result<U256, ProviderError> {
        Ok(self.state().storage(address, key)?.unwrap_or_default())
    }

    fn block_hash(&self, number: u64) -> Result<B256, ProviderError> {
        Ok(self.state().block_hash(number)?.unwrap_or_default())
    }
}
