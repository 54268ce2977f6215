//! What results are quantised to.

/// Between which numbers a result is held before it is quantised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    least: f64,
    most: f64,
}

impl Bounds {
    /// None.
    pub(super) const FREE: Self = Self { least: f64::NEG_INFINITY, most: f64::INFINITY };

    /// `None` where no number lies between.
    pub(super) fn new(least: f64, most: f64) -> Option<Self> {
        (least <= most).then_some(Self { least, most })
    }

    /// These, then the next.
    pub(super) fn then(self, next: Self) -> Self {
        Self { least: self.least.clamp(next.least, next.most), most: self.most.clamp(next.least, next.most) }
    }
}

/// `int8` that stands for `(value - zero) * scale`, no less than `least` and no more than `most`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) scale: f64,
    pub(super) zero: i8,
    pub(super) least: i8,
    pub(super) most: i8,
}

impl Target {
    /// All of `int8`.
    pub(super) fn new(scale: f64, zero: i8) -> Self {
        Self { scale, zero, least: i8::MIN, most: i8::MAX }
    }

    /// Quantising keeps the order of numbers, so that a result may as well be held between quantised bounds.
    pub(super) fn between(self, bounds: Bounds) -> Self {
        Self { least: self.step(bounds.least), most: self.step(bounds.most), ..self }
    }

    /// Whether it holds nothing back.
    pub(super) fn is_free(&self) -> bool {
        (self.least, self.most) == (i8::MIN, i8::MAX)
    }

    /// What stands for a number.
    pub(super) fn step(&self, value: f64) -> i8 {
        let steps = (value / self.scale).round_ties_even() + f64::from(self.zero);
        // Where a function has no number, as the logarithm of a negative, it has no step either.
        if steps.is_nan() { self.zero } else { steps.clamp(f64::from(self.least), f64::from(self.most)) as i8 }
    }
}
