//! A reth node whose contracts use machine-learning models: with a pre-executor on its own pool and state, or with a sidecar beside it.
//!
//! Not compiled with the workspace, since reth is not on the registry: README.md says what of it is.

mod evm;
mod payload;
mod watch;

use clap::{Args, Parser};
use evm::ForeblockExecutorBuilder;
use foreblock_precompile::Outcomes;
use foreblock_reth_parts::{Certify, Lists, Watcher};
use foreblock_sidecar::{Patience, SidecarOutcomes};
use payload::{ForeblockPayloadBuilder, Waits};
use reth_ethereum::{
    cli::{chainspec::EthereumChainSpecParser, interface::Cli},
    node::{EthereumNode, builder::components::BasicPayloadServiceBuilder, node::EthereumAddOns},
};
use std::{path::PathBuf, sync::Arc};

#[derive(Args, Clone, Debug)]
struct Flags {
    /// Socket of a `foreblock sidecar` beside this node; without it, the node has a pre-executor of its own
    #[arg(long, value_name = "PATH")]
    foreblock_socket: Option<PathBuf>,
    /// Where models and outcomes are kept
    #[arg(long, value_name = "PATH", default_value = "foreblock")]
    foreblock_data: PathBuf,
    /// Key with which this node's operator signs outcomes
    #[arg(long, env = "FOREBLOCK_OPERATOR_KEY", hide_env_values = true, required_unless_present = "foreblock_socket")]
    foreblock_key: Option<String>,
}

/// Where outcomes come from.
struct Answers {
    outcomes: Arc<dyn Outcomes>,
    certify: Certify,
    waits: Waits,
    watcher: Option<Watcher>,
}

fn answers(flags: &Flags, chain_id: u64) -> eyre::Result<Answers> {
    if let Some(socket) = &flags.foreblock_socket {
        let outcomes = Arc::new(SidecarOutcomes::new(socket.clone(), chain_id, Patience::default()));
        let certify = Certify::by_sidecar(socket.clone(), chain_id);
        return Ok(Answers { outcomes, certify, waits: Arc::new(|_| false), watcher: None });
    }
    let key = flags.foreblock_key.as_deref().unwrap_or_default();
    let watcher = watch::start(&flags.foreblock_data, chain_id, key)?;
    let waits = watcher.clone();
    Ok(Answers {
        outcomes: watcher.outcomes(),
        certify: watcher.certify(),
        waits: Arc::new(move |hash| waits.waits(hash)),
        watcher: Some(watcher),
    })
}

fn main() -> eyre::Result<()> {
    Cli::<EthereumChainSpecParser, Flags>::parse().run(async move |builder, flags| {
        let answers = answers(&flags, builder.config().chain.chain.id())?;
        let lists = Arc::new(Lists::default());
        let components = EthereumNode::components()
            .executor(ForeblockExecutorBuilder::new(answers.outcomes, answers.certify, lists.clone()))
            .payload(BasicPayloadServiceBuilder::new(ForeblockPayloadBuilder::new(answers.waits, lists)));
        let handle = builder
            .with_types::<EthereumNode>()
            .with_components(components)
            .with_add_ons(EthereumAddOns::default())
            .launch()
            .await?;
        if let Some(watcher) = answers.watcher {
            let node = &handle.node;
            let watching = watch::watch(watcher, node.pool.clone(), node.provider.clone(), node.chain_spec());
            node.task_executor.spawn_critical_task("foreblock", watching);
        }
        handle.wait_for_node_exit().await
    })
}
