//! Which transactions of the node's pool the pre-executor was told of. Bounded, and pure.

use alloy_primitives::{Address, B256};
use std::collections::{HashMap, HashSet};

/// The watched part of the node's pool.
#[derive(Debug)]
pub(super) struct Pool {
    places: HashMap<B256, (Address, u64)>,
    hashes: HashMap<(Address, u64), B256>,
    max: usize,
}

impl Pool {
    /// An empty one of at most `max` transactions.
    pub(super) fn new(max: usize) -> Self {
        Self { places: HashMap::new(), hashes: HashMap::new(), max }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, hash: &B256) -> bool {
        self.places.contains_key(hash)
    }

    /// Takes a transaction; `Err` if it is known or there is no room. Gives the one that it replaces.
    pub(super) fn add(&mut self, hash: B256, sender: Address, nonce: u64) -> Result<Option<B256>, ()> {
        if self.contains(&hash) || self.len() >= self.max {
            return Err(());
        }
        let replaced = self.hashes.insert((sender, nonce), hash);
        if let Some(old) = replaced {
            self.places.remove(&old);
        }
        self.places.insert(hash, (sender, nonce));
        Ok(replaced)
    }

    /// Forgets a transaction; whether it was known.
    pub(super) fn remove(&mut self, hash: &B256) -> bool {
        let Some(place) = self.places.remove(hash) else { return false };
        if self.hashes.get(&place) == Some(hash) {
            self.hashes.remove(&place);
        }
        true
    }

    /// Forgets what is not among these, and says what that was.
    pub(super) fn keep(&mut self, there: &HashSet<B256>) -> Vec<B256> {
        let gone: Vec<B256> = self.places.keys().filter(|hash| !there.contains(*hash)).copied().collect();
        for hash in &gone {
            self.remove(hash);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_takes_the_place_and_the_bound_holds() {
        let (alice, bob) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let hash = B256::repeat_byte;
        let mut pool = Pool::new(2);
        assert_eq!(pool.add(hash(1), alice, 0), Ok(None));
        assert_eq!(pool.add(hash(1), alice, 0), Err(()), "known");
        assert_eq!(pool.add(hash(2), alice, 0), Ok(Some(hash(1))));
        assert_eq!(pool.add(hash(3), bob, 0), Ok(None));
        assert_eq!(pool.add(hash(4), bob, 1), Err(()), "full");
        assert_eq!(pool.keep(&HashSet::from([hash(3)])), [hash(2)]);
        assert_eq!((pool.len(), pool.remove(&hash(3)), pool.remove(&hash(3))), (1, true, false));
        assert_eq!(pool.add(hash(5), alice, 0), Ok(None), "the place is free again");
    }
}
