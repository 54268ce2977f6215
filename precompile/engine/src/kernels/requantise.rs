//! `int32` sums to `int8`: `clamp((sum * M + 2^(s-1)) >> s)`, moved by a zero point, as `exact-i8/v1` has it; and the floats
//! that come in.

use super::bytes::PANEL;
use super::dispatch::{self, Fma, Isa, Work};
use super::integers::{Finish, Totals};

/// How much is added to products before they are shifted, at least: none is negative then.
pub(crate) const LIFT: i64 = 1 << 62;

/// `min(max(((sum + bias) * factor + lift) >> shift) - back, least), most)`. With `|factor| < 2^31` and a lift from
/// 2^62 to less than 2^31 above, no sum is negative or passes 63 bits, and shifting is dividing.
#[derive(Clone, Debug)]
pub(crate) struct Requantise {
    /// Of all columns, or one for all.
    pub(crate) bias: Vec<i32>,
    pub(crate) factors: Vec<i32>,
    pub(crate) rounding: Rounding,
}

/// What is the same for all columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounding {
    pub(crate) lift: i64,
    pub(crate) shift: u32,
    pub(crate) back: i64,
    pub(crate) least: i8,
    pub(crate) most: i8,
}

impl Rounding {
    #[inline(always)]
    fn apply(self, product: i64) -> i8 {
        let value = ((product + self.lift) as u64 >> self.shift) as i64 - self.back;
        value.max(i64::from(self.least)).min(i64::from(self.most)) as i8
    }
}

/// Those of some columns, or the one.
#[inline(always)]
fn part(values: &[i32], column: usize, length: usize) -> [i32; PANEL] {
    if let [one] = values {
        return [*one; PANEL];
    }
    let mut out = [0; PANEL];
    match values[column..].first_chunk::<PANEL>() {
        Some(part) => out = *part,
        None => out[..length].copy_from_slice(&values[column..column + length]),
    }
    out
}

impl Finish for Requantise {
    type Out = i8;

    #[inline(always)]
    fn finish(&self, column: usize, sums: Totals<'_>, out: &mut [i8]) {
        let (bias, factors) = (part(&self.bias, column, out.len()), part(&self.factors, column, out.len()));
        let sums = sums.narrow();
        let mut done = [0; PANEL];
        for i in 0..PANEL {
            let sum = sums[i].wrapping_add(bias[i]);
            done[i] = self.rounding.apply(i64::from(sum) * i64::from(factors[i]));
        }
        match out.first_chunk_mut::<PANEL>() {
            Some(out) => *out = done,
            None => out.copy_from_slice(&done[..out.len()]),
        }
    }
}

/// A number of 8 bits in a sum: less `zero`, times `factor`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    pub(crate) zero: i32,
    pub(crate) factor: i32,
}

impl Term {
    #[inline(always)]
    fn scaled(self, x: i8) -> i64 {
        i64::from(i32::from(x) - self.zero) * i64::from(self.factor)
    }
}

/// What is added to a term.
#[derive(Clone, Copy)]
pub(crate) enum Other<'a> {
    /// Other numbers of 8 bits, one for each.
    Term(&'a [i8], Term),
    /// Constants, again and again.
    Constants(&'a [i64]),
}

/// `out[i]` is `a[i]` by its scale and what is added to it. Where there are constants, their count divides that of `a`.
pub(crate) fn add(isa: Isa, a: &[i8], term: Term, other: Other<'_>, rounding: Rounding, out: &mut [i8]) {
    struct Add<'a>(&'a [i8], Term, Other<'a>, Rounding, &'a mut [i8]);
    impl Work for Add<'_> {
        type Output = ();
        #[inline(always)]
        fn run<F: Fma>(self) {
            let Self(a, term, other, rounding, out) = self;
            match other {
                Other::Term(b, other) => {
                    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                        *out = rounding.apply(term.scaled(*a) + other.scaled(*b));
                    }
                }
                Other::Constants(all) => {
                    for (out, a) in out.chunks_mut(all.len()).zip(a.chunks(all.len())) {
                        for ((out, a), constant) in out.iter_mut().zip(a).zip(all) {
                            *out = rounding.apply(term.scaled(*a) + *constant);
                        }
                    }
                }
            }
        }
    }
    let width = if let Other::Constants(all) = other { all.len() } else { 1 };
    super::parallel_parts(out, width, 16, |first, out| {
        let range = first * width..first * width + out.len();
        let other = match other {
            Other::Term(b, term) => Other::Term(&b[range.clone()], term),
            constants => constants,
        };
        dispatch::run(isa, Add(&a[range], term, other, rounding, out));
    });
}

/// `table[x + 128]` for each x.
pub(crate) fn look_up(table: &[i8; 256], values: &mut [i8]) {
    super::parallel_parts(values, 1, 8, |_, values| {
        values.iter_mut().for_each(|x| *x = table[usize::from(x.cast_unsigned() ^ 0x80)]);
    });
}

/// `round(x / scale) + zero`, rounded to even and clamped; `zero` of what is no number.
pub(crate) fn quantise(isa: Isa, values: &[f32], scale: f32, zero: i8, out: &mut [i8]) {
    struct Quantise<'a>(&'a [f32], f32, i8, &'a mut [i8]);
    impl Work for Quantise<'_> {
        type Output = ();
        #[inline(always)]
        fn run<F: Fma>(self) {
            let Self(values, scale, zero, out) = self;
            let zero = i32::from(zero);
            let (least, most) = ((-128 - zero) as f32, (127 - zero) as f32);
            for (out, x) in out.iter_mut().zip(values) {
                // Bounds are whole numbers, so that clamping first changes nothing; NaN stays, and is cast to 0.
                *out = ((x / scale).round_ties_even().clamp(least, most) as i32 + zero) as i8;
            }
        }
    }
    super::parallel_parts(out, 1, 16, |first, out| {
        dispatch::run(isa, Quantise(&values[first..first + out.len()], scale, zero, out));
    });
}
