//! Several elementwise operations on each piece of memory while it is in the cache: the same operations on each element,
//! in the same order, as one after the other over all of it.

use super::dispatch::{self, Fma, Isa, Work};
use super::parallel_parts;

/// Elements of a piece: it stays in the first-level cache.
const PIECE: usize = 2048;

/// What is done with an element and a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    /// Takes no constant.
    Relu,
}

/// An operation with its constants: one, or one for each channel.
pub(crate) struct Stage<'a> {
    pub(crate) operation: Operation,
    pub(crate) constants: &'a [f32],
}

/// Values seen as `channels` again and again, each of `inner` neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) channels: usize,
    pub(crate) inner: usize,
}

/// Does all `stages` to `values`, whose length is a multiple of `channels * inner`.
pub(crate) fn apply(isa: Isa, values: &mut [f32], channels: Channels, stages: &[Stage<'_>]) {
    // Rows of one channel each; where neighbours are of different channels, rows of all of them.
    let width = if channels.inner > 1 { channels.inner } else { channels.channels };
    parallel_parts(values, width, 8 * stages.len(), |first, values| {
        dispatch::run(isa, Pass { values, first, width, channels, stages });
    });
}

struct Pass<'a> {
    values: &'a mut [f32],
    first: usize,
    width: usize,
    channels: Channels,
    stages: &'a [Stage<'a>],
}

impl Work for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<F: Fma>(self) {
        for (i, row) in self.values.chunks_exact_mut(self.width).enumerate() {
            if self.channels.inner > 1 {
                let channel = (self.first + i) % self.channels.channels;
                for piece in row.chunks_mut(PIECE) {
                    self.stages.iter().for_each(|stage| stage.by_one(piece, channel));
                }
            } else {
                self.stages.iter().for_each(|stage| stage.by_each(row));
            }
        }
    }
}

impl Stage<'_> {
    /// All values are of one channel.
    #[inline(always)]
    fn by_one(&self, values: &mut [f32], channel: usize) {
        let constant = match self.constants {
            [] => 0.0,
            [one] => *one,
            all => all[channel],
        };
        match self.operation {
            Operation::Add => values.iter_mut().for_each(|x| *x += constant),
            Operation::Sub => values.iter_mut().for_each(|x| *x -= constant),
            Operation::Mul => values.iter_mut().for_each(|x| *x *= constant),
            Operation::Div => values.iter_mut().for_each(|x| *x /= constant),
            Operation::Relu => values.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { 0.0 }),
        }
    }

    /// Each value is of another channel.
    #[inline(always)]
    fn by_each(&self, values: &mut [f32]) {
        if self.constants.len() <= 1 {
            return self.by_one(values, 0);
        }
        let pairs = values.iter_mut().zip(self.constants);
        match self.operation {
            Operation::Add => pairs.for_each(|(x, c)| *x += c),
            Operation::Sub => pairs.for_each(|(x, c)| *x -= c),
            Operation::Mul => pairs.for_each(|(x, c)| *x *= c),
            Operation::Div => pairs.for_each(|(x, c)| *x /= c),
            Operation::Relu => self.by_one(values, 0),
        }
    }
}
