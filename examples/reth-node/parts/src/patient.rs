//! The order in which a payload builder tries transactions: the pool's, but what waits for an outcome comes later.

use alloy_primitives::{Address, B256};
use std::collections::{HashSet, VecDeque};

/// A transaction, as the pool's iterator gives it.
pub trait Offer {
    /// Its hash.
    fn hash(&self) -> B256;
    /// Who pays.
    fn sender(&self) -> Address;
}

/// Wraps a pool's iterator. A transaction that is known to wait is held back, and with it those of its sender that come after; they
/// are offered again once the pool has no more, as long as outcomes arrive. A builder that skips them loses nothing, and never waits.
#[derive(Debug)]
pub struct Patient<I, T, W> {
    pool: I,
    /// Whether a transaction is known to wait for an outcome.
    waits: W,
    held: VecDeque<T>,
    held_senders: HashSet<Address>,
    dropped: HashSet<Address>,
}

impl<I: Iterator<Item = T>, T: Offer, W: FnMut(&T) -> bool> Patient<I, T, W> {
    /// Offers what `pool` gives, except what `waits`.
    pub fn new(pool: I, waits: W) -> Self {
        let (held, held_senders, dropped) = Default::default();
        Self { pool, waits, held, held_senders, dropped }
    }

    /// The builder ran a transaction and its outcome was missing: it is offered again at the end, and those of its sender behind it.
    pub fn missed(&mut self, tx: T) {
        self.held_senders.insert(tx.sender());
        // It comes before what its sender has behind it.
        let at = self.held.iter().position(|held| held.sender() == tx.sender()).unwrap_or(self.held.len());
        self.held.insert(at, tx);
    }

    /// The builder cannot use a transaction at all: nothing more of its sender is offered.
    pub fn invalid(&mut self, sender: Address) {
        self.dropped.insert(sender);
    }

    /// The pool's own iterator, to tell it what its builder found.
    pub fn pool_mut(&mut self) -> &mut I {
        &mut self.pool
    }

    fn next_held(&mut self) -> Option<T> {
        let mut blocked = HashSet::new();
        for at in 0..self.held.len() {
            let tx = &self.held[at];
            let sender = tx.sender();
            if self.dropped.contains(&sender) || blocked.contains(&sender) {
                continue;
            }
            if !(self.waits)(tx) {
                return self.held.remove(at);
            }
            blocked.insert(sender);
        }
        None
    }
}

impl<I: Iterator<Item = T>, T: Offer, W: FnMut(&T) -> bool> Iterator for Patient<I, T, W> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        for tx in self.pool.by_ref() {
            let sender = tx.sender();
            if self.dropped.contains(&sender) {
                continue;
            }
            if !self.held_senders.contains(&sender) && !(self.waits)(&tx) {
                return Some(tx);
            }
            self.held_senders.insert(sender);
            self.held.push_back(tx);
        }
        self.next_held()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Tx(u8, u8);

    impl Offer for Tx {
        fn hash(&self) -> B256 {
            B256::repeat_byte(self.0)
        }

        fn sender(&self) -> Address {
            Address::repeat_byte(self.1)
        }
    }

    #[test]
    fn what_waits_comes_later_and_its_senders_others_behind_it() {
        let waiting = RefCell::new(HashSet::from([2u8]));
        let pool = [Tx(1, 1), Tx(2, 2), Tx(3, 2), Tx(4, 3)].into_iter();
        let mut patient = Patient::new(pool, |tx: &Tx| waiting.borrow().contains(&tx.0));
        assert_eq!([patient.next(), patient.next()], [Some(Tx(1, 1)), Some(Tx(4, 3))]);
        assert_eq!(patient.next(), None, "3 needs 2 before it");
        waiting.borrow_mut().clear();
        assert_eq!([patient.next(), patient.next(), patient.next()], [Some(Tx(2, 2)), Some(Tx(3, 2)), None]);
    }

    #[test]
    fn what_missed_is_offered_again_before_what_its_sender_has_behind_it() {
        let waiting = RefCell::new(HashSet::new());
        let pool = [Tx(1, 1), Tx(2, 1), Tx(3, 2)].into_iter();
        let mut patient = Patient::new(pool, |tx: &Tx| waiting.borrow().contains(&tx.0));
        let first = patient.next().unwrap();
        waiting.borrow_mut().insert(first.0);
        patient.missed(first);
        assert_eq!([patient.next(), patient.next()], [Some(Tx(3, 2)), None]);
        waiting.borrow_mut().clear();
        assert_eq!([patient.next(), patient.next(), patient.next()], [Some(Tx(1, 1)), Some(Tx(2, 1)), None]);
    }

    #[test]
    fn nothing_of_an_invalid_sender_is_offered() {
        let pool = [Tx(1, 1), Tx(2, 1), Tx(3, 2)].into_iter();
        let mut patient = Patient::new(pool, |_: &Tx| false);
        let first = patient.next().unwrap();
        patient.invalid(first.sender());
        assert_eq!([patient.next(), patient.next()], [Some(Tx(3, 2)), None]);
    }
}
