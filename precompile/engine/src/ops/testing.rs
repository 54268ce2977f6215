//! Models of one node, to test operators with.

use crate::exact::{ExactModel, LoadOptions};
use crate::failure::Failure;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorTypeProto, TypeProto, TypeValue,
    ValueInfoProto, attribute_type as code,
};
use crate::pool::Pool;
use crate::tensor::Tensor;

/// A float attribute.
pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), f: Some(value), r#type: Some(code::FLOAT), ..Default::default() }
}

/// A text attribute.
pub(crate) fn string(name: &str, value: &str) -> AttributeProto {
    let s = Some(value.to_owned().into());
    AttributeProto { name: Some(name.into()), s, r#type: Some(code::STRING), ..Default::default() }
}

fn info(name: String, code: i32) -> ValueInfoProto {
    let tensor = TensorTypeProto { elem_type: Some(code), shape: None };
    ValueInfoProto {
        name: Some(name),
        r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) }),
        doc_string: None,
    }
}

/// A model of one node with inputs like `inputs` and `outputs` outputs.
pub(crate) fn model(
    (domain, op, opset): (&str, &str, i64),
    attributes: &[AttributeProto],
    inputs: &[Option<Tensor>],
    outputs: usize,
) -> ModelProto {
    let input_name = |(i, t): (usize, &Option<Tensor>)| if t.is_some() { format!("x{i}") } else { String::new() };
    let output: Vec<_> = (0..outputs).map(|i| format!("y{i}")).collect();
    let node = NodeProto {
        input: inputs.iter().enumerate().map(input_name).collect(),
        output: output.clone(),
        op_type: Some(op.into()),
        domain: Some(domain.into()),
        attribute: attributes.into(),
        ..Default::default()
    };
    let typed = |(i, t): (usize, &Option<Tensor>)| Some(info(format!("x{i}"), t.as_ref()?.element_type() as i32));
    let graph = GraphProto {
        node: vec![node],
        input: inputs.iter().enumerate().filter_map(typed).collect(),
        // The type of an output is only read to describe it.
        output: output.into_iter().map(|name| info(name, 1)).collect(),
        ..Default::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: Some(domain.into()), version: Some(opset) }];
    ModelProto { graph: Some(graph), opset_import, ..Default::default() }
}

/// Runs one operator; panics where it does not load.
pub(crate) fn run(
    operator: (&str, &str, i64),
    attributes: &[AttributeProto],
    inputs: &[Option<Tensor>],
    outputs: usize,
) -> Result<Vec<Tensor>, Failure> {
    let model = ExactModel::from_proto(&model(operator, attributes, inputs, outputs), &LoadOptions::default());
    let given = inputs.iter().flatten().cloned().collect();
    Ok(model.expect("the operator loads").run_unchecked(given, &Pool::new(1))?.0)
}
