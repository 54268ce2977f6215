//! What is refused before native code sees a graph: reading files, random answers, operators of its own making.

use bytes::Bytes;

use super::OrtError;
use crate::{
    graph::refusal,
    onnx::{
        self, Limits,
        proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto},
    },
};

/// Operator sets that ONNX Runtime brings itself.
const DOMAINS: [&str; 5] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"];
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// Refuses what a worker must not be given.
pub(super) fn check(file: &Bytes) -> Result<(), OrtError> {
    let refused = |reason: String| OrtError::Refused(reason);
    let limits = Limits::default();
    let model = onnx::decode(file.clone(), &limits).map_err(|error| refused(error.to_string()))?;
    let graph =
        model.graph.as_ref().ok_or_else(|| refused("the file holds no graph; export the model again".into()))?;
    let functions: Vec<&str> = model.functions.iter().filter_map(|function| function.domain.as_deref()).collect();
    let screen = Screen { functions, depth_max: limits.depth_max };
    screen.graph(graph, 0)?;
    model.functions.iter().flat_map(|function| &function.node).try_for_each(|node| screen.node(node, 0))
}

struct Screen<'a> {
    /// Domains of functions that the model defines by other operators.
    functions: Vec<&'a str>,
    depth_max: usize,
}

impl Screen<'_> {
    fn graph(&self, graph: &GraphProto, depth: usize) -> Result<(), OrtError> {
        if depth > self.depth_max {
            return Err(OrtError::Refused(format!("graphs are nested deeper than {}", self.depth_max)));
        }
        graph.initializer.iter().try_for_each(constant)?;
        graph.sparse_initializer.iter().try_for_each(sparse_constant)?;
        graph.node.iter().try_for_each(|node| self.node(node, depth))
    }

    fn node(&self, node: &NodeProto, depth: usize) -> Result<(), OrtError> {
        let (op, domain) = (node.op_type.as_deref().unwrap_or_default(), node.domain.as_deref().unwrap_or_default());
        if !DOMAINS.contains(&domain) && !self.functions.contains(&domain) {
            return Err(OrtError::Refused(format!(
                "operator {domain}.{op} is a custom operator, which no other node has; export the model with ONNX operators"
            )));
        }
        let canonical = if domain == "ai.onnx" { "" } else { domain };
        if let Some(reason) = refusal(canonical, op) {
            return Err(OrtError::Refused(format!("operator {op} is refused: {reason}")));
        }
        node.attribute.iter().try_for_each(|attribute| self.attribute(attribute, depth + 1))
    }

    fn attribute(&self, attribute: &AttributeProto, depth: usize) -> Result<(), OrtError> {
        attribute.t.iter().chain(&attribute.tensors).try_for_each(constant)?;
        attribute.sparse_tensor.iter().try_for_each(sparse_constant)?;
        attribute.g.iter().chain(&attribute.graphs).try_for_each(|graph| self.graph(graph, depth))
    }
}

fn sparse_constant(tensor: &SparseTensorProto) -> Result<(), OrtError> {
    tensor.values.iter().chain(&tensor.indices).try_for_each(constant)
}

fn constant(tensor: &TensorProto) -> Result<(), OrtError> {
    if tensor.data_location != Some(EXTERNAL) && tensor.external_data.is_empty() {
        return Ok(());
    }
    let name = tensor.name.as_deref().unwrap_or_default();
    let reason =
        format!("the weights {name} lie in another file, which the model's hash does not cover; keep them inside");
    Err(OrtError::Refused(reason))
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
            ("external weights", weights, "lie in another file"),
            (
                "external constant in a branch",
                graph(node("", "If", vec![inside(graph(node("", "Constant", vec![constant])))])),
                "lie in another file",
            ),
            ("custom operator", graph(node("evil.corp", "Run", vec![])), "custom operator"),
            ("random", graph(node("ai.onnx", "RandomNormal", vec![])), "RandomNormal is refused"),
            ("deep", deep, "nested deeper"),
        ] {
            let error = check(&model(graph)).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
        assert!(check(&Bytes::from_static(b"no model")).is_err());
        assert!(check(&model(graph(node("com.microsoft", "Gelu", vec![])))).is_ok());
    }
}
