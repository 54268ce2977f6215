//! `ArrayFeatureExtractor`, `FeatureVectorizer` and `ZipMap`: columns picked, joined and named.

use super::{floats, matrix};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::ops::{Built, LATEST, Operator, kernel};
use crate::tensor::{Element, Tensor};
use crate::with_data;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::ml("ArrayFeatureExtractor", 1..=LATEST, extract),
    Operator::ml("FeatureVectorizer", 1..=LATEST, join),
    Operator::ml("ZipMap", 1..=LATEST, zip_map),
];

fn extract(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let x = inputs.get(0)?;
        let indices = inputs.get(1)?.to_i64s()?;
        let columns =
            x.shape().last().copied().ok_or_else(|| failure::wrong_shape("expected columns, got a scalar"))?;
        let mut picked = Vec::with_capacity(indices.len());
        for index in indices {
            let inside = usize::try_from(index).ok().filter(|i| *i < columns);
            picked.push(inside.ok_or_else(|| failure::out_of_range(format!("column {index} of {columns}")))?);
        }
        let mut shape = x.shape().to_vec();
        if shape.len() == 1 {
            shape.insert(0, 1);
        }
        shape.pop();
        let rows: usize = shape.iter().product();
        shape.push(picked.len());
        with_data!(x.data(), v => Ok(vec![Tensor::new(shape, columns_of(v, columns, rows, &picked, context)?)?]))
    })
}

/// The picked columns of each row.
fn columns_of<T: Element>(
    x: &[T],
    columns: usize,
    rows: usize,
    picked: &[usize],
    context: &Context,
) -> Result<Vec<T>, Failure> {
    let mut out = context.reserve::<T>(rows.saturating_mul(picked.len()))?;
    for row in x.chunks(columns.max(1)).take(rows) {
        out.extend(picked.iter().map(|column| row[*column].clone()));
    }
    Ok(out)
}

fn join(node: &Node<'_>) -> Built {
    let widths = node.ints("inputdimensions")?.unwrap_or_default();
    kernel(move |inputs, context| {
        let mut parts = Vec::with_capacity(inputs.len());
        let mut rows = None;
        for index in 0..inputs.len() {
            let x = inputs.get(index)?;
            let (n, width) = matrix(x)?;
            if *rows.get_or_insert(n) != n {
                return Err(failure::wrong_shape("the inputs differ in their number of rows"));
            }
            let wanted = widths.get(index).and_then(|w| usize::try_from(*w).ok()).unwrap_or(width);
            parts.push((floats(x, context)?, width, wanted));
        }
        let rows = rows.unwrap_or(0);
        let total = parts.iter().fold(0usize, |sum, (_, _, wanted)| sum.saturating_add(*wanted));
        let count = rows.checked_mul(total).ok_or_else(|| failure::out_of_memory("too many columns"))?;
        let mut out = context.reserve::<f32>(count)?;
        for row in 0..rows {
            for (values, width, wanted) in &parts {
                let row = &values[row * width..(row + 1) * width];
                out.extend((0..*wanted).map(|column| row.get(column).copied().unwrap_or(0.0)));
            }
        }
        Ok(vec![Tensor::new([rows, total], out)?])
    })
}

/// A map from class to probability for each row, of which the matrix of probabilities is kept: its columns follow the
/// class labels in the order of the attribute.
fn zip_map(node: &Node<'_>) -> Built {
    let labels = super::Labels::read(node, "classlabels_int64s", "classlabels_strings")?;
    let labels = labels.ok_or_else(|| node.error("there are no class labels"))?.len();
    kernel(move |inputs, _| {
        let x = inputs.take(0)?;
        let (rows, columns) = matrix(&x)?;
        if columns != labels {
            return Err(failure::wrong_shape(format!("{labels} labels for rows of {columns} columns")));
        }
        Ok(vec![x.reshape(vec![rows, columns])?])
    })
}
