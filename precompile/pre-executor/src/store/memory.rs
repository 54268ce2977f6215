//! The part of the store that lookups hit: first in, first out.

use super::{Certified, StoreLimits};
use alloy_primitives::Address;
use foldhash::fast::RandomState;
use foreblock_precompile::{Committee, Outcome, RequestId};
use std::collections::{HashMap, VecDeque};

/// Bytes that an outcome occupies: its content, who vouches for it, and a flat charge for the bookkeeping.
pub(super) fn size_bytes(certified: &Certified) -> usize {
    const OVERHEAD: usize = 128;
    const SIGNATURE: usize = 65 + size_of::<Address>();
    OVERHEAD
        + certified.signers.len() * SIGNATURE
        + match &certified.outcome {
            Outcome::Output(output) => output.len(),
            Outcome::Failed(failure) => failure.reason.len(),
        }
}

#[derive(Debug)]
pub(super) struct Memory {
    outcomes: HashMap<RequestId, Certified, RandomState>,
    order: VecDeque<RequestId>,
    bytes: usize,
    limits: StoreLimits,
}

impl Memory {
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self { outcomes: HashMap::default(), order: VecDeque::new(), bytes: 0, limits }
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Certified> {
        self.outcomes.get(&id)
    }

    /// Adds an outcome. The first of a request stays as long as it counts.
    pub(super) fn insert(&mut self, id: RequestId, certified: Certified, committee: Option<&Committee>) {
        let size = size_bytes(&certified);
        if size > self.limits.memory_bytes_max {
            return;
        }
        if let Some(present) = self.outcomes.get_mut(&id) {
            if !present.counts(committee) {
                self.bytes = self.bytes - size_bytes(present) + size;
                *present = certified;
            }
            return;
        }
        let full = |memory: &Self| {
            memory.order.len() >= memory.limits.memory_entries_max
                || memory.bytes + size > memory.limits.memory_bytes_max
        };
        while full(self) {
            let Some(gone) = self.order.pop_front().and_then(|first| self.outcomes.remove(&first)) else { break };
            self.bytes -= size_bytes(&gone);
        }
        self.outcomes.insert(id, certified);
        self.order.push_back(id);
        self.bytes += size;
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.order.len(), self.bytes)
    }
}
