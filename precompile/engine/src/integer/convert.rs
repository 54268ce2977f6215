//! From a quantised model to an integer graph.

mod constants;
mod products;
mod tables;

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use super::{NotInteger, emit::Emit};
use crate::{
    Limits, Tensor,
    exact::opsets,
    graph::Opsets,
    onnx::{
        self,
        error::invalid,
        proto::{AttributeProto, GraphProto, NodeProto},
    },
};
use constants::{Weights, gemm};

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
