//! Lengths of axes, which a mean must know: by running what was written so far on zeros. Products are cut to one term for
//! that, since their shapes do not depend on how many they add.

use std::collections::{HashMap, HashSet};

use super::{Converter, input, operator};
use crate::{
    ElementType, Isa, Tensor,
    exact::specs,
    graph::{self, Context},
    integer::NotInteger,
    onnx::{
        proto::{GraphProto, NodeProto, ValueInfoProto},
        tensors::Constants,
    },
    rewrite::to_proto,
};

/// Rows that are tried: a length that differs between them depends on the batch.
const BATCHES: [usize; 2] = [1, 2];

/// The shapes found so far.
#[derive(Default)]
pub(super) struct Shapes {
    /// Nodes that were run.
    done: usize,
    /// For each batch tried.
    known: [HashMap<String, Vec<usize>>; BATCHES.len()],
}

impl Converter<'_> {
    /// The lengths of an `int8` value's axes, `None` for those that depend on the batch. What declares shapes inside a model
    /// is not asked, since it may be wrong.
    pub(super) fn lengths(&mut self, name: &str, what: &str) -> Result<Vec<Option<usize>>, NotInteger> {
        for at in 0..BATCHES.len() {
            self.find_shapes(at, what)?;
        }
        self.shapes.done = self.emit.nodes.len();
        let [one, two] = &self.shapes.known;
        let (Some(one), Some(two)) = (one.get(name), two.get(name)) else {
            return Err(NotInteger::Float(name.into()));
        };
        Ok(one.iter().zip(two).map(|(a, b)| (a == b).then_some(*a)).collect())
    }

    /// Runs the nodes that were not run before. Of these, later nodes take only what stands for quantised values.
    fn find_shapes(&mut self, at: usize, what: &str) -> Result<(), NotInteger> {
        let nodes = self.emit.nodes[self.shapes.done..].to_vec();
        let made: HashSet<&String> = nodes.iter().flat_map(|node| &node.output).collect();
        let values = self.quantised.values().chain(self.floats.values()).map(|value| &value.name);
        let mut wanted: Vec<&String> = values.filter(|name| made.contains(name)).collect();
        wanted.sort();
        wanted.dedup();

        let mut given = self.inputs(BATCHES[at], what)?;
        let shapes = &self.shapes.known[at];
        for name in nodes.iter().flat_map(|node| &node.input) {
            if let Some(shape) = shapes.get(name) {
                given.insert(name.clone(), zeros(ElementType::I8, shape, what)?);
            }
        }
        let places = [("shapes_0", 0i64), ("shapes_1", 1), ("shapes_-2", -2), ("shapes_-1", -1)];
        let places = places.map(|(name, value)| to_proto(name, &Tensor::vector(vec![value])));
        let initializer = self.emit.constants.iter().cloned().chain(places).collect();
        let named = |name: &String| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
        let (names, tensors): (Vec<String>, Vec<Tensor>) = given.into_iter().unzip();
        let graph = GraphProto {
            input: names.iter().map(named).collect(),
            output: wanted.iter().copied().map(named).collect(),
            initializer,
            node: nodes.iter().flat_map(cut).collect(),
            ..Default::default()
        };
        let constants = Constants::new(&self.limits, None);
        let plan = graph::compile(graph, self.opsets.clone(), constants, Isa::best(), &self.limits, None)?;
        let ran = plan.run(tensors, &[], &Context::new(Isa::best(), &self.limits));
        let ran = ran.map_err(|failure| NotInteger::Shape(what.into(), failure))?;
        let found = wanted.into_iter().zip(ran).map(|(name, tensor)| (name.clone(), tensor.shape().to_vec()));
        self.shapes.known[at].extend(found.collect::<Vec<_>>());
        Ok(())
    }

    /// Zeros for the model's inputs, with the given batch where it is free.
    fn inputs(&self, batch: usize, what: &str) -> Result<HashMap<String, Tensor>, NotInteger> {
        let free = || {
            let words = "it needs the lengths of axes: give the model's inputs fixed sizes, all but that of the batch";
            NotInteger::Form(what.into(), words)
        };
        let (inputs, _) = specs(self.source)?;
        let made = inputs.into_iter().map(|input| {
            let dims = input.dims.ok_or_else(free)?;
            let length = |(axis, length): (usize, &Option<usize>)| length.or((axis == 0).then_some(batch));
            let shape: Option<Vec<usize>> = dims.iter().enumerate().map(length).collect();
            Ok((input.name, zeros(input.element_type, &shape.ok_or_else(free)?, what)?))
        });
        made.collect()
    }
}

/// A product with one term instead of many, and any other node as it is.
fn cut(node: &NodeProto) -> Vec<NodeProto> {
    let (x_axis, w_axis) = match operator(node) {
        "ConvInteger" => ("shapes_1", "shapes_1"),
        "MatMulInteger" => ("shapes_-1", "shapes_-2"),
        _ => return vec![node.clone()],
    };
    let first = |index: usize, axis: &str| {
        let name = format!("{}_cut_{index}", node.output[0]);
        NodeProto::new("", "Slice", &[input(node, index), "shapes_0", "shapes_1", axis], &name)
    };
    let (x, w) = (first(0, x_axis), first(1, w_axis));
    let mut product = node.clone();
    product.attribute.retain(|attribute| attribute.name.as_deref() != Some("group"));
    product.input[0].clone_from(&x.output[0]);
    product.input[1].clone_from(&w.output[0]);
    vec![x, w, product]
}

fn zeros(kind: ElementType, shape: &[usize], what: &str) -> Result<Tensor, NotInteger> {
    Tensor::zeros(kind, shape).map_err(|failure| NotInteger::Shape(what.into(), failure))
}
