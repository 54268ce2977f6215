//! Several elementwise operations on each piece of memory while it is in the cache: the same operations on each element,
//! in the same order, as one after the other over all of it.

use std::ops::Range;
use std::sync::Arc;

use super::dispatch::{self, Fma, Isa, Work};
use super::math::{Erf, Scalar, Sigmoid, Tanh};
use super::parallel_parts;

/// Elements of a piece: it stays in the first-level cache, and so does a copy of it.
const PIECE: usize = 512;

/// What is done with an element and a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    /// Takes no constant, as all that follow.
    Relu,
    Erf,
    Sigmoid,
    Tanh,
    /// The element as it was kept, times what it is now.
    MulKept,
}

/// An operation with its constants: one, or one for each channel.
pub(crate) struct Stage {
    pub(crate) operation: Operation,
    pub(crate) constants: Arc<Vec<f32>>,
    /// Whether elements are kept, as they are before it.
    pub(crate) keeps: bool,
}

/// Values seen as `channels` again and again, each of `inner` neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) channels: usize,
    pub(crate) inner: usize,
}

/// Channels of neighbouring elements: all of one, or each of the next from one on.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    One(usize),
    Each(usize),
}

/// Does all `stages` to `values`, whose length is a multiple of `channels * inner`.
pub(crate) fn apply(isa: Isa, values: &mut [f32], channels: Channels, stages: &[Stage]) {
    // Rows of one channel each; where neighbours are of different channels, rows of all of them.
    let width = if channels.inner > 1 { channels.inner } else { channels.channels };
    let weight = stages.iter().map(|stage| stage.operation.weight()).sum();
    parallel_parts(values, width, weight, |first, values| {
        dispatch::run(isa, Pass { values, first, width, channels, stages });
    });
}

/// Does all `stages` to the same columns of several rows.
pub(crate) fn apply_to(isa: Isa, rows: &mut [&mut [f32]], columns: Range<usize>, place: Place, stages: &[Stage]) {
    struct Rows<'a, 'b>(&'a mut [&'b mut [f32]], Range<usize>, Place, &'a [Stage]);
    impl Work for Rows<'_, '_> {
        type Output = ();
        #[inline(always)]
        fn run<F: Fma>(self) {
            let rows = self.0.iter_mut().map(|row| (&mut row[self.1.clone()], self.2));
            all::<F>(self.3, rows);
        }
    }
    dispatch::run(isa, Rows(rows, columns, place, stages));
}

struct Pass<'a> {
    values: &'a mut [f32],
    first: usize,
    width: usize,
    channels: Channels,
    stages: &'a [Stage],
}

impl Work for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<F: Fma>(self) {
        let one = self.channels.inner > 1;
        let place = |i| if one { Place::One((self.first + i) % self.channels.channels) } else { Place::Each(0) };
        let rows = self.values.chunks_exact_mut(self.width).enumerate();
        all::<F>(self.stages, rows.map(|(i, row)| (row, place(i))));
    }
}

#[inline(always)]
fn all<'a, F: Fma>(stages: &[Stage], rows: impl Iterator<Item = (&'a mut [f32], Place)>) {
    // Loops, as closures of iterators would not be compiled for the instruction set.
    if stages.iter().any(|stage| stage.keeps) {
        let kept = &mut [0.0; PIECE];
        for (row, place) in rows {
            pieces::<F>(stages, row, place, kept);
        }
    } else {
        for (row, place) in rows {
            pieces::<F>(stages, row, place, &mut []);
        }
    }
}

#[inline(always)]
fn pieces<F: Fma>(stages: &[Stage], values: &mut [f32], place: Place, kept: &mut [f32]) {
    for (i, piece) in values.chunks_mut(PIECE).enumerate() {
        let place = if let Place::Each(first) = place { Place::Each(first + i * PIECE) } else { place };
        let mut rest = stages;
        while let [stage, after @ ..] = rest {
            rest = after;
            if stage.keeps {
                kept[..piece.len()].copy_from_slice(piece);
            }
            if let (Some(biases), [next, after @ ..]) = (stage.biases(place, piece.len()), rest)
                && next.operation == Operation::Relu
            {
                // The two that follow most products: in one pass over what is in the cache.
                piece.iter_mut().zip(biases).for_each(|(x, bias)| *x = positive(*x + bias));
                rest = after;
                continue;
            }
            stage.run::<F>(piece, place, kept);
        }
    }
}

/// `x > 0 ? x : 0`. As a selection, or a mask, it becomes a masked store, which is many times slower; the sum makes +0.0 of
/// -0.0, of which a maximum may give either.
#[inline(always)]
fn positive(x: f32) -> f32 {
    x.max(0.0) + 0.0
}

impl Operation {
    /// How many times longer it takes than an addition, in eighths.
    fn weight(self) -> usize {
        if matches!(self, Self::Erf | Self::Sigmoid | Self::Tanh) { 64 } else { 8 }
    }
}

