//! `LinearClassifier` and `LinearRegressor`.

use super::post::Post;
use super::{Labels, arg_max, floats, matrix};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::onnx::LoadError;
use crate::ops::{Built, LATEST, Operator, kernel};
use crate::tensor::Tensor;

pub(super) const OPERATORS: &[Operator] =
    &[Operator::ml("LinearClassifier", 1..=LATEST, classifier), Operator::ml("LinearRegressor", 1..=LATEST, regressor)];

/// Terms after which a chain of fused multiply-adds starts anew: the order of every matrix product.
const BLOCK: usize = 256;

/// `x . w`: chains of 256 fused multiply-adds, their sums added in order.
pub(super) fn dot(x: &[f32], w: &[f32]) -> f32 {
    let chain = |x: &[f32], w: &[f32]| x.iter().zip(w).fold(0.0f32, |sum, (x, w)| x.mul_add(*w, sum));
    let mut blocks = x.chunks(BLOCK).zip(w.chunks(BLOCK)).map(|(x, w)| chain(x, w));
    let first = blocks.next().unwrap_or(0.0);
    blocks.fold(first, |sum, block| sum + block)
}

/// `x W^T + b`, `W` one row a target.
struct Linear {
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
    targets: usize,
}

impl Linear {
    fn new(node: &Node<'_>, coefficients: Vec<f32>, intercepts: Vec<f32>, targets: usize) -> Result<Self, LoadError> {
        if targets == 0 || !coefficients.len().is_multiple_of(targets) {
            return Err(node.error(format!("{} coefficients do not fit {targets} targets", coefficients.len())));
        }
        if !intercepts.is_empty() && intercepts.len() != targets {
            return Err(node.error(format!("{} intercepts for {targets} targets", intercepts.len())));
        }
        Ok(Self { coefficients, intercepts, targets })
    }

    fn scores(&self, x: &Tensor, context: &Context) -> Result<(usize, Vec<f32>), Failure> {
        let (rows, width) = matrix(x)?;
        let expected = self.coefficients.len() / self.targets;
        if width != expected {
            return Err(failure::wrong_shape(format!("expected rows of {expected} features, got {width}")));
        }
        let values = floats(x, context)?;
        let count = rows.checked_mul(self.targets).ok_or_else(|| failure::out_of_memory("too many rows"))?;
        let mut out = context.reserve::<f32>(count)?;
        for row in 0..rows {
            for target in 0..self.targets {
                let weights = &self.coefficients[target * width..(target + 1) * width];
                let sum = dot(&values[row * width..(row + 1) * width], weights);
                out.push(self.intercepts.get(target).map_or(sum, |b| sum + b));
            }
        }
        context.count_macs((rows * self.coefficients.len()) as u64);
        Ok((rows, out))
    }
}

fn regressor(node: &Node<'_>) -> Built {
    let targets = usize::try_from(node.int("targets", 1)?).map_err(|_| node.error("targets is negative"))?;
    let coefficients = node.floats("coefficients")?.unwrap_or_default();
    let linear = Linear::new(node, coefficients, node.floats("intercepts")?.unwrap_or_default(), targets)?;
    let post = Post::read(node)?;
    kernel(move |inputs, context| {
        let (rows, mut out) = linear.scores(inputs.get(0)?, context)?;
        out.chunks_mut(targets).for_each(|row| post.apply(row));
        Ok(vec![Tensor::new([rows, targets], out)?])
    })
}

fn classifier(node: &Node<'_>) -> Built {
    let labels = Labels::read(node, "classlabels_ints", "classlabels_strings")?;
    let labels = labels.ok_or_else(|| node.error("there are no class labels"))?;
    let intercepts = node.floats("intercepts")?.unwrap_or_default();
    let coefficients = node.floats("coefficients")?.unwrap_or_default();
    let classes = labels.len();
    let scored = if intercepts.is_empty() { classes } else { intercepts.len() };
    let linear = Linear::new(node, coefficients, intercepts, scored)?;
    if scored != classes && !(scored == 1 && classes == 2) {
        return Err(node.error(format!("{scored} rows of coefficients for {classes} classes")));
    }
    let post = Post::read(node)?;
    kernel(move |inputs, context| {
        let (rows, scores) = linear.scores(inputs.get(0)?, context)?;
        let mut out = context.reserve::<f32>(rows * classes.max(2))?;
        context.claim::<i64>(rows)?;
        let mut chosen = Vec::with_capacity(rows);
        for row in scores.chunks(scored) {
            let from = out.len();
            match row {
                // The score of the second class is the only one there is.
                [score] => {
                    out.extend([-score, *score]);
                    chosen.push(if *score > 0.0 { classes - 1 } else { 0 });
                }
                _ => {
                    out.extend_from_slice(row);
                    chosen.push(arg_max(row));
                }
            }
            post.apply(&mut out[from..]);
        }
        Ok(vec![labels.pick(&chosen), Tensor::new([rows, classes.max(2)], out)?])
    })
}
