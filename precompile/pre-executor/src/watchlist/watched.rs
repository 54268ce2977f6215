//! What is known of a pending transaction, and its bounds.

use crate::{
    reads::ReadSet,
    schedule::{Micros, Refused, TransactionId},
};
use foreblock_precompile::{ModelId, Request, RequestId};
use revm::{context::TxEnv, state::EvmState};
use std::{cmp::Reverse, sync::Arc};

/// A transaction of the pool that can be executed, at once or after others of its sender.
#[derive(Clone, Debug)]
pub struct PendingTransaction {
    /// Its hash.
    pub hash: TransactionId,
    /// What the EVM runs.
    pub env: TxEnv,
    /// The transaction with the same sender and nonce that it replaces: its age is kept.
    pub replaces: Option<TransactionId>,
}

/// Why a transaction is not ready although its simulation is over. It stays in the pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Deferral {
    /// The scheduler does not take its request now.
    #[error("{0}")]
    Refused(Refused),
    /// Better paying work pushed its request out of a full queue.
    #[error("better paying work filled the queue: raise the tip or wait")]
    PushedOut,
    /// Its inputs moved too often within one block.
    #[error("simulated {0} times for this block already: tried again for the next")]
    Simulations(u32),
    /// It makes more inferences one after the other than a block allows.
    #[error("{0} inferences that depend on one another are done for this block: goes on with the next")]
    Rounds(u32),
    /// Too many transactions read a slot that keeps changing.
    #[error("too many transactions depend on one changing storage slot: tried again with the next block")]
    HotSlot,
    /// No worker could compute its request.
    #[error("request {request} cannot be computed: {reason}")]
    Unavailable {
        /// The request.
        request: RequestId,
        /// What the workers said.
        reason: String,
    },
}

/// Why a builder leaves a transaction alone without running it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hold {
    /// The simulation ended at a request that has no outcome yet.
    #[error("waits for request {0}")]
    Waits(RequestId),
    /// The builder missed too often: its inputs differ from what every simulation saw.
    #[error("missed by {misses} builds: tried again from block {until} on")]
    BackedOff {
        /// Builds that missed.
        misses: u32,
        /// First block that tries it again.
        until: u64,
    },
}

/// Where a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is or will be simulated.
    Scouting,
    /// It waits for an outcome.
    Waiting,
    /// All its outcomes are there, or it needs none.
    Ready,
    /// Not for this block, for the reason given.
    Deferred(Deferral),
    /// It cannot be executed on this state.
    Invalid(String),
}

/// Bounds of the watchlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Transactions watched. At the bound the one with the lowest tip leaves.
    pub transactions_max: usize,
    /// Simulations of a transaction for one block, continuations with a new outcome not counted.
    pub simulations_max: u32,
    /// Continuations of a transaction for one block.
    pub rounds_max: u32,
    /// Transactions that one slot's change simulates anew, for one block.
    pub hot_slot_max: u32,
    /// Blocks after which a transaction that never became ready is given up.
    pub blocks_max: u64,
    /// Microseconds after which it is given up where no blocks come.
    pub age_max_us: Micros,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            transactions_max: 16_384,
            simulations_max: 3,
            rounds_max: 64,
            hot_slot_max: 64,
            blocks_max: 64,
            age_max_us: 3_600_000_000,
        }
    }
}

/// What is known of a transaction.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What the EVM runs.
    pub env: TxEnv,
    /// When it came, or the first of those that it replaces.
    pub since_us: Micros,
    /// The block that was being prepared then.
    pub since_block: u64,
    /// Where it stands.
    pub phase: Phase,
    /// The outcomes it used, and the missing one if it waits.
    pub calls: Vec<(RequestId, ModelId)>,
    /// The request that it waits for.
    pub missing: Option<Request>,
    /// Inference gas of that request, as it was asked.
    pub gas: u64,
    /// What it changes, once it ran to its end.
    pub changes: Option<Arc<EvmState>>,
    /// It reads the block itself: each new one simulates it again.
    pub volatile: bool,
    /// Simulations for this block.
    pub simulations: u32,
    /// Its place in the builder's order.
    pub place: Place,
    /// Builds that missed an outcome although the simulation had found all.
    pub misses: u32,
    /// First block whose builder tries it again.
    pub held_until: u64,
    pub(super) missed_in: Option<u64>,
    /// The next run goes on with a new outcome: it is no new simulation.
    pub(super) goes_on: bool,
    pub(super) rounds: u32,
    pub(super) reads: ReadSet,
    pub(super) moved: u32,
    pub(super) stayed: u32,
}

/// Misses after which the builder backs off, and the longest time for which it does, in blocks.
pub const MISSES_MAX: u32 = 3;
const BACK_OFF_BLOCKS_MAX: u64 = 32;

impl Watched {
    /// Counts a miss of the builder of `block`. From the third on the builder leaves the transaction alone for 1, 2, 4 and so on
    /// blocks.
    pub(super) fn note_miss(&mut self, block: u64) {
        if self.missed_in.replace(block) == Some(block) {
            return;
        }
        self.misses += 1;
        if self.misses >= MISSES_MAX {
            let blocks = 1 << (self.misses - MISSES_MAX).min(31);
            self.held_until = block + 1 + BACK_OFF_BLOCKS_MAX.min(blocks);
        }
    }

    /// The scheduler did not take its request, or dropped it: it may be asked again as it is.
    pub(super) fn asks_again(&self) -> bool {
        matches!(&self.phase, Phase::Deferred(Deferral::Refused(_) | Deferral::PushedOut)) && self.missing.is_some()
    }

    /// The request that it is known to wait for. One whose inputs keep moving is not: it may be lucky.
    pub(super) fn awaited(&self) -> Option<RequestId> {
        let waits = match &self.phase {
            Phase::Waiting => true,
            Phase::Deferred(why) => {
                matches!(why, Deferral::Refused(_) | Deferral::PushedOut | Deferral::Unavailable { .. })
            }
            Phase::Scouting | Phase::Ready | Phase::Invalid(_) => false,
        };
        self.missing.as_ref().filter(|_| waits).map(|request| request.id)
    }

    /// Nobody could include it so far.
    pub(super) fn is_stuck(&self) -> bool {
        self.phase != Phase::Ready || self.misses > 0
    }

    /// Chance that the next simulation asks the same, from what was seen before.
    pub fn unchanged_ppm(&self) -> u32 {
        const PRIOR: u32 = 4;
        let seen = PRIOR + self.stayed;
        let ppm = (u64::from(seen) * 1_000_000 / u64::from(seen + self.moved)) as u32;
        if self.volatile { ppm / 2 } else { ppm }
    }
}

/// What a new head means for those that are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewHead {
    /// Those that waited too long.
    pub expired: Vec<TransactionId>,
    /// Those whose request was not taken for the last block, and is still the one that they miss: it is to be asked again, without
    /// a simulation.
    pub ask_again: Vec<TransactionId>,
}

/// The builder's order: highest tip first, then first come; no transaction before an earlier one of its sender.
pub type Place = (Reverse<u128>, u64, TransactionId);

/// Counts of simulations, continuations and re-runs that were saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchCounts {
    /// Simulations begun: new transactions, and those whose reads were written.
    pub simulations: u64,
    /// Continuations with a new outcome.
    pub rounds: u64,
    /// Transactions that a new head left alone.
    pub kept: u64,
}
