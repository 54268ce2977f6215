//! The executor: Ethereum's, with the precompile in its EVM.

use foreblock_precompile::{Outcomes, alloy_evm_038::ForeblockEvmFactory};
use reth_ethereum::{
    EthPrimitives,
    chainspec::ChainSpec,
    evm::EthEvmConfig,
    node::{
        api::{FullNodeTypes, NodeTypes},
        builder::{BuilderContext, components::ExecutorBuilder},
    },
};
use std::sync::Arc;

/// Ethereum's configuration with the precompile.
pub(crate) type ForeblockEvmConfig = EthEvmConfig<ChainSpec, ForeblockEvmFactory>;

/// Makes it.
pub(crate) struct ForeblockExecutorBuilder {
    outcomes: Arc<dyn Outcomes>,
}

impl ForeblockExecutorBuilder {
    /// Blocks are executed with these outcomes. A network's node executes other producers' blocks with their lists only
    /// (`ListOutcomes`), and this source only builds.
    pub(crate) fn new(outcomes: Arc<dyn Outcomes>) -> Self {
        Self { outcomes }
    }
}

impl<Node> ExecutorBuilder<Node> for ForeblockExecutorBuilder
where
    Node: FullNodeTypes<Types: NodeTypes<ChainSpec = ChainSpec, Primitives = EthPrimitives>>,
{
    type EVM = ForeblockEvmConfig;

    async fn build_evm(self, context: &BuilderContext<Node>) -> eyre::Result<Self::EVM> {
        Ok(EthEvmConfig::new_with_evm_factory(context.chain_spec(), ForeblockEvmFactory::new(self.outcomes)))
    }
}
