//! The graph of a decoder of the Llama family, as Hugging Face's Optimum lays it out. Logits are those of the last token
//! alone: nobody reads the others.

use bytes::Bytes;
use prost::Message;

use super::{GgufError, read::Gguf};
use crate::{
    ElementType, Tensor,
    onnx::proto::{
        AttributeProto, DimensionProto, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
        TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, TypeValue, ValueInfoProto, attribute_type,
    },
    rewrite::to_proto,
};

const OPSET: i64 = 23;
const IR_VERSION: i64 = 11;
/// Where the file does not say the base of the rotary angles.
const ROPE_BASE: f64 = 10_000.0;

/// Sizes of the model.
pub(super) struct Shape {
    pub(super) positions: usize,
    vocabulary: usize,
    width: usize,
    inner: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    rope_base: f64,
    epsilon: f32,
}

impl Shape {
    /// Reads the sizes; conversations have at most `tokens_max` tokens.
    pub(super) fn read(gguf: &Gguf, tokens_max: usize) -> Result<Self, GgufError> {
        let architecture = gguf.text("general.architecture")?;
        let unsupported =
            |what: &str, found: String, expected| GgufError::Unsupported { what: what.into(), found, expected };
        if architecture != "llama" {
            return Err(unsupported("the architecture", architecture.into(), "llama"));
        }
        if let Ok(scaling) = gguf.text("llama.rope.scaling.type").map(str::to_owned)
            && scaling != "none"
        {
            return Err(unsupported("the scaling of rotary angles", scaling, "none"));
        }
        let size = |key: &str| gguf.number(&format!("llama.{key}")).map(|number| number as usize);
        let heads = size("attention.head_count")?;
        let shape = Self {
            positions: size("context_length")?.min(tokens_max),
            vocabulary: gguf.texts("tokenizer.ggml.tokens")?.len(),
            width: size("embedding_length")?,
            inner: size("feed_forward_length")?,
            layers: size("block_count")?,
            heads,
            kv_heads: size("attention.head_count_kv").unwrap_or(heads),
            rope_base: gguf.float("llama.rope.freq_base").unwrap_or(ROPE_BASE),
            epsilon: gguf.float("llama.attention.layer_norm_rms_epsilon")? as f32,
        };
        let whole = |of: usize, by: usize| by > 0 && of.is_multiple_of(by);
        let even = whole(shape.width, heads) && whole(heads, shape.kv_heads) && (shape.width / heads).is_multiple_of(2);
        let head = size("rope.dimension_count").unwrap_or(if even { shape.width / heads } else { 0 });
        if !even || head != shape.width / heads {
            let found = format!("{heads} heads over {}, {head} of {}", shape.kv_heads, shape.width);
            return Err(unsupported("the division into heads", found, "whole heads, all of which turn,"));
        }
        Ok(shape)
    }

    fn head(&self) -> usize {
        self.width / self.heads
    }

    /// Cosines and sines of the rotary angles, by functions that give the same on every machine.
    fn tables(&self) -> [Tensor; 2] {
        let half = self.head() / 2;
        let angle = |position: usize, pair: usize| {
            position as f64 * libm::pow(self.rope_base, -(2.0 * pair as f64) / self.head() as f64)
        };
        let angles: Vec<f64> = (0..self.positions).flat_map(|at| (0..half).map(move |i| angle(at, i))).collect();
        [libm::cos, libm::sin].map(|turn: fn(f64) -> f64| {
            let values = angles.iter().map(|angle| turn(*angle) as f32).collect::<Vec<_>>();
            Tensor::new([self.positions, half], values).expect("a row for each position")
        })
    }
}

/// The graph in the making.
struct Maker<'a> {
    gguf: &'a Gguf,
    shape: &'a Shape,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

/// The graph as a file.
pub(super) fn graph(gguf: &Gguf, shape: &Shape) -> Result<Bytes, GgufError> {
    let mut maker = Maker { gguf, shape, nodes: Vec::new(), constants: Vec::new() };
    maker.begin()?;
    let mut x = maker.node("Gather", &["embedding", "input_ids"], "embedded", vec![]);
    for layer in 0..shape.layers {
        x = maker.layer(layer, &x)?;
    }
    maker.end(&x)?;
    let cache = |kind: &str, length: &str| -> Vec<ValueInfoProto> {
        let (heads, head) = (Dim::Fixed(shape.kv_heads), Dim::Fixed(shape.head()));
        let names = (0..shape.layers).flat_map(|i| ["key", "value"].map(|part| format!("{kind}.{i}.{part}")));
        names
            .map(|name| value(&name, ElementType::F32, &[Dim::Free("batch"), heads, Dim::Free(length), head]))
            .collect()
    };
    let row = |name, length| value(name, ElementType::I64, &[Dim::Free("batch"), Dim::Free(length)]);
    let whole = "past_sequence_length + sequence_length";
    let ids =
        [row("input_ids", "sequence_length"), row("attention_mask", whole), row("position_ids", "sequence_length")];
    let last = [Dim::Free("batch"), Dim::Fixed(1), Dim::Fixed(shape.vocabulary)];
    let logits = value("logits", ElementType::F32, &last);
    let graph = GraphProto {
        name: Some("llama".into()),
        node: maker.nodes,
        initializer: maker.constants,
        input: ids.into_iter().chain(cache("past_key_values", "past_sequence_length")).collect(),
        output: std::iter::once(logits).chain(cache("present", whole)).collect(),
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: None, version: Some(OPSET) };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        graph: Some(graph),
        opset_import: vec![opset],
        ..Default::default()
    };
    Ok(model.encode_to_vec().into())
}

