//! `DFT` and `STFT`, by the definition, in doubles: sums in ascending order of the samples; and `Det`.

use std::f64::consts::PI;

use super::floats::{narrow, widen};
use super::shape::{around, axis, count};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::math64;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("DFT", 17..=LATEST, dft),
    Operator::onnx("Det", 11..=LATEST, det),
    Operator::onnx("STFT", 17..=LATEST, stft),
];

/// Longest transform: its time grows with the square.
const LENGTH_MAX: usize = 8_192;

/// `e^(-2 pi i k / n)` for all `k`, or its conjugates.
fn roots(n: usize, inverse: bool) -> Result<Vec<[f64; 2]>, Failure> {
    if n == 0 || n > LENGTH_MAX {
        return Err(failure::out_of_range(format!("a transform of {n} samples; at least 1, at most {LENGTH_MAX}")));
    }
    let sign = if inverse { 1.0 } else { -1.0 };
    let root = |k: usize| {
        let turn = 2.0 * PI * k as f64 / n as f64;
        [math64::cos(turn), sign * math64::sin(turn)]
    };
    Ok((0..n).map(root).collect())
}

/// The first `bins` bins of the transform of `samples`.
fn transform(samples: &[[f64; 2]], roots: &[[f64; 2]], bins: usize, out: &mut Vec<[f64; 2]>) {
    for k in 0..bins {
        let mut sum = [0.0f64; 2];
        for (t, [re, im]) in samples.iter().enumerate() {
            let [c, s] = roots[k * t % roots.len()];
            sum[0] += re * c - im * s;
            sum[1] += re * s + im * c;
        }
        out.push(sum);
    }
}

fn complex(values: &[f64], parts: usize, at: usize) -> [f64; 2] {
    [values[at * parts], if parts == 2 { values[at * 2 + 1] } else { 0.0 }]
}

fn length_input(inputs: &crate::graph::Inputs, index: usize) -> Result<Option<usize>, Failure> {
    let Some(tensor) = inputs.optional(index) else { return Ok(None) };
    match tensor.to_i64s()?[..] {
        [length] => {
            let bad = || failure::out_of_range(format!("the length {length}"));
            usize::try_from(length).ok().filter(|l| (1..=LENGTH_MAX).contains(l)).ok_or_else(bad).map(Some)
        }
        _ => Err(failure::wrong_shape("expected one length")),
    }
}

fn dft(node: &Node<'_>) -> Built {
    let (inverse, onesided) = (node.flag("inverse", false)?, node.flag("onesided", false)?);
    let by_attribute = node.opset() < 20;
    let along = node.int("axis", if by_attribute { 1 } else { -2 })?;
    if inverse && onesided {
        return Err(node.error("an inverse transform of one side is not supported: give both sides"));
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let along = match inputs.optional(2).filter(|_| !by_attribute) {
            Some(axis) => axis.to_i64s()?.first().copied().unwrap_or(along),
            None => along,
        };
        let parts = x.shape().last().copied().unwrap_or(0);
        let along = axis(along, x.rank())?;
        if !matches!(parts, 1 | 2) || along + 1 >= x.rank() {
            return Err(failure::wrong_shape(format!(
                "expected real or complex signals, got the shape {:?}",
                x.shape()
            )));
        }
        let signal = &x.shape()[..x.rank() - 1];
        let (outer, length, inner) = around(signal, along);
        let n = length_input(inputs, 1)?.unwrap_or(length);
        let roots = roots(n, inverse)?;
        let bins = if onesided { n / 2 + 1 } else { n };
        let mut shape = signal.to_vec();
        shape[along] = bins;
        shape.push(2);
        let values = widen(x, context)?;
        let mut out = context.zeros::<f64>(count(&shape)?)?;
        context.count_macs((outer * inner) as u64 * (bins * n.min(length)) as u64 * 4);
        for o in 0..outer {
            for i in 0..inner {
                let at = |t: usize| complex(&values, parts, (o * length + t) * inner + i);
                let samples: Vec<[f64; 2]> = (0..n.min(length)).map(at).collect();
                let mut spectrum = Vec::with_capacity(bins);
                transform(&samples, &roots, bins, &mut spectrum);
                for (k, [re, im]) in spectrum.into_iter().enumerate() {
                    let by = if inverse { n as f64 } else { 1.0 };
                    let to = ((o * bins + k) * inner + i) * 2;
                    (out[to], out[to + 1]) = (re / by, im / by);
                }
            }
        }
        Ok(vec![narrow(x.element_type(), &shape, out, context)?])
    })
}

