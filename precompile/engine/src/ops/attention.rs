//! `Attention`.
//!
//! Products are chains of fused multiply-adds like every matrix product; narrower floats are rounded after each step, as
//! the operator's definition by other operators has it. A row whose keys are all masked gives zeros.

mod bias;
mod heads;

use half::{bf16, f16};

use self::bias::Bias;
use self::heads::{Heads, Scaled, to_tensor};
use super::floats::same_type;
use super::shape::count;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Inputs, Node};
use crate::kernels::Isa;
use crate::kernels::gemm::{Operand, Pack, Product, Strided, multiply};
use crate::kernels::math;
use crate::kernels::rows::{Softmax, each_row};
use crate::kernels::sum::sum16;
use crate::onnx::LoadError;
use crate::tensor::{ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[Operator::onnx("Attention", 23..=LATEST, attention)];

/// Rounds to a type and back.
type Round = fn(f32) -> f32;

fn rounding(kind: ElementType) -> Result<Round, Failure> {
    match kind {
        ElementType::F32 => Ok(|x| x),
        ElementType::F16 => Ok(|x| f16::from_f32(x).to_f32()),
        ElementType::Bf16 => Ok(|x| bf16::from_f32(x).to_f32()),
        _ => Err(failure::wrong_type(format!("expected float, float16 or bfloat16, got {kind}"))),
    }
}

/// Attention as its attributes say.
pub(super) struct Attention {
    causal: bool,
    heads: (Option<usize>, Option<usize>),
    scale: Option<f32>,
    softcap: f32,
    precision: Option<ElementType>,
    mode: i64,
    window: (i64, i64),
}

/// Attention of tokens to those before them, in few numbers.
pub(super) struct Window {
    pub(super) causal: bool,
    /// Of queries, and of keys and values.
    pub(super) heads: (usize, usize),
    /// 1 / sqrt(width) where it is not given.
    pub(super) scale: Option<f32>,
    /// 0 for none.
    pub(super) softcap: f32,
    /// How many tokens before itself a token sees; -1 for all.
    pub(super) left: i64,
}

impl Attention {
    /// Attention that rounds nothing and shows no scores.
    pub(super) fn of(window: &Window) -> Self {
        let Window { causal, heads, scale, softcap, left } = *window;
        let heads = (Some(heads.0), Some(heads.1));
        Self { causal, heads, scale, softcap, precision: None, mode: 0, window: (left, -1) }
    }

    fn read(node: &Node<'_>) -> Result<Self, LoadError> {
        let heads = |name: &str| -> Result<Option<usize>, LoadError> {
            match node.int(name, 0)? {
                0 => Ok(None),
                n => usize::try_from(n).map(Some).map_err(|_| node.error(format!("{name} is {n}"))),
            }
        };
        let precision = match node.int("softmax_precision", 0)? {
            0 => None,
            // A softmax in doubles is computed in floats, whose result is rounded to the input's type anyway.
            11 => Some(ElementType::F32),
            code => {
                let kind = i32::try_from(code).ok().and_then(ElementType::from_onnx);
                let kind = kind.filter(|k| rounding(*k).is_ok());
                Some(kind.ok_or_else(|| node.error(format!("softmax_precision is {code}, expected a float type")))?)
            }
        };
        let mode = node.int("qk_matmul_output_mode", 0)?;
        if !(0..=3).contains(&mode) {
            return Err(node.error(format!("qk_matmul_output_mode is {mode}, expected 0 to 3")));
        }
        let window = (node.int("left_window_size", -1)?, node.int("right_window_size", -1)?);
        if window.0 < -1 || window.1 < -1 {
            return Err(node.error("a window size is below -1"));
        }
        Ok(Self {
            causal: node.flag("is_causal", false)?,
            heads: (heads("q_num_heads")?, heads("kv_num_heads")?),
            scale: if node.has("scale") { Some(node.float("scale", 1.0)?) } else { None },
            softcap: node.float("softcap", 0.0)?,
            precision,
            mode,
            window,
        })
    }
}

/// `e^(x - max) / sum`, rounded after each step.
fn softmax(row: &mut [f32], round: Round) {
    let most = row.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
    row.iter_mut().for_each(|x| *x = round(math::exp(round(*x - most))));
    let sum = round(sum16(row));
    row.iter_mut().for_each(|x| *x = round(*x / sum));
}

/// Lengths that query, key and value agree on.
struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
}

