//! Recurrent attention of newer models, in doubles, token by token: `LinearAttention`, `CausalConvWithState`.

use super::floats::{narrow, same_type, widen};
use super::rare_unary::silu;
use super::shape::count;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::Node;
use crate::kernels::math64;
use crate::tensor::Tensor;

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("CausalConvWithState", 27..=LATEST, causal_conv),
    Operator::onnx("LinearAttention", 27..=LATEST, linear_attention),
];

fn causal_conv(node: &Node<'_>) -> Built {
    let gated = match node.string("activation", "none")?.as_str() {
        "none" => false,
        "silu" | "swish" => true,
        other => return Err(node.error(format!("unknown activation {other}"))),
    };
    kernel(move |inputs, context| {
        let (x, w) = (inputs.get(0)?, inputs.get(1)?);
        same_type(x, w)?;
        let ([batch, channels, length], [wc, 1, k]) = (x.shape(), w.shape()) else { return Err(wrong(x, w)) };
        let (batch, channels, length, k) = (*batch, *channels, *length, *k);
        if *wc != channels || k == 0 {
            return Err(wrong(x, w));
        }
        let (values, weights) = (widen(x, context)?, widen(w, context)?);
        let bias = inputs.optional(2).map(|b| widen(b, context)).transpose()?;
        let past = inputs.optional(3).map(|p| widen(p, context)).transpose()?;
        let state_shape = [batch, channels, k - 1];
        if bias.as_ref().is_some_and(|b| b.len() != channels)
            || inputs.optional(3).is_some_and(|p| p.shape() != state_shape)
        {
            return Err(failure::wrong_shape("the bias or the past state does not fit the channels"));
        }
        let mut out = context.reserve::<f64>(values.len())?;
        let mut state = context.reserve::<f64>(count(&state_shape)?)?;
        context.claim::<f64>(length + k)?;
        for row in 0..batch * channels {
            let mut line = match &past {
                Some(past) => past[row * (k - 1)..(row + 1) * (k - 1)].to_vec(),
                None => vec![0.0; k - 1],
            };
            line.extend_from_slice(&values[row * length..(row + 1) * length]);
            let c = row % channels;
            let taps = &weights[c * k..(c + 1) * k];
            for window in line.windows(k) {
                let sum = window.iter().zip(taps).fold(0.0, |sum, (x, w)| sum + x * w);
                let sum = sum + bias.as_ref().map_or(0.0, |b| b[c]);
                out.push(if gated { silu(sum, 1.0) } else { sum });
            }
            state.extend_from_slice(&line[line.len() + 1 - k..]);
        }
        context.count_macs(out.len() as u64 * k as u64);
        let kind = x.element_type();
        Ok(vec![narrow(kind, x.shape(), out, context)?, narrow(kind, &state_shape, state, context)?])
    })
}

fn wrong(x: &Tensor, w: &Tensor) -> Failure {
    let (x, w) = (x.shape(), w.shape());
    failure::wrong_shape(format!("expected the shapes [N, C, L] and [C, 1, k], got {x:?} and {w:?}"))
}

/// Sizes of the heads.
struct Heads {
    q: usize,
    kv: usize,
    gated: bool,
    delta: bool,
    scale: f64,
}

