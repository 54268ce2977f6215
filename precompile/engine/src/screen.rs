//! What no engine is given: graphs that read files which their manifest does not list, that answer at random, or that
//! bring operators of their own making,
//! loop as long as they like, or claim absurd sizes.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;

use crate::{
    ElementType,
    graph::refusal,
    model_dir::Files,
    onnx::{
        self, Limits,
        proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto},
    },
};

/// Operator sets that ONNX Runtime brings itself.
const DOMAINS: [&str; 5] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"];
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// A graph that is refused, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// Operators whose outputs are as constant as their inputs are: what computes the length of a loop from shapes.
const SHAPE_OPERATORS: [&str; 20] = [
    "Add",
    "Cast",
    "Concat",
    "Constant",
    "Div",
    "Gather",
    "Identity",
    "Max",
    "Min",
    "Mul",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Reshape",
    "Slice",
    "Squeeze",
    "Sub",
    "Unsqueeze",
    "Mod",
];

/// Refuses what no engine must be given. The names of the files, among `files`, that hold weights.
pub(crate) fn check(file: &Bytes, files: &Files) -> Result<BTreeSet<String>, Refused> {
    let limits = Limits::default();
    let model = onnx::decode(file.clone(), &limits).map_err(|error| Refused(error.to_string()))?;
    let graph =
        model.graph.as_ref().ok_or_else(|| Refused("the file holds no graph; export the model again".into()))?;
    let functions: Vec<&str> = model.functions.iter().filter_map(|function| function.domain.as_deref()).collect();
    let mut screen =
        Screen { functions, files, limits, fixed: Vec::new(), nodes: 0, bytes: 0, weights: BTreeSet::new() };
    screen.graph(graph, 0)?;
    for function in &model.functions {
        screen.fixed.push(HashSet::new());
        function.node.iter().try_for_each(|node| screen.node(node, 0))?;
        screen.fixed.pop();
    }
    Ok(screen.weights)
}

struct Screen<'a> {
    /// Domains of functions that the model defines by other operators.
    functions: Vec<&'a str>,
    files: &'a Files,
    limits: Limits,
    /// Names, for each graph around, whose values follow from shapes and constants alone.
    fixed: Vec<HashSet<String>>,
    nodes: usize,
    /// Bytes of constants so far.
    bytes: u64,
    /// Files that hold weights.
    weights: BTreeSet<String>,
}

