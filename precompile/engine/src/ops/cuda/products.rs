//! Matrix products.

use super::{Built, Row, input, offloaded, or_cpu};
use crate::cuda::Numbers;
use crate::graph::Node;
use crate::ops::matmul::batch_of;
use crate::ops::shape::{broadcast, broadcast_strides};

pub(super) const KERNELS: &[Row] = &[("Gemm", gemm), ("MatMul", |_| matmul())];

/// Rows and columns of the output that a block computes.
const TILE: usize = 64;
/// Blocks at most in the second and third direction of a grid.
const BLOCKS_MAX: usize = 65_535;

/// Blocks for products of `rows` by `columns`; `None` for more than a grid has.
pub(super) fn grid(rows: usize, columns: usize, products: usize) -> Option<[usize; 3]> {
    let blocks = [columns.div_ceil(TILE), rows.div_ceil(TILE), products];
    (blocks[1] <= BLOCKS_MAX && blocks[2] <= BLOCKS_MAX).then_some(blocks)
}

fn matmul() -> Built {
    offloaded(move |inputs, context| {
        let (a, b) = (or_cpu!(input(inputs, 0)?), or_cpu!(input(inputs, 1)?));
        let sizes = or_cpu!(batch_of(a.shape(), b.shape()).ok());
        let (rows, columns, k, products) = (sizes.rows, sizes.columns, sizes.k, sizes.a_offsets.len());
        // One matrix on the right: the batch only adds rows.
        let joined = b.shape().len() == 2 && products > 1;
        let (rows, products) = if joined { (rows * products, 1) } else { (rows, products) };
        let blocks = or_cpu!(grid(rows, columns, products));
        context.claim::<f32>(rows * columns * products)?;
        context.count_macs((rows * k) as u64 * (columns * products) as u64);
        let out = inputs.accelerator.allocate(sizes.out_shape)?;
        let offsets: Vec<usize> =
            sizes.a_offsets.iter().zip(&sizes.b_offsets).take(products).flat_map(|(a, b)| [*a, *b]).collect();
        let offsets = inputs.accelerator.upload_indices(&offsets)?;
        let numbers = Numbers::new(&[rows, columns, k, k, 1, 1, columns], &[]);
        inputs.accelerator.launch("product", blocks, &out, [Some(&a), Some(&b), Some(&offsets)], numbers)?;
        Ok(Some(out))
    })
}

fn gemm(node: &Node<'_>) -> Built {
    let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
    let (trans_a, trans_b) = (node.flag("transA", false)?, node.flag("transB", false)?);
    let added = node.has_input(2);
    offloaded(move |inputs, context| {
        let (a, b) = (or_cpu!(input(inputs, 0)?), or_cpu!(input(inputs, 1)?));
        let (&[a_rows, a_columns], &[b_rows, b_columns]) = (a.shape(), b.shape()) else { return Ok(None) };
        let (rows, k) = if trans_a { (a_columns, a_rows) } else { (a_rows, a_columns) };
        let (b_k, columns) = if trans_b { (b_columns, b_rows) } else { (b_rows, b_columns) };
        let c = if added { Some(or_cpu!(input(inputs, 2)?)) } else { None };
        let shape = [rows, columns];
        let fits = |c: &[usize]| broadcast(&[c, &shape]).is_ok_and(|joined| joined == shape);
        if k != b_k || c.as_ref().is_some_and(|c| !fits(c.shape())) {
            return Ok(None);
        }
        let blocks = or_cpu!(grid(rows, columns, 1));
        context.claim::<f32>(rows * columns)?;
        context.count_macs((rows * k) as u64 * columns as u64);
        let out = inputs.accelerator.allocate(shape.to_vec())?;
        let strides = |columns: usize, transposed: bool| if transposed { [1, columns] } else { [columns, 1] };
        let ([a_line, a_k], [b_line, b_step]) = (strides(a_columns, trans_a), strides(b_columns, !trans_b));
        let steps = c.as_ref().map_or(vec![0, 0], |c| broadcast_strides(c.shape(), &shape));
        let (scaled, weighted) = (usize::from(alpha != 1.0), usize::from(beta != 1.0));
        let sizes = [rows, columns, k, a_line, a_k, b_line, b_step];
        let ends = [steps[0], steps[1], scaled, weighted, usize::from(c.is_some())];
        let numbers = Numbers::new(&[&sizes[..], &ends[..]].concat(), &[alpha, beta]);
        inputs.accelerator.launch("gemm", blocks, &out, [Some(&a), Some(&b), c.as_ref()], numbers)?;
        Ok(Some(out))
    })
}
