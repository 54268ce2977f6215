//! Transactions that wait for a block: by sender and nonce, replaced by a higher fee, taken in the order of fees or arrival.

mod order;

pub use order::{Order, UnknownOrder};

use crate::chain::{Candidate, Transaction};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Transactions in all.
    pub transactions_max: usize,
    /// Transactions of one sender.
    pub per_sender_max: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { transactions_max: 50_000, per_sender_max: 16_384 }
    }
}

/// A transaction that the pool does not take. Messages are geth's, for clients match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is there.
    #[error("transaction already imported")]
    AlreadyKnown,
    /// Another one with the same sender and nonce pays as much.
    #[error("replacement transaction underpriced")]
    Underpriced,
    /// No room.
    #[error("txpool is full: it holds {0} transactions; mine or drop some, then send again")]
    Full(usize),
}

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub struct Pooled {
    /// The transaction, with blobs if it has any.
    pub tx: Arc<Transaction>,
    /// Its hash.
    pub hash: B256,
    /// Counts arrivals.
    pub arrival: u64,
}

impl Pooled {
    /// The sender.
    pub fn sender(&self) -> Address {
        self.tx.signer()
    }
}

/// All transactions that wait.
#[derive(Debug, Default)]
pub struct Pool {
    by_sender: BTreeMap<Address, BTreeMap<u64, Pooled>>,
    by_hash: HashMap<B256, (Address, u64)>,
    arrivals: u64,
    limits: PoolLimits,
}

impl Pool {
    /// Takes a transaction; the one it replaces.
    pub fn add(&mut self, tx: Transaction) -> Result<Option<Pooled>, PoolError> {
        let hash = *tx.tx_hash();
        if self.by_hash.contains_key(&hash) {
            return Err(PoolError::AlreadyKnown);
        }
        let (sender, nonce) = (tx.signer(), tx.nonce());
        let queue = self.by_sender.get(&sender);
        let old = queue.and_then(|queue| queue.get(&nonce));
        if old.is_some_and(|old| tx.max_fee_per_gas() <= old.tx.max_fee_per_gas()) {
            return Err(PoolError::Underpriced);
        }
        let full = self.by_hash.len() >= self.limits.transactions_max
            || queue.is_some_and(|queue| queue.len() >= self.limits.per_sender_max);
        if full && old.is_none() {
            return Err(PoolError::Full(self.by_hash.len()));
        }
        let pooled = Pooled { tx: Arc::new(tx), hash, arrival: self.arrivals };
        self.arrivals += 1;
        let replaced = self.by_sender.entry(sender).or_default().insert(nonce, pooled);
        if let Some(replaced) = &replaced {
            self.by_hash.remove(&replaced.hash);
        }
        self.by_hash.insert(hash, (sender, nonce));
        Ok(replaced)
    }

    /// The transaction with this hash.
    pub fn get(&self, hash: &B256) -> Option<&Pooled> {
        let (sender, nonce) = self.by_hash.get(hash)?;
        self.by_sender.get(sender)?.get(nonce)
    }

    /// Takes a transaction out.
    pub fn remove(&mut self, hash: &B256) -> Option<Pooled> {
        let (sender, nonce) = self.by_hash.remove(hash)?;
        let queue = self.by_sender.get_mut(&sender)?;
        let removed = queue.remove(&nonce);
        if queue.is_empty() {
            self.by_sender.remove(&sender);
        }
        removed
    }

    /// Takes all transactions of a sender out.
    pub fn remove_sender(&mut self, sender: Address) -> Vec<B256> {
        let queue = self.by_sender.remove(&sender).unwrap_or_default();
        let hashes: Vec<B256> = queue.into_values().map(|pooled| pooled.hash).collect();
        hashes.iter().for_each(|hash| {
            self.by_hash.remove(hash);
        });
        hashes
    }

    /// Takes out what a block has made stale: nonces below the sender's.
    pub fn prune(&mut self, sender: Address, nonce: u64) -> Vec<B256> {
        let Some(queue) = self.by_sender.get(&sender) else { return Vec::new() };
        let stale: Vec<B256> = queue.range(..nonce).map(|(_, pooled)| pooled.hash).collect();
        stale.iter().for_each(|hash| {
            self.remove(hash);
        });
        stale
    }

    /// Empties the pool.
    pub fn clear(&mut self) -> Vec<B256> {
        let hashes = self.by_hash.keys().copied().collect();
        self.by_sender.clear();
        self.by_hash.clear();
        hashes
    }

    /// How many transactions wait.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// The nonce after the last transaction of `sender` that can follow `nonce` without a gap.
    pub fn next_nonce(&self, sender: Address, nonce: u64) -> u64 {
        let queue = self.by_sender.get(&sender);
        let following = queue.map_or(0, |queue| {
            queue.range(nonce..).zip(nonce..).take_while(|((found, _), wanted)| *found == wanted).count()
        });
        nonce + following as u64
    }

    /// The sender's transactions from `nonce` on, up to the first gap.
    pub fn following(&self, sender: Address, nonce: u64) -> Vec<Pooled> {
        let queue = self.by_sender.get(&sender);
        let from = queue.into_iter().flat_map(|queue| queue.range(nonce..)).zip(nonce..);
        from.take_while(|((found, _), wanted)| *found == wanted).map(|((_, pooled), _)| pooled.clone()).collect()
    }

    /// Transactions that can be executed one after the other, and those behind a gap; in the order of senders and nonces.
    pub fn split(&self, nonce_of: impl Fn(Address) -> u64) -> (Vec<Pooled>, Vec<Pooled>) {
        let (mut pending, mut queued) = (Vec::new(), Vec::new());
        for (sender, queue) in &self.by_sender {
            let mut expected = nonce_of(*sender);
            for (nonce, pooled) in queue {
                if *nonce == expected {
                    pending.push(pooled.clone());
                    expected += 1;
                } else {
                    queued.push(pooled.clone());
                }
            }
        }
        (pending, queued)
    }

    /// What a builder tries, in its order.
    pub fn candidates(&self, order: Order, base_fee: u64, nonce_of: impl Fn(Address) -> u64) -> Vec<Candidate> {
        let (pending, _) = self.split(nonce_of);
        let sorted = order::sorted(pending, order, base_fee);
        sorted.into_iter().map(|pooled| Candidate { hash: pooled.hash, tx: pooled.tx }).collect()
    }
}