impl Sizes {
    fn new(queries: &Heads<'_>, keys: &Heads<'_>, values: &Heads<'_>) -> Result<Self, Failure> {
        let [batch, heads, length, width] = queries.shape;
        let [kb, kv_heads, total, kw] = keys.shape;
        let [vb, vh, vt, value_width] = values.shape;
        let fits = [kb, vb] == [batch; 2] && vh == kv_heads && vt == total && kw == width;
        if !fits || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            let shapes = [queries.shape, keys.shape, values.shape];
            return Err(failure::wrong_shape(format!("query, key and value of {shapes:?} do not fit each other")));
        }
        Ok(Self { batch, heads, kv_heads, queries: length, keys: total, width, value_width })
    }
}

/// How scores and weights are rounded.
struct Rounds {
    scores: Round,
    softmax: Round,
    /// Neither is: both are `f32`, computed with these instructions.
    none: bool,
    isa: Isa,
}

/// The scores shown as the fourth output, where somebody wants them.
struct Shown {
    mode: Option<i64>,
    values: Vec<f32>,
}

impl Shown {
    fn take(&mut self, mode: i64, scores: &[f32]) {
        if self.mode == Some(mode) {
            self.values.extend_from_slice(scores);
        }
    }
}

impl Attention {
    /// From scaled products to weights, for one head.
    fn weigh(
        &self,
        scores: &mut [f32],
        (b, h): (usize, usize),
        bias: &Bias,
        keys: usize,
        rounds: &Rounds,
        shown: &mut Shown,
    ) {
        let Rounds { scores: round, softmax: softmax_round, none, isa } = *rounds;
        if !none {
            scores.iter_mut().for_each(|x| *x = round(*x));
        }
        shown.take(0, scores);
        if self.softcap > 0.0 {
            let cap = self.softcap;
            scores.iter_mut().for_each(|x| *x = round(round(math::tanh(round(*x / cap))) * cap));
        }
        shown.take(1, scores);
        let mut masked = Vec::new();
        for (i, row) in scores.chunks_mut(keys.max(1)).enumerate() {
            let all = bias.add((b, h, i), row);
            if !none {
                row.iter_mut().for_each(|x| *x = round(*x));
            }
            // Nothing may be attended to.
            masked.push(all || !row.iter().any(|x| *x > f32::NEG_INFINITY));
        }
        shown.take(2, scores);
        if none {
            each_row(isa, scores, keys, Softmax);
        }
        for (row, masked) in scores.chunks_mut(keys.max(1)).zip(masked) {
            if masked {
                row.fill(0.0);
            } else if !none {
                softmax(row, softmax_round);
                row.iter_mut().for_each(|x| *x = round(*x));
            }
        }
        shown.take(3, scores);
    }
}

/// [batch, heads, length, width] to [batch, length, heads * width].
fn joined(out: &[f32], sizes: &Sizes, context: &Context) -> Result<Vec<f32>, Failure> {
    let (length, heads, width) = (sizes.queries, sizes.heads, sizes.value_width);
    let mut joined = context.reserve::<f32>(out.len())?;
    for row in 0..sizes.batch * length {
        for h in 0..heads {
            let from = ((row / length * heads + h) * length + row % length) * width;
            joined.extend_from_slice(&out[from..from + width]);
        }
    }
    Ok(joined)
}

fn attention(node: &Node<'_>) -> Built {
    let attention = Attention::read(node)?;
    let shows = node.has_output(3);
    kernel(move |inputs, context| attend(&attention, shows, inputs, context))
}

