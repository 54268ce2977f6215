//! Products of integers: `MatMulInteger`, `ConvInteger`, `QLinearMatMul`, `QLinearConv`. Sums are exact.

mod images;
mod steps;
#[cfg(test)]
mod tests;

pub(crate) use steps::{added, looked_up, moved};

use std::ops::Range;

use super::floats::{widen, widen_numbers};
use super::matmul::batch_of;
use super::quantize::{integers, quantized};
use super::shape::count;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::kernels::bytes::{self, Left, STEPS_MAX};
use crate::kernels::integers::{Finish, Lines, Panels, Product, Store, Totals};
use crate::kernels::{PANEL, Run};
use crate::onnx::LoadError;
use crate::tensor::{Data, Element, ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("ConvInteger", 10..=LATEST, images::conv_integer),
    Operator::onnx("MatMulInteger", 10..=LATEST, matmul_integer),
    Operator::onnx("QLinearConv", 10..=LATEST, images::conv_linear),
    Operator::onnx("QLinearMatMul", 10..=LATEST, matmul_linear),
];

/// A tensor of 8 bits with its zero points: one, or several along an axis.
struct Quantised<'a> {
    values: Bytes<'a>,
    zeros: Vec<i16>,
}

#[derive(Clone, Copy)]
enum Bytes<'a> {
    Signed(&'a [i8]),
    Unsigned(&'a [u8]),
}

impl<'a> Bytes<'a> {
    fn of(x: &'a Tensor) -> Result<Self, Failure> {
        match x.data() {
            Data::I8(values) => Ok(Self::Signed(values)),
            Data::U8(values) => Ok(Self::Unsigned(values)),
            _ => Err(failure::wrong_type(format!("expected integers of 8 bits, got {}", x.element_type()))),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Signed(values) => values.len(),
            Self::Unsigned(values) => values.len(),
        }
    }

    fn widened(self) -> Vec<i16> {
        match self {
            Self::Signed(values) => values.iter().map(|x| i16::from(*x)).collect(),
            Self::Unsigned(values) => values.iter().map(|x| i16::from(*x)).collect(),
        }
    }
}

impl<'a> Quantised<'a> {
    fn new(x: &'a Tensor, zero: Option<&Tensor>, axis: Option<usize>) -> Result<Self, Failure> {
        let values = Bytes::of(x)?;
        let Some(zero) = zero else { return Ok(Self { values, zeros: vec![0] }) };
        if zero.element_type() != x.element_type() {
            let (zero, x) = (zero.element_type(), x.element_type());
            return Err(failure::wrong_type(format!("a zero point of {zero} for a tensor of {x}")));
        }
        let zeros = Bytes::of(zero)?.widened();
        if zeros.len() != 1 && axis.and_then(|axis| x.shape().get(axis)) != Some(&zeros.len()) {
            let (count, shape) = (zeros.len(), x.shape());
            return Err(failure::wrong_shape(format!("{count} zero points for the shape {shape:?}")));
        }
        Ok(Self { values, zeros })
    }

    /// The zero point at `index` along the axis.
    fn zero(&self, index: usize) -> i16 {
        if let [one] = self.zeros[..] { one } else { self.zeros[index] }
    }

    /// As signed integers: the element at `index`, and zero points as they are then.
    fn signed(&self) -> (impl Fn(usize) -> i8 + use<'a>, Vec<i32>) {
        let values = self.values;
        let moved = if matches!(values, Bytes::Unsigned(_)) { 128 } else { 0 };
        let element = move |index: usize| match values {
            Bytes::Signed(values) => values[index],
            Bytes::Unsigned(values) => (values[index] ^ 0x80).cast_signed(),
        };
        (element, self.zeros.iter().map(|zero| i32::from(*zero) - moved).collect())
    }

    /// Zero points of the elements as bytes, those of `int8` moved by 128.
    fn unsigned_zeros(&self) -> Vec<i32> {
        let moved = if matches!(self.values, Bytes::Signed(_)) { 128 } else { 0 };
        self.zeros.iter().map(|zero| i32::from(*zero) + moved).collect()
    }

    /// Rows of `k` as the left operand of panels with so many `steps`.
    fn rows(&self, k: usize, steps: usize, context: &Context) -> Result<Rows, Failure> {
        let count = self.values.len().checked_div(k).unwrap_or(0);
        let length = count * stride_of(k) + STEPS_MAX - 1;
        // The same on every processor.
        context.claim::<i16>(length)?;
        let zero = |row: usize| self.zero(row % self.zeros.len());
        Ok(match (self.values, steps == u8::STEPS) {
            (Bytes::Signed(values), true) => {
                Rows::Bytes(filled(values, k, length, |x, _| x.cast_unsigned() ^ 0x80), self.unsigned_zeros())
            }
            (Bytes::Unsigned(values), true) => Rows::Bytes(filled(values, k, length, |x, _| x), self.unsigned_zeros()),
            (Bytes::Signed(values), false) => Rows::Centred(filled(values, k, length, |x, i| i16::from(x) - zero(i))),
            (Bytes::Unsigned(values), false) => Rows::Centred(filled(values, k, length, |x, i| i16::from(x) - zero(i))),
        })
    }
}

/// Rows of `k` elements, each with zeros behind it up to the stride. `element` is given the row.
fn filled<T: Copy, U: Copy + Default>(
    values: &[T],
    k: usize,
    length: usize,
    element: impl Fn(T, usize) -> U,
) -> Vec<U> {
    let mut out = vec![U::default(); length];
    if k == 0 {
        return out;
    }
    for (i, (row, out)) in values.chunks_exact(k).zip(out.chunks_exact_mut(stride_of(k))).enumerate() {
        out.iter_mut().zip(row).for_each(|(out, x)| *out = element(*x, i));
    }
    out
}

/// Rows of a left operand, [`stride_of`] elements apart.
enum Rows {
    /// Less their zero points.
    Centred(Vec<i16>),
    /// As bytes, those of `int8` moved by 128, and their zero points, of the rows in turn.
    Bytes(Vec<u8>, Vec<i32>),
}

/// Elements from row to row: whole steps.
fn stride_of(k: usize) -> usize {
    k.next_multiple_of(STEPS_MAX)
}

/// Packs a matrix of `k` x `columns` that starts at `offset`.
fn panels(b: &Quantised<'_>, offset: usize, k: usize, columns: usize, steps: usize) -> Panels {
    let (element, zeros) = b.signed();
    let zeros = if let [one] = zeros[..] { vec![one; columns] } else { zeros };
    Panels::new(columns, &[k], steps, zeros, |step, column| element(offset + step * columns + column))
}

/// The right side of a product.
enum Right {
    /// A matrix of the model.
    Fixed { panels: Panels, k: usize, columns: usize },
    /// An input, or a stack of matrices of the model.
    Given,
}

impl Right {
    fn new(node: &Node<'_>, at: usize, zero: usize) -> Result<Self, LoadError> {
        let zero_known = !node.has_input(zero) || node.constant(zero).is_some();
        if node.constant(at).is_none_or(|b| b.rank() != 2) || !zero_known {
            return Ok(Self::Given);
        }
        let Some(b) = node.absorb(at) else { return Ok(Self::Given) };
        let (k, columns) = (b.shape()[0], b.shape()[1]);
        let b = Quantised::new(&b, node.constant(zero), Some(1)).map_err(|f| node.failure(f))?;
        Ok(Self::Fixed { panels: panels(&b, 0, k, columns, bytes::steps(node.isa())), k, columns })
    }

    /// The exact product of two stacks of matrices, and its shape. The numbers say which inputs they are: left and its
    /// zero points, right and its.
    fn product<O: Finish<Out: Element>>(
        &self,
        [a, a_zero, b, b_zero]: [usize; 4],
        finish: &O,
        inputs: &Inputs,
        context: &Context,
    ) -> Result<(Vec<O::Out>, Vec<usize>), Failure> {
        let tensor = inputs.get(a)?;
        let a = Quantised::new(tensor, inputs.optional(a_zero), tensor.rank().checked_sub(2))?;
        match self {
            Self::Fixed { panels, k, columns } => {
                let mut shape = tensor.shape().to_vec();
                match shape.last_mut() {
                    Some(last) if last == k => *last = *columns,
                    _ => {
                        let right = [k, columns];
                        return Err(failure::wrong_shape(format!("cannot multiply shapes {shape:?} and {right:?}")));
                    }
                }
                let rows = count(&shape[..shape.len() - 1])?;
                let mut out = context.zeros::<O::Out>(count(&shape)?)?;
                let values = a.rows(*k, panels.steps(), context)?;
                multiply(&values, 0..rows, *k, panels, finish, &mut out, context);
                Ok((out, shape))
            }
            Self::Given => {
                let right = inputs.get(b)?;
                let b = Quantised::new(right, inputs.optional(b_zero), right.rank().checked_sub(1))?;
                let batch = batch_of(tensor.shape(), right.shape())?;
                let (rows, columns, k) = (batch.rows, batch.columns, batch.k);
                let mut out = context.zeros::<O::Out>(count(&[batch.a_offsets.len(), rows, columns])?)?;
                let steps = bytes::steps(context.isa());
                let values = a.rows(k, steps, context)?;
                context.claim::<i8>(Panels::len_max(columns, &[k]))?;
                let products = batch.a_offsets.iter().zip(&batch.b_offsets);
                for ((a, b_offset), out) in products.zip(out.chunks_exact_mut((rows * columns).max(1))) {
                    let first = a.checked_div(k).unwrap_or(0);
                    let panels = panels(&b, *b_offset, k, columns, steps);
                    multiply(&values, first..first + rows, k, &panels, finish, out, context);
                }
                Ok((out, batch.out_shape))
            }
        }
    }
}

/// Some of the rows by the panels.
fn multiply<O: Finish>(
    values: &Rows,
    rows: Range<usize>,
    k: usize,
    panels: &Panels,
    finish: &O,
    out: &mut [O::Out],
    context: &Context,
) {
    context.count_macs((out.len() as u64).saturating_mul(k as u64));
    let (stride, isa) = (stride_of(k), context.isa());
    let (runs, groups) = ([Run { offset: 0, length: k }], std::slice::from_ref(panels));
    match values {
        Rows::Centred(values) => {
            let left = Lines::matrix(&values[rows.start * stride..], rows.len(), stride, &[]);
            Product { left, runs: &runs, groups, group_stride: 0, finish }.multiply(isa, out);
        }
        Rows::Bytes(values, zeros) => {
            // Matrices of a stack begin with the first zero point again.
            let left = Lines::matrix(&values[rows.start * stride..], rows.len(), stride, zeros);
            Product { left, runs: &runs, groups, group_stride: 0, finish }.multiply(isa, out);
        }
    }
}

fn matmul_integer(node: &Node<'_>) -> Built {
    let right = Right::new(node, 1, 3)?;
    kernel(move |inputs, context| {
        const OPERANDS: [usize; 4] = [0, 2, 1, 3];
        if let Some(finish) = inputs.requantise() {
            let (values, shape) = right.product(OPERANDS, &*finish, inputs, context)?;
            return Ok(vec![Tensor::new(shape, values)?]);
        }
        let (values, shape) = right.product(OPERANDS, &Store, inputs, context)?;
        Ok(vec![Tensor::new(shape, values)?])
    })
}

fn one(inputs: &Inputs, index: usize, context: &Context) -> Result<f32, Failure> {
    match widen(inputs.get(index)?, context)?[..] {
        [one] => Ok(one as f32),
        _ => Err(failure::wrong_shape(format!("input {index}: expected one scale"))),
    }
}

fn one_zero(inputs: &Inputs, index: usize, context: &Context) -> Result<(f64, ElementType), Failure> {
    let tensor = inputs.get(index)?;
    match widen_numbers(tensor, context)?[..] {
        [one] => Ok((one, tensor.element_type())),
        _ => Err(failure::wrong_shape(format!("input {index}: expected one zero point"))),
    }
}

/// `round((sum + bias) * (scale_a * scale_b / scale_y)) + zero`: the product of the scales in doubles, one rounding to
/// `f32`.
struct Linear {
    /// Of each column, or none.
    bias: Vec<i32>,
    /// Of each column, or one for all.
    factors: Vec<f64>,
    zero: f64,
    kind: ElementType,
}

impl Finish for Linear {
    type Out = f64;

    #[inline(always)]
    fn finish(&self, column: usize, sums: Totals<'_>, out: &mut [f64]) {
        let sums: [i64; PANEL] = sums.wide();
        for (i, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            let sum = sum + self.bias.get(column + i).map_or(0, |bias| i64::from(*bias));
            let factor = if let [one] = self.factors[..] { one } else { self.factors[column + i] };
            *out = quantized((sum as f64 * factor) as f32, 1.0, self.zero, self.kind);
        }
    }
}

fn matmul_linear(node: &Node<'_>) -> Built {
    let right = Right::new(node, 3, 5)?;
    kernel(move |inputs, context| {
        let (zero, kind) = one_zero(inputs, 7, context)?;
        let (a_scale, b_scale) = (one(inputs, 1, context)?, one(inputs, 4, context)?);
        let factor = f64::from(a_scale) * f64::from(b_scale) / f64::from(one(inputs, 6, context)?);
        let finish = Linear { bias: Vec::new(), factors: vec![factor], zero, kind };
        let (values, shape) = right.product([0, 2, 3, 5], &finish, inputs, context)?;
        Ok(vec![integers(kind, &shape, &values, context)?])
    })
}