fn stft(node: &Node<'_>) -> Built {
    let onesided = node.flag("onesided", true)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let (batch, length, parts) = match *x.shape() {
            [batch, length] => (batch, length, 1),
            [batch, length, parts @ (1 | 2)] => (batch, length, parts),
            _ => return Err(failure::wrong_shape(format!("expected signals, got the shape {:?}", x.shape()))),
        };
        let step = length_input(inputs, 1)?.ok_or_else(|| failure::arity("the frame step is missing"))?;
        let window = inputs.optional(2).map(|w| widen(w, context)).transpose()?;
        let frame = length_input(inputs, 3)?.or(window.as_ref().map(Vec::len));
        let frame = frame.ok_or_else(|| failure::arity("neither a window nor a frame length is given"))?;
        if frame > length || window.as_ref().is_some_and(|w| w.len() != frame) {
            return Err(failure::wrong_shape(format!("frames of {frame} of {length} samples")));
        }
        let roots = roots(frame, false)?;
        let bins = if onesided && parts == 1 { frame / 2 + 1 } else { frame };
        let frames = (length - frame) / step + 1;
        let shape = [batch, frames, bins, 2];
        let values = widen(x, context)?;
        let mut out = context.reserve::<f64>(count(&shape)?)?;
        context.count_macs((batch * frames) as u64 * (bins * frame) as u64 * 4);
        for b in 0..batch {
            for f in 0..frames {
                let at = |t: usize| {
                    let weight = window.as_ref().map_or(1.0, |w| w[t]);
                    complex(&values, parts, b * length + f * step + t).map(|v| v * weight)
                };
                let samples: Vec<[f64; 2]> = (0..frame).map(at).collect();
                let mut spectrum = Vec::with_capacity(bins);
                transform(&samples, &roots, bins, &mut spectrum);
                out.extend(spectrum.into_iter().flatten());
            }
        }
        Ok(vec![narrow(x.element_type(), &shape, out, context)?])
    })
}

/// By elimination with the largest pivot of each column, the first of equal ones.
fn determinant(matrix: &mut [f64], n: usize) -> f64 {
    let mut det = 1.0;
    for column in 0..n {
        let mut pivot = column;
        for row in column + 1..n {
            if matrix[row * n + column].abs() > matrix[pivot * n + column].abs() {
                pivot = row;
            }
        }
        let value = matrix[pivot * n + column];
        if value == 0.0 {
            return 0.0;
        }
        if pivot != column {
            (0..n).for_each(|k| matrix.swap(pivot * n + k, column * n + k));
            det = -det;
        }
        det *= value;
        for row in column + 1..n {
            let factor = matrix[row * n + column] / value;
            for k in column..n {
                matrix[row * n + k] -= factor * matrix[column * n + k];
            }
        }
    }
    det
}

fn det(_: &Node<'_>) -> Built {
    kernel(|inputs, context: &Context| {
        let x = inputs.get(0)?;
        let [stack @ .., rows, columns] = x.shape() else {
            return Err(failure::wrong_shape(format!("expected matrices, got the shape {:?}", x.shape())));
        };
        if rows != columns {
            return Err(failure::wrong_shape(format!("expected square matrices, got {rows} x {columns}")));
        }
        let mut values = widen(x, context)?;
        let mut out = context.reserve::<f64>(count(stack)?)?;
        match rows * columns {
            0 => out.resize(count(stack)?, 1.0),
            size => out.extend(values.chunks_mut(size).map(|m| determinant(m, *rows))),
        }
        Ok(vec![narrow(x.element_type(), stack, out, context)?])
    })
}
