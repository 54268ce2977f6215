//! What a graph becomes when it is published: the same answers, and nothing that has no part in them.
//!
//! - Texts for people (documentation, metadata, who exported it) go: they would change the model's id and nothing else.
//! - `ZipMap` at an output gives way to the matrix that it takes: a contract has no use for a map of each row.
//! - Nodes whose inputs are constant are computed once, by the exact engine, so that every engine starts from the same bytes.
//!   Dequantised weights stay as they are: they are what makes a model an integer model.
//! - What no output needs is left out.
//!
//! Rewriting a rewritten graph changes nothing.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use bytes::Bytes;
use prost::Message;

use crate::{
    Isa, Limits, LoadError, Tensor,
    exact::{opsets, value_type},
    graph::{self, Context, Opsets},
    onnx::{
        self,
        error::invalid,
        proto::{
            DimensionProto, DimensionValue, GraphProto, NodeProto, TensorProto, TensorShapeProto, TensorTypeProto,
            TypeProto, TypeValue, ValueInfoProto,
        },
        tensors::Constants,
    },
    tensor::Data,
};

/// Bytes that a folded constant may have even where it is longer than what it is made from.
const GROWTH_BYTES_MAX: u64 = 64 << 10;

/// A graph as it is published, and what was done to it.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The file.
    pub graph: Bytes,
    /// Nodes that are left.
    pub nodes: usize,
    /// Nodes that were computed.
    pub folded: usize,
    /// Nodes that no output needed.
    pub unused: usize,
    /// Maps of rows that became matrices.
    pub maps: usize,
}

/// Rewrites a graph. `folder` is where its weights lie if they lie in other files; those are not touched.
pub fn rewrite(file: &Bytes, folder: Option<&Path>, limits: &Limits) -> Result<Rewritten, LoadError> {
    let mut model = onnx::decode(file.clone(), limits)?;
    let opsets = opsets(&model);
    model.producer_name = None;
    model.producer_version = None;
    model.domain = None;
    model.model_version = None;
    model.doc_string = None;
    model.metadata_props.clear();
    let graph = model.graph.as_mut().ok_or_else(|| invalid("the file holds no graph"))?;
    forget_texts(graph);
    let constants: HashSet<String> = graph.initializer.iter().filter_map(|tensor| tensor.name.clone()).collect();
    graph.input.retain(|input| !constants.contains(input.name.as_deref().unwrap_or_default()));
    let maps = unzip(graph);
    let folded = if model.functions.is_empty() { fold(graph, &opsets, folder, limits)? } else { 0 };
    let before = graph.node.len();
    prune(graph);
    let nodes = graph.node.len();
    Ok(Rewritten { graph: model.encode_to_vec().into(), nodes, folded, unused: before - nodes, maps })
}

fn forget_texts(graph: &mut GraphProto) {
    graph.doc_string = None;
    graph.initializer.iter_mut().for_each(|tensor| tensor.doc_string = None);
    let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    values.for_each(|value| value.doc_string = None);
    for node in &mut graph.node {
        node.doc_string = None;
        for attribute in &mut node.attribute {
            attribute.doc_string = None;
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(forget_texts);
        }
    }
}

/// Replaces `ZipMap` at outputs by what it takes; how many.
fn unzip(graph: &mut GraphProto) -> usize {
    let mut count = 0;
    for index in (0..graph.node.len()).rev() {
        let node = &graph.node[index];
        if node.op_type.as_deref() != Some("ZipMap") {
            continue;
        }
        let (Some(from), Some(to)) = (node.input.first().cloned(), node.output.first().cloned()) else { continue };
        let labels = |name: &str| {
            let found = node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name));
            found.map_or(0, |attribute| attribute.ints.len() + attribute.strings.len())
        };
        let classes = labels("classlabels_int64s") + labels("classlabels_strings");
        let made_here = graph.node.iter().any(|other| other.output.contains(&from));
        let Some(output) = graph.output.iter_mut().find(|output| output.name.as_ref() == Some(&to) && made_here) else {
            continue;
        };
        let Some((elem_type, _)) = value_type(output.r#type.as_ref()) else { continue };
        let dim = |value| DimensionProto { value: Some(value) };
        let rows = dim(DimensionValue::Param("N".into()));
        let columns = dim(DimensionValue::Value(classes as i64));
        let shape = Some(TensorShapeProto { dim: vec![rows, columns] });
        let tensor = TensorTypeProto { elem_type: Some(elem_type), shape };
        output.r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) });
        graph.node.remove(index);
        let rename = |name: &mut String| {
            if *name == from {
                name.clone_from(&to);
            }
        };
        graph.node.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)).for_each(rename);
        graph.value_info.retain(|value| value.name.as_ref() != Some(&from));
        count += 1;
    }
    count
}

