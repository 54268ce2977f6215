//! The part of the store that lookups hit: first in, first out.

use super::StoreLimits;
use foreblock_precompile::{Outcome, RequestId};
use std::collections::{HashMap, VecDeque};

/// Bytes that an outcome occupies: its content and a flat charge for the bookkeeping.
pub(super) fn size_bytes(outcome: &Outcome) -> usize {
    const OVERHEAD: usize = 128;
    OVERHEAD
        + match outcome {
            Outcome::Output(output) => output.len(),
            Outcome::Failed(failure) => failure.reason.len(),
        }
}

#[derive(Debug)]
pub(super) struct Memory {
    outcomes: HashMap<RequestId, Outcome>,
    order: VecDeque<RequestId>,
    bytes: usize,
    limits: StoreLimits,
}

impl Memory {
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self { outcomes: HashMap::new(), order: VecDeque::new(), bytes: 0, limits }
    }

    pub(super) fn get(&self, id: RequestId) -> Option<Outcome> {
        self.outcomes.get(&id).cloned()
    }

    pub(super) fn insert(&mut self, id: RequestId, outcome: Outcome) {
        let size = size_bytes(&outcome);
        if self.outcomes.contains_key(&id) || size > self.limits.memory_bytes_max {
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
        self.outcomes.insert(id, outcome);
        self.order.push_back(id);
        self.bytes += size;
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.order.len(), self.bytes)
    }
}
