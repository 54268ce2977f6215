//! What a run costs where the exact engine cannot count: from the shapes of all values, as ONNX Runtime finds them.
//!
//! Multiply-adds by operator: matrix products and convolutions as the exact engine counts them, recurrent layers by the
//! elements of their weights for each step; whatever else counts one for each element of its outputs. Bytes are those
//! of all inputs and outputs of all nodes.

use std::collections::HashMap;

use bytes::Bytes;
use foreblock_precompile::abi;
use prost::Message;

use super::{CertifyError, CertifyOptions};
use crate::{
    Limits, Tensor,
    exact::ValueSpec,
    onnx::{self, proto::NodeProto, proto::ValueInfoProto},
    ort::{Optimization, OrtConfig, OrtModel, RunError},
    publish::{self, PublishError, largest_shape},
};

struct Value {
    shape: Vec<u64>,
    bytes: u64,
}

impl Value {
    fn len(&self) -> u64 {
        self.shape.iter().product()
    }

    fn last(&self) -> u64 {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// The cost of a run on zeros of the largest shapes.
pub(super) fn cost(graph: &Bytes, inputs: &[ValueSpec], options: &CertifyOptions) -> Result<abi::Cost, CertifyError> {
    let mut model = onnx::decode(graph.clone(), &Limits::default()).map_err(PublishError::from)?;
    let proto = model.graph.as_mut().expect("a graph was read from it before");
    let declared = proto.output.len();
    let is_output = |name: &String| proto.output.iter().any(|output| output.name.as_ref() == Some(name));
    let made = proto.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty() && !is_output(name));
    let names: Vec<String> = made.cloned().collect();
    let named = |name: &String| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
    proto.output.extend(names.iter().map(named));
    let nodes = proto.node.clone();
    let mut values = constants(proto);
    let output_names: Vec<String> = proto.output.iter().filter_map(|output| output.name.clone()).collect();

    let config = OrtConfig { optimization: Optimization::Disabled, ..options.ort.clone() };
    let failed = |error: String| CertifyError::Reference(format!("the cost of a run is unknown: {error}"));
    let all: Bytes = model.encode_to_vec().into();
    let ort = OrtModel::start(&all, &options.publish.others, 1, &config).map_err(|error| failed(error.to_string()))?;
    let specs = publish::specs(inputs)?;
    let zeros = inputs
        .iter()
        .zip(&specs)
        .map(|(input, spec)| Tensor::zeros(input.element_type, &largest_shape(spec, &options.publish)));
    let zeros: Vec<Tensor> = zeros.collect::<Result<_, _>>().map_err(PublishError::Run)?;
    values.extend(inputs.iter().zip(&zeros).map(|(input, tensor)| (input.name.clone(), value(tensor))));
    let outputs = ort.run(zeros.clone()).map_err(|error| match error {
        RunError::Failed(failure) => CertifyError::Publish(PublishError::Run(failure)),
        RunError::Broke(error) => failed(error.to_string()),
    })?;
    values.extend(output_names.into_iter().zip(outputs.iter().map(value)));
    let (multiply_adds, bytes) = nodes
        .iter()
        .map(|node| node_cost(node, &values))
        .fold((0, 0), |(a, b), (c, d)| (u64::saturating_add(a, c), u64::saturating_add(b, d)));
    let size = |tensors: &[Tensor]| publish::size(tensors.iter().map(|tensor| (tensor.element_type(), tensor.shape())));
    Ok(abi::Cost {
        multiplyAdds: multiply_adds,
        bytesMoved: bytes,
        maxInputBytes: publish::limit("input", size(&zeros))?,
        maxOutputBytes: publish::limit("output", size(&outputs[..declared]))?,
    })
}

fn constants(graph: &onnx::proto::GraphProto) -> HashMap<String, Value> {
    let constant = |tensor: &onnx::proto::TensorProto| {
        let shape: Vec<u64> = tensor.dims.iter().map(|dim| *dim as u64).collect();
        let kind = crate::ElementType::from_onnx(tensor.data_type.unwrap_or(0));
        let width = kind.map_or(1, crate::ElementType::size_bytes) as u64;
        let bytes = shape.iter().product::<u64>().saturating_mul(width);
        Some((tensor.name.clone()?, Value { shape, bytes }))
    };
    graph.initializer.iter().filter_map(constant).collect()
}

fn value(tensor: &Tensor) -> Value {
    Value { shape: tensor.shape().iter().map(|length| *length as u64).collect(), bytes: tensor.size_bytes() }
}

/// Multiply-adds and bytes of a node.
fn node_cost(node: &NodeProto, values: &HashMap<String, Value>) -> (u64, u64) {
    let input = |index: usize| node.input.get(index).and_then(|name| values.get(name));
    let all = node.input.iter().chain(&node.output).filter_map(|name| values.get(name));
    let bytes = all.map(|value| value.bytes).fold(0, u64::saturating_add);
    let made: u64 = node.output.iter().filter_map(|name| values.get(name)).map(Value::len).sum();
    let first = node.output.first().and_then(|name| values.get(name)).map_or(0, Value::len);
    let product = |a: u64, b: u64| a.saturating_mul(b);
    let counted = match (node.op_type.as_deref().unwrap_or_default(), input(0), input(1)) {
        ("MatMul" | "MatMulInteger" | "FusedMatMul" | "Gemm" | "FusedGemm", Some(x), Some(w)) => {
            // Either operand may be transposed: k is what both and the output leave.
            let k = x.len().saturating_mul(w.len()).checked_div(first).unwrap_or(0).isqrt();
            product(first, k.max(if first > 0 { 1 } else { 0 }).min(x.len()))
        }
        ("QLinearMatMul", Some(x), _) => product(first, x.last()),
        ("Conv" | "FusedConv" | "ConvInteger", _, Some(w)) => per_channel(first, w, 0),
        ("QLinearConv", _, _) => input(3).map_or(0, |w| per_channel(first, w, 0)),
        ("ConvTranspose", Some(x), Some(w)) => per_channel(x.len(), w, 0),
        ("LSTM" | "GRU" | "RNN", Some(x), Some(w)) => {
            let weights = w.len() + input(2).map_or(0, Value::len);
            product(weights, x.len().checked_div(x.last().max(1)).unwrap_or(0))
        }
        _ => made,
    };
    (counted, bytes)
}

/// Multiply-adds of a convolution: for each of `places` the weights of one channel.
fn per_channel(places: u64, weights: &Value, axis: usize) -> u64 {
    places.saturating_mul(weights.len().checked_div(weights.shape.get(axis).copied().unwrap_or(1).max(1)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op: &str) -> NodeProto {
        NodeProto::new("", op, &["x", "w"], "y")
    }

    #[test]
    fn each_kind_of_operator_is_counted() {
        for (op, x, w, y, expected) in [
            ("MatMul", &[5, 8][..], &[8, 3][..], &[5, 3][..], 5 * 8 * 3),
            ("Gemm", &[8, 5], &[3, 8], &[5, 3], 5 * 8 * 3),
            ("Conv", &[1, 4, 9, 9], &[6, 4, 3, 3], &[1, 6, 7, 7], 6 * 49 * 36),
            ("LSTM", &[10, 1, 4], &[1, 32, 4], &[10, 1, 1, 8], 10 * 128),
            ("Mystery", &[7], &[7], &[7], 7),
        ] {
            let value = |shape: &[u64]| Value { shape: shape.to_vec(), bytes: shape.iter().product::<u64>() * 4 };
            let values = HashMap::from([("x".into(), value(x)), ("w".into(), value(w)), ("y".into(), value(y))]);
            let (multiply_adds, bytes) = node_cost(&node(op), &values);
            assert_eq!(multiply_adds, expected, "{op}");
            assert_eq!(bytes, values.values().map(|value| value.bytes).sum::<u64>());
        }
    }
}
