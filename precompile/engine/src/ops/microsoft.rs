//! Operators of ONNX Runtime's own that language models are exported with (onnxruntime-genai's builder writes them):
//! grouped attention with its cache, rotary embedding, root mean square normalisation after a sum, and products by weights of
//! a few bits.
//!
//! Their meaning is that of ONNX Runtime's schema; the order of operations is the exact engine's. `accuracy_level` permits
//! other engines to round the left operand of `MatMulNBits`; here it never is.

use super::attention::{Attention, Window, attend};
use super::cast::cast;
use super::matmul::by_constant;
use super::normalize::root_mean_square;
use super::rotary::Rotary;
use super::{Built, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::kernels::gemm::{Packed, Strided};
use crate::onnx::LoadError;
use crate::tensor::{ElementType, Tensor};

const DOMAIN: &str = "com.microsoft";

const fn operator(name: &'static str, build: fn(&Node<'_>) -> Built) -> Operator {
    Operator { domain: DOMAIN, name, opsets: 1..=1, build }
}

pub(super) const OPERATORS: &[Operator] = &[
    operator("GroupQueryAttention", group_query_attention),
    operator("MatMulNBits", mat_mul_n_bits),
    operator("RotaryEmbedding", rotary_embedding),
    operator("SkipSimplifiedLayerNormalization", skip_norm),
];

/// Fails to load where an attribute asks for what is not computed.
fn only(node: &Node<'_>, name: &str, meant: i64) -> Result<(), LoadError> {
    match node.int(name, meant)? {
        given if given == meant => Ok(()),
        given => {
            Err(node.error(format!("{name} is {given}, and only {meant} is computed: export the model without it")))
        }
    }
}

fn size(node: &Node<'_>, name: &str) -> Result<usize, LoadError> {
    let given = node.int(name, 0)?;
    usize::try_from(given).map_err(|_| node.error(format!("{name} is {given}")))
}

// ---- attention

/// Inputs of `GroupQueryAttention`, by their places.
mod place {
    pub(super) const KEY: usize = 1;
    pub(super) const VALUE: usize = 2;
    pub(super) const PAST_KEY: usize = 3;
    pub(super) const PAST_VALUE: usize = 4;
    pub(super) const LAST: usize = 5;
    pub(super) const TOTAL: usize = 6;
    pub(super) const COS: usize = 7;
    pub(super) const SIN: usize = 8;
    pub(super) const POSITIONS: usize = 9;
    pub(super) const BIAS: usize = 10;
    /// From here on: a sink, scales of a quantised cache, normalisation of queries and keys.
    pub(super) const FURTHER: usize = 11;
}

struct Grouped {
    heads: usize,
    kv_heads: usize,
    attention: Attention,
    rotary: Option<Rotary>,
}

fn group_query_attention(node: &Node<'_>) -> Built {
    for (name, meant) in
        [("sliding_window_cache", 0), ("kv_cache_bit_width", 0), ("smooth_softmax", 0), ("qk_output", 0)]
    {
        only(node, name, meant)?;
    }
    if let Some(further) = (place::FURTHER..node.inputs()).find(|index| node.has_input(*index)) {
        return Err(node.error(format!("input {further} is not computed: export the model without it")));
    }
    let (heads, kv_heads) = (size(node, "num_heads")?, size(node, "kv_num_heads")?);
    if kv_heads == 0 || heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(node.error(format!("{heads} heads over {kv_heads} of keys and values")));
    }
    let window = node.int("local_window_size", -1)?;
    let scale = node.float("scale", 0.0)?;
    let attention = Attention::of(&Window {
        causal: node.flag("causal", true)?,
        heads: (heads, kv_heads),
        scale: (scale != 0.0).then_some(scale),
        softcap: node.float("softcap", 0.0)?,
        // A token sees itself and so many before it that they are as many as the window.
        left: if window > 0 { window - 1 } else { -1 },
    });
    let turns = node.flag("do_rotary", false)?;
    let rotary = Rotary { interleaved: node.flag("rotary_interleaved", false)?, rotated: 0, heads: 0 };
    let grouped = Grouped { heads, kv_heads, attention, rotary: turns.then_some(rotary) };
    kernel(move |inputs, context| grouped.run(inputs, context))
}

impl Grouped {
    fn run(&self, inputs: &Inputs, context: &Context) -> Result<Vec<Tensor>, Failure> {
        let [query, key, value] = self.parts(inputs, context)?;
        let [batch, length, _] = *query.shape() else {
            return Err(failure::wrong_shape(format!("queries of the shape {:?}, expected three axes", query.shape())));
        };
        let (past_key, past_value) = (inputs.optional(place::PAST_KEY), inputs.optional(place::PAST_VALUE));
        let past = past_key.map_or(0, |past| if past.rank() == 4 { past.shape()[2] } else { 0 });
        whole_rows(inputs, batch, past + length)?;
        let (query, key) = match &self.rotary {
            None => (query, key),
            Some(rotary) => {
                let positions = match inputs.optional(place::POSITIONS) {
                    Some(positions) => positions.to_i64s()?,
                    None => (0..batch * length).map(|token| (past + token % length.max(1)) as i64).collect(),
                };
                let tables = [inputs.get(place::COS)?, inputs.get(place::SIN)?];
                let turn = |x: &Tensor, heads| Rotary { heads, ..*rotary }.turn(x, tables, Some(&positions), context);
                (turn(&query, self.heads)?, turn(&key, self.kv_heads)?)
            }
        };
        let bias = inputs.optional(place::BIAS).cloned();
        let given = [Some(query), Some(key), Some(value), bias, past_key.cloned(), past_value.cloned()];
        let mut outputs = attend(&self.attention, false, &Inputs::new(given.into()), context)?;
        outputs.truncate(3);
        Ok(outputs)
    }

