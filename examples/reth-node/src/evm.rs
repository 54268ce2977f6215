//! The executor: Ethereum's, with the precompile in its EVM and inference lists around its blocks.

use foreblock_precompile::{Outcomes, alloy_evm_038::ForeblockEvmFactory};
use foreblock_reth_parts::{BlockContext, Certify, InferenceExecutorFactory, Lists};
use reth_ethereum::{
    Block, EthPrimitives,
    chainspec::ChainSpec,
    evm::{
        EthBlockAssembler, EthEvmConfig, RethReceiptBuilder,
        primitives::{
            ConfigureEngineEvm, ConfigureEvm, EvmEnvFor, ExecutableTxIterator, ExecutionCtxFor, NextBlockEnvAttributes,
            eth::{EthBlockExecutionCtx, EthBlockExecutorFactory},
            execute::{BlockAssembler, BlockAssemblerInput, BlockExecutionError},
        },
    },
    node::{
        api::{FullNodeTypes, NodeTypes},
        builder::{BuilderContext, components::ExecutorBuilder},
    },
    primitives::{Header, SealedBlock, SealedHeader},
    rpc::types::engine::ExecutionData,
};
use std::sync::Arc;

type Config = EthEvmConfig<ChainSpec, ForeblockEvmFactory>;
type Stock = EthBlockExecutorFactory<RethReceiptBuilder, Arc<ChainSpec>, ForeblockEvmFactory>;
type Error = <Config as ConfigureEvm>::Error;

/// Ethereum's configuration with the precompile, and with its block executor inside Foreblock's.
#[derive(Clone, Debug)]
pub(crate) struct ForeblockEvmConfig {
    inner: Config,
    factory: InferenceExecutorFactory<Stock>,
    assembler: Assembler,
}

impl ConfigureEvm for ForeblockEvmConfig {
    type Primitives = EthPrimitives;
    type Error = Error;
    type NextBlockEnvCtx = NextBlockEnvAttributes;
    type BlockExecutorFactory = InferenceExecutorFactory<Stock>;
    type BlockAssembler = Assembler;

    fn block_executor_factory(&self) -> &Self::BlockExecutorFactory {
        &self.factory
    }

    fn block_assembler(&self) -> &Assembler {
        &self.assembler
    }

    fn evm_env(&self, header: &Header) -> Result<EvmEnvFor<Self>, Error> {
        self.inner.evm_env(header)
    }

    fn next_evm_env(&self, parent: &Header, attributes: &NextBlockEnvAttributes) -> Result<EvmEnvFor<Self>, Error> {
        self.inner.next_evm_env(parent, attributes)
    }

    fn context_for_block<'a>(
        &self,
        block: &'a SealedBlock<Block>,
    ) -> Result<BlockContext<EthBlockExecutionCtx<'a>>, Error> {
        let inner = self.inner.context_for_block(block)?;
        Ok(self.factory.verifying(inner, block.header().parent_hash, block.hash()))
    }

    fn context_for_next_block(
        &self,
        parent: &SealedHeader,
        attributes: NextBlockEnvAttributes,
    ) -> Result<BlockContext<EthBlockExecutionCtx<'_>>, Error> {
        let inner = self.inner.context_for_next_block(parent, attributes)?;
        Ok(self.factory.building(inner, parent.hash()))
    }
}

impl ConfigureEngineEvm<ExecutionData> for ForeblockEvmConfig {
    fn evm_env_for_payload(&self, payload: &ExecutionData) -> Result<EvmEnvFor<Self>, Error> {
        self.inner.evm_env_for_payload(payload)
    }

    fn context_for_payload<'a>(&self, payload: &'a ExecutionData) -> Result<ExecutionCtxFor<'a, Self>, Error> {
        let inner = self.inner.context_for_payload(payload)?;
        Ok(self.factory.verifying(inner, payload.parent_hash(), payload.block_hash()))
    }

    fn tx_iterator_for_payload(&self, payload: &ExecutionData) -> Result<impl ExecutableTxIterator<Self>, Error> {
        self.inner.tx_iterator_for_payload(payload)
    }
}

/// Ethereum's assembler: the requests that it hashes hold the list's already, by `InferenceExecutor`.
#[derive(Clone, Debug)]
pub(crate) struct Assembler(EthBlockAssembler<ChainSpec>);

impl BlockAssembler<InferenceExecutorFactory<Stock>> for Assembler {
    type Block = Block;

    fn assemble_block(
        &self,
        input: BlockAssemblerInput<'_, '_, InferenceExecutorFactory<Stock>>,
    ) -> Result<Block, BlockExecutionError> {
        self.0.assemble_block(BlockAssemblerInput::<Stock>::new(
            input.evm_env,
            input.execution_ctx.inner,
            input.parent,
            input.transactions,
            input.output,
            input.bundle_state,
            input.state_provider,
            input.state_root,
            input.block_access_list_hash,
        ))
    }
}

/// Makes the configuration.
pub(crate) struct ForeblockExecutorBuilder {
    outcomes: Arc<dyn Outcomes>,
    certify: Certify,
    lists: Arc<Lists>,
}

impl ForeblockExecutorBuilder {
    /// Blocks are built with these outcomes; whoever verifies one has its list in `lists`, and nothing else.
    pub(crate) fn new(outcomes: Arc<dyn Outcomes>, certify: Certify, lists: Arc<Lists>) -> Self {
        Self { outcomes, certify, lists }
    }
}

impl<Node> ExecutorBuilder<Node> for ForeblockExecutorBuilder
where
    Node: FullNodeTypes<Types: NodeTypes<ChainSpec = ChainSpec, Primitives = EthPrimitives>>,
{
    type EVM = ForeblockEvmConfig;

    async fn build_evm(self, context: &BuilderContext<Node>) -> eyre::Result<ForeblockEvmConfig> {
        let (spec, evm) = (context.chain_spec(), ForeblockEvmFactory::new(self.outcomes));
        let stock = EthBlockExecutorFactory::new(RethReceiptBuilder::default(), spec.clone(), evm.clone());
        Ok(ForeblockEvmConfig {
            inner: EthEvmConfig::new_with_evm_factory(spec.clone(), evm),
            factory: InferenceExecutorFactory::new(stock, self.certify, self.lists),
            assembler: Assembler(EthBlockAssembler::new(spec)),
        })
    }
}
