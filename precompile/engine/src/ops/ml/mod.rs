//! Operators of `ai.onnx.ml`: what scikit-learn, XGBoost and LightGBM exporters write.
//!
//! A tensor of one dimension is one row here. Everything but trees on doubles is computed in `f32`, as ONNX Runtime does.

mod encode;
mod features;
mod linear;
mod post;
mod scale;
mod svm;
mod tree;
mod tree_nodes;

use std::borrow::Cow;

use super::Operator;
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::onnx::LoadError;
use crate::tensor::{Data, Tensor};

/// The tables of this folder.
pub(super) const TABLES: [&[Operator]; 6] =
    [encode::OPERATORS, features::OPERATORS, linear::OPERATORS, scale::OPERATORS, svm::OPERATORS, tree::OPERATORS];

/// Rows and columns of a matrix of features; a vector is one row.
fn matrix(tensor: &Tensor) -> Result<(usize, usize), Failure> {
    match *tensor.shape() {
        [columns] => Ok((1, columns)),
        [rows, columns] => Ok((rows, columns)),
        _ => Err(failure::wrong_shape(format!("expected rows of features, got the shape {:?}", tensor.shape()))),
    }
}

/// The elements as `f32`, rounded where they are of another numeric type.
fn floats<'a>(tensor: &'a Tensor, context: &Context) -> Result<Cow<'a, [f32]>, Failure> {
    if let Data::F32(values) = tensor.data() {
        return Ok(Cow::Borrowed(values));
    }
    let mut out = context.reserve::<f32>(tensor.len())?;
    match tensor.data() {
        Data::F64(v) => out.extend(v.iter().map(|x| *x as f32)),
        Data::I64(v) => out.extend(v.iter().map(|x| *x as f32)),
        Data::I32(v) => out.extend(v.iter().map(|x| *x as f32)),
        Data::U8(v) => out.extend(v.iter().map(|x| f32::from(*x))),
        Data::Bool(v) => out.extend(v.iter().map(|x| f32::from(u8::from(*x)))),
        _ => return Err(failure::wrong_type(format!("expected numbers, got {}", tensor.element_type()))),
    }
    Ok(Cow::Owned(out))
}

/// Labels of the classes that a classifier answers with.
#[derive(Clone, Debug)]
enum Labels {
    Ints(Vec<i64>),
    Strings(Vec<String>),
}

impl Labels {
    /// From the attributes that older and newer operators name differently.
    fn read(node: &Node<'_>, ints: &str, strings: &str) -> Result<Option<Self>, LoadError> {
        if let Some(labels) = node.strings(strings)?.filter(|l| !l.is_empty()) {
            return Ok(Some(Self::Strings(labels)));
        }
        Ok(node.ints(ints)?.filter(|l| !l.is_empty()).map(Self::Ints))
    }

    fn len(&self) -> usize {
        match self {
            Self::Ints(v) => v.len(),
            Self::Strings(v) => v.len(),
        }
    }

    /// The labels at `classes`, as a tensor of one dimension. Every class is below [`Labels::len`].
    fn pick(&self, classes: &[usize]) -> Tensor {
        match self {
            Self::Ints(v) => Tensor::vector(classes.iter().map(|c| v[*c]).collect::<Vec<_>>()),
            Self::Strings(v) => Tensor::vector(classes.iter().map(|c| v[*c].clone()).collect::<Vec<_>>()),
        }
    }
}

/// The first largest value's position; NaN is never larger.
fn arg_max(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}