fn linear_attention(node: &Node<'_>) -> Built {
    let heads = |name: &str| -> Result<usize, crate::onnx::LoadError> {
        let count = node.int(name, 0)?;
        usize::try_from(count).ok().filter(|c| *c > 0).ok_or_else(|| node.error(format!("{name} is {count}")))
    };
    let (gated, delta) = match node.string("update_rule", "gated_delta")?.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return Err(node.error(format!("unknown update_rule {other}"))),
    };
    let scale = f64::from(node.float("scale", 0.0)?);
    let heads = Heads { q: heads("q_num_heads")?, kv: heads("kv_num_heads")?, gated, delta, scale };
    if !heads.q.is_multiple_of(heads.kv) {
        return Err(node.error("q_num_heads is no multiple of kv_num_heads"));
    }
    kernel(move |inputs, context| {
        let (q, k, v) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let ([batch, time, dq], [kb, kt, dk_all], [vb, vt, dv_all]) = (q.shape(), k.shape(), v.shape()) else {
            return Err(failure::wrong_shape("expected query, key and value of the shape [B, T, D]"));
        };
        let (batch, time) = (*batch, *time);
        let (dk, dv) = (dk_all / heads.kv, dv_all / heads.kv);
        let fits = [*kb, *vb] == [batch; 2] && [*kt, *vt] == [time; 2] && *dq == heads.q * dk;
        if !fits || dk * heads.kv != *dk_all || dv * heads.kv != *dv_all {
            return Err(failure::wrong_shape("query, key and value do not fit the heads"));
        }
        let scale = if heads.scale == 0.0 { 1.0 / (dk as f64).sqrt() } else { heads.scale };
        let state_shape = [batch, heads.kv, dk, dv];
        let size = count(&state_shape)?;
        let mut state = match inputs.optional(3) {
            Some(past) if past.shape() == state_shape => widen(past, context)?,
            Some(past) => return Err(failure::wrong_shape(format!("a state of the shape {:?}", past.shape()))),
            None => context.zeros::<f64>(size)?,
        };
        // Entries for each head and token of an optional gate: one, or one a key dimension.
        let gate = |index: usize, needed: bool| -> Result<Option<(Vec<f64>, usize)>, Failure> {
            if !needed {
                return Ok(None);
            }
            let tensor = inputs.get(index)?;
            match *tensor.shape() {
                [b, t, width] if b == batch && t == time => Ok(Some((widen(tensor, context)?, width))),
                _ => Err(failure::wrong_shape(format!("input {index} has the shape {:?}", tensor.shape()))),
            }
        };
        let (decay, beta) = (gate(4, heads.gated)?, gate(5, heads.delta)?);
        let widths = [heads.kv, heads.kv * dk];
        if decay.as_ref().is_some_and(|(_, w)| !widths.contains(w))
            || beta.as_ref().is_some_and(|(_, w)| ![1, heads.kv].contains(w))
        {
            return Err(failure::wrong_shape("decay or beta does not fit the heads"));
        }
        let (qs, ks, vs) = (widen(q, context)?, widen(k, context)?, widen(v, context)?);
        let mut out = context.zeros::<f64>(count(&[batch, time, heads.q, dv])?)?;
        let group = heads.q / heads.kv;
        for b in 0..batch {
            for t in 0..time {
                let token = b * time + t;
                for h in 0..heads.kv {
                    let s = &mut state[(b * heads.kv + h) * dk * dv..][..dk * dv];
                    let key = &ks[(token * heads.kv + h) * dk..][..dk];
                    let value = &vs[(token * heads.kv + h) * dv..][..dv];
                    if let Some((decay, width)) = &decay {
                        for i in 0..dk {
                            let at = if *width == heads.kv { h } else { h * dk + i };
                            let factor = math64::exp(decay[token * width + at]);
                            s[i * dv..(i + 1) * dv].iter_mut().for_each(|x| *x *= factor);
                        }
                    }
                    for j in 0..dv {
                        let recalled = |s: &[f64]| (0..dk).fold(0.0, |sum, i| sum + s[i * dv + j] * key[i]);
                        let update = match &beta {
                            Some((beta, width)) => {
                                let at = if *width == 1 { 0 } else { h };
                                beta[token * width + at] * (value[j] - recalled(s))
                            }
                            None => value[j],
                        };
                        (0..dk).for_each(|i| s[i * dv + j] += key[i] * update);
                    }
                    for g in 0..group {
                        let head = h * group + g;
                        let query = &qs[(token * heads.q + head) * dk..][..dk];
                        let y = &mut out[(token * heads.q + head) * dv..][..dv];
                        for (j, y) in y.iter_mut().enumerate() {
                            *y = scale * (0..dk).fold(0.0, |sum, i| sum + query[i] * s[i * dv + j]);
                        }
                    }
                }
            }
        }
        context.count_macs((batch * time * (heads.q + 2 * heads.kv)) as u64 * (dk * dv) as u64);
        let kind = q.element_type();
        let shape = [batch, time, heads.q * dv];
        Ok(vec![narrow(kind, &shape, out, context)?, narrow(v.element_type(), &state_shape, state, context)?])
    })
}
