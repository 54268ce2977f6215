//! `SVMClassifier` and `SVMRegressor`, as libsvm defines them.

use super::linear::dot;
use super::post::Post;
use super::{Labels, arg_max, floats, matrix};
use crate::failure::{self, Failure};
use crate::graph::Node;
use crate::kernels::math64;
use crate::onnx::LoadError;
use crate::ops::{Built, LATEST, Operator, kernel};
use crate::tensor::Tensor;

pub(super) const OPERATORS: &[Operator] =
    &[Operator::ml("SVMClassifier", 1..=LATEST, classifier), Operator::ml("SVMRegressor", 1..=LATEST, regressor)];

#[derive(Clone, Copy)]
enum Shape {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

/// The kernel function of an SVM.
struct Similarity {
    shape: Shape,
    gamma: f32,
    coef0: f32,
    degree: f32,
}

impl Similarity {
    fn read(node: &Node<'_>) -> Result<Self, LoadError> {
        let params = node.floats("kernel_params")?.unwrap_or_default();
        let at = |index: usize| params.get(index).copied().unwrap_or(0.0);
        let shape = match node.string("kernel_type", "LINEAR")?.as_str() {
            "LINEAR" => Shape::Linear,
            "POLY" => Shape::Poly,
            "RBF" => Shape::Rbf,
            "SIGMOID" => Shape::Sigmoid,
            other => return Err(node.error(format!("unknown kernel_type {other}"))),
        };
        Ok(Self { shape, gamma: at(0), coef0: at(1), degree: at(2) })
    }

    fn of(&self, x: &[f32], y: &[f32]) -> f32 {
        let scaled = || f64::from(self.gamma.mul_add(dot(x, y), self.coef0));
        match self.shape {
            Shape::Linear => dot(x, y),
            Shape::Poly => math64::pow(scaled(), f64::from(self.degree)) as f32,
            Shape::Sigmoid => math64::tanh(scaled()) as f32,
            Shape::Rbf => {
                let square = |sum: f32, (a, b): (&f32, &f32)| (a - b).mul_add(a - b, sum);
                let distance = x.iter().zip(y).fold(0.0f32, square);
                math64::exp(-f64::from(self.gamma) * f64::from(distance)) as f32
            }
        }
    }
}

/// Rows of equal length one after the other.
struct Vectors {
    values: Vec<f32>,
    width: usize,
}

impl Vectors {
    fn new(node: &Node<'_>, values: Vec<f32>, count: usize) -> Result<Self, LoadError> {
        if count == 0 || values.is_empty() || !values.len().is_multiple_of(count) {
            return Err(node.error(format!("{} numbers do not make {count} vectors", values.len())));
        }
        Ok(Self { width: values.len() / count, values })
    }

    fn rows(&self) -> std::slice::Chunks<'_, f32> {
        self.values.chunks(self.width)
    }

    fn check(&self, width: usize) -> Result<(), Failure> {
        if width == self.width {
            return Ok(());
        }
        Err(failure::wrong_shape(format!("expected rows of {} features, got {width}", self.width)))
    }
}

fn regressor(node: &Node<'_>) -> Built {
    let similarity = Similarity::read(node)?;
    let coefficients = node.floats("coefficients")?.unwrap_or_default();
    let supports = usize::try_from(node.int("n_supports", 0)?).map_err(|_| node.error("n_supports is negative"))?;
    let rho = node.floats("rho")?.and_then(|r| r.first().copied()).unwrap_or(0.0);
    let one_class = node.flag("one_class", false)?;
    let post = Post::read(node)?;
    let vectors = match supports {
        0 => Vectors::new(node, coefficients.clone(), 1)?,
        _ => Vectors::new(node, node.floats("support_vectors")?.unwrap_or_default(), supports)?,
    };
    if supports > 0 && coefficients.len() != supports {
        return Err(node.error(format!("{} coefficients for {supports} support vectors", coefficients.len())));
    }
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let (rows, width) = matrix(x)?;
        vectors.check(width)?;
        let values = floats(x, context)?;
        let mut out = context.reserve::<f32>(rows)?;
        for row in values.chunks(width.max(1)).take(rows) {
            let sum = match supports {
                0 => similarity.of(row, &vectors.values),
                _ => vectors.rows().zip(&coefficients).fold(0.0, |sum, (v, c)| similarity.of(row, v).mul_add(*c, sum)),
            };
            let y = sum + rho;
            out.push(if !one_class {
                y
            } else if y > 0.0 {
                1.0
            } else {
                -1.0
            });
        }
        context.count_macs((rows * vectors.values.len()) as u64);
        out.iter_mut().for_each(|y| post.apply(std::slice::from_mut(y)));
        Ok(vec![Tensor::new([rows, 1], out)?])
    })
}

