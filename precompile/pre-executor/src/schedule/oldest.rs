//! The oldest get a part of the capacity, and what they do not use is carried over.

use super::Micros;

/// Device time that the oldest may take, as a deficit round robin counts it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Oldest {
    credit_us: Micros,
    /// Fractions of a microsecond, in divisor-ths, so that frequent calls lose nothing.
    fraction: u64,
    counted_us: Option<Micros>,
}

impl Oldest {
    /// Adds the share of the time since the last call. Nothing is saved while nobody waits long enough.
    pub(crate) fn accrue(&mut self, now_us: Micros, workers: u64, divisor: u64, cap_us: Micros, somebody_waits: bool) {
        if !somebody_waits {
            *self = Self::default();
            return;
        }
        let since_us = self.counted_us.replace(now_us).unwrap_or(now_us);
        let share = now_us.saturating_sub(since_us) * workers + self.fraction;
        self.fraction = share % divisor;
        self.credit_us = (self.credit_us + share / divisor).min(cap_us);
    }

    /// What there will be after so much more of the capacity.
    pub(crate) fn after(&self, capacity_us: Micros, divisor: u64) -> Micros {
        self.credit_us + (capacity_us + self.fraction) / divisor
    }

    /// Takes the time of a run, if there is enough.
    pub(crate) fn take(&mut self, cost_us: Micros) -> bool {
        let enough = self.credit_us >= cost_us;
        if enough {
            self.credit_us -= cost_us;
        }
        enough
    }
}
