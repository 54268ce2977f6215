//! `NegativeLogLikelihoodLoss` and `SoftmaxCrossEntropyLoss`, in doubles, elements in order.

use super::floats::{narrow, widen};
use super::shape::around;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::math64;
use crate::onnx::LoadError;
use crate::tensor::Tensor;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("NegativeLogLikelihoodLoss", 12..=LATEST, likelihood),
    Operator::onnx("SoftmaxCrossEntropyLoss", 12..=LATEST, cross_entropy),
];

#[derive(Clone, Copy)]
enum Reduction {
    None,
    Sum,
    Mean,
}

/// Attributes of both losses.
struct Loss {
    reduction: Reduction,
    ignored: Option<i64>,
}

impl Loss {
    fn read(node: &Node<'_>) -> Result<Self, LoadError> {
        let reduction = match node.string("reduction", "mean")?.as_str() {
            "none" => Reduction::None,
            "sum" => Reduction::Sum,
            "mean" => Reduction::Mean,
            other => return Err(node.error(format!("unknown reduction {other}"))),
        };
        let ignored = if node.has("ignore_index") { Some(node.int("ignore_index", 0)?) } else { None };
        Ok(Self { reduction, ignored })
    }

    /// The loss of log-probabilities of the shape of `x`.
    fn of(
        &self,
        x: &Tensor,
        logs: &[f64],
        target: &Tensor,
        weight: Option<&Tensor>,
        context: &Context,
    ) -> Result<Tensor, Failure> {
        let shape = x.shape();
        let matches = shape.len() >= 2 && target.rank() + 1 == shape.len() && target.shape()[0] == shape[0];
        if !matches || target.shape()[1..] != shape[2..] {
            let came = target.shape();
            return Err(failure::wrong_shape(format!("targets of shape {came:?} for scores of shape {shape:?}")));
        }
        let (_, classes, inner) = around(shape, 1);
        let weights = weight.map(|w| widen(w, context)).transpose()?;
        if weights.as_ref().is_some_and(|w| w.len() != classes) {
            return Err(failure::wrong_shape(format!("expected {classes} weights, one a class")));
        }
        let targets = target.to_i64s()?;
        let mut losses = context.reserve::<f64>(targets.len())?;
        let (mut sum, mut total) = (0.0, 0.0);
        for (at, class) in targets.iter().enumerate() {
            if Some(*class) == self.ignored {
                losses.push(0.0);
                continue;
            }
            let outside = || failure::out_of_range(format!("class {class} of {classes}"));
            let class = usize::try_from(*class).ok().filter(|c| *c < classes).ok_or_else(outside)?;
            let weight = weights.as_ref().map_or(1.0, |w| w[class]);
            let loss = -weight * logs[(at / inner * classes + class) * inner + at % inner];
            losses.push(loss);
            sum += loss;
            total += weight;
        }
        match self.reduction {
            Reduction::None => narrow(x.element_type(), target.shape(), losses, context),
            Reduction::Sum => narrow(x.element_type(), &[], vec![sum], context),
            Reduction::Mean => narrow(x.element_type(), &[], vec![sum / total], context),
        }
    }
}

fn likelihood(node: &Node<'_>) -> Built {
    let loss = Loss::read(node)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let logs = widen(x, context)?;
        Ok(vec![loss.of(x, &logs, inputs.get(1)?, inputs.optional(2), context)?])
    })
}

fn cross_entropy(node: &Node<'_>) -> Built {
    let loss = Loss::read(node)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        if x.rank() < 2 {
            return Err(failure::wrong_shape(format!("expected scores of shape [N, C, ...], got {:?}", x.shape())));
        }
        let mut logs = widen(x, context)?;
        let (outer, classes, inner) = around(x.shape(), 1);
        for o in 0..outer {
            for i in 0..inner {
                let at = |c: usize| (o * classes + c) * inner + i;
                let most = (0..classes).map(|c| logs[at(c)]).fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a });
                let sum = (0..classes).fold(0.0, |sum, c| sum + math64::exp(logs[at(c)] - most));
                let shift = most + math64::ln(sum);
                (0..classes).for_each(|c| logs[at(c)] -= shift);
            }
        }
        let value = loss.of(x, &logs, inputs.get(1)?, inputs.optional(2), context)?;
        let logs = narrow(x.element_type(), x.shape(), logs, context)?;
        Ok(vec![value, logs])
    })
}
