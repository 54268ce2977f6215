//! The payload builder: Ethereum's own loop over transactions that come in another order. It skips what misses an outcome, as it skips any
//! invalid transaction; what waits is offered to it again at the end. The list of what it built is kept by the payload's hash.

use crate::evm::ForeblockEvmConfig;
use alloy_primitives::{Address, B256};
use alloy_rpc_types_engine::PayloadAttributes;
use foreblock_reth_parts::{Lists, Offer, Patient};
use reth_basic_payload_builder::{
    BuildArguments, BuildOutcome, MissingPayloadBehaviour, PayloadBuilder, PayloadConfig,
};
use reth_ethereum::{
    EthPrimitives, TransactionSigned,
    chainspec::{ChainSpec, ChainSpecProvider, EthereumHardforks},
    node::{
        EthEngineTypes,
        api::{FullNodeTypes, NodeTypes, PayloadBuilderError, TxTy},
        builder::{BuilderContext, PayloadBuilderConfig, components::PayloadBuilderBuilder},
    },
    pool::{
        BestTransactions, BestTransactionsAttributes, PoolTransaction, TransactionPool, ValidPoolTransaction,
        error::InvalidPoolTransactionError,
    },
    storage::StateProviderFactory,
};
use reth_ethereum_payload_builder::{EthereumBuilderConfig, default_ethereum_payload};
use reth_payload_builder::EthBuiltPayload;
use std::sync::Arc;

/// Whether a transaction is known to wait for an outcome.
pub(crate) type Waits = Arc<dyn Fn(B256) -> bool + Send + Sync>;

/// Makes the payload builder of a node.
pub(crate) struct ForeblockPayloadBuilder {
    waits: Waits,
    lists: Arc<Lists>,
}

impl ForeblockPayloadBuilder {
    pub(crate) fn new(waits: Waits, lists: Arc<Lists>) -> Self {
        Self { waits, lists }
    }
}

impl<Node, Pool> PayloadBuilderBuilder<Node, Pool, ForeblockEvmConfig> for ForeblockPayloadBuilder
where
    Node: FullNodeTypes<Types: NodeTypes<ChainSpec = ChainSpec, Primitives = EthPrimitives, Payload = EthEngineTypes>>,
    Pool: TransactionPool<Transaction: PoolTransaction<Consensus = TxTy<Node::Types>>> + Unpin + 'static,
{
    type PayloadBuilder = Builder<Pool, Node::Provider>;

    async fn build_payload_builder(
        self,
        context: &BuilderContext<Node>,
        pool: Pool,
        evm: ForeblockEvmConfig,
    ) -> eyre::Result<Self::PayloadBuilder> {
        let limit = context.payload_builder_config().gas_limit_for(context.chain_spec().chain);
        let config = EthereumBuilderConfig::new().with_gas_limit(limit);
        Ok(Builder { client: context.provider().clone(), pool, evm, config, waits: self.waits, lists: self.lists })
    }
}

/// Builds payloads.
#[derive(Clone)]
pub(crate) struct Builder<Pool, Client> {
    client: Client,
    pool: Pool,
    evm: ForeblockEvmConfig,
    config: EthereumBuilderConfig,
    waits: Waits,
    lists: Arc<Lists>,
}

