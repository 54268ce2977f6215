//! What no engine is given: graphs that read files which their manifest does not list, that answer at random, or that
//! bring operators of their own making.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
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

/// Refuses what no engine must be given. The names of the files, among `files`, that hold weights.
pub(crate) fn check(file: &Bytes, files: &Files) -> Result<BTreeSet<String>, Refused> {
    let limits = Limits::default();
    let model = onnx::decode(file.clone(), &limits).map_err(|error| Refused(error.to_string()))?;
    let graph =
        model.graph.as_ref().ok_or_else(|| Refused("the file holds no graph; export the model again".into()))?;
    let functions: Vec<&str> = model.functions.iter().filter_map(|function| function.domain.as_deref()).collect();
    let mut screen = Screen { functions, files, depth_max: limits.depth_max, weights: BTreeSet::new() };
    screen.graph(graph, 0)?;
    model.functions.iter().flat_map(|function| &function.node).try_for_each(|node| screen.node(node, 0))?;
    Ok(screen.weights)
}

struct Screen<'a> {
    /// Domains of functions that the model defines by other operators.
    functions: Vec<&'a str>,
    files: &'a Files,
    depth_max: usize,
    /// Files that hold weights.
    weights: BTreeSet<String>,
}

impl Screen<'_> {
    fn graph(&mut self, graph: &GraphProto, depth: usize) -> Result<(), Refused> {
        if depth > self.depth_max {
            return Err(Refused(format!("graphs are nested deeper than {}", self.depth_max)));
        }
        graph.initializer.iter().try_for_each(|tensor| self.constant(tensor))?;
        graph.sparse_initializer.iter().try_for_each(|tensor| self.sparse_constant(tensor))?;
        graph.node.iter().try_for_each(|node| self.node(node, depth))
    }

    fn node(&mut self, node: &NodeProto, depth: usize) -> Result<(), Refused> {
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
        node.attribute.iter().try_for_each(|attribute| self.attribute(attribute, depth + 1))
    }

    fn attribute(&mut self, attribute: &AttributeProto, depth: usize) -> Result<(), Refused> {
        attribute.t.iter().chain(&attribute.tensors).try_for_each(|tensor| self.constant(tensor))?;
        attribute.sparse_tensor.iter().try_for_each(|tensor| self.sparse_constant(tensor))?;
        attribute.g.iter().chain(&attribute.graphs).try_for_each(|graph| self.graph(graph, depth))
    }

    fn sparse_constant(&mut self, tensor: &SparseTensorProto) -> Result<(), Refused> {
        tensor.values.iter().chain(&tensor.indices).try_for_each(|tensor| self.constant(tensor))
    }

    fn constant(&mut self, tensor: &TensorProto) -> Result<(), Refused> {
        if tensor.data_location != Some(EXTERNAL) && tensor.external_data.is_empty() {
            return Ok(());
        }
        let location = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some("location"));
        let location = location.and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        if self.files.contains_key(location) {
            self.weights.insert(location.into());
            return Ok(());
        }
        let name = tensor.name.as_deref().unwrap_or_default();
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
}
