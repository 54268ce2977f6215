//! `LSTM`, `GRU` and `RNN`. Each gate is `x W + (h R + (wb + rb))`: both products are fixed-order chains, the sums follow.

mod cells;

use cells::{Activation, Step};

use super::layout::permute;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::kernels::gemm::{Operand, Packed, Product, Strided, multiply};
use crate::onnx::LoadError;
use crate::tensor::Tensor;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("GRU", 7..=LATEST, |node| recurrent(node, Cell::Gru)),
    Operator::onnx("LSTM", 7..=LATEST, |node| recurrent(node, Cell::Lstm)),
    Operator::onnx("RNN", 7..=LATEST, |node| recurrent(node, Cell::Rnn)),
];

/// Which recurrence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Gru,
    Lstm,
    Rnn,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Gru => 3,
            Self::Lstm => 4,
            Self::Rnn => 1,
        }
    }

    fn default_activations(self) -> &'static [&'static str] {
        match self {
            Self::Gru => &["Sigmoid", "Tanh"],
            Self::Lstm => &["Sigmoid", "Tanh", "Tanh"],
            Self::Rnn => &["Tanh"],
        }
    }
}

/// Attributes.
struct Settings {
    cell: Cell,
    hidden: usize,
    /// Whether each direction runs backwards.
    backwards: Vec<bool>,
    /// Of each direction, as many as the cell has.
    activations: Vec<Vec<Activation>>,
    clip: Option<f32>,
    batch_first: bool,
    linear_before_reset: bool,
    couple: bool,
}

fn settings(node: &Node<'_>, cell: Cell) -> Result<Settings, LoadError> {
    let backwards = match node.string("direction", "forward")?.as_str() {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return Err(node.error(format!("direction {other} is unknown"))),
    };
    let hidden = usize::try_from(node.int("hidden_size", 0)?).ok().filter(|h| (1..1 << 20).contains(h));
    let names = node.strings("activations")?;
    let defaults = || backwards.iter().flat_map(|_| cell.default_activations()).map(|s| (*s).to_owned()).collect();
    let names: Vec<String> = names.unwrap_or_else(defaults);
    let (mut alphas, mut betas) = (
        node.floats("activation_alpha")?.unwrap_or_default().into_iter(),
        node.floats("activation_beta")?.unwrap_or_default().into_iter(),
    );
    let mut all = Vec::new();
    for name in &names {
        let lower = name.to_ascii_lowercase();
        let alpha = if matches!(lower.as_str(), "leakyrelu" | "hardsigmoid" | "affine") { alphas.next() } else { None };
        let beta = if matches!(lower.as_str(), "hardsigmoid" | "affine") { betas.next() } else { None };
        all.push(
            Activation::named(name, alpha, beta)
                .ok_or_else(|| node.error(format!("activation {name} is not supported")))?,
        );
    }
    let each = cell.default_activations().len();
    if all.len() != each * backwards.len() {
        return Err(node.error(format!("expected {} activations, got {}", each * backwards.len(), all.len())));
    }
    Ok(Settings {
        cell,
        hidden: hidden.ok_or_else(|| node.error("hidden_size must be between 1 and 2^20"))?,
        activations: all.chunks(each).map(<[_]>::to_vec).collect(),
        backwards,
        clip: if node.has("clip") { Some(node.float("clip", 0.0)?) } else { None },
        batch_first: node.flag("layout", false)?,
        linear_before_reset: node.flag("linear_before_reset", false)?,
        couple: node.flag("input_forget", false)?,
    })
}

/// A direction's weights: `x W^T` and `h R^T`, and what is added to each gate.
struct Weights {
    input: Packed,
    hidden: Packed,
    input_bias: Vec<f32>,
    hidden_bias: Vec<f32>,
    peepholes: Vec<f32>,
}

fn recurrent(node: &Node<'_>, cell: Cell) -> Built {
    let settings = settings(node, cell)?;
    kernel(move |inputs, context| settings.run(inputs, context))
}

/// Sizes of a run.
#[derive(Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    features: usize,
}

