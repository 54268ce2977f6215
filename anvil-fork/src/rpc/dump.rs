//! The chain as a file, and back to its beginning.

use super::{Args, Reply, RpcError};
use crate::{
    chain::{Ledger, dump},
    fork::{self, ForkOptions, ForkPoint},
    node::Node,
};
use alloy_primitives::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::Deserialize;
use serde_json::Value;
use std::{
    io::{Read, Write},
    sync::Arc,
};

/// Longest state that is loaded, unpacked, bytes.
const STATE_BYTES_MAX: u64 = 4 << 30;

/// The chain, gzipped JSON.
pub(super) async fn dump_state(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let with_states = args.optional("preserve historical states")?.unwrap_or(node.config.dump_states);
    let failed = |error: std::io::Error| RpcError::Internal(format!("packing the state failed: {error}"));
    tokio::task::block_in_place(|| {
        let json = dump(&node.ledger(), with_states)?;
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&json).map_err(failed)?;
        Ok(packer.finish().map_err(failed)?.into())
    })
}

/// Takes what [`dump_state`] gave, or the same unpacked.
pub(super) async fn load_state(node: &Arc<Node>, mut args: Args) -> Reply<bool> {
    let bytes: Bytes = args.take("state")?;
    tokio::task::block_in_place(|| {
        let json = if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut json = Vec::new();
            let unpacked = GzDecoder::new(bytes.as_ref()).take(STATE_BYTES_MAX).read_to_end(&mut json);
            unpacked.map_err(|error| RpcError::params(format!("the state does not unpack: {error}")))?;
            json
        } else {
            bytes.to_vec()
        };
        node.load_state(&json)?;
        Ok(true)
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reset {
    forking: Option<Forking>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Forking {
    json_rpc_url: Option<String>,
    block_number: Option<Value>,
}

impl Forking {
    /// The node's fork, changed as the request says.
    fn options(self, node: &Node) -> Reply<ForkOptions> {
        let now = node.read(|chain| chain.ledger.upstream().map(|upstream| upstream.options().clone()));
        let now = now.or_else(|| node.config.fork.options.clone());
        let url = self.json_rpc_url.as_deref().map(fork::url).transpose();
        let url = url.map_err(|error| RpcError::params(error.to_string()))?;
        let at_url = url.as_ref().and_then(|(_, block)| *block);
        let mut options = match (now, url) {
            (Some(now), None) => now,
            // Another URL may be another chain's.
            (Some(now), Some((url, _))) => ForkOptions { urls: vec![url], chain_id: None, ..now },
            (None, Some((url, _))) => ForkOptions::new(vec![url], ForkPoint::Latest),
            (None, None) => return Err(RpcError::params("this node does not fork: give forking.jsonRpcUrl")),
        };
        let number = self.block_number.filter(|number| !number.is_null()).map(|number| whole(&number)).transpose()?;
        options.point = number.or(at_url).map_or(ForkPoint::Latest, ForkPoint::Number);
        Ok(options)
    }
}

fn whole(number: &Value) -> Reply<u64> {
    let text = number.as_str().map_or_else(|| number.to_string(), str::to_owned);
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
    parsed.ok_or_else(|| RpcError::params(format!("forking.blockNumber: expected a number, got {text}")))
}

/// The upstream is another endpoint from now on; the chain and the fork block must be the same.
pub(super) async fn set_rpc_url(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let text: String = args.take("url")?;
    let (url, _) = fork::url(&text).map_err(|error| RpcError::params(error.to_string()))?;
    let ledger = node.ledger();
    let now = ledger.upstream().ok_or_else(|| RpcError::params("this node does not fork: reset it to a fork first"))?;
    let options = ForkOptions {
        urls: vec![url],
        chain_id: Some(now.chain_id()),
        point: ForkPoint::Number(now.number()),
        ..now.options().clone()
    };
    let found = fork::open(&options)?;
    if found.hash != now.hash() {
        return Err(RpcError::params(format!("{text} has another block {}: {}", now.number(), found.hash)));
    }
    node.change(|chain| chain.ledger.set_upstream(Arc::new(found.upstream)));
    node.announce_head(None, None);
    Ok(Value::Null)
}

/// Back to the first block, or to a fork.
pub(super) async fn reset(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let options: Reset = args.optional("options")?.unwrap_or_default();
    if let Some(forking) = options.forking {
        let options = forking.options(node)?;
        node.pool(|pool| pool.clear()).into_iter().for_each(|hash| node.inference.dropped(hash));
        tokio::task::block_in_place(|| node.reset_to_fork(&options))?;
        return Ok(Value::Null);
    }
    node.pool(|pool| pool.clear()).into_iter().for_each(|hash| node.inference.dropped(hash));
    let spec = node.spec();
    let genesis = node.config.genesis.block(&spec).map_err(|error| RpcError::Internal(error.to_string()))?;
    node.restart(Ledger::starting_with(genesis));
    Ok(Value::Null)
}
