//! What a node decides once, what it tells of its chain, and what it hears back.

use crate::{
    reads::WriteSet,
    schedule::{Limits, TransactionId},
    scout::HeadState,
    store::{StoreError, StoreLimits},
    watchlist::WatchLimits,
};
use alloy_evm::EvmEnv;
use alloy_primitives::Address;
use foreblock_precompile::{PRECOMPILE_ADDRESS, RequestId};
use std::{path::PathBuf, time::Duration};

/// What a node decides once.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where outcomes are kept; in memory only where there is none.
    pub data_dir: Option<PathBuf>,
    /// Where the precompile stands.
    pub address: Address,
    /// Bounds of the scheduler.
    pub limits: Limits,
    /// Bounds of the watchlist.
    pub watch: WatchLimits,
    /// Bounds of the store.
    pub store: StoreLimits,
    /// A model that is predicted to run this long at most is run by the builder that misses it, where it may be; 0 for none.
    pub at_once_us_max: u64,
    /// Inferences of one `eth_call` that depend on one another.
    pub call_rounds_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            address: PRECOMPILE_ADDRESS,
            limits: Limits::default(),
            watch: WatchLimits::default(),
            store: StoreLimits::default(),
            at_once_us_max: 20,
            call_rounds_max: 64,
        }
    }
}

/// The chain's head, as the next block sees it.
#[derive(Clone, Debug)]
pub struct Head {
    /// Number of the block that is being prepared.
    pub block: u64,
    /// Its environment, predicted: number, timestamp, base fee and prevrandao of the *next* block.
    pub env: EvmEnv,
    /// The state after the last block.
    pub state: HeadState,
    /// Time until the block is built.
    pub seal_in: Duration,
    /// Time between two blocks.
    pub slot: Duration,
    /// What the last block wrote; where it is not known, everything is simulated again.
    pub writes: Option<WriteSet>,
}

/// News, in the order in which they happened. Who is slow misses the oldest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All outcomes of a transaction are there, or it needs none: it can be included.
    Ready {
        /// The transaction.
        transaction: TransactionId,
    },
    /// An outcome is there.
    Outcome {
        /// Its request.
        request: RequestId,
    },
    /// A transaction is not for this block.
    Deferred {
        /// The transaction.
        transaction: TransactionId,
        /// Why, in words.
        reason: String,
    },
    /// A transaction was never ready, or had to leave a full watchlist: the pool should drop it.
    Expired {
        /// The transaction.
        transaction: TransactionId,
        /// Why, in words.
        reason: String,
    },
}

/// Why a transaction is not watched any more although it was not included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Farewell {
    /// It was never ready, or had to leave a full watchlist.
    #[error("{0}")]
    Expired(String),
    /// Its sender replaced it.
    #[error("replaced by {0}")]
    Replaced(TransactionId),
}

/// Why the pre-executor does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}; the system's limit on threads may be reached")]
    Thread(#[from] std::io::Error),
}
