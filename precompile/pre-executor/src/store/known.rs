//! Ids of requests that were hashed before, so that a builder need not hash a scout's inputs again.

use foldhash::fast::RandomState;
use foreblock_precompile::{ModelId, Request, RequestId};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::BuildHasher,
};

/// Requests remembered at most.
const ENTRIES_MAX: usize = 8_192;
/// Bytes of their inputs at most.
const BYTES_MAX: usize = 32 << 20;

/// Requests by a keyed hash of model and input that is fast and not cryptographic: what it finds is compared as a whole.
/// First in, first out.
#[derive(Default)]
pub(super) struct KnownRequests {
    hasher: RandomState,
    requests: HashMap<u64, Request, RandomState>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl KnownRequests {
    /// The id of this model and input, if it is remembered.
    pub(super) fn id(&self, model: ModelId, input: &[u8]) -> Option<RequestId> {
        let found = self.requests.get(&self.key(model, input))?;
        (found.model == model && found.input == *input).then_some(found.id)
    }

    /// Remembers a request. Of two with the same key the first stays.
    pub(super) fn insert(&mut self, request: Request) {
        let (key, size) = (self.key(request.model, &request.input), request.input.len());
        if size > BYTES_MAX || self.requests.contains_key(&key) {
            return;
        }
        while self.order.len() >= ENTRIES_MAX || self.bytes + size > BYTES_MAX {
            let Some(gone) = self.order.pop_front().and_then(|first| self.requests.remove(&first)) else { break };
            self.bytes -= gone.input.len();
        }
        self.requests.insert(key, request);
        self.order.push_back(key);
        self.bytes += size;
    }

    fn key(&self, model: ModelId, input: &[u8]) -> u64 {
        self.hasher.hash_one((model, input))
    }
}

impl fmt::Debug for KnownRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownRequests({} of {} bytes)", self.order.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Bytes;

    fn request(number: usize, size: usize) -> Request {
        let mut input = vec![7; size];
        input[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Request::new(ModelId::repeat_byte(1), Bytes::from(input))
    }

    #[test]
    fn an_id_is_known_for_exactly_this_model_and_input() {
        let mut known = KnownRequests::default();
        let request = request(1, 64);
        known.insert(request.clone());
        assert_eq!(known.id(request.model, &request.input), Some(request.id));
        assert_eq!(known.id(ModelId::repeat_byte(2), &request.input), None);
        assert_eq!(known.id(request.model, &request.input[..63]), None);
        let mut other = request.input.to_vec();
        other[63] ^= 1;
        assert_eq!(known.id(request.model, &other), None);
    }

    #[test]
    fn an_equal_key_is_not_an_equal_request() {
        let mut known = KnownRequests::default();
        let (asked, other) = (request(1, 64), request(2, 64));
        let key = known.key(asked.model, &asked.input);
        known.requests.insert(key, other);
        assert_eq!(known.id(asked.model, &asked.input), None);
    }

    #[test]
    fn entries_and_bytes_are_bounded_and_the_first_leave_first() {
        let mut known = KnownRequests::default();
        (0..ENTRIES_MAX + 1).for_each(|number| known.insert(request(number, 8)));
        assert_eq!((known.requests.len(), known.order.len()), (ENTRIES_MAX, ENTRIES_MAX));
        let (first, last) = (request(0, 8), request(ENTRIES_MAX, 8));
        assert_eq!(known.id(first.model, &first.input), None);
        assert_eq!(known.id(last.model, &last.input), Some(last.id));

        (0..9).for_each(|number| known.insert(request(number, BYTES_MAX / 8)));
        assert!(known.bytes <= BYTES_MAX);
        assert_eq!(known.bytes, known.requests.values().map(|request| request.input.len()).sum::<usize>());
        known.insert(request(1, BYTES_MAX + 1));
        assert!(known.bytes <= BYTES_MAX, "what can never fit pushes nothing out");
        assert!(!known.requests.is_empty());
    }
}
