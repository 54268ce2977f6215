//! `MatMul` and `Gemm`: fixed-order matrix products.

use std::ops::Range;

use super::cast::cast;
use super::number::{Number, numeric};
use super::shape::{broadcast, broadcast_strides, count, strides};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node, Tail};
use crate::kernels::Isa;
use crate::kernels::gemm::{Finish, Operand, Packed, Product, Strided, multiply};
use crate::tensor::{ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] =
    &[Operator::onnx("Gemm", 1..=LATEST, gemm), Operator::onnx("MatMul", 1..=LATEST, matmul)];

/// A constant right operand of two dimensions, packed at load; the original is dropped.
fn packed_right(node: &Node<'_>, transposed: bool) -> Result<Option<Packed>, crate::onnx::LoadError> {
    let fits = |t: &&Tensor| t.rank() == 2 && t.element_type() == ElementType::F32;
    if node.constant(1).filter(fits).is_none() {
        return Ok(None);
    }
    let Some(weights) = node.absorb(1) else { return Ok(None) };
    let values = weights.values::<f32>().map_err(|f| node.failure(f))?;
    let (rows, columns) = (weights.shape()[0], weights.shape()[1]);
    Ok(Some(if transposed {
        Packed::right(&Strided { data: values, line_stride: columns, k_stride: 1 }, rows, columns)
    } else {
        Packed::right(&Strided { data: values, line_stride: 1, k_stride: columns }, columns, rows)
    }))
}

fn matmul(node: &Node<'_>) -> Built {
    let packed = packed_right(node, false)?;
    kernel(move |inputs, context| {
        let a = inputs.take(0)?;
        let tail = |shape: &[usize], columns: usize| inputs.tail(shape, columns, false);
        let out = match &packed {
            Some(packed) => by_constant_and(&a, packed, context, tail)?,
            None => {
                let b = inputs.take(1)?;
                let out = product_and(&a, &b, context, |shape, columns| inputs.tail(shape, columns, false))?;
                context.recycle(b);
                out
            }
        };
        context.recycle(a);
        Ok(vec![out])
    })
}

fn mismatch(a: &[usize], b: &[usize]) -> Failure {
    failure::wrong_shape(format!("cannot multiply matrices of shapes {a:?} and {b:?}"))
}

/// All rows of `a` by one packed matrix: the batch only adds rows.
pub(super) fn by_constant(a: &Tensor, packed: &Packed, context: &Context) -> Result<Tensor, Failure> {
    by_constant_and(a, packed, context, |_, _| None)
}

/// As [`by_constant`], and then the tail that there is for the output's shape and columns.
fn by_constant_and(
    a: &Tensor,
    packed: &Packed,
    context: &Context,
    tail: impl FnOnce(&[usize], usize) -> Option<Tail>,
) -> Result<Tensor, Failure> {
    let (k, columns) = (packed.k(), packed.lines());
    if a.shape().last() != Some(&k) {
        return Err(mismatch(a.shape(), &[k, columns]));
    }
    let mut shape = a.shape().to_vec();
    *shape.last_mut().expect("has a last dimension") = columns;
    let rows = shape[..shape.len() - 1].iter().product();
    let left = Strided { data: a.values::<f32>()?, line_stride: k, k_stride: 1 };
    let mut out = context.room(count(&shape)?)?;
    context.count_macs((rows * k) as u64 * columns as u64);
    let product =
        Product { left: Operand::Source(&left), right: Operand::Packed(packed), rows, columns, k, finish: None };
    finished(&[product], tail(&shape, columns), &mut out, context);
    Tensor::new(shape, out)
}

