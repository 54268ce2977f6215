//! The life of a follower: begin where the producer's chain begins, verify, serve, stop.

use super::Config;
use crate::{
    chain::{self, Block, Spec},
    follow::{self, Producer, Start},
    node::Node,
    rpc,
};
use alloy_primitives::B256;
use anyhow::{Context, ensure};
use std::sync::Arc;

/// Follows a producer until it is interrupted or a block is invalid.
pub fn run(config: Config, url: &str, checkpoint: Option<B256>) -> anyhow::Result<()> {
    let producer = Producer::new(url, config.flags().tls.tls_ca.as_deref())?;
    let node = start(&config, &producer, checkpoint)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, node, producer))
}

/// A node whose chain is the producer's first block.
fn start(config: &Config, producer: &Producer, checkpoint: Option<B256>) -> anyhow::Result<Arc<Node>> {
    let start = producer.start()?;
    let spec = Spec::up_to(start.chain_id.to(), &start.hardfork)?;
    let precompile = start.precompile;
    let first = first_block(start)?;
    if let Some(expected) = checkpoint {
        ensure!(
            first.hash == expected,
            "the producer's chain begins with block {} ({}), but --checkpoint says {expected}",
            first.header.number,
            first.hash
        );
    }
    tracing::info!(number = first.header.number, hash = %first.hash, "following from this block");
    Ok(config.start_following(producer.url(), spec, precompile, first)?)
}

/// The producer's first block, if the state that came with it is the one in its header.
fn first_block(start: Start) -> anyhow::Result<Block> {
    let header = follow::header_of(&start.block)?;
    let world = chain::world_of(start.accounts)?;
    ensure!(
        world.root() == header.state_root,
        "the state that the producer gave for block {} has root {}, but the block's header says {}: \
         a chain that was forked from another cannot be followed from its first block",
        header.number,
        world.root(),
        header.state_root
    );
    Ok(Block::first(header, world))
}

async fn serve(config: Config, node: Arc<Node>, producer: Producer) -> anyhow::Result<()> {
    let (servers, addresses) = rpc::serve(node.clone(), &config.server).await?;
    if !config.flags().quiet {
        println!("\nForeblock follows {}: it verifies blocks and runs no models\n", producer.url());
        addresses.iter().for_each(|address| println!("Listening on {address}"));
    }
    let following = node.clone();
    let follow = tokio::task::spawn_blocking(move || follow::follow(&following, &producer));
    let ended = tokio::select! {
        stopped = follow => stopped.context("the follower panicked")?.map_err(anyhow::Error::from),
        interrupted = super::node::interrupted() => interrupted.map_err(anyhow::Error::from),
    };
    for server in &servers {
        let _ = server.stop();
    }
    node.inference.stop();
    if let Err(error) = ended {
        eprintln!("error: {error:#}");
        // A thread may still wait for the producer; nothing is written that could be cut.
        std::process::exit(1);
    }
    std::process::exit(0)
}