impl Stage {
    /// What is added to so many neighbours of different channels, if that is what it does.
    #[inline(always)]
    fn biases(&self, place: Place, length: usize) -> Option<&[f32]> {
        match (self.operation, self.constants.as_slice(), place) {
            (Operation::Add, all, Place::Each(first)) if all.len() > 1 => Some(&all[first..first + length]),
            _ => None,
        }
    }

    #[inline(always)]
    fn run<F: Fma>(&self, values: &mut [f32], place: Place, kept: &[f32]) {
        match (self.operation, self.constants.as_slice(), place) {
            (Operation::Relu, ..) => values.iter_mut().for_each(|x| *x = positive(*x)),
            (Operation::Erf, ..) => values.iter_mut().for_each(|x| *x = Erf.apply::<F>(*x)),
            (Operation::Sigmoid, ..) => values.iter_mut().for_each(|x| *x = Sigmoid.apply::<F>(*x)),
            (Operation::Tanh, ..) => values.iter_mut().for_each(|x| *x = Tanh.apply::<F>(*x)),
            (Operation::MulKept, ..) => values.iter_mut().zip(kept).for_each(|(x, kept)| *x *= *kept),
            (_, [one], _) => self.by_one(values, *one),
            (_, all, Place::One(channel)) => self.by_one(values, all[channel]),
            (_, all, Place::Each(first)) => self.by_each(values, &all[first..first + values.len()]),
        }
    }

    #[inline(always)]
    fn by_one(&self, values: &mut [f32], constant: f32) {
        match self.operation {
            Operation::Sub => values.iter_mut().for_each(|x| *x -= constant),
            Operation::Mul => values.iter_mut().for_each(|x| *x *= constant),
            Operation::Div => values.iter_mut().for_each(|x| *x /= constant),
            Operation::Add => values.iter_mut().for_each(|x| *x += constant),
            other => unreachable!("{other:?} takes no constant"),
        }
    }

    #[inline(always)]
    fn by_each(&self, values: &mut [f32], constants: &[f32]) {
        let pairs = values.iter_mut().zip(constants);
        match self.operation {
            Operation::Sub => pairs.for_each(|(x, c)| *x -= c),
            Operation::Mul => pairs.for_each(|(x, c)| *x *= c),
            Operation::Div => pairs.for_each(|(x, c)| *x /= c),
            Operation::Add => pairs.for_each(|(x, c)| *x += c),
            other => unreachable!("{other:?} takes no constant"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::math::map;

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn relu_is_a_selection() {
        for x in [1.5f32, -1.5, 0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45, -1e-45] {
            let expected = if x > 0.0 { x } else { 0.0 };
            assert_eq!(positive(x).to_bits(), expected.to_bits(), "{x}");
        }
    }

    /// A dense layer's bias and GELU as exporters write them.
    #[test]
    fn one_pass_gives_the_bits_of_one_pass_each() {
        const WIDTH: usize = 700;
        let bias: Vec<f32> = (0..WIDTH).map(|i| i as f32 / 350.0 - 1.0).collect();
        let stage = |operation, constants: Vec<f32>, keeps| Stage { operation, constants: constants.into(), keeps };
        let stages = [
            stage(Operation::Add, bias.clone(), false),
            stage(Operation::Div, vec![std::f32::consts::SQRT_2], true),
            stage(Operation::Erf, Vec::new(), false),
            stage(Operation::Add, vec![1.0], false),
            stage(Operation::MulKept, Vec::new(), false),
            stage(Operation::Mul, vec![0.5], false),
            stage(Operation::Relu, Vec::new(), false),
        ];
        let values: Vec<f32> = (0..3 * WIDTH).map(|i| (i * 7919 % 1000) as f32 / 100.0 - 5.0).collect();
        let biased: Vec<f32> = values.iter().zip(bias.iter().cycle()).map(|(x, b)| x + b).collect();
        let mut inner: Vec<f32> = biased.iter().map(|x| x / std::f32::consts::SQRT_2).collect();
        map(Isa::Portable, &mut inner, Erf);
        let product = biased.iter().zip(&inner).map(|(x, inner)| x * (inner + 1.0) * 0.5);
        let expected: Vec<f32> = product.map(|x| if x > 0.0 { x } else { 0.0 }).collect();
        for isa in Isa::available() {
            let mut whole = values.clone();
            apply(isa, &mut whole, Channels { channels: WIDTH, inner: 1 }, &stages);
            assert_eq!(bits(&whole), bits(&expected), "{isa:?}");
            let mut part = values[100..600].to_vec();
            apply_to(isa, &mut [&mut part], 0..500, Place::Each(100), &stages);
            assert_eq!(bits(&part), bits(&expected[100..600]), "{isa:?}, a part of a row");
        }
    }
}