/// Computes products, and does to their rows what the tail says.
fn finished(products: &[Product<'_>], tail: Option<Tail>, out: &mut [f32], context: &Context) {
    let Some(tail) = tail else { return multiply(context.isa(), products, out) };
    let finish = Finished { tail, isa: context.isa() };
    let products: Vec<_> = products.iter().map(|product| Product { finish: Some(&finish), ..*product }).collect();
    multiply(context.isa(), &products, out);
}

/// The tail of a product, for all rows that are complete at once.
struct Finished {
    tail: Tail,
    isa: Isa,
}

impl Finish for Finished {
    fn finish(&self, row0: usize, column0: usize, rows: &mut [&mut [f32]], columns: Range<usize>) {
        self.tail.apply_to(self.isa, row0, column0, rows, columns);
    }
}

/// Shapes of a batch of products: batch, then rows, k and columns.
pub(super) struct Batch {
    batch: Vec<usize>,
    pub(super) rows: usize,
    pub(super) k: usize,
    pub(super) columns: usize,
    pub(super) a_offsets: Vec<usize>,
    pub(super) b_offsets: Vec<usize>,
    pub(super) out_shape: Vec<usize>,
}

pub(super) fn batch_of(a: &[usize], b: &[usize]) -> Result<Batch, Failure> {
    if a.is_empty() || b.is_empty() {
        return Err(mismatch(a, b));
    }
    // Vectors are a row on the left and a column on the right, and lose that dimension again.
    let full_a = if a.len() == 1 { vec![1, a[0]] } else { a.to_vec() };
    let full_b = if b.len() == 1 { vec![b[0], 1] } else { b.to_vec() };
    let (a_batch, a_matrix) = full_a.split_at(full_a.len() - 2);
    let (b_batch, b_matrix) = full_b.split_at(full_b.len() - 2);
    if a_matrix[1] != b_matrix[0] {
        return Err(mismatch(a, b));
    }
    let batch = broadcast(&[a_batch, b_batch])?;
    let (rows, k, columns) = (a_matrix[0], a_matrix[1], b_matrix[1]);
    let mut out_shape = batch.clone();
    out_shape.extend((a.len() > 1).then_some(rows));
    out_shape.extend((b.len() > 1).then_some(columns));
    count(&out_shape)?;
    let offsets = |own: &[usize], size: usize| {
        let steps = broadcast_strides(own, &batch);
        let places = strides(&batch);
        let place = |i: usize| (0..batch.len()).map(|d| i / places[d] % batch[d] * steps[d] * size).sum();
        (0..batch.iter().product()).map(place).collect()
    };
    Ok(Batch {
        a_offsets: offsets(a_batch, rows * k),
        b_offsets: offsets(b_batch, k * columns),
        batch,
        rows,
        k,
        columns,
        out_shape,
    })
}

/// `a` times `b`, batches broadcast.
pub(crate) fn product(a: &Tensor, b: &Tensor, context: &Context) -> Result<Tensor, Failure> {
    product_and(a, b, context, |_, _| None)
}

/// As [`product`], and then the tail that there is for the output's shape and columns.
fn product_and(
    a: &Tensor,
    b: &Tensor,
    context: &Context,
    tail: impl FnOnce(&[usize], usize) -> Option<Tail>,
) -> Result<Tensor, Failure> {
    let kind = a.element_type();
    match kind {
        ElementType::F32 => {}
        ElementType::F16 | ElementType::Bf16 => {
            let (a, b) = (cast(a, ElementType::F32, context)?, cast(b, ElementType::F32, context)?);
            return cast(&product(&a, &b, context)?, kind, context);
        }
        _ => {
            return numeric!(kind, T => plain_product::<T>(a, b, context), else Err(failure::wrong_type(format!("MatMul does not take {kind}"))));
        }
    }
    let sizes = batch_of(a.shape(), b.shape())?;
    let (a, b) = (a.values::<f32>()?, b.values::<f32>()?);
    let mut out = context.room(count(&sizes.out_shape)?)?;
    let lefts: Vec<_> =
        sizes.a_offsets.iter().map(|o| Strided { data: &a[*o..], line_stride: sizes.k, k_stride: 1 }).collect();
    let rights: Vec<_> =
        sizes.b_offsets.iter().map(|o| Strided { data: &b[*o..], line_stride: 1, k_stride: sizes.columns }).collect();
    let (rows, columns, k) = (sizes.rows, sizes.columns, sizes.k);
    let each = |(left, right)| Product {
        left: Operand::Source(left),
        right: Operand::Source(right),
        rows,
        columns,
        k,
        finish: None,
    };
    let products: Vec<_> = lefts.iter().zip(&rights).map(|(l, r)| (l as _, r as _)).map(each).collect();
    context.count_macs((rows * k) as u64 * (columns * sizes.batch.iter().product::<usize>()) as u64);
    finished(&products, tail(&sizes.out_shape, columns), &mut out, context);
    Tensor::new(sizes.out_shape, out)
}

/// Products of other types: k ascending, integers wrap.
fn plain_product<T: Number>(a: &Tensor, b: &Tensor, context: &Context) -> Result<Tensor, Failure> {
    let sizes = batch_of(a.shape(), b.shape())?;
    let (a, b) = (a.values::<T>()?, b.values::<T>()?);
    let mut out = context.zeros::<T>(count(&sizes.out_shape)?)?;
    let size = sizes.rows * sizes.columns;
    context.count_macs((size * sizes.a_offsets.len()) as u64 * sizes.k as u64);
    for (i, out) in out.chunks_exact_mut(size.max(1)).enumerate() {
        for (row, out) in out.chunks_exact_mut(sizes.columns).enumerate() {
            for k in 0..sizes.k {
                let factor = a[sizes.a_offsets[i] + row * sizes.k + k];
                let line = &b[sizes.b_offsets[i] + k * sizes.columns..][..sizes.columns];
                out.iter_mut().zip(line).for_each(|(sum, x)| *sum = sum.plus(factor.times(*x)));
            }
        }
    }
    Tensor::new(sizes.out_shape, out)
}

/// `alpha * A B + beta * C`: the product, then each factor that is not 1, then the sum.
fn gemm(node: &Node<'_>) -> Built {
    let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
    let (trans_a, trans_b) = (node.flag("transA", false)?, node.flag("transB", false)?);
    let packed = packed_right(node, trans_b)?;
    kernel(move |inputs, context| {
        let a = inputs.take(0)?;
        let kind = a.element_type();
        if kind != ElementType::F32 {
            let (b, c) = (inputs.get(1)?, inputs.optional(2));
            return numeric!(kind, T => plain_gemm::<T>((&a, trans_a), (b, trans_b), c, (alpha, beta), context),
                else Err(failure::wrong_type(format!("Gemm does not take {kind}"))));
        }
        let (rows, k, left) = side(&a, trans_a)?;
        let b = if packed.is_some() { None } else { Some(inputs.take(1)?) };
        let right = b.as_ref().map(|b| side(b, !trans_b)).transpose()?;
        let (columns, right_k) = match (&packed, &right) {
            (Some(packed), _) => (packed.lines(), packed.k()),
            (None, Some((columns, k, _))) => (*columns, *k),
            (None, None) => return Err(failure::arity("the right operand is missing")),
        };
        if k != right_k {
            return Err(mismatch(&[rows, k], &[right_k, columns]));
        }
        let shape = [rows, columns];
        let tail = inputs.tail(&shape, columns, true);
        let addend = inputs.optional(2).map(|c| {
            let fits = broadcast(&[c.shape(), &shape])? == shape;
            let steps = broadcast_strides(c.shape(), &shape);
            if fits { Ok((c.values::<f32>()?, steps)) } else { Err(mismatch(c.shape(), &shape)) }
        });
        let addend = addend.transpose()?;
        let finish = |row: usize, column: usize, values: &mut [f32]| {
            if alpha != 1.0 {
                values.iter_mut().for_each(|x| *x *= alpha);
            }
            if let Some((c, steps)) = &addend {
                let line = &c[row * steps[0] + column * steps[1]..];
                let scaled = |c: f32| if beta == 1.0 { c } else { beta * c };
                if steps[1] == 0 {
                    values.iter_mut().for_each(|x| *x += scaled(line[0]));
                } else {
                    values.iter_mut().zip(line).for_each(|(x, c)| *x += scaled(*c));
                }
            }
            if let Some(tail) = &tail {
                tail.apply(context.isa(), row, column, values);
            }
        };
        let mut out = context.room(count(&shape)?)?;
        context.count_macs((rows * k) as u64 * columns as u64);
        let right = match (&packed, &right) {
            (Some(packed), _) => Operand::Packed(packed),
            (None, Some((_, _, right))) => Operand::Source(right),
            (None, None) => return Err(failure::arity("the right operand is missing")),
        };
        multiply(
            context.isa(),
            &[Product { left: Operand::Source(&left), right, rows, columns, k, finish: Some(&finish) }],
            &mut out,
        );
        Ok(vec![Tensor::new(shape, out)?])
    })
}

/// Lines, k and layout of an operand whose lines are its rows, or its columns where `transposed`.
fn side(tensor: &Tensor, transposed: bool) -> Result<(usize, usize, Strided<'_>), Failure> {
    let [rows, columns] = *tensor.shape() else {
        return Err(failure::wrong_shape(format!("Gemm takes matrices, got the shape {:?}", tensor.shape())));
    };
    let data = tensor.values::<f32>()?;
    Ok(if transposed {
        (columns, rows, Strided { data, line_stride: 1, k_stride: columns })
    } else {
        (rows, columns, Strided { data, line_stride: columns, k_stride: 1 })
    })
}

fn plain_gemm<T: Number>(
    (a, trans_a): (&Tensor, bool),
    (b, trans_b): (&Tensor, bool),
    c: Option<&Tensor>,
    (alpha, beta): (f32, f32),
    context: &Context,
) -> Result<Vec<Tensor>, Failure> {
    let turned = |t: &Tensor, turn: bool| {
        if turn && t.rank() == 2 { super::layout::permute(t, &[1, 0], context) } else { Ok(t.clone()) }
    };
    let mut y = product(&turned(a, trans_a)?, &turned(b, trans_b)?, context)?;
    let factor = |f: f32| Tensor::scalar(T::from_f64(f64::from(f)));
    if alpha != 1.0 {
        y = super::binary::pointwise::<T>(y, factor(alpha), context, T::times)?;
    }
    if let Some(c) = c {
        let c = if beta == 1.0 {
            c.clone()
        } else {
            super::binary::pointwise::<T>(c.clone(), factor(beta), context, T::times)?
        };
        y = super::binary::pointwise::<T>(y, c, context, T::plus)?;
    }
    Ok(vec![y])
}
