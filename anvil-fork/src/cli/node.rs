//! The life of a node: start, serve, stop.

use super::Config;
use crate::{banner, inference, miner, rpc};
use anyhow::Context;
use std::sync::Arc;

/// Runs a node until it is interrupted.
pub fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let node = config.start()?;
    let (servers, addresses) = rpc::serve(node.clone(), &config.server).await?;
    if let Some(path) = &config.config_out {
        let json = serde_json::to_vec_pretty(&banner::json(&config, &node))?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !config.flags().quiet {
        print!("{}", banner::text(&config, &node, &addresses));
    }
    tokio::spawn(miner::run(node.clone()));
    tokio::spawn(inference::follow(node.clone()));
    interrupted().await?;
    for server in &servers {
        let _ = server.stop();
    }
    tokio::task::spawn_blocking(move || stop(&node)).await?;
    Ok(())
}

fn stop(node: &Arc<crate::node::Node>) {
    node.inference.stop();
}

async fn interrupted() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
