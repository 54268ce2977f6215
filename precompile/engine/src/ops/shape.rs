//! Shapes that operators reason about: axes, strides, broadcasting.

use crate::failure::{self, Failure};
use crate::tensor::element_count;

/// An axis given as ONNX gives it, negative from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Failure> {
    let signed = rank as i64;
    let from_start = if axis < 0 { axis.saturating_add(signed) } else { axis };
    let inside = (0..signed).contains(&from_start);
    if inside {
        Ok(from_start as usize)
    } else {
        Err(failure::out_of_range(format!("axis {axis} of a tensor of rank {rank}")))
    }
}

/// An index along an axis of `length`, negative from the end.
pub(crate) fn index(index: i64, length: usize) -> Result<usize, Failure> {
    let from_start = if index < 0 { index.saturating_add(length as i64) } else { index };
    let inside = (0..length as i64).contains(&from_start);
    if inside {
        Ok(from_start as usize)
    } else {
        Err(failure::out_of_range(format!("index {index} on an axis of {length}")))
    }
}

/// Several axes, each at most once, in ascending order.
pub(crate) fn axes(given: &[i64], rank: usize) -> Result<Vec<usize>, Failure> {
    let mut axes = given.iter().map(|a| axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    match axes.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(failure::out_of_range(format!("axis {} is given twice", pair[0]))),
        None => Ok(axes),
    }
}

/// Number of elements, or a failure where there are too many.
pub(crate) fn count(shape: &[usize]) -> Result<usize, Failure> {
    element_count(shape).ok_or_else(|| failure::out_of_memory(format!("a tensor of shape {shape:?} is too large")))
}

/// Elements between neighbours along each axis.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i].max(1);
    }
    strides
}

/// Shape of an elementwise operation on tensors of these shapes.
pub(crate) fn broadcast(shapes: &[&[usize]]) -> Result<Vec<usize>, Failure> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        for (o, d) in out[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*o, *d) {
                (a, b) if a == b => {}
                (1, b) => *o = b,
                (_, 1) => {}
                _ => return Err(failure::wrong_shape(format!("the shapes {shapes:?} do not broadcast"))),
            }
        }
    }
    count(&out)?;
    Ok(out)
}

/// Strides of a tensor of `shape` seen as one of the broadcast shape `out`: 0 where it is repeated.
pub(crate) fn broadcast_strides(shape: &[usize], out: &[usize]) -> Vec<usize> {
    let own = strides(shape);
    let offset = out.len() - shape.len();
    let stride = |i: usize| if i < offset || shape[i - offset] == 1 { 0 } else { own[i - offset] };
    (0..out.len()).map(stride).collect()
}

/// Elements before, along and after `axis`: the tensor seen as three-dimensional.
pub(crate) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// Calls `visit` with the offsets, one for each of the `strides`, of every run along the last axis of `shape`. Strides wrap:
/// a negative one is its two's complement.
pub(crate) fn for_each_run<const N: usize>(shape: &[usize], strides: [&[usize]; N], mut visit: impl FnMut([usize; N])) {
    each_run(shape, strides, &mut visit);
}

/// Dynamic, so that the walk is compiled once and not once for an operator and a type; runs are long.
#[inline(never)]
fn each_run<const N: usize>(shape: &[usize], strides: [&[usize]; N], visit: &mut dyn FnMut([usize; N])) {
    let outer = &shape[..shape.len().saturating_sub(1)];
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; outer.len()];
    let mut offsets = [0; N];
    loop {
        visit(offsets);
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            for (offset, strides) in offsets.iter_mut().zip(strides) {
                *offset = offset.wrapping_add(strides[axis]);
            }
            if index[axis] < outer[axis] {
                break;
            }
            for (offset, strides) in offsets.iter_mut().zip(strides) {
                *offset = offset.wrapping_sub(strides[axis].wrapping_mul(outer[axis]));
            }
            index[axis] = 0;
        }
    }
}

/// Drops axes of length 1 and joins neighbouring axes that every operand steps through as one, so that runs are long.
pub(crate) fn simplify<const N: usize>(shape: &[usize], strides: [&[usize]; N]) -> (Vec<usize>, [Vec<usize>; N]) {
    let mut out_shape: Vec<usize> = Vec::new();
    let mut out: [Vec<usize>; N] = std::array::from_fn(|_| Vec::new());
    for (i, length) in shape.iter().enumerate() {
        if *length == 1 {
            continue;
        }
        let joins =
            !out_shape.is_empty() && (0..N).all(|n| out[n].last() == Some(&strides[n][i].wrapping_mul(*length)));
        if joins {
            *out_shape.last_mut().expect("not empty") *= length;
            (0..N).for_each(|n| *out[n].last_mut().expect("not empty") = strides[n][i]);
        } else {
            out_shape.push(*length);
            (0..N).for_each(|n| out[n].push(strides[n][i]));
        }
    }
    if out_shape.is_empty() {
        out_shape.push(1);
        out.iter_mut().for_each(|s| s.push(0));
    }
    (out_shape, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        assert_eq!(broadcast(&[&[2, 1, 3], &[4, 1]]).unwrap(), [2, 4, 3]);
        assert_eq!(broadcast(&[&[], &[0, 2]]).unwrap(), [0, 2]);
        assert!(broadcast(&[&[2], &[3]]).is_err());
        assert!(broadcast(&[&[1 << 20, 1], &[1 << 20]]).is_err(), "too large");
    }

    #[test]
    fn axes_count_from_both_ends_once() {
        assert_eq!(axes(&[-1, 0], 3).unwrap(), [0, 2]);
        assert!(axes(&[2, -1], 3).is_err());
        assert!(axes(&[3], 3).is_err());
        assert!(axis(i64::MIN, 3).is_err());
    }

    #[test]
    fn joined_axes_visit_the_same_elements() {
        let shape = [2, 1, 3, 4];
        let strides = [&broadcast_strides(&[3, 4], &shape)[..], &broadcast_strides(&shape, &shape)[..]];
        let (joined, [a, b]) = simplify(&shape, strides);
        assert_eq!((joined.as_slice(), a.as_slice(), b.as_slice()), (&[2, 12][..], &[0, 1][..], &[12, 1][..]));
        let mut runs = Vec::new();
        for_each_run(&joined, [&a, &b], |offsets| runs.push(offsets));
        assert_eq!(runs, [[0, 0], [0, 12]]);
    }
}
