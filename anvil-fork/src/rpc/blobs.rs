//! Blobs of mined transactions, which blocks do not carry.

use super::{Args, Reply};
use crate::{chain::Transaction, node::Node};
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip4844::Blob;
use alloy_primitives::{B256, U64};
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};

/// Blobs kept; the oldest go first. 128 KiB each.
const BLOBS_MAX: usize = 512;

/// The last blobs that were mined.
#[derive(Debug, Default)]
pub struct Blobs(Mutex<VecDeque<Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    transaction: B256,
    versioned_hash: B256,
    blob: Arc<Blob>,
}

impl Blobs {
    /// Keeps the blobs of a transaction that is mined, if it has any.
    pub fn keep(&self, tx: &Transaction) {
        let TxEnvelope::Eip4844(signed) = tx.inner() else { return };
        let Some(sidecar) = signed.tx().sidecar() else { return };
        let mut kept = self.0.lock();
        let hashes = tx.blob_versioned_hashes().unwrap_or_default();
        for (versioned_hash, blob) in hashes.iter().zip(sidecar.blobs()) {
            if kept.len() == BLOBS_MAX {
                kept.pop_front();
            }
            let (transaction, blob) = (*tx.tx_hash(), Arc::new(*blob));
            kept.push_back(Kept { transaction, versioned_hash: *versioned_hash, blob });
        }
    }

    fn find(&self, wanted: impl Fn(&Kept) -> bool) -> Vec<Arc<Blob>> {
        self.0.lock().iter().filter(|kept| wanted(kept)).map(|kept| kept.blob.clone()).collect()
    }
}

pub(super) async fn by_hash(node: &Arc<Node>, mut args: Args) -> Reply<Option<Arc<Blob>>> {
    let hash: B256 = args.take("versioned hash")?;
    Ok(node.blobs.find(|kept| kept.versioned_hash == hash).into_iter().next())
}

pub(super) async fn of_transaction(node: &Arc<Node>, mut args: Args) -> Reply<Option<Vec<Arc<Blob>>>> {
    let hash: B256 = args.take("transaction hash")?;
    // A transaction that a reorganisation or revert took away has no blobs any more.
    let mined = node.ledger().transaction(&hash).is_some();
    let blobs = node.blobs.find(|kept| mined && kept.transaction == hash);
    Ok((!blobs.is_empty()).then_some(blobs))
}

pub(super) async fn genesis_time(node: &Arc<Node>, _: Args) -> Reply<U64> {
    Ok(U64::from(node.ledger().first().header.timestamp))
}