/// A support vector classifier: one decision for each pair of classes.
struct Pairs {
    similarity: Similarity,
    vectors: Vectors,
    /// Class of each vector.
    owner: Vec<usize>,
    coefficients: Vec<f32>,
    rho: Vec<f32>,
    classes: usize,
    prob_a: Vec<f32>,
    prob_b: Vec<f32>,
}

impl Pairs {
    fn read(node: &Node<'_>, classes: usize, per_class: &[i64]) -> Result<Self, LoadError> {
        let mut owner = Vec::new();
        for (class, count) in per_class.iter().enumerate() {
            let count = usize::try_from(*count).ok().filter(|c| *c < 1 << 24);
            let count = count.ok_or_else(|| node.error("vectors_per_class is out of range"))?;
            owner.extend(std::iter::repeat_n(class, count));
        }
        let vectors = Vectors::new(node, node.floats("support_vectors")?.unwrap_or_default(), owner.len())?;
        let list = |name: &str| Ok::<_, LoadError>(node.floats(name)?.unwrap_or_default());
        let (coefficients, rho) = (list("coefficients")?, list("rho")?);
        let (prob_a, prob_b) = (list("prob_a")?, list("prob_b")?);
        let pairs = classes * classes.saturating_sub(1) / 2;
        let expected = owner.len() * classes.saturating_sub(1);
        if per_class.len() != classes || classes < 2 || coefficients.len() != expected || rho.len() < pairs {
            return Err(node.error(format!("coefficients, rho and vectors_per_class do not fit {classes} classes")));
        }
        if prob_a.len() != prob_b.len() || !matches!(prob_a.len(), n if n == 0 || n == pairs) {
            return Err(node.error(format!("prob_a and prob_b need {pairs} entries each")));
        }
        let similarity = Similarity::read(node)?;
        Ok(Self { similarity, vectors, owner, coefficients, rho, classes, prob_a, prob_b })
    }

    /// The decision of each pair of classes.
    fn decisions(&self, row: &[f32]) -> Vec<f32> {
        let kernels: Vec<f32> = self.vectors.rows().map(|v| self.similarity.of(row, v)).collect();
        let count = kernels.len();
        let mut decisions = Vec::with_capacity(self.rho.len());
        for first in 0..self.classes {
            for second in first + 1..self.classes {
                let mut sum = 0.0f32;
                for (at, value) in kernels.iter().enumerate() {
                    let against = match self.owner[at] {
                        class if class == first => second - 1,
                        class if class == second => first,
                        _ => continue,
                    };
                    sum = self.coefficients[against * count + at].mul_add(*value, sum);
                }
                decisions.push(sum + self.rho[decisions.len()]);
            }
        }
        decisions
    }

    fn votes(&self, decisions: &[f32]) -> Vec<f32> {
        let mut votes = vec![0.0; self.classes];
        let pairs = (0..self.classes).flat_map(|first| (first + 1..self.classes).map(move |second| (first, second)));
        for ((first, second), decision) in pairs.zip(decisions) {
            votes[if *decision > 0.0 { first } else { second }] += 1.0;
        }
        votes
    }

