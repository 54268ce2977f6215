//! The chain as a file, and back to its beginning.

use super::{Args, Reply, RpcError};
use crate::{
    chain::{Ledger, dump},
    node::Node,
};
use alloy_primitives::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::Value;
use std::{
    io::{Read, Write},
    sync::Arc,
};

/// Longest state that is loaded, unpacked, bytes.
const STATE_BYTES_MAX: u64 = 4 << 30;

/// The chain, gzipped JSON.
pub(super) async fn dump_state(node: &Arc<Node>, _: Args) -> Reply<Bytes> {
    let failed = |error: std::io::Error| RpcError::Internal(format!("packing the state failed: {error}"));
    tokio::task::block_in_place(|| {
        let json = dump(&node.ledger())?;
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

/// Back to the first block. There is no fork to reset to.
pub(super) async fn reset(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let forking: Option<Value> = args.optional("options")?;
    if forking.as_ref().is_some_and(|options| options.get("forking").is_some_and(|fork| !fork.is_null())) {
        return Err(RpcError::Unsupported("this node does not fork: reset without `forking`".to_owned()));
    }
    node.pool(|pool| pool.clear()).into_iter().for_each(|hash| node.inference.dropped(hash));
    let spec = node.spec();
    let genesis = node.config.genesis.block(&spec).map_err(|error| RpcError::Internal(error.to_string()))?;
    node.restart(Ledger::starting_with(genesis));
    Ok(Value::Null)
}
