//! From a quantised model to an integer graph.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use super::{NotInteger, emit::Emit};
use crate::{
    ElementType, Isa, Limits, Tensor,
    exact::opsets,
    graph::{self, Context, Opsets},
    onnx::{
        self,
        error::invalid,
        proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto},
        tensors::Constants,
    },
    rewrite::to_proto,
};

/// Operators that move elements and compute nothing.
const MOVES: [&str; 9] =
    ["Concat", "Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"];
/// Functions of one number that become tables.
const TABLES: [&str; 18] = [
    "Abs",
    "Ceil",
    "Clip",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Neg",
    "Relu",
    "Round",
    "Sigmoid",
    "Softplus",
    "Sqrt",
    "Tanh",
];

/// How far a bias's scale may be from the product of the scales, relative to it: products are rounded to floats.
const BIAS_SCALE_ERROR_MAX: f64 = 1e-6;

/// An integer graph.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The file.
    pub graph: Bytes,
    /// For each output the size of one step, as a float.
    pub steps: Vec<f64>,
    /// Tables made.
    pub tables: usize,
}

/// A tensor of `int8` that stands for `(value - zero) * scale`.
#[derive(Clone, Debug)]
struct Quantised {
    name: String,
    scale: f64,
    zero: i8,
}

/// A constant of narrow integers: weights or a bias.
#[derive(Clone)]
struct Weights {
    /// As `int8` in `int32`s, zero points still in.
    values: Vec<i32>,
    shape: Vec<usize>,
    scales: Vec<f64>,
    axis: i64,
    zero: i32,
    wide: bool,
}

/// A node on dequantised values whose result waits to be quantised.
#[derive(Clone)]
struct Waiting {
    node: NodeProto,
    relu: bool,
}

struct Converter<'a> {
    source: &'a GraphProto,
    opsets: Opsets,
    limits: Limits,
    emit: Emit,
    quantised: HashMap<String, Quantised>,
    /// Float name to what it was dequantised from.
    floats: HashMap<String, Quantised>,
    weights: HashMap<String, Weights>,
    waiting: HashMap<String, Waiting>,
    tables: usize,
}

/// Converts a quantised model.
pub fn convert(file: &Bytes) -> Result<Converted, NotInteger> {
    let limits = Limits::default();
    let mut model = onnx::decode(file.clone(), &limits)?;
    let opsets = opsets(&model);
    let graph = model.graph.take().ok_or_else(|| invalid("the file holds no graph"))?;
    let mut converter = Converter {
        source: &graph,
        opsets,
        limits,
        emit: Emit::default(),
        quantised: HashMap::new(),
        floats: HashMap::new(),
        weights: HashMap::new(),
        waiting: HashMap::new(),
        tables: 0,
    };
    graph.node.iter().try_for_each(|node| converter.node(node))?;
    let mut steps = Vec::new();
    for output in &graph.output {
        steps.push(converter.output(output.name.as_deref().unwrap_or_default())?);
    }
    let Converter { emit, tables, .. } = converter;
    model.graph = Some(GraphProto {
        node: emit.nodes,
        name: graph.name.clone(),
        initializer: emit.constants,
        input: graph.input.clone(),
        output: graph.output.clone(),
        ..Default::default()
    });
    model.opset_import.retain(|set| set.domain.as_deref().unwrap_or_default().is_empty());
    let graph = model.encode_to_vec().into();
    super::check(&graph)?;
    Ok(Converted { graph, steps, tables })
}

fn input(node: &NodeProto, index: usize) -> &str {
    node.input.get(index).map_or("", String::as_str)
}

