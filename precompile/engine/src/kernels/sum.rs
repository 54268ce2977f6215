//! Sums in one order: 16 strided lanes, then 8-4-2-1, whatever the length, thread or batch.

/// Lanes of a sum.
pub(crate) const LANES: usize = 16;

/// Adds the lanes: 0+8, ..., 7+15, then 4, 2, 1.
#[inline(always)]
pub(crate) fn fold_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for j in 0..width {
            lanes[j] += lanes[j + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum of `f` of each element: lane `l` adds elements `l, l + 16, ...` in order, from +0.0.
#[inline(always)]
pub(crate) fn sum_by(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f(*x);
    }
    fold_lanes(lanes)
}

/// Sum of the elements.
#[inline(always)]
pub(crate) fn sum16(values: &[f32]) -> f32 {
    sum_by(values, |x| x)
}

/// Greatest element by `if a > b {a} else {b}`, from negative infinity; the order changes nothing but which NaN is kept.
#[inline(always)]
pub(crate) fn max16(values: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, *x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = greater(*lane, *x);
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_strided_and_folded_in_halves() {
        // 1e8 + 1 - 1e8 is 0 or 1 by the order: lanes 0 and 8 meet first.
        let mut values = vec![0.0f32; 32];
        (values[0], values[8], values[4]) = (1e8, -1e8, 1.0);
        assert_eq!(sum16(&values), 1.0);
        (values[0], values[8], values[4], values[12]) = (1e8, 1.0, -1e8, 0.0);
        assert_eq!(sum16(&values), 0.0);
        // Elements 0 and 16 share a lane.
        (values[0], values[16], values[8], values[4]) = (1e8, -1e8, 1.0, 0.0);
        assert_eq!(sum16(&values), 1.0);
    }

    #[test]
    fn nothing_sums_to_positive_zero() {
        assert_eq!(sum16(&[]).to_bits(), 0);
    }
}
