//! `Scaler`, `Normalizer`, `Imputer`, `Binarizer`: one number in, one number out.

use super::{floats, matrix};
use crate::failure::{self, Failure};
use crate::graph::Node;
use crate::onnx::LoadError;
use crate::ops::{Built, LATEST, Operator, kernel};
use crate::tensor::{Data, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::ml("Scaler", 1..=LATEST, scaler),
    Operator::ml("Normalizer", 1..=LATEST, normalizer),
    Operator::ml("Imputer", 1..=LATEST, imputer),
    Operator::ml("Binarizer", 1..=LATEST, binarizer),
];

/// A list with an entry a column, or one for all of them.
fn per_column<'a, T>(values: &'a [T], columns: usize, name: &str) -> Result<impl Fn(usize) -> &'a T, Failure> {
    if values.len() != columns && values.len() != 1 {
        let length = values.len();
        return Err(failure::wrong_shape(format!("rows of {columns} columns, but {name} has {length} entries")));
    }
    let one = values.len() == 1;
    Ok(move |index: usize| if one { &values[0] } else { &values[index % columns] })
}

fn columns_of(x: &Tensor) -> usize {
    x.shape().last().copied().unwrap_or(1)
}

fn scaler(node: &Node<'_>) -> Built {
    let offset = node.floats("offset")?.filter(|v| !v.is_empty()).unwrap_or_else(|| vec![0.0]);
    let scale = node.floats("scale")?.filter(|v| !v.is_empty()).unwrap_or_else(|| vec![1.0]);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let columns = columns_of(x);
        let (offset, scale) = (per_column(&offset, columns, "offset")?, per_column(&scale, columns, "scale")?);
        let mut out = context.reserve::<f32>(x.len())?;
        let values = floats(x, context)?;
        out.extend(values.iter().enumerate().map(|(i, v)| (v - offset(i)) * scale(i)));
        Ok(vec![Tensor::new(x.shape(), out)?])
    })
}

fn normalizer(node: &Node<'_>) -> Built {
    let norm = node.string("norm", "MAX")?;
    if !["MAX", "L1", "L2"].contains(&norm.as_str()) {
        return Err(node.error(format!("unknown norm {norm}, expected MAX, L1 or L2")));
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let (_, columns) = matrix(x)?;
        let mut out = context.reserve::<f32>(x.len())?;
        out.extend_from_slice(&floats(x, context)?);
        for row in out.chunks_mut(columns.max(1)) {
            let length = match norm.as_str() {
                "MAX" => row.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a }),
                "L1" => row.iter().fold(0.0, |a, b| a + b.abs()),
                _ => row.iter().fold(0.0f32, |a, b| b.mul_add(*b, a)).sqrt(),
            };
            if length != 0.0 {
                row.iter_mut().for_each(|v| *v /= length);
            }
        }
        Ok(vec![Tensor::new(x.shape(), out)?])
    })
}

fn binarizer(node: &Node<'_>) -> Built {
    let threshold = node.float("threshold", 0.0)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let bit = |v: f64| if v > f64::from(threshold) { 1u8 } else { 0 };
        context.claim::<f64>(x.len())?;
        let shape = x.shape().to_vec();
        let y = match x.data() {
            Data::F32(v) => Tensor::new(shape, v.iter().map(|v| f32::from(bit(f64::from(*v)))).collect::<Vec<_>>()),
            Data::F64(v) => Tensor::new(shape, v.iter().map(|v| f64::from(bit(*v))).collect::<Vec<_>>()),
            Data::I64(v) => Tensor::new(shape, v.iter().map(|v| i64::from(bit(*v as f64))).collect::<Vec<_>>()),
            Data::I32(v) => Tensor::new(shape, v.iter().map(|v| i32::from(bit(f64::from(*v)))).collect::<Vec<_>>()),
            _ => Err(failure::wrong_type(format!("expected numbers, got {}", x.element_type()))),
        };
        Ok(vec![y?])
    })
}

/// Replaces what equals `missing` (NaN: what is NaN) by the value of its column.
fn imputer(node: &Node<'_>) -> Built {
    let ints = node.ints("imputed_value_int64s")?.filter(|v| !v.is_empty());
    let values = node.floats("imputed_value_floats")?.filter(|v| !v.is_empty());
    let missing = node.float("replaced_value_float", 0.0)?;
    let missing_int = node.int("replaced_value_int64", 0)?;
    if ints.is_none() && values.is_none() {
        return Err(missing_attribute(node));
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let columns = columns_of(x);
        if let (Data::I64(v), Some(ints)) = (x.data(), &ints) {
            let imputed = per_column(ints, columns, "imputed_value_int64s")?;
            let mut out = context.reserve::<i64>(v.len())?;
            out.extend(v.iter().enumerate().map(|(i, v)| if *v == missing_int { *imputed(i) } else { *v }));
            return Ok(vec![Tensor::new(x.shape(), out)?]);
        }
        let given = values.as_ref().ok_or_else(|| {
            failure::wrong_type(format!("the imputed values are integers, got a tensor of {}", x.element_type()))
        })?;
        let imputed = per_column(given, columns, "imputed_value_floats")?;
        let is_missing = |v: f32| if missing.is_nan() { v.is_nan() } else { v == missing };
        if let Data::F64(v) = x.data() {
            let pick = |(i, v): (usize, &f64)| if is_missing(*v as f32) { f64::from(*imputed(i)) } else { *v };
            let mut out = context.reserve::<f64>(v.len())?;
            out.extend(v.iter().enumerate().map(pick));
            return Ok(vec![Tensor::new(x.shape(), out)?]);
        }
        let v = x.values::<f32>()?;
        let mut out = context.reserve::<f32>(v.len())?;
        out.extend(v.iter().enumerate().map(|(i, v)| if is_missing(*v) { *imputed(i) } else { *v }));
        Ok(vec![Tensor::new(x.shape(), out)?])
    })
}

fn missing_attribute(node: &Node<'_>) -> LoadError {
    node.error("expected imputed_value_floats or imputed_value_int64s, got neither")
}
