//! Where a transaction and its calls stand.

use crate::{
    schedule::{Micros, Place, Slot, TransactionId},
    store::{Source, Store},
    watchlist::{Phase, Watched},
};
use alloy_primitives::Address;
use foreblock_precompile::{ModelId, RequestId};
use std::time::Duration;

/// Where one call of a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// Its outcome is there.
    Ready(Source),
    /// It waits or runs.
    Placed(Place),
    /// Nobody computes it now.
    Missing,
}

/// One call of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallStatus {
    /// The request.
    pub request: RequestId,
    /// Its model.
    pub model: ModelId,
    /// Where it stands.
    pub state: CallState,
}

/// Where a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionStatus {
    /// The transaction.
    pub transaction: TransactionId,
    /// Its sender.
    pub sender: Address,
    /// Where it stands.
    pub phase: Phase,
    /// Its calls as far as they are known: those after the first that is missing are not.
    pub calls: Vec<CallStatus>,
    /// First block that is predicted to be able to include it, as far as its calls are known.
    pub block: Option<u64>,
    /// It reads the block's number, time or the like: its calls may differ in the next block.
    pub volatile: bool,
    /// Simulations for this block.
    pub simulations: u32,
    /// Builds that missed an outcome although the simulation had found all.
    pub misses: u32,
    /// How long it is watched.
    pub age: Duration,
}

impl TransactionStatus {
    pub(crate) fn of(
        hash: TransactionId,
        watched: &Watched,
        place: impl Fn(RequestId) -> Option<Place>,
        slot: Slot,
        store: &Store,
        now_us: Micros,
    ) -> Self {
        let call = |(request, model): &(RequestId, ModelId)| {
            let ready = store.source(*request).map(CallState::Ready);
            let placed = || place(*request).map(CallState::Placed);
            CallStatus { request: *request, model: *model, state: ready.or_else(placed).unwrap_or(CallState::Missing) }
        };
        let calls: Vec<CallStatus> = watched.calls.iter().map(call).collect();
        let block = match &watched.phase {
            _ if watched.held_until > slot.block => Some(watched.held_until),
            Phase::Ready => Some(slot.block),
            Phase::Waiting => watched.missing.as_ref().and_then(|r| place(r.id)).map(|place| place.block),
            Phase::Deferred(_) => Some(slot.block + 1),
            Phase::Scouting | Phase::Invalid(_) => None,
        };
        Self {
            transaction: hash,
            sender: watched.env.caller,
            phase: watched.phase.clone(),
            calls,
            block,
            volatile: watched.volatile,
            simulations: watched.simulations,
            misses: watched.misses,
            age: Duration::from_micros(now_us.saturating_sub(watched.since_us)),
        }
    }
}
