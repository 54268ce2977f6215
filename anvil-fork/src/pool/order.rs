//! In which order a builder takes transactions. Nonces of one sender always stay in order.

use super::Pooled;
use alloy_consensus::Transaction as _;
use alloy_primitives::Address;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    str::FromStr,
};

/// How transactions are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By the tip that the builder gets, then by arrival.
    #[default]
    Fees,
    /// By arrival.
    Fifo,
}

/// An order's name that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown order `{0}`: expected `fees` or `fifo`")]
pub struct UnknownOrder(String);

impl FromStr for Order {
    type Err = UnknownOrder;

    fn from_str(name: &str) -> Result<Self, UnknownOrder> {
        match name.to_ascii_lowercase().as_str() {
            "fees" => Ok(Self::Fees),
            "fifo" => Ok(Self::Fifo),
            _ => Err(UnknownOrder(name.to_owned())),
        }
    }
}

/// `pending`, which holds each sender's transactions by nonce, in the builder's order. Those that do not pay the base
/// fee wait, with all of their sender behind them.
pub(super) fn sorted(pending: Vec<Pooled>, order: Order, base_fee: u64) -> Vec<Pooled> {
    let mut queues: HashMap<Address, VecDeque<Pooled>> = HashMap::new();
    for pooled in pending {
        queues.entry(pooled.sender()).or_default().push_back(pooled);
    }
    let rank = |pooled: &Pooled| {
        let tip = match order {
            Order::Fees => pooled.tx.effective_tip_per_gas(base_fee).unwrap_or(0),
            Order::Fifo => 0,
        };
        (tip, Reverse(pooled.arrival), pooled.sender())
    };
    let pays = |pooled: &&Pooled| pooled.tx.max_fee_per_gas() >= u128::from(base_fee);
    let mut heads: BinaryHeap<_> = queues.values().filter_map(|queue| queue.front().filter(pays)).map(rank).collect();
    let mut sorted = Vec::new();
    while let Some((_, _, sender)) = heads.pop() {
        let Some(queue) = queues.get_mut(&sender) else { continue };
        sorted.extend(queue.pop_front());
        heads.extend(queue.front().filter(pays).map(rank));
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, transaction::Recovered};
    use alloy_primitives::Signature;

    fn tx(sender: u8, nonce: u64, tip: u128) -> crate::chain::Transaction {
        let signature = Signature::new(alloy_primitives::U256::from(sender), Default::default(), false);
        let tx = TxEip1559 { nonce, max_fee_per_gas: 100 + tip, max_priority_fee_per_gas: tip, ..Default::default() };
        Recovered::new_unchecked(TxEnvelope::from(tx.into_signed(signature)), Address::repeat_byte(sender))
    }

    fn order_of(pool: &Pool, order: Order) -> Vec<(u8, u64)> {
        let taken = pool.candidates(order, 100, |_| 0);
        taken.iter().map(|candidate| (candidate.tx.signer()[0], candidate.tx.nonce())).collect()
    }

    #[test]
    fn fees_rank_senders_but_never_nonces() {
        let mut pool = Pool::default();
        for (sender, nonce, tip) in [(1, 0, 1), (1, 1, 50), (2, 0, 10), (3, 0, 5), (3, 2, 90)] {
            pool.add(tx(sender, nonce, tip)).unwrap();
        }
        assert_eq!(order_of(&pool, Order::Fees), [(2, 0), (3, 0), (1, 0), (1, 1)]);
        assert_eq!(order_of(&pool, Order::Fifo), [(1, 0), (1, 1), (2, 0), (3, 0)]);
        assert_eq!(pool.next_nonce(Address::repeat_byte(1), 0), 2);
        assert_eq!(pool.next_nonce(Address::repeat_byte(3), 0), 1);
    }

    #[test]
    fn a_replacement_must_pay_more() {
        let mut pool = Pool::default();
        pool.add(tx(1, 0, 5)).unwrap();
        assert_eq!(pool.add(tx(1, 0, 5)).unwrap_err(), crate::pool::PoolError::AlreadyKnown);
        assert_eq!(pool.add(tx(1, 0, 4)).unwrap_err(), crate::pool::PoolError::Underpriced);
        let replaced = pool.add(tx(1, 0, 6)).unwrap().unwrap();
        assert_eq!(replaced.tx.max_priority_fee_per_gas(), Some(5));
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn who_does_not_pay_the_base_fee_waits_with_all_behind() {
        let mut pool = Pool::default();
        pool.add(tx(1, 0, 0)).unwrap();
        pool.add(tx(1, 1, 9)).unwrap();
        assert!(pool.candidates(Order::Fees, 101, |_| 0).is_empty());
        assert_eq!(pool.candidates(Order::Fees, 100, |_| 0).len(), 2);
    }
}
