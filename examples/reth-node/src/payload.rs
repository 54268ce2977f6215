//! The payload builder: Ethereum's own loop over transactions that come in another order. It skips what misses an outcome, as it skips any
//! invalid transaction; what waits is offered to it again at the end.

use crate::evm::ForeblockEvmConfig;
use alloy_primitives::{Address, B256};
use foreblock_precompile::Outcomes;
use foreblock_reth_parts::{Offer, Patient};
use reth_basic_payload_builder::{BuildArguments, BuildOutcome, MissingPayloadBehaviour, PayloadBuilder, PayloadConfig};
use reth_ethereum::{
    EthPrimitives, TransactionSigned,
    chainspec::{ChainSpec, ChainSpecProvider, EthereumHardforks},
    node::{
        EthEngineTypes,
        api::{FullNodeTypes, NodeTypes, PayloadBuilderError, TxTy},
        builder::{BuilderContext, PayloadBuilderConfig, components::PayloadBuilderBuilder},
    },
    pool::{BestTransactions, PoolTransaction, TransactionPool, ValidPoolTransaction, error::InvalidPoolTransactionError},
    storage::StateProviderFactory,
};
use reth_ethereum_payload_builder::{EthereumBuilderConfig, default_ethereum_payload};
use reth_payload_builder::{EthBuiltPayload, EthPayloadBuilderAttributes};
use std::sync::Arc;

/// Makes the payload builder of a node.
pub(crate) struct ForeblockPayloadBuilder {
    outcomes: Arc<dyn Outcomes>,
}

impl ForeblockPayloadBuilder {
    pub(crate) fn new(outcomes: Arc<dyn Outcomes>) -> Self {
        Self { outcomes }
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
        Ok(Builder { client: context.provider().clone(), pool, evm, config, _outcomes: self.outcomes })
    }
}

/// Builds payloads.
#[derive(Clone)]
pub(crate) struct Builder<Pool, Client> {
    client: Client,
    pool: Pool,
    evm: ForeblockEvmConfig,
    config: EthereumBuilderConfig,
    /// Kept connected for as long as payloads are built.
    _outcomes: Arc<dyn Outcomes>,
}

impl<Pool, Client> PayloadBuilder for Builder<Pool, Client>
where
    Client: StateProviderFactory + ChainSpecProvider<ChainSpec: EthereumHardforks> + Clone,
    Pool: TransactionPool<Transaction: PoolTransaction<Consensus = TransactionSigned>>,
{
    type Attributes = EthPayloadBuilderAttributes;
    type BuiltPayload = EthBuiltPayload;

    fn try_build(
        &self,
        args: BuildArguments<Self::Attributes, Self::BuiltPayload>,
    ) -> Result<BuildOutcome<Self::BuiltPayload>, PayloadBuilderError> {
        default_ethereum_payload(
            self.evm.clone(),
            self.client.clone(),
            self.pool.clone(),
            self.config.clone(),
            args,
            |attributes| Box::new(Patiently::new(self.pool.best_transactions_with_attributes(attributes))),
        )
    }

    fn on_missing_payload(&self, _: BuildArguments<Self::Attributes, Self::BuiltPayload>) -> MissingPayloadBehaviour<Self::BuiltPayload> {
        MissingPayloadBehaviour::RaceEmptyPayload
    }

    fn build_empty_payload(&self, config: PayloadConfig<Self::Attributes>) -> Result<Self::BuiltPayload, PayloadBuilderError> {
        let args = BuildArguments::new(Default::default(), config, Default::default(), None);
        self.try_build(args)?.into_payload().ok_or(PayloadBuilderError::MissingPayload)
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
    inner: Patient<Unwrapped<T>, Pooled<T>, fn(&Pooled<T>) -> bool>,
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
    fn new(best: Best<T>) -> Self {
        Self { inner: Patient::new(Unwrapped(best), |_| false), tried: Default::default() }
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