    /// Probabilities of the classes from those of the pairs (Wu, Lin and Weng 2004, the second method, as in libsvm).
    fn probabilities(&self, decisions: &[f32]) -> Vec<f32> {
        let n = self.classes;
        let mut pair = vec![0.0f64; n * n];
        let mut index = 0;
        for first in 0..n {
            for second in first + 1..n {
                let margin = f64::from(decisions[index].mul_add(self.prob_a[index], self.prob_b[index]));
                let chance = 1.0 / (1.0 + math64::exp(margin));
                let chance = chance.clamp(1e-7, 1.0 - 1e-7);
                pair[first * n + second] = chance;
                pair[second * n + first] = 1.0 - chance;
                index += 1;
            }
        }
        couple(&pair, n).into_iter().map(|p| p as f32).collect()
    }
}

fn couple(pair: &[f64], n: usize) -> Vec<f64> {
    let mut q = vec![0.0; n * n];
    for row in 0..n {
        for other in (0..n).filter(|other| *other != row) {
            q[row * n + row] += pair[other * n + row] * pair[other * n + row];
            q[row * n + other] = -pair[other * n + row] * pair[row * n + other];
        }
    }
    let mut p = vec![1.0 / n as f64; n];
    let mut qp = vec![0.0; n];
    for _ in 0..n.max(100) {
        let mut pqp = 0.0;
        for row in 0..n {
            qp[row] = (0..n).fold(0.0, |sum, col| sum + q[row * n + col] * p[col]);
            pqp += p[row] * qp[row];
        }
        let error = qp.iter().fold(0.0f64, |a, b| if (b - pqp).abs() > a { (b - pqp).abs() } else { a });
        if error < 0.005 / n as f64 {
            break;
        }
        for row in 0..n {
            let diff = (pqp - qp[row]) / q[row * n + row];
            p[row] += diff;
            pqp = (pqp + diff * (diff * q[row * n + row] + 2.0 * qp[row])) / (1.0 + diff) / (1.0 + diff);
            for col in 0..n {
                qp[col] = (qp[col] + diff * q[row * n + col]) / (1.0 + diff);
                p[col] /= 1.0 + diff;
            }
        }
    }
    p
}

fn classifier(node: &Node<'_>) -> Built {
    let labels = Labels::read(node, "classlabels_ints", "classlabels_strings")?;
    let labels = labels.ok_or_else(|| node.error("there are no class labels"))?;
    let per_class = node.ints("vectors_per_class")?.unwrap_or_default();
    if per_class.is_empty() {
        return Err(node.error("an SVMClassifier without support vectors is linear: export it as LinearClassifier"));
    }
    let pairs = Pairs::read(node, labels.len(), &per_class)?;
    let post = Post::read(node)?;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let (rows, width) = matrix(x)?;
        pairs.vectors.check(width)?;
        let values = floats(x, context)?;
        let columns = match (pairs.prob_a.is_empty(), pairs.rho.len()) {
            (false, _) => pairs.classes,
            (true, 1) => 2,
            (true, decisions) => decisions,
        };
        let count = rows.checked_mul(columns).ok_or_else(|| failure::out_of_memory("too many rows"))?;
        let mut out = context.reserve::<f32>(count)?;
        context.claim::<i64>(rows)?;
        let mut chosen = Vec::with_capacity(rows);
        for row in values.chunks(width.max(1)).take(rows) {
            let decisions = pairs.decisions(row);
            let from = out.len();
            if !pairs.prob_a.is_empty() {
                out.extend(pairs.probabilities(&decisions));
                chosen.push(arg_max(&out[from..]));
                continue;
            }
            chosen.push(arg_max(&pairs.votes(&decisions)));
            match decisions[..] {
                [one] => out.extend([-one, one]),
                _ => out.extend_from_slice(&decisions[..columns]),
            }
            post.apply(&mut out[from..]);
        }
        context.count_macs((rows * pairs.vectors.values.len()) as u64);
        Ok(vec![labels.pick(&chosen), Tensor::new([rows, columns], out)?])
    })
}