/// Computes the nodes whose inputs are constant; how many.
fn fold(graph: &mut GraphProto, opsets: &Opsets, folder: Option<&Path>, limits: &Limits) -> Result<usize, LoadError> {
    let outputs: HashSet<&str> = graph.output.iter().filter_map(|output| output.name.as_deref()).collect();
    let inside = |tensor: &&TensorProto| tensor.external_data.is_empty();
    let named = |tensor: &TensorProto| Some((tensor.name.clone()?, tensor.clone()));
    let mut known: BTreeMap<String, TensorProto> = graph.initializer.iter().filter(inside).filter_map(named).collect();
    let (mut kept, mut made, mut folded) = (Vec::new(), Vec::new(), 0);
    for node in &graph.node {
        let constant = node.input.iter().all(|name| name.is_empty() || known.contains_key(name));
        let is_output = node.output.iter().any(|name| outputs.contains(name.as_str()));
        let values =
            if constant && !is_output && may_fold(node) { compute(node, &known, opsets, folder, limits) } else { None };
        let Some(values) = values else {
            kept.push(node.clone());
            continue;
        };
        for (name, tensor) in node.output.iter().zip(values).filter(|(name, _)| !name.is_empty()) {
            let proto = to_proto(name, &tensor);
            known.insert(name.clone(), proto.clone());
            made.push(proto);
        }
        folded += 1;
    }
    graph.node = kept;
    graph.initializer.extend(made);
    Ok(folded)
}

fn may_fold(node: &NodeProto) -> bool {
    let op = node.op_type.as_deref().unwrap_or_default();
    let nested = node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty());
    // Without inputs only `Constant` gives the same each time.
    !nested && op != "DequantizeLinear" && (op == "Constant" || node.input.iter().any(|name| !name.is_empty()))
}

/// The outputs of a node of constants; `None` where the exact engine has none, or they are long.
fn compute(
    node: &NodeProto,
    known: &BTreeMap<String, TensorProto>,
    opsets: &Opsets,
    folder: Option<&Path>,
    limits: &Limits,
) -> Option<Vec<Tensor>> {
    let inputs: Vec<TensorProto> = node.input.iter().filter_map(|name| known.get(name).cloned()).collect();
    let named = |name: &String| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
    let alone = GraphProto {
        node: vec![node.clone()],
        initializer: inputs,
        output: node.output.iter().filter(|name| !name.is_empty()).map(named).collect(),
        ..Default::default()
    };
    let mut constants = Constants::new(limits, folder);
    let read: u64 =
        alone.initializer.iter().map(|proto| constants.read(proto).map_or(0, |tensor| tensor.size_bytes())).sum();
    let plan = graph::compile(alone, opsets.clone(), Constants::new(limits, folder), Isa::best(), limits, None).ok()?;
    let values = plan.run(Vec::new(), &[], &Context::new(Isa::best(), limits)).ok()?;
    let made: u64 = values.iter().map(Tensor::size_bytes).sum();
    let is_constant = node.op_type.as_deref() == Some("Constant");
    (is_constant || made <= read.max(GROWTH_BYTES_MAX)).then_some(values)
}

/// A tensor as a constant of a graph.
pub(crate) fn to_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto {
        name: Some(name.into()),
        dims: tensor.shape().iter().map(|length| *length as i64).collect(),
        data_type: Some(tensor.element_type() as i32),
        ..Default::default()
    };
    macro_rules! raw {
        ($values:expr) => {
            $values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
        };
    }
    let raw = match tensor.data() {
        Data::F32(v) => raw!(v),
        Data::F64(v) => raw!(v),
        Data::F16(v) => raw!(v),
        Data::Bf16(v) => raw!(v),
        Data::U8(v) => v.to_vec(),
        Data::I8(v) => raw!(v),
        Data::U16(v) => raw!(v),
        Data::I16(v) => raw!(v),
        Data::U32(v) => raw!(v),
        Data::I32(v) => raw!(v),
        Data::U64(v) => raw!(v),
        Data::I64(v) => raw!(v),
        Data::Bool(v) => v.iter().map(|value| u8::from(*value)).collect(),
        Data::String(v) => {
            proto.string_data = v.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
            return proto;
        }
    };
    proto.raw_data = Some(raw.into());
    proto
}

/// Leaves out nodes and constants that no output needs.
fn prune(graph: &mut GraphProto) {
    let mut needed: HashSet<String> = graph.output.iter().filter_map(|output| output.name.clone()).collect();
    let mut kept = Vec::with_capacity(graph.node.len());
    while let Some(node) = graph.node.pop() {
        if node.output.iter().any(|name| needed.contains(name)) {
            needs(&node, &mut needed);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    let is_needed = |name: &Option<String>| name.as_ref().is_some_and(|name| needed.contains(name));
    graph.initializer.retain(|tensor| is_needed(&tensor.name));
    let made: HashSet<String> = graph.node.iter().flat_map(|node| node.output.clone()).collect();
    graph.value_info.retain(|value| value.name.as_ref().is_some_and(|name| made.contains(name)));
}

/// All names that a node may take, its subgraphs' included; too many do no harm.
fn needs(node: &NodeProto, names: &mut HashSet<String>) {
    names.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
    for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        graph.node.iter().for_each(|node| needs(node, names));
        names.extend(graph.output.iter().filter_map(|output| output.name.clone()));
    }
}

#[cfg(test)]
mod tests;
