//! `post_transform`: how scores become probabilities.

use crate::graph::Node;
use crate::kernels::math64;
use crate::onnx::LoadError;

/// What is done with the scores of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Post {
    None,
    Softmax,
    SoftmaxZero,
    Logistic,
    Probit,
}

impl Post {
    pub(super) fn read(node: &Node<'_>) -> Result<Self, LoadError> {
        let name = node.string("post_transform", "NONE")?;
        Self::named(&name).ok_or_else(|| node.error(format!("unknown post_transform {name}")))
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "NONE" => Self::None,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "LOGISTIC" => Self::Logistic,
            "PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    /// Transforms one row in place.
    pub(super) fn apply(self, row: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Softmax => softmax(row, false),
            Self::SoftmaxZero => softmax(row, true),
            Self::Logistic => row.iter_mut().for_each(|v| *v = logistic(*v)),
            Self::Probit => row.iter_mut().for_each(|v| *v = probit(*v)),
        }
    }
}

/// `1 / (1 + e^-x)`, rounded once.
pub(super) fn logistic(x: f32) -> f32 {
    (1.0 / (1.0 + math64::exp(-f64::from(x)))) as f32
}

/// `sqrt(2) erfinv(2x - 1)` by Winitzki's approximation, as ONNX Runtime computes it.
fn probit(x: f32) -> f32 {
    let y = 2.0 * f64::from(x) - 1.0;
    let log = math64::ln((1.0 - y) * (1.0 + y));
    let a = 0.147;
    let half = 2.0 / (std::f64::consts::PI * a) + 0.5 * log;
    let inverse = ((half * half - log / a).sqrt() - half).sqrt().copysign(y);
    (std::f64::consts::SQRT_2 * inverse) as f32
}

/// With `keep_zeros`, scores that are exactly zero stay zero, and only the others share the probability.
fn softmax(row: &mut [f32], keep_zeros: bool) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let exp = |x: f32| match x {
        0.0 if keep_zeros => 0.0,
        _ => math64::exp(f64::from(x) - f64::from(most)),
    };
    let sum: f64 = row.iter().map(|x| exp(*x)).fold(0.0, |a, b| a + b);
    row.iter_mut().for_each(|x| *x = if sum > 0.0 { (exp(*x) / sum) as f32 } else { 0.0 });
}

#[cfg(test)]
mod tests {
    use super::Post;

    fn close(got: &[f32], want: &[f32]) {
        for (a, b) in got.iter().zip(want) {
            assert!((a - b).abs() < 1e-6, "{got:?} is not {want:?}");
        }
    }

    #[test]
    fn transforms() {
        let mut row = [1.0, 2.0, 3.0];
        Post::Softmax.apply(&mut row);
        close(&row, &[0.090_030_57, 0.244_728_48, 0.665_240_94]);
        let mut row = [1.0, 0.0, 1.0];
        Post::SoftmaxZero.apply(&mut row);
        close(&row, &[0.5, 0.0, 0.5]);
        let mut row = [0.0, 2.0, -1000.0];
        Post::Logistic.apply(&mut row);
        close(&row, &[0.5, 0.880797, 0.0]);
        let mut row = [0.5];
        Post::Probit.apply(&mut row);
        close(&row, &[0.0]);
    }
}
