//! `foreblock sidecar`: the pre-executor beside an unmodified client.

use super::{EngineFlags, TlsFlags};
use crate::{
    chain::{Spec, UnknownHardfork},
    fork::{ForkOptions, ForkPoint, Heads, url},
    inference::{Operators, OperatorsConfig},
    sidecar::{Sidecar, WatchConfig, serve_http, watch},
};
use alloy_primitives::Address;
use anyhow::Context;
use clap::Args;
use foreblock_pre_executor::{
    Config as PreExecutorConfig, PreExecutor, WatchLimits,
    oip::{Client, ConnectError, RemoteOperator},
    operators::Faults,
};
use foreblock_sidecar::Server;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// Flags of a sidecar.
#[derive(Args, Clone, Debug)]
pub struct SidecarFlags {
    /// JSON-RPC of the client's node: http://HOST:PORT, or ws://HOST:PORT, over which it says by itself what is new
    #[arg(long, value_name = "URL")]
    pub node: String,
    /// Unix socket to serve
    #[arg(long, value_name = "PATH", default_value = "foreblock.sock")]
    pub socket: PathBuf,
    /// Serve HTTP here, too, with metrics under /metrics
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,
    /// The chain that the node must be of; asked where it is not given
    #[arg(long, value_name = "NUM")]
    pub chain_id: Option<u64>,
    /// Rules of a chain that is not a public one
    #[arg(long, value_name = "NAME", default_value = "latest")]
    pub hardfork: String,
    /// Time between blocks, seconds; that of the last two where it is not given
    #[arg(long, value_name = "SECONDS", value_parser = super::flags::seconds)]
    pub block_time: Option<Duration>,
    /// Milliseconds between two looks at the node, where it is asked by HTTP
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pub poll: u64,
    /// Most pending transactions watched
    #[arg(long, value_name = "NUM", default_value_t = 65_536)]
    pub pending_max: usize,
    /// Where the precompile stands
    #[arg(long, value_name = "ADDRESS", default_value_t = foreblock_precompile::PRECOMPILE_ADDRESS)]
    pub precompile: Address,
    /// What computes
    #[command(flatten)]
    pub engine: EngineFlags,
    /// Operators in this process, with a devnet's public keys: 1, or none where --operator names others
    #[arg(long, value_name = "NUM", value_parser = clap::value_parser!(u8).range(0..=31))]
    pub operators: Option<u8>,
    /// Operators elsewhere (`foreblock operator`): oip://HOST:PORT, or https://HOST:PORT with TLS
    #[arg(long = "operator", value_name = "URL")]
    pub remote_operators: Vec<String>,
    /// TLS towards operators
    #[command(flatten)]
    pub tls: TlsFlags,
}

/// Runs a sidecar until it is interrupted.
pub fn run(flags: &SidecarFlags) -> anyhow::Result<()> {
    let heads = connect(flags)?;
    let spec = spec(flags, heads.chain_id())?;
    let sidecar = start(flags, &heads)?;
    let server = Server::start(&flags.socket, sidecar.clone())?;
    println!("Chain {} by {}", heads.chain_id(), flags.node);
    println!("Serving {}", flags.socket.display());
    let config = WatchConfig {
        poll: Duration::from_millis(flags.poll.max(1)),
        block_time: flags.block_time,
        pending_max: flags.pending_max,
        spec,
    };
    let watched = sidecar.clone();
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || watch(heads, config, &watched))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        if let Some(address) = flags.http {
            let address = serve_http(sidecar.clone(), address).await.context("--http: the address cannot be used")?;
            println!("Listening on {address}");
        }
        super::node::interrupted().await.map_err(anyhow::Error::from)
    })?;
    drop(server);
    sidecar.pre_executor().stop();
    // Whoever watches may still wait for the node; nothing is written that could be cut.
    std::process::exit(0)
}

/// The node, once it says what chain it is of.
fn connect(flags: &SidecarFlags) -> anyhow::Result<Heads> {
    let (node, _) = url(&flags.node)?;
    let mut options = ForkOptions::new(vec![node], ForkPoint::Latest);
    // Who watches asks again anyway.
    (options.retries, options.backoff) = (1, Duration::from_millis(50));
    options.timeout = Duration::from_secs(10);
    options.compute_units_per_second = u64::MAX;
    options.chain_id = flags.chain_id;
    let connect = || {
        let heads = Heads::connect(options)?;
        // A chain's id that was given proves nothing yet.
        heads.told_chain_id().map(|_| heads)
    };
    connect().with_context(|| format!("--node {}: there is no chain to watch", flags.node))
}

fn spec(flags: &SidecarFlags, chain_id: u64) -> Result<Spec, UnknownHardfork> {
    Spec::of_chain(chain_id).map_or_else(|| Spec::up_to(chain_id, &flags.hardfork), Ok)
}

fn start(flags: &SidecarFlags, heads: &Heads) -> anyhow::Result<Arc<Sidecar>> {
    let engine = flags.engine.engine()?;
    let computes = flags.engine.compute(&engine, &flags.tls)?;
    let tls = flags.tls.tls();
    let introduce = |url: &String| RemoteOperator::introduce(Client::new(url, &tls)?);
    let remote = flags.remote_operators.iter().map(introduce).collect::<Result<Vec<_>, ConnectError>>()?;
    let count = flags.operators.unwrap_or(u8::from(remote.is_empty())).into();
    let operators = OperatorsConfig { count, faults: Faults::default(), hedge: false, commit_first: false };
    let operators = Operators::new(&operators, heads.chain_id(), &engine, computes, remote)?;
    let config = PreExecutorConfig {
        data_dir: flags.engine.store()?,
        address: flags.precompile,
        watch: WatchLimits { transactions_max: flags.pending_max, ..WatchLimits::default() },
        // The client's builder is elsewhere: nothing is run on its thread.
        at_once_us_max: 0,
        ..PreExecutorConfig::default()
    };
    let pre_executor = PreExecutor::start(config, operators.panel().clone())?;
    Ok(Sidecar::new(&flags.node, heads.chain_id(), flags.precompile, pre_executor, operators))
}
