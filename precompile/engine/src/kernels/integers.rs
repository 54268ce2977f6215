//! Products of integers, exactly, by the kernels for floats.
//!
//! Integers up to 2^24 are floats, and a chain of FMAs whose every sum stays there rounds nowhere: it is exact in any order.
//! Longer chains are cut, and the parts added as integers.

use super::Isa;
use super::gemm::{Operand, Pack, Packed, Product, multiply};

/// Magnitude up to which all integers are `f32`s.
const EXACT_MAX: u64 = 1 << 24;

/// Longest chain of products of magnitudes up to `left` and `right` of which every sum is exact: at least 1 for numbers of
/// 12 bits.
pub(crate) fn chain_max(left: u32, right: u32) -> usize {
    (EXACT_MAX / (u64::from(left) * u64::from(right)).max(1)) as usize
}

/// Part of an operand, from some k on.
struct Tail<'a> {
    source: &'a dyn Pack,
    k: usize,
}

impl Pack for Tail<'_> {
    fn pack(&self, line0: usize, lines: usize, width: usize, k0: usize, out: &mut [f32]) {
        self.source.pack(line0, lines, width, self.k + k0, out);
    }
}

/// An operand of small integers, as floats.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    /// To be packed on the way.
    Source(&'a dyn Pack),
    /// Packed before by [`left`] or [`right`], cut into chains of the same length.
    Cut(&'a [Packed]),
}

impl<'a> Side<'a> {
    fn tail(&self, k: usize) -> Option<Tail<'a>> {
        match *self {
            Side::Source(source) => Some(Tail { source, k }),
            Side::Cut(_) => None,
        }
    }

    fn operand<'b>(&self, tail: &'b Option<Tail<'a>>, cut: usize) -> Operand<'b>
    where
        'a: 'b,
    {
        match (*self, tail) {
            (Side::Cut(packed), _) => Operand::Packed(&packed[cut]),
            (Side::Source(_), Some(tail)) => Operand::Source(tail),
            (Side::Source(source), None) => Operand::Source(source),
        }
    }
}

/// A left operand of `rows` rows, packed in chains of `chain`.
pub(crate) fn left(source: &dyn Pack, rows: usize, k: usize, chain: usize, isa: Isa) -> Vec<Packed> {
    cuts(k, chain).map(|(k, depth)| Packed::left(&Tail { source, k }, rows, depth, isa)).collect()
}

/// A right operand of `columns` columns, packed in chains of `chain`.
pub(crate) fn right(source: &dyn Pack, columns: usize, k: usize, chain: usize) -> Vec<Packed> {
    cuts(k, chain).map(|(k, depth)| Packed::right(&Tail { source, k }, columns, depth)).collect()
}

/// Start and length of each chain.
fn cuts(k: usize, chain: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..k).step_by(chain).map(move |start| (start, chain.min(k - start)))
}

/// Sizes of products: `rows` x `k` by `k` x `columns`, in chains of at most `chain` as [`chain_max`] allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) k: usize,
    pub(crate) chain: usize,
}

/// Adds each product to its `rows * columns` elements of `sums`. `part` is room for as many.
pub(crate) fn add_products(
    isa: Isa,
    products: &[(Side<'_>, Side<'_>)],
    sizes: Sizes,
    sums: &mut [i64],
    part: &mut [f32],
) {
    let Sizes { rows, columns, k, chain } = sizes;
    for (cut, (k0, depth)) in cuts(k, chain).enumerate() {
        let tails: Vec<_> = products.iter().map(|(left, right)| (left.tail(k0), right.tail(k0))).collect();
        let mut all = Vec::with_capacity(products.len());
        for ((left, right), tails) in products.iter().zip(&tails) {
            let (left, right) = (left.operand(&tails.0, cut), right.operand(&tails.1, cut));
            all.push(Product { left, right, rows, columns, k: depth, finish: None });
        }
        multiply(isa, &all, part);
        sums.iter_mut().zip(&*part).for_each(|(sum, part)| *sum += *part as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::gemm::Strided;
    use super::*;
    use proptest::prelude::*;

    fn plain(a: &[f32], b: &[f32], rows: usize, columns: usize, k: usize) -> Vec<i64> {
        let element =
            |i: usize| (0..k).map(|j| a[i / columns * k + j] as i64 * b[j * columns + i % columns] as i64).sum();
        (0..rows * columns).map(element).collect()
    }

    #[test]
    fn chains_end_before_a_sum_could_round() {
        assert_eq!(chain_max(255, 255), 258);
        assert_eq!((1 << 24) / (255 * 255), 258);
        assert_eq!(chain_max(0, 255), 1 << 24);
        assert_eq!(chain_max(4095, 4095), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn products_are_exact_on_every_instruction_set(
            (rows, columns, k) in (1usize..9, 1usize..40, 0usize..700), seed: u64, extreme: bool,
        ) {
            let mut state = seed | 1;
            let mut number = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if extreme { 255.0 } else { (state % 511) as f32 - 255.0 }
            };
            let a: Vec<f32> = (0..rows * k).map(|_| number()).collect();
            let b: Vec<f32> = (0..k * columns).map(|_| number()).collect();
            let sizes = Sizes { rows, columns, k, chain: chain_max(255, 255) };
            let one = Strided { data: &a, line_stride: k, k_stride: 1 };
            let other = Strided { data: &b, line_stride: 1, k_stride: columns };
            for isa in Isa::available() {
                let (lefts, rights) = (left(&one, rows, k, sizes.chain, isa), right(&other, columns, k, sizes.chain));
                for pair in [
                    (Side::Source(&one), Side::Source(&other)),
                    (Side::Cut(&lefts), Side::Source(&other)),
                    (Side::Source(&one), Side::Cut(&rights)),
                ] {
                    let (mut sums, mut part) = (vec![0; rows * columns], vec![0.0; rows * columns]);
                    add_products(isa, &[pair], sizes, &mut sums, &mut part);
                    prop_assert_eq!(sums, plain(&a, &b, rows, columns, k));
                }
            }
        }
    }
}
