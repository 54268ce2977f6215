//! From a quantised model to an integer graph.

mod constants;
mod means;
mod moves;
mod products;
mod qoperators;
mod shapes;
mod tables;

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use super::{
    NotInteger,
    emit::Emit,
    target::{Bounds, Target},
};
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
use moves::MOVES;
use shapes::Shapes;
use tables::TABLES;

/// Operators whose results are quantised next, besides moves and tables.
const COMPUTED: [&str; 8] = ["Add", "AveragePool", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "Mul", "ReduceMean"];

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

/// Where a value comes from that waits to be quantised.
#[derive(Clone)]
enum Origin {
    /// An input of the model.
    Input(String),
    /// A node on dequantised values.
    Node(NodeProto),
}

/// A value in floats that waits to be quantised, and what is done to it until then.
#[derive(Clone)]
struct Waiting {
    origin: Origin,
    bounds: Bounds,
    moves: Vec<NodeProto>,
}

impl Waiting {
    fn new(origin: Origin) -> Self {
        Self { origin, bounds: Bounds::FREE, moves: Vec::new() }
    }
}

struct Converter<'a> {
    source: &'a GraphProto,
    opsets: Opsets,
    limits: Limits,
    emit: Emit,
    shapes: Shapes,
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
        shapes: Shapes::default(),
        quantised: HashMap::new(),
        floats: HashMap::new(),
        weights: HashMap::new(),
        waiting: HashMap::new(),
        tables: 0,
    };
    for input in &graph.input {
        let name = input.name.clone().unwrap_or_default();
        converter.waiting.insert(name.clone(), Waiting::new(Origin::Input(name)));
    }
    if let Some(node) = graph.node.iter().find(|node| node.output.is_empty()) {
        return Err(invalid(format!("a node {} has no output", operator(node))).into());
    }
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

fn operator(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or_default()
}

fn label(node: &NodeProto) -> String {
    format!("{} {}", operator(node), node.output.first().map_or("", String::as_str))
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

fn number(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|attribute| attribute.i).unwrap_or(default)
}

impl Converter<'_> {
    fn node(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        let from = input(node, 0);
        match operator(node) {
            "QuantizeLinear" => self.quantise(node),
            "DequantizeLinear" => self.dequantise(node),
            "DynamicQuantizeLinear" => Err(NotInteger::Dynamic(label(node))),
            op if op.starts_with('Q') => self.q_operator(node),
            "Concat" => self.join(node),
            op if MOVES.contains(&op) => self.move_value(node),
            "Relu" | "Clip" if self.waiting.contains_key(from) => {
                let before = self.waiting[from].clone();
                let bounds = before.bounds.then(self.bounds(node)?);
                self.waiting.insert(node.output[0].clone(), Waiting { bounds, ..before });
                Ok(())
            }
            op if COMPUTED.contains(&op) || TABLES.contains(&op) => {
                if !self.floats.contains_key(from) && !self.weights.contains_key(from) {
                    return Err(NotInteger::Float(from.into()));
                }
                self.waiting.insert(node.output[0].clone(), Waiting::new(Origin::Node(node.clone())));
                Ok(())
            }
            _ => Err(NotInteger::Operator(label(node))),
        }
    }

    fn quantise(&mut self, node: &NodeProto) -> Result<(), NotInteger> {
        let (from, to) = (input(node, 0), node.output[0].clone());
        let (scale, zero) = self.one_scale(input(node, 1), input(node, 2), &label(node))?;
        let target = Target::new(scale, zero);
        let done = if let Some(waiting) = self.waiting.get(from).cloned() {
            self.finish(&waiting, target)?
        } else {
            self.rescale(&self.dequantised(from)?, &target)?
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
        self.weights.insert(to, Weights { axis: number(node, "axis", 1), ..weights });
        Ok(())
    }

    /// What a float was dequantised from.
    fn dequantised(&self, name: &str) -> Result<Quantised, NotInteger> {
        self.floats.get(name).cloned().ok_or_else(|| NotInteger::Float(name.into()))
    }

    /// The integer form of a value that is now quantised as `target` says.
    fn finish(&mut self, waiting: &Waiting, target: Target) -> Result<Quantised, NotInteger> {
        let free = target;
        let target = free.between(waiting.bounds);
        let done = match &waiting.origin {
            Origin::Input(name) => {
                let input = self.quantised_input(name, &free);
                self.rescale(&input, &target)?
            }
            Origin::Node(node) => self.computed(node, &target)?,
        };
        waiting.moves.iter().try_fold(done, |value, node| self.move_elements(node, &value))
    }

    fn quantised_input(&mut self, name: &str, target: &Target) -> Quantised {
        let (scale, zero) = (target.scale, target.zero);
        let by = [self.emit.constant(&Tensor::scalar(scale as f32)), self.emit.constant(&Tensor::scalar(zero))];
        let name = self.emit.node("QuantizeLinear", &[name, &by[0], &by[1]], vec![]);
        Quantised { name, scale, zero }
    }

    fn computed(&mut self, node: &NodeProto, target: &Target) -> Result<Quantised, NotInteger> {
        let what = label(node);
        let weights = |index: usize, weights: &HashMap<String, Weights>| {
            weights.get(input(node, index)).cloned().ok_or_else(|| NotInteger::Float(input(node, index).into()))
        };
        let name = match operator(node) {
            op @ ("MatMul" | "Gemm" | "Conv") => {
                let (x, w) = (self.dequantised(input(node, 0))?, weights(1, &self.weights)?);
                let bias = if input(node, 2).is_empty() { None } else { Some(weights(2, &self.weights)?) };
                let (w, attributes) = if op == "Gemm" { gemm(node, w)? } else { (w, node.attribute.clone()) };
                self.product(op == "Conv", &x, &w, bias.as_ref(), attributes, target, &what)?
            }
            op @ ("Add" | "Mul") => {
                let operands = [self.operand(input(node, 0))?, self.operand(input(node, 1))?];
                if op == "Add" { self.sum(&operands, target, &what)? } else { self.scaled(&operands, target, &what)? }
            }
            "Concat" => {
                let parts = node.input.iter().map(|name| self.operand(name)).collect::<Result<Vec<_>, _>>()?;
                self.concat(node, &parts, target)?
            }
            "AveragePool" | "GlobalAveragePool" | "ReduceMean" => {
                let x = self.dequantised(input(node, 0))?;
                self.mean(node, &x, target)?
            }
            _ => {
                let x = self.dequantised(input(node, 0))?;
                let entries = self.entries(node, &x, target)?;
                self.tables += 1;
                self.emit.table(&x.name, entries)
            }
        };
        Ok(Quantised { name, scale: target.scale, zero: target.zero })
    }

    /// Writes an output; the size of its step.
    fn output(&mut self, name: &str) -> Result<f64, NotInteger> {
        let Some(Quantised { name: from, scale, zero }) = self.floats.get(name).cloned() else {
            return Err(NotInteger::Float(format!("output {name}")));
        };
        let by = [self.emit.constant(&Tensor::scalar(scale as f32)), self.emit.constant(&Tensor::scalar(zero))];
        self.emit.named("DequantizeLinear", &[&from, &by[0], &by[1]], vec![], name);
        Ok(scale)
    }
}