fn label(node: &NodeProto) -> String {
    let op = node.op_type.as_deref().unwrap_or_default();
    format!("{op} {}", node.output.first().map_or("", String::as_str))
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

impl Converter<'_> {
    fn constant(&self, name: &str) -> Option<Tensor> {
        let proto: &TensorProto = self.source.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name))?;
        Constants::new(&self.limits, None).read(proto).ok()
    }

    /// Scales as doubles and the zero point as `int8` would have it; without one it is the 0 of `uint8`.
    fn parameters(&self, scale: &str, zero: &str, what: &str) -> Result<(Vec<f64>, i32), NotInteger> {
        let dynamic = || NotInteger::Dynamic(what.into());
        let scales = self.constant(scale).ok_or_else(dynamic)?;
        let scales: Vec<f64> =
            scales.values::<f32>().map_err(|_| dynamic())?.iter().map(|scale| f64::from(*scale)).collect();
        if zero.is_empty() {
            return Ok((scales, -128));
        }
        let zero = self.constant(zero).ok_or_else(dynamic)?;
        let zeros = narrow(&zero).ok_or(NotInteger::Form(what.into(), "expected a zero point of 8 bits"))?;
        match zeros.first() {
            Some(first) if zeros.iter().all(|zero| zero == first) => Ok((scales, *first)),
            _ => {
                Err(NotInteger::Form(what.into(), "zero points that differ between channels have no integer form here"))
            }
        }
    }

    fn one_scale(&self, scale: &str, zero: &str, what: &str) -> Result<(f64, i8), NotInteger> {
        let (scales, zero) = self.parameters(scale, zero, what)?;
        let zero = i8::try_from(zero).map_err(|_| NotInteger::Form(what.into(), "expected a zero point of 8 bits"))?;
        match scales[..] {
            [one] if one > 0.0 => Ok((one, zero)),
            _ => Err(NotInteger::Form(what.into(), "activations have one scale above 0")),
        }
    }

    fn node(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        match node.op_type.as_deref().unwrap_or_default() {
            "QuantizeLinear" => self.quantise(node),
            "DequantizeLinear" => self.dequantise(node),
            "QLinearMatMul" | "QLinearConv" | "QGemm" | "QLinearAdd" => self.q_operator(node),
            op if MOVES.contains(&op) && self.quantised.contains_key(input(node, 0)) => {
                let moved = self.quantised[input(node, 0)].clone();
                let done = self.move_elements(node, &moved)?;
                self.quantised.insert(node.output[0].clone(), done);
                Ok(())
            }
            "Relu" if self.waiting.contains_key(input(node, 0)) => {
                let before = self.waiting[input(node, 0)].clone();
                self.waiting.insert(node.output[0].clone(), Waiting { relu: true, ..before });
                Ok(())
            }
            "DynamicQuantizeLinear" => Err(NotInteger::Dynamic(label(node))),
            op => {
                let known =
                    ["MatMul", "Gemm", "Conv", "Add"].contains(&op) || MOVES.contains(&op) || TABLES.contains(&op);
                if !known {
                    return Err(NotInteger::Operator(label(node)));
                }
                if !self.floats.contains_key(input(node, 0)) && !self.weights.contains_key(input(node, 0)) {
                    return Err(NotInteger::Float(input(node, 0).into()));
                }
                self.waiting.insert(node.output[0].clone(), Waiting { node: node.clone(), relu: false });
                Ok(())
            }
        }
    }

    fn quantise(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        let (from, to) = (input(node, 0).to_owned(), node.output[0].clone());
        let (scale, zero) = self.one_scale(input(node, 1), input(node, 2), &label(node))?;
        let target = Quantised { name: String::new(), scale, zero };
        let done = if let Some(waiting) = self.waiting.get(&from).cloned() {
            self.finish(&waiting, &target)?
        } else if let Some(before) = self.floats.get(&from).cloned() {
            self.rescale(&before, &target)?
        } else if self.source.input.iter().any(|value| value.name.as_deref() == Some(&from)) {
            let scale = self.emit.constant(&Tensor::scalar(scale as f32));
            let zero = self.emit.constant(&Tensor::scalar(zero));
            let name = self.emit.node("QuantizeLinear", &[&from, &scale, &zero], vec![]);
            Quantised { name, ..target }
        } else {
            return Err(NotInteger::Float(from));
        };
        self.quantised.insert(to, done);
        Ok(())
    }

    fn dequantise(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        let (from, to) = (input(node, 0), node.output[0].clone());
        if let Some(quantised) = self.quantised.get(from) {
            let (scale, zero) = self.one_scale(input(node, 1), input(node, 2), &label(node))?;
            if (scale, zero) != (quantised.scale, quantised.zero) {
                return Err(NotInteger::Form(label(node), "it dequantises by other scales than it was quantised by"));
            }
            self.floats.insert(to, quantised.clone());
            return Ok(());
        }
        let weights = self.read_weights(from, input(node, 1), input(node, 2), &label(node))?;
        let axis = attribute(node, "axis").and_then(|axis| axis.i).unwrap_or(1);
        self.weights.insert(to, Weights { axis, ..weights });
        Ok(())
    }

    fn read_weights(&self, name: &str, scale: &str, zero: &str, what: &str) -> Result<Weights, NotInteger> {
        let tensor = self.constant(name).ok_or_else(|| NotInteger::Float(name.into()))?;
        let shape = tensor.shape().to_vec();
        if let Ok(values) = tensor.values::<i32>() {
            let (scales, _) = self.parameters(scale, "", what)?;
            return Ok(Weights { values: values.to_vec(), shape, scales, axis: 0, zero: 0, wide: true });
        }
        let values = narrow(&tensor).ok_or(NotInteger::Form(what.into(), "expected weights of 8 bits"))?;
        let signed = tensor.element_type() == ElementType::I8;
        let (scales, zero) = match self.parameters(scale, zero, what)? {
            (scales, _) if zero.is_empty() && signed => (scales, 0),
            other => other,
        };
        Ok(Weights { values, shape, scales, axis: 1, zero, wide: false })
    }

    /// The integer form of a node whose result is quantised as `target` says.
    fn finish(&mut self, waiting: &Waiting, target: &Quantised) -> Result<Quantised, NotInteger> {
        let node = &waiting.node;
        let least = if waiting.relu { target.zero } else { i8::MIN };
        let what = label(node);
        let float = |name: &str, floats: &HashMap<String, Quantised>| {
            floats.get(name).cloned().ok_or_else(|| NotInteger::Float(name.into()))
        };
        let weights = |index: usize, weights: &HashMap<String, Weights>| {
            weights.get(input(node, index)).cloned().ok_or_else(|| NotInteger::Float(input(node, index).into()))
        };
        let name = match node.op_type.as_deref().unwrap_or_default() {
            op @ ("MatMul" | "Gemm" | "Conv") => {
                let (x, w) = (float(input(node, 0), &self.floats)?, weights(1, &self.weights)?);
                let bias = if input(node, 2).is_empty() { None } else { Some(weights(2, &self.weights)?) };
                let (w, attributes) = if op == "Gemm" { gemm(node, w)? } else { (w, node.attribute.clone()) };
                self.product(op == "Conv", &x, &w, bias.as_ref(), attributes, target, least, &what)?
            }
            "Add" => {
                let a = self.operand(input(node, 0))?;
                let b = self.operand(input(node, 1))?;
                self.sum(&[a, b], target, least, &what)?
            }
            op if MOVES.contains(&op) => {
                let moved = float(input(node, 0), &self.floats)?;
                let moved = self.move_elements(node, &moved)?;
                return self.rescale(&moved, &Quantised { zero: target.zero, ..target.clone() });
            }
            _ => {
                let x = float(input(node, 0), &self.floats)?;
                let entries = self.entries(node, &x, target)?;
                let entries = entries.into_iter().map(|entry| entry.max(least)).collect();
                self.tables += 1;
                self.emit.table(&x.name, entries)
            }
        };
        Ok(Quantised { name, ..target.clone() })
    }

    /// An operand of a sum: an activation, or a constant of one scale.
    fn operand(&mut self, name: &str) -> Result<Quantised, NotInteger> {
        if let Some(quantised) = self.floats.get(name) {
            return Ok(quantised.clone());
        }
        let weights = self.weights.get(name).cloned().ok_or_else(|| NotInteger::Float(name.into()))?;
        let form = |words| NotInteger::Form(name.into(), words);
        let [scale] = weights.scales[..] else { return Err(form("a constant that is added has one scale")) };
        let values: Result<Vec<i8>, _> = weights.values.iter().map(|value| i8::try_from(*value)).collect();
        let values = values.map_err(|_| form("a constant that is added has 8 bits"))?;
        let zero = i8::try_from(weights.zero).map_err(|_| form("expected a zero point of 8 bits"))?;
        let tensor = Tensor::new(weights.shape, values).expect("as it was read");
        Ok(Quantised { name: self.emit.constant(&tensor), scale, zero })
    }

    fn q_operator(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        let what = label(node);
        let op = node.op_type.as_deref().unwrap_or_default();
        let quantised = |name: &str, all: &HashMap<String, Quantised>| {
            all.get(name).cloned().ok_or_else(|| NotInteger::Float(name.into()))
        };
        let x = quantised(input(node, 0), &self.quantised)?;
        if self.one_scale(input(node, 1), input(node, 2), &what)? != (x.scale, x.zero) {
            return Err(NotInteger::Form(what, "it takes its input by other scales than that was quantised by"));
        }
        let at = match op {
            "QGemm" => 7,
            _ => 6,
        };
        let (scale, zero) = self.one_scale(input(node, at), input(node, at + 1), &what)?;
        let target = Quantised { name: String::new(), scale, zero };
        let name = if op == "QLinearAdd" {
            let b = quantised(input(node, 3), &self.quantised)?;
            self.sum(&[x, b], &target, i8::MIN, &what)?
        } else {
            let mut w = self.read_weights(input(node, 3), input(node, 4), input(node, 5), &what)?;
            w.axis = if op == "QLinearConv" { 0 } else { 1 };
            let bias = match op {
                "QGemm" => input(node, 6),
                "QLinearConv" => input(node, 8),
                _ => "",
            };
            let bias = match self.constant(bias) {
                Some(bias) => Some(self.bias(&bias, &what)?),
                None => None,
            };
            let (w, attributes) = if op == "QGemm" { gemm(node, w)? } else { (w, node.attribute.clone()) };
            self.product(op == "QLinearConv", &x, &w, bias.as_ref(), attributes, &target, i8::MIN, &what)?
        };
        self.quantised.insert(node.output[0].clone(), Quantised { name, ..target });
        Ok(())
    }

    fn bias(&self, tensor: &Tensor, what: &str) -> Result<Weights, NotInteger> {
        let values = tensor.values::<i32>().map_err(|_| NotInteger::Form(what.into(), "expected a bias of int32"))?;
        let shape = tensor.shape().to_vec();
        Ok(Weights { values: values.to_vec(), shape, scales: vec![], axis: 0, zero: 0, wide: true })
    }

    #[allow(clippy::too_many_arguments, reason = "what a product is made of")]
    fn product(
        &mut self,
        convolution: bool,
        x: &Quantised,
        w: &Weights,
        bias: Option<&Weights>,
        attributes: Vec<AttributeProto>,
        target: &Quantised,
        least: i8,
        what: &str,
    ) -> Result<String, NotInteger> {
        let form = |words| NotInteger::Form(what.into(), words);
        if w.wide || w.shape.len() < 2 || w.shape.contains(&0) {
            return Err(form("expected a matrix of weights of 8 bits"));
        }
        let channels = if convolution { w.shape[0] } else { w.shape[w.shape.len() - 1] };
        let channel_axis = if convolution { 0 } else { w.shape.len() as i64 - 1 };
        let axis = if w.axis < 0 { w.axis + w.shape.len() as i64 } else { w.axis };
        if w.scales.len() > 1 && (w.scales.len() != channels || axis != channel_axis) {
            return Err(form("scales of weights are one for all, or one for each channel of the output"));
        }
        let terms = if convolution { w.shape[1..].iter().product() } else { w.shape[w.shape.len() - 2] } as u64;
        let widest = w.values.iter().map(|value| (value - w.zero).unsigned_abs()).max().unwrap_or(0);
        let widest_x = (i32::from(i8::MAX) - i32::from(x.zero)).max(i32::from(x.zero) - i32::from(i8::MIN)) as u64;
        let bias_most = bias.iter().flat_map(|bias| &bias.values).map(|value| u64::from(value.unsigned_abs())).max();
        let most = terms.saturating_mul(u64::from(widest)).saturating_mul(widest_x) + bias_most.unwrap_or(0);
        if most >= 1 << 31 {
            return Err(NotInteger::Overflow(what.into(), terms));
        }
        let narrow: Vec<i8> = w.values.iter().map(|value| *value as i8).collect();
        let weights = self.emit.constant(&Tensor::new(w.shape.clone(), narrow).expect("as it was read"));
        let x_zero = self.emit.constant(&Tensor::scalar(x.zero));
        let w_zero = self.emit.constant(&Tensor::scalar(w.zero as i8));
        let op = if convolution { "ConvInteger" } else { "MatMulInteger" };
        let mut sum = self.emit.node(op, &[&x.name, &weights, &x_zero, &w_zero], attributes);
        let lined_up = |count: usize| match (convolution, count) {
            (_, 1) => vec![],
            (false, _) => vec![count],
            (true, _) => [&[1, count][..], &vec![1; w.shape.len() - 2]].concat(),
        };
        if let Some(bias) = bias {
            let fits = bias.wide && (bias.values.len() == channels || bias.values.len() == 1);
            let scaled = |(index, scale): (usize, &f64)| {
                let own = x.scale * w.scales[index % w.scales.len()];
                (scale - own).abs() <= own * BIAS_SCALE_ERROR_MAX
            };
            if !fits || !bias.scales.iter().enumerate().all(scaled) {
                return Err(form("a bias is int32, one for each channel, with the product of the scales"));
            }
            let tensor = Tensor::new(lined_up(bias.values.len()), bias.values.clone()).expect("one a channel");
            let bias = self.emit.constant(&tensor);
            sum = self.emit.node("Add", &[&sum, &bias], vec![]);
        }
        let factors: Vec<f64> = w.scales.iter().map(|scale| x.scale * scale / target.scale).collect();
        let shape = lined_up(factors.len());
        self.emit.requantise(&[(sum, factors, shape)], target.zero, least, what)
    }

    fn sum(&mut self, operands: &[Quantised], target: &Quantised, least: i8, what: &str) -> Result<String, NotInteger> {
        let mut sums = Vec::new();
        for operand in operands {
            let wide = self.emit.cast(&operand.name, ElementType::I32);
            let zero = self.emit.constant(&Tensor::scalar(i32::from(operand.zero)));
            let centred = self.emit.node("Sub", &[&wide, &zero], vec![]);
            sums.push((centred, vec![operand.scale / target.scale], vec![]));
        }
        self.emit.requantise(&sums, target.zero, least, what)
    }

    fn move_elements(&mut self, node: &NodeProto, moved: &Quantised) -> Result<Quantised, NotInteger> {
        let op = node.op_type.as_deref().unwrap_or_default();
        if op == "Concat" {
            return self.concat(node);
        }
        if node.output.len() > 1 {
            return Err(NotInteger::Operator(format!("{} with several outputs", label(node))));
        }
        let mut inputs = vec![moved.name.clone()];
        for name in &node.input[1..] {
            let tensor = self.constant(name).ok_or_else(|| NotInteger::Dynamic(label(node)));
            inputs.push(if name.is_empty() { String::new() } else { self.emit.constant(&tensor?) });
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(Quantised { name: self.emit.node(op, &inputs, node.attribute.clone()), ..moved.clone() })
    }

    fn concat(&mut self, node: &NodeProto) -> Result<Quantised, NotInteger> {
        let part = |name: &String| {
            let found = self.floats.get(name).or_else(|| self.quantised.get(name));
            found.cloned().ok_or_else(|| NotInteger::Float(name.clone()))
        };
        let parts: Vec<Quantised> = node.input.iter().map(part).collect::<Result<_, _>>()?;
        let first = parts[0].clone();
        if parts.iter().any(|part| (part.scale, part.zero) != (first.scale, first.zero)) {
            return Err(NotInteger::Form(label(node), "what is joined must have one scale and zero point"));
        }
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        Ok(Quantised { name: self.emit.node("Concat", &names, node.attribute.clone()), ..first })
    }

    /// The same numbers by another scale.
    fn rescale(&mut self, before: &Quantised, target: &Quantised) -> Result<Quantised, NotInteger> {
        if (before.scale, before.zero) == (target.scale, target.zero) {
            return Ok(before.clone());
        }
        let identity = NodeProto {
            op_type: Some("Identity".into()),
            input: vec!["x".into()],
            output: vec!["y".into()],
            ..Default::default()
        };
        let entries = self.entries(&identity, before, target)?;
        self.tables += 1;
        Ok(Quantised { name: self.emit.table(&before.name, entries), ..target.clone() })
    }

    /// What a function of one number gives for each of the 256 values, quantised as `target`: computed once, here, by the
    /// exact engine, and from then on part of the model.
    fn entries(&self, node: &NodeProto, x: &Quantised, target: &Quantised) -> Result<Vec<i8>, NotInteger> {
        let what = label(node);
        let values: Vec<f32> =
            (-128i32..128).map(|value| ((f64::from(value) - f64::from(x.zero)) * x.scale) as f32).collect();
        let named = |name: &str| ValueInfoProto { name: Some(name.into()), ..Default::default() };
        let others = node.input[1..].iter().filter_map(|name| Some(to_proto(name, &self.constant(name)?)));
        let mut initializer: Vec<TensorProto> = others.collect();
        initializer.push(to_proto(input(node, 0), &Tensor::vector(values)));
        let alone = GraphProto {
            node: vec![node.clone()],
            initializer,
            output: vec![named(&node.output[0])],
            ..Default::default()
        };
        let constants = Constants::new(&self.limits, None);
        let plan = graph::compile(&alone, self.opsets.clone(), constants, Isa::best(), &self.limits, None)?;
        let computed = plan.run(Vec::new(), &[], &Context::new(Isa::best(), &self.limits));
        let computed = computed.map_err(|_| NotInteger::Operator(what.clone()))?;
        let computed = computed[0].values::<f32>().map_err(|_| NotInteger::Operator(what.clone()))?;
        let entry = |value: &f32| {
            let steps = (f64::from(*value) / target.scale).round_ties_even() + f64::from(target.zero);
            // Where the function has no number, as the logarithm of a negative, it has no entry either.
            if steps.is_nan() { target.zero } else { steps.clamp(-128.0, 127.0) as i8 }
        };
        Ok(computed.iter().map(entry).collect())
    }

    /// Writes an output; the size of its step.
    fn output(&mut self, name: &str) -> Result<f64, NotInteger> {
        if let Some(quantised) = self.floats.get(name).cloned() {
            let scale = self.emit.constant(&Tensor::scalar(quantised.scale as f32));
            let zero = self.emit.constant(&Tensor::scalar(quantised.zero));
            self.emit.named("DequantizeLinear", &[&quantised.name, &scale, &zero], vec![], name);
            return Ok(quantised.scale);
        }
        Err(NotInteger::Float(format!("output {name}")))
    }
}