impl<Pool, Client> PayloadBuilder for Builder<Pool, Client>
where
    Client: StateProviderFactory + ChainSpecProvider<ChainSpec: EthereumHardforks> + Clone,
    Pool: TransactionPool<Transaction: PoolTransaction<Consensus = TransactionSigned>>,
{
    type Attributes = PayloadAttributes;
    type BuiltPayload = EthBuiltPayload;

    fn try_build(
        &self,
        args: BuildArguments<Self::Attributes, Self::BuiltPayload>,
    ) -> Result<BuildOutcome<Self::BuiltPayload>, PayloadBuilderError> {
        let built = self.build(args, |attributes| {
            let best = self.pool.best_transactions_with_attributes(attributes);
            Box::new(Patiently::new(best, self.waits.clone()))
        })?;
        if let BuildOutcome::Better { payload, .. } | BuildOutcome::Freeze(payload) = &built {
            // Whoever gives the block away gives `lists.list(hash)` with it.
            self.lists.sealed(payload.block().hash(), payload.requests().iter().flat_map(|requests| requests.iter()));
        }
        Ok(built)
    }

    fn on_missing_payload(
        &self,
        _: BuildArguments<Self::Attributes, Self::BuiltPayload>,
    ) -> MissingPayloadBehaviour<Self::BuiltPayload> {
        MissingPayloadBehaviour::RaceEmptyPayload
    }

    fn build_empty_payload(
        &self,
        config: PayloadConfig<Self::Attributes>,
    ) -> Result<Self::BuiltPayload, PayloadBuilderError> {
        let args = BuildArguments::new(Default::default(), None, None, config, Default::default(), None);
        self.build(args, |_| Box::new(std::iter::empty()))?.into_payload().ok_or(PayloadBuilderError::MissingPayload)
    }
}

impl<Pool, Client> Builder<Pool, Client>
where
    Client: StateProviderFactory + ChainSpecProvider<ChainSpec: EthereumHardforks> + Clone,
    Pool: TransactionPool<Transaction: PoolTransaction<Consensus = TransactionSigned>>,
{
    fn build(
        &self,
        args: BuildArguments<PayloadAttributes, EthBuiltPayload>,
        best: impl FnOnce(BestTransactionsAttributes) -> Best<Pool::Transaction>,
    ) -> Result<BuildOutcome<EthBuiltPayload>, PayloadBuilderError> {
        let (evm, client, pool) = (self.evm.clone(), self.client.clone(), self.pool.clone());
        default_ethereum_payload(evm, client, pool, self.config.clone(), args, best)
    }
}

/// A pool's transaction.
struct Pooled<T: PoolTransaction>(Arc<ValidPoolTransaction<T>>);

impl<T: PoolTransaction> Offer for Pooled<T> {
    fn hash(&self) -> B256 {
        *self.0.hash()
    }

    fn sender(&self) -> Address {
        self.0.sender()
    }
}

type Best<T> = Box<dyn BestTransactions<Item = Arc<ValidPoolTransaction<T>>>>;

/// The pool's best transactions, in which one that was called invalid comes once more at the end: its outcome may be there by then. The EVM says
/// why a transaction is invalid only in words, so every one gets that second chance.
struct Patiently<T: PoolTransaction> {
    inner: Patient<Unwrapped<T>, Pooled<T>, Box<dyn FnMut(&Pooled<T>) -> bool + Send>>,
    tried: std::collections::HashSet<B256>,
}

struct Unwrapped<T: PoolTransaction>(Best<T>);

impl<T: PoolTransaction> Iterator for Unwrapped<T> {
    type Item = Pooled<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Pooled)
    }
}

impl<T: PoolTransaction> Patiently<T> {
    fn new(best: Best<T>, waits: Waits) -> Self {
        let waits: Box<dyn FnMut(&Pooled<T>) -> bool + Send> = Box::new(move |tx| waits(tx.hash()));
        Self { inner: Patient::new(Unwrapped(best), waits), tried: Default::default() }
    }
}

impl<T: PoolTransaction> Iterator for Patiently<T> {
    type Item = Arc<ValidPoolTransaction<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().map(|pooled| pooled.0)
    }
}

impl<T: PoolTransaction> BestTransactions for Patiently<T> {
    fn mark_invalid(&mut self, tx: &Self::Item, kind: &InvalidPoolTransactionError) {
        if matches!(kind, InvalidPoolTransactionError::Consensus(_)) && self.tried.insert(*tx.hash()) {
            return self.inner.missed(Pooled(tx.clone()));
        }
        self.inner.invalid(tx.sender());
        self.inner.pool_mut().0.mark_invalid(tx, kind);
    }

    fn no_updates(&mut self) {
        self.inner.pool_mut().0.no_updates();
    }

    fn set_skip_blobs(&mut self, skip: bool) {
        self.inner.pool_mut().0.set_skip_blobs(skip);
    }
}