    /// Queries, keys and values, which may come side by side in one tensor.
    fn parts(&self, inputs: &Inputs, context: &Context) -> Result<[Tensor; 3], Failure> {
        let query = inputs.get(0)?;
        if let (Some(key), Some(value)) = (inputs.optional(place::KEY), inputs.optional(place::VALUE)) {
            return Ok([query.clone(), key.clone(), value.clone()]);
        }
        let heads = self.heads + 2 * self.kv_heads;
        let [batch, length, all] = *query.shape() else {
            return Err(failure::wrong_shape(format!("queries of the shape {:?}, expected three axes", query.shape())));
        };
        if !all.is_multiple_of(heads) {
            return Err(failure::wrong_shape(format!("{all} features do not make {heads} heads")));
        }
        let width = all / heads;
        let part = |first: usize, count: usize| -> Result<Tensor, Failure> {
            let shape = [batch, length, count * width];
            let values = query.values::<f32>()?;
            let mut out = context.reserve::<f32>(shape.iter().product())?;
            for row in values.chunks_exact(all.max(1)) {
                out.extend_from_slice(&row[first * width..(first + count) * width]);
            }
            Tensor::new(shape, out)
        };
        let kv = self.kv_heads;
        Ok([part(0, self.heads)?, part(self.heads, kv)?, part(self.heads + kv, kv)?])
    }
}

/// Fails unless each row of the batch has as many tokens as the cache and what is new make together: padding would let a
/// row's answer depend on the rows beside it.
fn whole_rows(inputs: &Inputs, batch: usize, total: usize) -> Result<(), Failure> {
    let last = inputs.get(place::LAST)?.to_i64s()?;
    let most = inputs.get(place::TOTAL)?.to_i64s()?;
    if last.len() == batch && last.iter().all(|last| *last == total as i64 - 1) && most == [total as i64] {
        return Ok(());
    }
    Err(failure::out_of_range(format!("seqlens_k is {last:?} of {most:?}, expected {total} tokens without padding")))
}

fn rotary_embedding(node: &Node<'_>) -> Built {
    only(node, "is_packed_batching", 0)?;
    if node.float("scale", 1.0)? != 1.0 {
        return Err(node.error("a scale is not computed: export the model with it in the tables"));
    }
    let (interleaved, rotated) = (node.flag("interleaved", false)?, size(node, "rotary_embedding_dim")?);
    let heads = size(node, "num_heads")?;
    kernel(move |inputs, context| {
        let (x, positions, cos, sin) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?, inputs.get(3)?);
        let (batch, length, features) = match *x.shape() {
            [batch, _, length, _] => (batch, length, 0),
            [batch, length, features] => (batch, length, features),
            _ => return Err(failure::wrong_shape(format!("{:?} does not split into heads", x.shape()))),
        };
        // Without their number, heads are as wide as the tables turn.
        let width = 2 * cos.shape().last().copied().unwrap_or(0);
        let heads = if heads == 0 { features.checked_div(width).unwrap_or(0) } else { heads };
        let given = positions.to_i64s()?;
        let positions = match given[..] {
            [first] => (0..batch * length).map(|token| first.saturating_add((token % length.max(1)) as i64)).collect(),
            _ => given,
        };
        let rotary = Rotary { interleaved, rotated, heads };
        Ok(vec![rotary.turn(x, [cos, sin], Some(&positions), context)?])
    })
}

// ---- normalisation

/// `x + skip (+ bias)`, its root mean square normalisation, and the sum as the fourth output.
fn skip_norm(node: &Node<'_>) -> Built {
    if node.has_output(1) || node.has_output(2) {
        return Err(node.error("statistics are for training: export the model for inference"));
    }
    let epsilon = node.float("epsilon", 1e-5)?;
    kernel(move |inputs, context| {
        let mut sum = inputs.take(0)?;
        for index in [1, 3] {
            if let Some(other) = inputs.optional(index) {
                sum = super::binary::pointwise::<f32>(sum, other.clone(), context, std::ops::Add::add)?;
            }
        }
        let normed = root_mean_square(sum.clone(), inputs.get(2)?, epsilon, context)?;
        let none = || Tensor::vector(Vec::<f32>::new());
        Ok(vec![normed, none(), none(), sum])
    })
}

// ---- weights of a few bits