impl Screen<'_> {
    fn graph(&mut self, graph: &GraphProto, depth: usize) -> Result<(), Refused> {
        if depth > self.limits.depth_max {
            return Err(Refused(format!("graphs are nested deeper than {}", self.limits.depth_max)));
        }
        self.fixed.push(graph.initializer.iter().filter_map(|tensor| tensor.name.clone()).collect());
        graph.initializer.iter().try_for_each(|tensor| self.constant(tensor))?;
        graph.sparse_initializer.iter().try_for_each(|tensor| self.sparse_constant(tensor))?;
        graph.node.iter().try_for_each(|node| self.node(node, depth))?;
        self.fixed.pop();
        Ok(())
    }

    fn node(&mut self, node: &NodeProto, depth: usize) -> Result<(), Refused> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes_max {
            return Err(Refused(format!("the graph has more than {} nodes", self.limits.nodes_max)));
        }
        let (op, domain) = (node.op_type.as_deref().unwrap_or_default(), node.domain.as_deref().unwrap_or_default());
        if !DOMAINS.contains(&domain) && !self.functions.contains(&domain) {
            return Err(Refused(format!(
                "operator {domain}.{op} is a custom operator, which no other node has; export the model with ONNX operators"
            )));
        }
        let canonical = if domain == "ai.onnx" { "" } else { domain };
        if let Some(reason) = refusal(canonical, op) {
            return Err(Refused(format!("operator {op} is refused: {reason}")));
        }
        if canonical.is_empty() && op == "Loop" && !self.is_fixed(node.input.first()) {
            return Err(Refused(
                "a Loop is refused whose number of iterations depends on values: nobody could say what a run costs; give \
                 it a constant trip count, and leave early by its condition"
                    .into(),
            ));
        }
        self.note_fixed(canonical, op, node);
        node.attribute.iter().try_for_each(|attribute| self.attribute(attribute, depth + 1))
    }

    fn is_fixed(&self, name: Option<&String>) -> bool {
        name.is_some_and(|name| !name.is_empty() && self.fixed.iter().any(|names| names.contains(name)))
    }

    fn note_fixed(&mut self, domain: &str, op: &str, node: &NodeProto) {
        let from_shapes = ["Shape", "Size"].contains(&op);
        let from_fixed =
            || SHAPE_OPERATORS.contains(&op) && node.input.iter().all(|n| n.is_empty() || self.is_fixed(Some(n)));
        if domain.is_empty() && (from_shapes || from_fixed()) {
            self.fixed.last_mut().expect("a graph is being read").extend(node.output.iter().cloned());
        }
    }

    fn attribute(&mut self, attribute: &AttributeProto, depth: usize) -> Result<(), Refused> {
        attribute.t.iter().chain(&attribute.tensors).try_for_each(|tensor| self.constant(tensor))?;
        attribute.sparse_tensor.iter().try_for_each(|tensor| self.sparse_constant(tensor))?;
        attribute.g.iter().chain(&attribute.graphs).try_for_each(|graph| self.graph(graph, depth))
    }

    fn sparse_constant(&mut self, tensor: &SparseTensorProto) -> Result<(), Refused> {
        tensor.values.iter().chain(&tensor.indices).try_for_each(|tensor| self.constant(tensor))
    }

    /// What a constant claims to be is what an engine makes room for, whatever the file holds.
    fn count(&mut self, tensor: &TensorProto, name: &str) -> Result<(), Refused> {
        let width = ElementType::from_onnx(tensor.data_type.unwrap_or(0)).map_or(1, ElementType::size_bytes) as u64;
        let length = |bytes: u64, dim: &i64| bytes.checked_mul(u64::try_from(*dim).ok()?);
        let bytes = tensor.dims.iter().try_fold(width, length);
        let total = bytes.and_then(|bytes| self.bytes.checked_add(bytes));
        let max = self.limits.weights_bytes_max;
        self.bytes = total.filter(|total| *total <= max).ok_or_else(|| {
            Refused(format!(
                "the constant {name} of shape {:?} is absurd: a model has at most {max} bytes of constants",
                tensor.dims
            ))
        })?;
        Ok(())
    }

    fn constant(&mut self, tensor: &TensorProto) -> Result<(), Refused> {
        let name = tensor.name.as_deref().unwrap_or_default();
        self.count(tensor, name)?;
        if tensor.data_location != Some(EXTERNAL) && tensor.external_data.is_empty() {
            return Ok(());
        }
        let location = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some("location"));
        let location = location.and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        if self.files.contains_key(location) {
            self.weights.insert(location.into());
            return Ok(());
        }
        Err(Refused(format!(
            "the weights {name} lie in {location:?}, which is no file of the model; add it with the model or keep the \
             weights inside"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{ModelProto, StringStringEntryProto};
    use prost::Message;

    fn node(domain: &str, op: &str, attribute: Vec<AttributeProto>) -> NodeProto {
        NodeProto { domain: Some(domain.into()), op_type: Some(op.into()), attribute, ..Default::default() }
    }

    fn graph(node: NodeProto) -> GraphProto {
        GraphProto { node: vec![node], ..Default::default() }
    }

    fn model(graph: GraphProto) -> Bytes {
        ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec().into()
    }

    #[test]
    fn hostile_graphs_are_refused_with_words() {
        let location = StringStringEntryProto { key: Some("location".into()), value: Some("../../etc/passwd".into()) };
        let external =
            TensorProto { data_location: Some(EXTERNAL), external_data: vec![location], ..Default::default() };
        let sized = |dims: &[i64]| TensorProto { data_type: Some(1), dims: dims.to_vec(), ..Default::default() };
        let (absurd, negative) = (sized(&[1 << 40, 1 << 40]), sized(&[-1]));
        let inside = |graph| AttributeProto { g: Some(graph), ..Default::default() };
        let constant = AttributeProto { t: Some(external.clone()), ..Default::default() };
        let weights = GraphProto { initializer: vec![external], ..Default::default() };
        let mut deep = graph(node("", "Relu", vec![]));
        for _ in 0..20 {
            deep = graph(node("", "If", vec![inside(deep)]));
        }
        for (name, graph, words) in [
            ("external weights", weights, "which is no file of the model"),
            (
                "external constant in a branch",
                graph(node("", "If", vec![inside(graph(node("", "Constant", vec![constant])))])),
                "which is no file of the model",
            ),
            ("custom operator", graph(node("evil.corp", "Run", vec![])), "custom operator"),
            ("random", graph(node("ai.onnx", "RandomNormal", vec![])), "RandomNormal is refused"),
            ("deep", deep, "nested deeper"),
            ("absurd constant", GraphProto { initializer: vec![absurd], ..Default::default() }, "is absurd"),
            ("negative constant", GraphProto { initializer: vec![negative], ..Default::default() }, "is absurd"),
            ("loop over a value", graph(node("", "Loop", vec![])), "depends on values"),
        ] {
            let error = check(&model(graph), &Files::new()).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
        assert!(check(&Bytes::from_static(b"no model"), &Files::new()).is_err());
        assert!(check(&model(graph(node("com.microsoft", "Gelu", vec![]))), &Files::new()).is_ok());
    }

    #[test]
    fn weights_in_files_of_the_model_are_named() {
        let location = StringStringEntryProto { key: Some("location".into()), value: Some("weights.bin".into()) };
        let external =
            TensorProto { data_location: Some(EXTERNAL), external_data: vec![location], ..Default::default() };
        let graph = model(GraphProto { initializer: vec![external], ..Default::default() });
        let files = [("weights.bin".to_string(), Bytes::new()), ("other".into(), Bytes::new())].into();
        assert_eq!(check(&graph, &files).unwrap(), BTreeSet::from(["weights.bin".to_string()]));
        assert!(check(&graph, &Files::new()).is_err());
    }

    #[test]
    fn a_loop_may_count_constants_and_lengths_but_no_values() {
        let step = |op: &str, input: &[&str], output: &str| NodeProto::new("", op, input, output);
        let one = TensorProto { name: Some("one".into()), data_type: Some(7), ..Default::default() };
        let with = |nodes| model(GraphProto { node: nodes, initializer: vec![one.clone()], ..Default::default() });
        let length = [step("Shape", &["x"], "s"), step("Gather", &["s", "one"], "n")];
        for (name, nodes, allowed) in [
            ("a constant", vec![step("Loop", &["one", ""], "y")], true),
            ("a length", [&length[..], &[step("Loop", &["n", ""], "y")]].concat(), true),
            ("a value", vec![step("Cast", &["x"], "n"), step("Loop", &["n", ""], "y")], false),
            ("no count", vec![step("Loop", &["", "go"], "y")], false),
        ] {
            assert_eq!(check(&with(nodes), &Files::new()).is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn more_nodes_than_any_model_has_are_refused() {
        let many = GraphProto { node: vec![node("", "Relu", vec![]); 100_001], ..Default::default() };
        assert!(check(&model(many), &Files::new()).unwrap_err().to_string().contains("100000 nodes"));
    }
}
