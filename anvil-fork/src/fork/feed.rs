//! What a watched node says by itself: that there is a new head, and which transactions come into its pool.

use super::wire::Socket;
use alloy_primitives::B256;
use alloy_pubsub::RawSubscription;
use alloy_transport::TransportError;
use serde_json::value::RawValue;
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    time::Duration,
};
use tokio::sync::broadcast::error::RecvError;

/// Hashes that wait to be read, of one look.
const HASHES_MAX: usize = 65_536;

#[derive(Debug)]
enum News {
    Head,
    Transaction(B256),
}

/// A node's announcements, for a thread that waits for them.
#[derive(Debug)]
pub struct Feed {
    news: Receiver<News>,
    hashes: Vec<B256>,
    /// Nothing more comes, or some of what came was lost.
    ended: bool,
}

impl Feed {
    /// Subscribes to heads and to the pool.
    pub(super) async fn open(socket: &Socket) -> Result<Self, TransportError> {
        let heads = socket.subscribe("newHeads").await?;
        let pool = socket.subscribe("newPendingTransactions").await?;
        let (tell, news) = sync_channel(HASHES_MAX);
        tokio::spawn(forward(heads, pool, tell));
        Ok(Self { news, hashes: Vec::new(), ended: false })
    }

    /// Waits until the node says something, this long at most.
    pub fn wait(&mut self, patience: Duration) {
        match self.news.recv_timeout(patience) {
            Ok(News::Transaction(hash)) => self.hashes.push(hash),
            Ok(News::Head) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.ended = true,
        }
    }

    /// Hashes of the transactions that were announced since the last time; `None` once announcements were lost: then another feed is needed.
    pub fn take(&mut self) -> Option<Vec<B256>> {
        while !self.ended && self.hashes.len() < HASHES_MAX {
            match self.news.try_recv() {
                Ok(News::Transaction(hash)) => self.hashes.push(hash),
                Ok(News::Head) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
        (!self.ended).then(|| std::mem::take(&mut self.hashes))
    }
}

/// Passes on what comes, until the connection breaks or something was lost.
async fn forward(mut heads: RawSubscription, mut pool: RawSubscription, tell: SyncSender<News>) {
    loop {
        let news = tokio::select! {
            head = heads.recv() => match head {
                // Whoever hears of a head asks for the last one.
                Ok(_) | Err(RecvError::Lagged(_)) => News::Head,
                Err(RecvError::Closed) => return,
            },
            hash = pool.recv() => match hash.map(|raw| transaction(&raw)) {
                Ok(Some(hash)) => News::Transaction(hash),
                Ok(None) => continue,
                Err(RecvError::Lagged(_) | RecvError::Closed) => return,
            },
        };
        match tell.try_send(news) {
            Ok(()) | Err(TrySendError::Full(News::Head)) => {}
            Err(_) => return,
        }
    }
}

/// Some nodes announce the whole transaction.
fn transaction(raw: &RawValue) -> Option<B256> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Announced {
        Hash(B256),
        Whole { hash: B256 },
    }
    let announced: Announced = serde_json::from_str(raw.get()).ok()?;
    let (Announced::Hash(hash) | Announced::Whole { hash }) = announced;
    Some(hash)
}