impl Maker<'_> {
    fn constant(&mut self, name: &str, tensor: &Tensor) {
        self.constants.push(to_proto(name, tensor));
    }

    fn node(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> String {
        self.nodes.push(NodeProto { attribute, ..NodeProto::new("", op, inputs, output) });
        output.into()
    }

    /// What all layers share, and the mask: which of all keys a new token sees, those up to itself that the attention
    /// mask has.
    fn begin(&mut self) -> Result<(), GgufError> {
        let (shape, list) = (self.shape, |values: &[i64]| Tensor::vector(values.to_vec()));
        let [cos, sin] = shape.tables();
        let embedding = self.gguf.tensor("token_embd.weight", &[shape.width, shape.vocabulary])?;
        let embedding = Tensor::new([shape.vocabulary, shape.width], embedding).expect("as many as were read");
        for (name, tensor) in [
            ("cos", cos),
            ("sin", sin),
            ("epsilon", Tensor::scalar(shape.epsilon)),
            ("embedding", embedding),
            ("last", list(&[-1])),
            ("axes", list(&[1, 2])),
            ("zero", Tensor::scalar(0i64)),
            ("one", Tensor::scalar(1i64)),
            ("q_split", list(&[0, 0, shape.heads as i64, -1])),
            ("kv_split", list(&[0, 0, shape.kv_heads as i64, -1])),
            ("merge", list(&[0, 0, -1])),
            ("rows", list(&[-1, shape.width as i64])),
            ("logits_shape", list(&[-1, 1, shape.vocabulary as i64])),
        ] {
            self.constant(name, &tensor);
        }
        let lengths = self.node("Shape", &["attention_mask"], "mask_shape", vec![]);
        let total = self.node("Gather", &[&lengths, "one"], "total", vec![]);
        let lengths = self.node("Shape", &["input_ids"], "ids_shape", vec![]);
        let new = self.node("Gather", &[&lengths, "one"], "new", vec![]);
        let first = self.node("Sub", &[&total, &new], "first", vec![]);
        let queries = self.node("Range", &[&first, &total, "one"], "queries", vec![]);
        let queries = self.node("Unsqueeze", &[&queries, "last"], "query_column", vec![]);
        let keys = self.node("Range", &["zero", &total, "one"], "keys", vec![]);
        let causal = self.node("LessOrEqual", &[&keys, &queries], "causal", vec![]);
        let seen = self.node("Cast", &["attention_mask"], "seen", vec![int("to", ElementType::Bool as i64)]);
        let seen = self.node("Unsqueeze", &[&seen, "axes"], "seen_keys", vec![]);
        self.node("And", &[&causal, &seen], "mask", vec![]);
        Ok(())
    }

    /// Root mean square normalisation, times the gain.
    fn norm(&mut self, x: &str, weight: &str, name: &str) -> Result<String, GgufError> {
        let gain = self.gguf.tensor(weight, &[self.shape.width])?;
        self.constant(&format!("{name}.gain"), &Tensor::vector(gain));
        let square = self.node("Mul", &[x, x], &format!("{name}.square"), vec![]);
        let mean = self.node("ReduceMean", &[&square, "last"], &format!("{name}.mean"), vec![int("keepdims", 1)]);
        let sum = self.node("Add", &[&mean, "epsilon"], &format!("{name}.sum"), vec![]);
        let root = self.node("Sqrt", &[&sum], &format!("{name}.root"), vec![]);
        let unit = self.node("Div", &[x, &root], &format!("{name}.unit"), vec![]);
        Ok(self.node("Mul", &[&unit, &format!("{name}.gain")], name, vec![]))
    }

    /// `x` times a weight, which the file has row by output.
    fn product(&mut self, x: &str, weight: &str, sizes: [usize; 2], turned: usize) -> Result<String, GgufError> {
        let [inner, outer] = sizes;
        let rows = self.gguf.tensor(weight, &[inner, outer])?;
        // llama.cpp keeps the two halves of a head that turns side by side; ONNX turns one half against the other.
        let source = |output: usize| match turned {
            0 => output,
            head => {
                let (from, at) = (output / head * head, output % head);
                from + at % (head / 2) * 2 + at / (head / 2)
            }
        };
        let sources: Vec<usize> = (0..outer).map(source).collect();
        let values: Vec<f32> =
            (0..inner).flat_map(|i| sources.iter().map(move |o| (o, i))).map(|(o, i)| rows[o * inner + i]).collect();
        self.constant(weight, &Tensor::new([inner, outer], values).expect("as many as were read"));
        Ok(self.node("MatMul", &[x, weight], &format!("{weight}.product"), vec![]))
    }

    fn layer(&mut self, i: usize, x: &str) -> Result<String, GgufError> {
        let (shape, weight) = (self.shape, |part: &str| format!("blk.{i}.{part}.weight"));
        let (width, kv) = (shape.width, shape.kv_heads * shape.head());
        let h = self.norm(x, &weight("attn_norm"), &format!("{i}.a"))?;
        let mut parts = Vec::new();
        for (part, outer, split, turns) in
            [("attn_q", width, "q_split", true), ("attn_k", kv, "kv_split", true), ("attn_v", kv, "kv_split", false)]
        {
            let turned = if turns { shape.head() } else { 0 };
            let flat = self.product(&h, &weight(part), [width, outer], turned)?;
            let apart = self.node("Reshape", &[&flat, split], &format!("{i}.{part}.apart"), vec![]);
            let order = vec![ints("perm", &[0, 2, 1, 3])];
            let mut heads = self.node("Transpose", &[&apart], &format!("{i}.{part}.heads"), order);
            if turns {
                let inputs = [heads.as_str(), "cos", "sin", "position_ids"];
                heads = self.node("RotaryEmbedding", &inputs, &format!("{i}.{part}.turned"), vec![]);
            }
            parts.push(heads);
        }
        let past = ["key", "value"].map(|part| format!("past_key_values.{i}.{part}"));
        let out = format!("{i}.attended");
        self.node("Attention", &[&parts[0], &parts[1], &parts[2], "mask", &past[0], &past[1]], &out, vec![]);
        let attention = self.nodes.last_mut().expect("it was just made");
        attention.output.extend(["key", "value"].map(|part| format!("present.{i}.{part}")));
        let order = vec![ints("perm", &[0, 2, 1, 3])];
        let together = self.node("Transpose", &[&out], &format!("{i}.together"), order);
        let merged = self.node("Reshape", &[&together, "merge"], &format!("{i}.merged"), vec![]);
        let flat = self.product(&merged, &weight("attn_output"), [width, width], 0)?;
        let x = self.node("Add", &[x, &flat], &format!("{i}.mid"), vec![]);
        let h = self.norm(&x, &weight("ffn_norm"), &format!("{i}.b"))?;
        let gate = self.product(&h, &weight("ffn_gate"), [width, shape.inner], 0)?;
        let up = self.product(&h, &weight("ffn_up"), [width, shape.inner], 0)?;
        let sigmoid = self.node("Sigmoid", &[&gate], &format!("{i}.sigmoid"), vec![]);
        let open = self.node("Mul", &[&gate, &sigmoid], &format!("{i}.silu"), vec![]);
        let inner = self.node("Mul", &[&open, &up], &format!("{i}.inner"), vec![]);
        let down = self.product(&inner, &weight("ffn_down"), [shape.inner, width], 0)?;
        Ok(self.node("Add", &[&x, &down], &format!("{i}.x"), vec![]))
    }

    /// Logits after the last token, by the embedding where the head has no weights of its own.
    fn end(&mut self, x: &str) -> Result<(), GgufError> {
        let (shape, own) = (self.shape, "output.weight");
        let last = self.node("Gather", &[x, "last"], "last_token", vec![int("axis", 1)]);
        let x = self.norm(&last, "output_norm.weight", "normed")?;
        let rows = self.node("Reshape", &[&x, "rows"], "last_rows", vec![]);
        let head = if self.gguf.has(own) {
            let values = self.gguf.tensor(own, &[shape.width, shape.vocabulary])?;
            self.constant(own, &Tensor::new([shape.vocabulary, shape.width], values).expect("as many as were read"));
            own
        } else {
            "embedding"
        };
        let flat = self.node("Gemm", &[&rows, head], "flat_logits", vec![int("transB", 1)]);
        self.node("Reshape", &[&flat, "logits_shape"], "logits", vec![]);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Dim<'a> {
    Fixed(usize),
    Free(&'a str),
}

fn value(name: &str, kind: ElementType, dims: &[Dim<'_>]) -> ValueInfoProto {
    let dim = |dim: &Dim<'_>| DimensionProto {
        value: Some(match dim {
            Dim::Fixed(length) => DimensionValue::Value(*length as i64),
            Dim::Free(name) => DimensionValue::Param((*name).into()),
        }),
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = TensorTypeProto { elem_type: Some(kind as i32), shape };
    let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) });
    ValueInfoProto { name: Some(name.into()), r#type, doc_string: None }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: Some(attribute_type::INT), ..Default::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let (name, r#type) = (Some(name.into()), Some(attribute_type::INTS));
    AttributeProto { name, ints: values.to_vec(), r#type, ..Default::default() }
}
