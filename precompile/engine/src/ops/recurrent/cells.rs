//! One step of a recurrence: from gates to the next state.

use super::{Settings, Weights, dense};
use crate::graph::Context;
use crate::kernels::math;

/// A function of gates.
#[derive(Clone, Copy)]
pub(super) enum Activation {
    Sigmoid,
    Tanh,
    Relu,
    LeakyRelu(f32),
    HardSigmoid(f32, f32),
    Affine(f32, f32),
    Softsign,
}

impl Activation {
    pub(super) fn named(name: &str, alpha: Option<f32>, beta: Option<f32>) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "sigmoid" => Self::Sigmoid,
            "tanh" => Self::Tanh,
            "relu" => Self::Relu,
            "leakyrelu" => Self::LeakyRelu(alpha.unwrap_or(0.01)),
            "hardsigmoid" => Self::HardSigmoid(alpha.unwrap_or(0.2), beta.unwrap_or(0.5)),
            "affine" => Self::Affine(alpha.unwrap_or(1.0), beta.unwrap_or(0.0)),
            "softsign" => Self::Softsign,
            _ => return None,
        })
    }

    fn apply(self, values: &mut [f32], context: &Context) {
        let each = |values: &mut [f32], f: &dyn Fn(f32) -> f32| values.iter_mut().for_each(|x| *x = f(*x));
        match self {
            Self::Sigmoid => math::map(context.isa(), values, math::Sigmoid),
            Self::Tanh => math::map(context.isa(), values, math::Tanh),
            Self::Relu => each(values, &|x| if x > 0.0 { x } else { 0.0 }),
            Self::LeakyRelu(alpha) => each(values, &|x| if x < 0.0 { alpha * x } else { x }),
            Self::HardSigmoid(alpha, beta) => each(values, &|x| (alpha * x + beta).clamp(0.0, 1.0)),
            Self::Affine(alpha, beta) => each(values, &|x| alpha * x + beta),
            Self::Softsign => each(values, &|x| x / (1.0 + x.abs())),
        }
    }
}

/// What a step of one row reads and writes.
pub(super) struct Step<'a> {
    /// From the input; written over.
    pub(super) gates: &'a mut [f32],
    /// From the state.
    pub(super) recurrent: &'a [f32],
    pub(super) state: &'a mut [f32],
    pub(super) weights: &'a Weights,
    pub(super) activations: &'a [Activation],
    pub(super) context: &'a Context,
}

impl Settings {
    /// `gates += recurrent + (input bias + hidden bias)`, clipped.
    fn add(&self, gates: &mut [f32], recurrent: &[f32], weights: &Weights) {
        let biases = weights.input_bias.iter().zip(&weights.hidden_bias);
        for ((gate, r), (wb, rb)) in gates.iter_mut().zip(recurrent).zip(biases) {
            *gate += r + (wb + rb);
        }
    }

    fn clip(&self, values: &mut [f32]) {
        if let Some(limit) = self.clip {
            let limit = limit.abs();
            values.iter_mut().for_each(|x| {
                *x = if *x > limit {
                    limit
                } else if *x < -limit {
                    -limit
                } else {
                    *x
                }
            });
        }
    }

    pub(super) fn rnn(&self, step: Step<'_>) {
        let Step { gates, recurrent, state, weights, activations: f, context } = step;
        self.add(gates, recurrent, weights);
        self.clip(gates);
        f[0].apply(gates, context);
        state.copy_from_slice(gates);
    }

    /// Gates in the order input, output, forget, cell.
    pub(super) fn lstm(&self, step: Step<'_>, cell: &mut [f32]) {
        let Step { gates, recurrent, state, weights, activations: f, context } = step;
        let hidden = self.hidden;
        self.add(gates, recurrent, weights);
        let (input, rest) = gates.split_at_mut(hidden);
        let (output, rest) = rest.split_at_mut(hidden);
        let (forget, candidate) = rest.split_at_mut(hidden);
        let peep = |gate: &mut [f32], which: usize, cell: &[f32]| {
            if let Some(p) = weights.peepholes.get(which * hidden..(which + 1) * hidden) {
                gate.iter_mut().zip(p).zip(cell).for_each(|((g, p), c)| *g += p * c);
            }
        };
        peep(input, 0, cell);
        peep(forget, 2, cell);
        for (gate, activation) in [(&mut *input, f[0]), (&mut *forget, f[0]), (&mut *candidate, f[1])] {
            self.clip(gate);
            activation.apply(gate, context);
        }
        if self.couple {
            forget.iter_mut().zip(&*input).for_each(|(f, i)| *f = 1.0 - i);
        }
        for (j, c) in cell.iter_mut().enumerate() {
            *c = forget[j] * *c + input[j] * candidate[j];
        }
        peep(output, 1, cell);
        self.clip(output);
        f[0].apply(output, context);
        state.copy_from_slice(cell);
        self.clip(state);
        f[2].apply(state, context);
        state.iter_mut().zip(&*output).for_each(|(h, o)| *h *= o);
    }

    /// Gates in the order update, reset, candidate.
    pub(super) fn gru(&self, step: Step<'_>) {
        let Step { gates, recurrent, state, weights, activations: f, context } = step;
        let hidden = self.hidden;
        let (both, candidate) = gates.split_at_mut(2 * hidden);
        self.add(both, &recurrent[..2 * hidden], weights);
        self.clip(both);
        f[0].apply(both, context);
        let (update, reset) = both.split_at(hidden);
        let (wb, rb) = (&weights.input_bias[2 * hidden..], &weights.hidden_bias[2 * hidden..]);
        if self.linear_before_reset {
            for (j, n) in candidate.iter_mut().enumerate() {
                *n = (*n + wb[j]) + reset[j] * (recurrent[2 * hidden + j] + rb[j]);
            }
        } else {
            let held: Vec<f32> = state.iter().zip(reset).map(|(h, r)| r * h).collect();
            let mut turned = vec![0.0; 3 * hidden];
            dense(&held, 1, hidden, &weights.hidden, &mut turned, context);
            for (j, n) in candidate.iter_mut().enumerate() {
                *n += turned[2 * hidden + j] + (wb[j] + rb[j]);
            }
        }
        self.clip(candidate);
        f[1].apply(candidate, context);
        for (j, h) in state.iter_mut().enumerate() {
            *h = (1.0 - update[j]) * candidate[j] + update[j] * *h;
        }
    }
}