impl Settings {
    fn run(&self, inputs: &mut Inputs, context: &Context) -> Result<Vec<Tensor>, Failure> {
        let x = inputs.take(0)?;
        let x = if self.batch_first && x.rank() == 3 { permute(&x, &[1, 0, 2], context)? } else { x };
        let [steps, batch, features] = *x.shape() else {
            return Err(failure::wrong_shape(format!("expected steps by batch by features, got {:?}", x.shape())));
        };
        let sizes = Sizes { steps, batch, features };
        let (directions, hidden) = (self.backwards.len(), self.hidden);
        let state = |index: usize| -> Result<Vec<f32>, Failure> {
            let Some(given) = inputs.optional(index) else { return context.zeros::<f32>(directions * batch * hidden) };
            let given = if self.batch_first { permute(given, &[1, 0, 2], context)? } else { given.clone() };
            if given.shape() != [directions, batch, hidden] {
                return Err(failure::wrong_shape(format!("an initial state of shape {:?}", given.shape())));
            }
            given.into_values::<f32>()
        };
        let lengths = match inputs.optional(4) {
            Some(lengths) => lengths.to_i64s()?.iter().map(|l| usize::try_from(*l).unwrap_or(0).min(steps)).collect(),
            None => vec![steps; batch],
        };
        if lengths.len() != batch {
            return Err(failure::wrong_shape(format!("{} sequence lengths for a batch of {batch}", lengths.len())));
        }
        let mut h = state(5)?;
        let mut c = if self.cell == Cell::Lstm { state(6)? } else { Vec::new() };
        let mut y = context.zeros::<f32>(steps.saturating_mul(directions * batch * hidden))?;
        for direction in 0..directions {
            let weights = self.weights(inputs, direction, features, context)?;
            let range = direction * batch * hidden..(direction + 1) * batch * hidden;
            let c = if c.is_empty() { &mut [][..] } else { &mut c[range.clone()] };
            self.direction(
                x.values::<f32>()?,
                sizes,
                direction,
                &weights,
                &lengths,
                &mut h[range],
                c,
                &mut y,
                context,
            )?;
        }
        let mut outputs =
            vec![Tensor::new([steps, directions, batch, hidden], y)?, Tensor::new([directions, batch, hidden], h)?];
        if self.cell == Cell::Lstm {
            outputs.push(Tensor::new([directions, batch, hidden], c)?);
        }
        if self.batch_first {
            outputs[0] = permute(&outputs[0], &[2, 0, 1, 3], context)?;
            for state in &mut outputs[1..] {
                *state = permute(state, &[1, 0, 2], context)?;
            }
        }
        Ok(outputs)
    }

    fn weights(
        &self,
        inputs: &Inputs,
        direction: usize,
        features: usize,
        context: &Context,
    ) -> Result<Weights, Failure> {
        let (directions, hidden, rows) = (self.backwards.len(), self.hidden, self.cell.gates() * self.hidden);
        let part = |index: usize, each: usize| -> Result<Option<&[f32]>, Failure> {
            let Some(tensor) = inputs.optional(index) else { return Ok(None) };
            let wrong = || {
                failure::wrong_shape(format!(
                    "input {index} of shape {:?}, expected {each} values a direction",
                    tensor.shape()
                ))
            };
            if tensor.len() != directions * each {
                return Err(wrong());
            }
            Ok(Some(&tensor.values::<f32>()?[direction * each..(direction + 1) * each]))
        };
        let missing = || failure::arity("the weights are missing");
        let (w, r) = (part(1, rows * features)?.ok_or_else(missing)?, part(2, rows * hidden)?.ok_or_else(missing)?);
        context.claim::<f32>(w.len() + r.len())?;
        let pack = |data, k| Packed::right(&Strided { data, line_stride: k, k_stride: 1 }, rows, k);
        let bias = part(3, 2 * rows)?.map_or_else(|| vec![0.0; 2 * rows], <[f32]>::to_vec);
        let peepholes = if self.cell == Cell::Lstm {
            part(7, 3 * hidden)?.map(<[f32]>::to_vec).unwrap_or_default()
        } else {
            Vec::new()
        };
        Ok(Weights {
            input: pack(w, features),
            hidden: pack(r, hidden),
            input_bias: bias[..rows].to_vec(),
            hidden_bias: bias[rows..].to_vec(),
            peepholes,
        })
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one recurrence")]
    fn direction(
        &self,
        x: &[f32],
        sizes: Sizes,
        direction: usize,
        weights: &Weights,
        lengths: &[usize],
        h: &mut [f32],
        c: &mut [f32],
        y: &mut [f32],
        context: &Context,
    ) -> Result<(), Failure> {
        let Sizes { steps, batch, features } = sizes;
        let (hidden, rows, directions) = (self.hidden, self.cell.gates() * self.hidden, self.backwards.len());
        let total = steps.saturating_mul(batch * rows);
        let mut from_input = context.zeros::<f32>(total)?;
        dense(x, steps * batch, features, &weights.input, &mut from_input, context);
        let mut from_hidden = vec![0.0; batch * rows];
        for step in 0..steps {
            dense(h, batch, hidden, &weights.hidden, &mut from_hidden, context);
            for b in 0..batch {
                if step >= lengths[b] {
                    continue;
                }
                let time = if self.backwards[direction] { lengths[b] - 1 - step } else { step };
                let cell = Step {
                    gates: &mut from_input[(time * batch + b) * rows..][..rows],
                    recurrent: &from_hidden[b * rows..(b + 1) * rows],
                    state: &mut h[b * hidden..(b + 1) * hidden],
                    weights,
                    activations: &self.activations[direction],
                    context,
                };
                match self.cell {
                    Cell::Rnn => self.rnn(cell),
                    Cell::Lstm => self.lstm(cell, &mut c[b * hidden..(b + 1) * hidden]),
                    Cell::Gru => self.gru(cell),
                }
                let state = &h[b * hidden..(b + 1) * hidden];
                y[((time * directions + direction) * batch + b) * hidden..][..hidden].copy_from_slice(state);
            }
        }
        Ok(())
    }
}

/// `out = x W`.
fn dense(x: &[f32], rows: usize, k: usize, weights: &Packed, out: &mut [f32], context: &Context) {
    let columns = weights.lines();
    let left = Strided { data: x, line_stride: k, k_stride: 1 };
    context.count_macs((rows * k) as u64 * columns as u64);
    multiply(
        context.isa(),
        &[Product { left: Operand::Source(&left), right: Operand::Packed(weights), rows, columns, k, finish: None }],
        out,
    );
}
