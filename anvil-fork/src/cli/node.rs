//! The life of a node: start, serve, stop.

use super::Config;
use crate::{banner, chain, inference, miner, node::Node, rpc};
use anyhow::Context;
use std::{path::Path, sync::Arc, time::Duration};

/// Stack of a thread that serves requests: blobs of 128 KiB are decoded on it, several copies deep, and the EVM nests 1,024
/// calls. Memory that is not touched is not used.
const STACK_BYTES: usize = 32 << 20;

/// Runs a node until it is interrupted.
pub fn run(config: Config) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.flags().threads.filter(|threads| *threads > 0) {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.thread_stack_size(STACK_BYTES).enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Operators elsewhere are asked who they are, which blocks.
    let node = tokio::task::block_in_place(|| config.start())?;
    load(&config, &node)?;
    let (servers, addresses) = rpc::serve(node.clone(), &config.server).await?;
    if let Some(address) = config.flags().metrics {
        let address = inference::serve_metrics(node.clone(), address).await?;
        tracing::info!(%address, "serving metrics");
    }
    if let Some(path) = &config.config_out {
        write_whole(path, &serde_json::to_vec_pretty(&banner::json(&config, &node))?)?;
    }
    if !config.flags().quiet {
        print!("{}", banner::text(&config, &node, &addresses));
    }
    tokio::spawn(miner::run(node.clone()));
    tokio::spawn(inference::follow(node.clone()));
    if let (Some(path), Some(every)) = (config.dump_state.clone(), config.dump_interval) {
        tokio::spawn(dump_each(node.clone(), path, every));
    }
    interrupted().await?;
    for server in &servers {
        let _ = server.stop();
    }
    tokio::task::spawn_blocking(move || stop(&config, &node)).await?
}

/// The file for a path that may name a folder.
fn state_file(path: &Path) -> std::path::PathBuf {
    if path.is_dir() { path.join("state.json") } else { path.to_owned() }
}

fn load(config: &Config, node: &Node) -> anyhow::Result<()> {
    let Some(path) = config.load_state.as_deref().map(state_file) else { return Ok(()) };
    if !path.exists() && !config.load_state_required {
        return Ok(());
    }
    let json = std::fs::read(&path).with_context(|| format!("cannot read the state file {}", path.display()))?;
    node.load_state(&json).with_context(|| path.display().to_string())
}

async fn dump_each(node: Arc<Node>, path: std::path::PathBuf, every: Duration) {
    let mut tick = tokio::time::interval(every.max(Duration::from_secs(1)));
    loop {
        tick.tick().await;
        let (node, path) = (node.clone(), path.clone());
        let done = tokio::task::spawn_blocking(move || dump(&node, &path)).await;
        if let Ok(Err(error)) = done {
            tracing::error!("the state could not be written: {error:#}");
        }
    }
}

fn dump(node: &Node, path: &Path) -> anyhow::Result<()> {
    write_whole(&state_file(path), &chain::dump(&node.ledger(), node.config.dump_states)?)
}

/// Writes a file as a whole or not at all.
fn write_whole(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let written = std::fs::write(&beside, content).and_then(|()| std::fs::rename(&beside, path));
    written.with_context(|| format!("cannot write {}: check that the folder exists and has room", path.display()))
}

fn stop(config: &Config, node: &Node) -> anyhow::Result<()> {
    node.inference.stop();
    config.dump_state.as_deref().map_or(Ok(()), |path| dump(node, path))
}

pub(super) async fn interrupted() -> std::io::Result<()> {
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