/// Output, keys and values with those of the cache, and the scores where they are shown.
pub(super) fn attend(
    attention: &Attention,
    shows: bool,
    inputs: &Inputs,
    context: &Context,
) -> Result<Vec<Tensor>, Failure> {
    let (q, k, v) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
    same_type(q, k)?;
    let (kind, round) = (q.element_type(), rounding(q.element_type())?);
    let none = kind == ElementType::F32 && attention.precision.is_none_or(|kind| kind == ElementType::F32);
    let softmax = attention.precision.map_or(Ok(round), rounding)?;
    let rounds = Rounds { scores: round, softmax, none, isa: context.isa() };
    let (past_key, past_value) = (inputs.optional(4), inputs.optional(5));
    if past_key.is_some() != past_value.is_some() || (past_key.is_some() && inputs.optional(6).is_some()) {
        return Err(failure::arity("past key and value come together, and without lengths of a cache"));
    }
    let queries = Heads::read(q, attention.heads.0, context)?;
    let past = past_key.map_or(0, |p| if p.rank() == 4 { p.shape()[2] } else { 0 });
    let keys = Heads::read(k, attention.heads.1, context)?.after(past_key, context)?;
    let values = Heads::read(v, attention.heads.1, context)?.after(past_value, context)?;
    let sizes = Sizes::new(&queries, &keys, &values)?;
    let Sizes { batch, heads, kv_heads, queries: length, keys: total, width, value_width } = sizes;
    let root = round(attention.scale.unwrap_or_else(|| 1.0 / (width as f32).sqrt()).sqrt());
    // Scaled copies of both count, although they are scaled on the way.
    context.claim::<f32>(queries.values.len())?;
    context.claim::<f32>(keys.values.len())?;
    let scaled = |lines| Scaled {
        of: Strided { data: lines, line_stride: width, k_stride: 1 },
        factor: root,
        round: (kind != ElementType::F32).then_some(round),
    };
    let shape = [batch, heads, length, total];
    let bias = Bias::read(attention, inputs, shape, past, context)?;
    let room = if shows { count(&shape)? } else { 0 };
    let mut shown = Shown { mode: shows.then_some(attention.mode), values: context.reserve::<f32>(room)? };
    let mut out = context.zeros::<f32>(count(&[batch, heads, length, value_width])?)?;
    let group = heads / kv_heads;
    let rows = group * length;
    let mut scores = context.zeros::<f32>(rows.saturating_mul(total))?;
    context.count_macs((batch * heads * length) as u64 * total as u64 * (width + value_width) as u64);
    for kv in 0..batch * kv_heads {
        // The heads that share keys and values are rows of one product.
        let (b, first) = (kv / kv_heads, kv % kv_heads * group);
        let from = kv * rows;
        let (left, right) = (scaled(&queries.values[from * width..]), scaled(keys.head(kv)));
        product(&left, &right, [rows, total, width], &mut scores, context);
        for (h, scores) in scores.chunks_mut((length * total).max(1)).enumerate() {
            attention.weigh(scores, (b, first + h), &bias, total, &rounds, &mut shown);
        }
        let left = Strided { data: &scores, line_stride: total, k_stride: 1 };
        let right = Strided { data: values.head(kv), line_stride: 1, k_stride: value_width };
        product(
            &left,
            &right,
            [rows, value_width, total],
            &mut out[from * value_width..][..rows * value_width],
            context,
        );
    }
    let y = match q.rank() {
        3 => to_tensor(kind, &[batch, length, heads * value_width], joined(&out, &sizes, context)?, context)?,
        _ => to_tensor(kind, &[batch, heads, length, value_width], out, context)?,
    };
    let shape: &[usize] = if shows { &shape } else { &[0] };
    let shown = to_tensor(kind, shape, shown.values, context)?;
    Ok(vec![y, keys.tensor(kind, context)?, values.tensor(v.element_type(), context)?, shown])
}

fn product(left: &dyn Pack, right: &dyn Pack, [rows, columns, k]: [usize; 3], out: &mut [f32], context: &Context) {
    let (left, right) = (Operand::Source(left), Operand::Source(right));
    multiply(context.isa(), &[Product { left, right, rows, columns, k, finish: None }], out);
}
