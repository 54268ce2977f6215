//! A reth node whose contracts use machine-learning models. The sidecar beside it watches this node's pool by RPC; the node looks outcomes up.
//!
//! Not compiled with the workspace, since reth is not on the registry: README.md says what of it is.

mod evm;
mod payload;

use clap::{Args, Parser};
use evm::ForeblockExecutorBuilder;
use foreblock_sidecar::{Patience, SidecarOutcomes};
use payload::ForeblockPayloadBuilder;
use reth_ethereum::{
    cli::{chainspec::EthereumChainSpecParser, interface::Cli},
    node::{EthereumNode, builder::components::BasicPayloadServiceBuilder, node::EthereumAddOns},
};
use std::{path::PathBuf, sync::Arc};

#[derive(Args, Clone, Debug)]
struct Flags {
    /// Socket of `foreblock sidecar`, started beside this node
    #[arg(long, default_value = "foreblock.sock")]
    foreblock_socket: PathBuf,
}

fn main() -> eyre::Result<()> {
    Cli::<EthereumChainSpecParser, Flags>::parse().run(async move |builder, flags| {
        let chain_id = builder.config().chain.chain.id();
        let outcomes = Arc::new(SidecarOutcomes::new(flags.foreblock_socket, chain_id, Patience::default()));
        let components = EthereumNode::components()
            .executor(ForeblockExecutorBuilder::new(outcomes.clone()))
            .payload(BasicPayloadServiceBuilder::new(ForeblockPayloadBuilder::new(outcomes)));
        let node = builder
            .with_types::<EthereumNode>()
            .with_components(components)
            .with_add_ons(EthereumAddOns::default())
            .launch()
            .await?;
        node.wait_for_node_exit().await
    })
}