/// The weights of a `Gemm` as a matrix product takes them.
fn gemm(node: &NodeProto, w: Weights) -> Result<(Weights, Vec<AttributeProto>), NotInteger> {
    let int = |name| attribute(node, name).and_then(|a| a.i).unwrap_or(0);
    let one = |name| attribute(node, name).and_then(|a| a.f).unwrap_or(1.0) == 1.0;
    if int("transA") != 0 || !one("alpha") || !one("beta") || w.shape.len() != 2 {
        return Err(NotInteger::Form(label(node), "a Gemm takes its input as it is, with alpha and beta 1"));
    }
    if int("transB") == 0 {
        return Ok((w, vec![]));
    }
    let (rows, columns) = (w.shape[0], w.shape[1]);
    let values = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|at| w.values[at]).collect();
    let axis = 1 - if w.axis < 0 { w.axis + 2 } else { w.axis };
    Ok((Weights { values, shape: vec![columns, rows], axis, ..w }, vec![]))
}

/// Narrow integers as `int8` has them: `uint8` less 128.
fn narrow(tensor: &Tensor) -> Option<Vec<i32>> {
    match (tensor.values::<i8>(), tensor.values::<u8>()) {
        (Ok(values), _) => Some(values.iter().map(|value| i32::from(*value)).collect()),
        (_, Ok(values)) => Some(values.iter().map(|value| i32::from(*value) - 128).collect()),
        _ => None,
    }
}