/// `A` by weights of `bits` bits in blocks along k, each with its scale and zero: widened when the model is loaded, by
/// `(q - zero) * scale` with one rounding.
fn mat_mul_n_bits(node: &Node<'_>) -> Built {
    let (columns, k) = (size(node, "N")?, size(node, "K")?);
    let (bits, block) = (node.int("bits", 4)?, size(node, "block_size")?);
    if ![2, 4, 8].contains(&bits) || !block.is_power_of_two() || block < 16 {
        return Err(node.error(format!("{bits} bits in blocks of {block}: expected 2, 4 or 8, and 16, 32, 64, ...")));
    }
    only(node, "weight_prepacked", 0)?;
    if node.has_input(4) {
        return Err(node.error("g_idx reorders weights and is not computed: quantise without it"));
    }
    let weights = Weights { columns, k, bits: bits as usize, block };
    let values = weights.widen(node)?;
    let packed = Packed::right(&Strided { data: &values, line_stride: k, k_stride: 1 }, columns, k);
    let bias = match node.absorb(5) {
        Some(bias) => Some(bias.into_values::<f32>().map_err(|failure| node.failure(failure))?),
        None if node.has_input(5) => return Err(node.error("the bias must be a constant")),
        None => None,
    };
    if bias.as_ref().is_some_and(|bias| bias.len() != columns) {
        return Err(node.error(format!("expected {columns} elements of the bias")));
    }
    kernel(move |inputs, context| {
        let product = by_constant(inputs.get(0)?, &packed, context)?;
        let Some(bias) = &bias else { return Ok(vec![product]) };
        let shape = product.shape().to_vec();
        let mut values = product.into_values::<f32>()?;
        for row in values.chunks_exact_mut(columns.max(1)) {
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
        Ok(vec![Tensor::new(shape, values)?])
    })
}

struct Weights {
    columns: usize,
    k: usize,
    bits: usize,
    block: usize,
}

impl Weights {
    /// The weights, k by k for each column.
    fn widen(&self, node: &Node<'_>) -> Result<Vec<f32>, LoadError> {
        let fails = |failure| node.failure(failure);
        let constant = |index: usize, what: &str| {
            node.absorb(index).ok_or_else(|| node.error(format!("the {what} must be constants")))
        };
        let (blocks, each) = (self.k.div_ceil(self.block), self.block * self.bits / 8);
        let packed = constant(1, "weights")?.into_values::<u8>().map_err(fails)?;
        let scales = floats(constant(2, "scales")?).map_err(fails)?;
        let scale_count = self.columns.checked_mul(blocks);
        if scale_count != Some(scales.len()) || scale_count.and_then(|n| n.checked_mul(each)) != Some(packed.len()) {
            let (bytes, scales) = (packed.len(), scales.len());
            return Err(node.error(format!(
                "{bytes} bytes and {scales} scales for {} columns of {blocks} blocks of {each} bytes",
                self.columns
            )));
        }
        let zeros = self.zeros(node, blocks)?;
        let mut values = Vec::with_capacity(self.columns * self.k);
        for column in 0..self.columns {
            for at in 0..self.k {
                let block = column * blocks + at / self.block;
                let q = self.unpack(&packed[block * each..(block + 1) * each], at % self.block);
                values.push((q - zeros[block]) * scales[block]);
            }
        }
        Ok(values)
    }

    /// The zero of each block.
    fn zeros(&self, node: &Node<'_>, blocks: usize) -> Result<Vec<f32>, LoadError> {
        let wrong = |count: usize| node.error(format!("{count} zero points for {} columns of {blocks}", self.columns));
        if !node.has_input(3) {
            return Ok(vec![(1 << (self.bits - 1)) as f32; self.columns * blocks]);
        }
        let given = node.absorb(3).ok_or_else(|| node.error("the zero points must be constants"))?;
        if given.element_type() != ElementType::U8 {
            let zeros = floats(given).map_err(|failure| node.failure(failure))?;
            return if zeros.len() == self.columns * blocks { Ok(zeros) } else { Err(wrong(zeros.len())) };
        }
        let packed = given.into_values::<u8>().map_err(|failure| node.failure(failure))?;
        let each = (blocks * self.bits).div_ceil(8);
        if packed.len() != self.columns * each {
            return Err(wrong(packed.len()));
        }
        let row = |row: &[u8]| (0..blocks).map(|block| self.unpack(row, block)).collect::<Vec<_>>();
        Ok(packed.chunks_exact(each.max(1)).flat_map(row).collect())
    }

    /// Number `at` of those packed in bytes, the lowest bits first.
    fn unpack(&self, bytes: &[u8], at: usize) -> f32 {
        let bit = at * self.bits;
        let mask = ((1u16 << self.bits) - 1) as u8;
        f32::from((bytes[bit / 8] >> (bit % 8)) & mask)
    }
}

fn floats(tensor: Tensor) -> Result<Vec<f32>, Failure> {
    cast(&tensor, ElementType::F32, &Context::unbounded(crate::Isa::Portable))?.into_values::<f32>()
}
