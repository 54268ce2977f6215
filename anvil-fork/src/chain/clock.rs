//! What time the next block has.

use std::time::{SystemTime, UNIX_EPOCH};

/// A timestamp that would run backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Timestamp error: {wanted} is lower than or equal to previous block's timestamp {last}")]
pub struct TimestampError {
    wanted: u64,
    last: u64,
}

/// Wall time, moved by time travel. All times in unix seconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    last: u64,
    offset: i128,
    exact: Option<u64>,
    interval: Option<u64>,
}

/// Now, by the machine's clock.
pub fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

impl Clock {
    /// A clock whose last block has this time.
    pub fn starting_at(last: u64) -> Self {
        let mut clock = Self { last, offset: 0, exact: None, interval: None };
        clock.set(last);
        clock
    }

    /// The time a block would have if it were built now.
    pub fn peek(&self) -> u64 {
        let next = match (self.exact, self.interval) {
            (Some(exact), _) => exact,
            (None, Some(interval)) => self.last.saturating_add(interval),
            (None, None) => u64::try_from(i128::from(wall()) + self.offset).unwrap_or(0),
        };
        next.max(self.last.saturating_add(1))
    }

    /// A block with this time was added.
    pub fn sealed(&mut self, timestamp: u64) {
        if self.exact.take().is_some() {
            self.set(timestamp);
        }
        self.last = timestamp;
    }

    /// The last block's time after a revert or load.
    pub fn rewound(&mut self, last: u64) {
        self.last = last;
    }

    /// Moves time forward or back; the new offset to the machine's clock.
    pub fn increase(&mut self, seconds: i128) -> i128 {
        self.offset = self.offset.saturating_add(seconds);
        self.offset
    }

    /// From now on the time is this, running on.
    pub fn set(&mut self, timestamp: u64) {
        self.offset = i128::from(timestamp) - i128::from(wall());
        self.exact = None;
    }

    /// Only the next block has this time; later ones run on from it.
    pub fn set_next(&mut self, wanted: u64) -> Result<(), TimestampError> {
        if wanted <= self.last {
            return Err(TimestampError { wanted, last: self.last });
        }
        self.exact = Some(wanted);
        Ok(())
    }

    /// Each block is this many seconds after the one before; `None` is wall time again.
    pub fn set_interval(&mut self, seconds: Option<u64>) -> bool {
        std::mem::replace(&mut self.interval, seconds).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_time_holds_for_one_block_and_time_runs_on_from_it() {
        let mut clock = Clock::starting_at(wall());
        let wanted = wall() + 1_000;
        clock.set_next(wanted).unwrap();
        assert_eq!(clock.peek(), wanted);
        clock.sealed(wanted);
        assert!((wanted + 1..=wanted + 2).contains(&clock.peek()));
        assert!(clock.set_next(wanted).is_err());
    }

    #[test]
    fn time_never_stands_still_between_blocks() {
        let mut clock = Clock::starting_at(wall());
        clock.increase(-500);
        let first = clock.peek();
        clock.sealed(first);
        assert_eq!(clock.peek(), first + 1);
        clock.set_interval(Some(12));
        assert_eq!(clock.peek(), first + 12);
    }
}
