use super::*;
use crate::{
    ExactModel, LoadOptions, Pool,
    onnx::proto::{AttributeProto, MapTypeProto, ModelProto, OperatorSetIdProto, StringStringEntryProto},
};

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|n| DimensionProto { value: Some(DimensionValue::Value(*n)) }).collect();
    let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) }),
        doc_string: Some("what it is".into()),
    }
}

fn constant(name: &str, values: &[f32]) -> TensorProto {
    to_proto(name, &Tensor::vector(values.to_vec()))
}

fn model(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>, output: ValueInfoProto) -> Bytes {
    let graph = GraphProto {
        name: Some("g".into()),
        node: nodes,
        initializer,
        input: vec![value("x", &[2])],
        output: vec![output],
        doc_string: Some("for people".into()),
        ..Default::default()
    };
    let set = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    let note = StringStringEntryProto { key: Some("author".into()), value: Some("somebody".into()) };
    let opset_import = vec![set("", 17), set("ai.onnx.ml", 3)];
    ModelProto {
        ir_version: Some(8),
        producer_name: Some("exporter".into()),
        graph: Some(graph),
        opset_import,
        metadata_props: vec![note],
        ..Default::default()
    }
    .encode_to_vec()
    .into()
}

fn run(file: &Bytes) -> Vec<Tensor> {
    let model = ExactModel::load(file.clone(), &LoadOptions::default()).unwrap();
    model.run(vec![Tensor::vector(vec![1.5f32, -2.0])], &Pool::new(1)).unwrap()
}

fn rewritten(file: &Bytes) -> Rewritten {
    rewrite(file, None, &Limits::default()).unwrap()
}

#[test]
fn answers_stay_and_what_has_no_part_in_them_goes() {
    let nodes = vec![
        NodeProto::new("", "Add", &["a", "b"], "ab"),
        NodeProto::new("", "Neg", &["ab"], "minus"),
        NodeProto::new("", "Exp", &["x"], "unused"),
        NodeProto::new("", "Mul", &["x", "minus"], "y"),
    ];
    let constants = vec![constant("a", &[1.0, 2.0]), constant("b", &[0.5, 0.25]), constant("nobody wants it", &[9.0])];
    let file = model(nodes, constants, value("y", &[2]));
    let after = rewritten(&file);
    assert_eq!((after.nodes, after.folded, after.unused, after.maps), (1, 2, 1, 0));
    assert_eq!(run(&after.graph), run(&file));
    let proto = onnx::decode(after.graph.clone(), &Limits::default()).unwrap();
    assert_eq!((proto.producer_name, proto.metadata_props.len()), (None, 0));
    let graph = proto.graph.unwrap();
    assert_eq!((graph.initializer.len(), graph.doc_string), (1, None));
    assert_eq!(rewritten(&after.graph).graph, after.graph, "rewriting again changes nothing");
}

#[test]
fn a_map_of_each_row_becomes_a_matrix() {
    let labels = AttributeProto {
        name: Some("classlabels_int64s".into()),
        ints: vec![0, 1],
        r#type: Some(7),
        ..Default::default()
    };
    let mut zip = NodeProto::new("ai.onnx.ml", "ZipMap", &["row"], "maps");
    zip.attribute = vec![labels];
    let kind = value("", &[]).r#type;
    let map = TypeProto {
        value: Some(TypeValue::Map(Box::new(MapTypeProto { key_type: Some(7), value_type: kind.map(Box::new) }))),
    };
    let sequence = onnx::proto::ElementTypeProto { elem_type: Some(Box::new(map)) };
    let r#type = Some(TypeProto { value: Some(TypeValue::Sequence(Box::new(sequence))) });
    let output = ValueInfoProto { name: Some("maps".into()), r#type, ..Default::default() };
    let axes = to_proto("axes", &Tensor::vector(vec![0i64]));
    let file = model(vec![NodeProto::new("", "Unsqueeze", &["x", "axes"], "row"), zip], vec![axes], output);
    let after = rewritten(&file);
    assert_eq!((after.nodes, after.maps), (1, 1));
    let loaded = ExactModel::load(after.graph.clone(), &LoadOptions::default()).unwrap();
    assert_eq!(loaded.outputs()[0].dims, Some(vec![None, Some(2)]));
    assert_eq!(run(&after.graph)[0].shape(), [1, 2]);
}

#[test]
fn what_is_random_or_grows_is_not_folded() {
    let shape = to_proto("shape", &Tensor::vector(vec![1i64 << 20]));
    let nodes = vec![
        NodeProto::new("", "ConstantOfShape", &["shape"], "zeros"),
        NodeProto::new("", "ReduceSum", &["zeros"], "sum"),
    ];
    let mut nodes_random =
        vec![NodeProto::new("", "RandomNormal", &[], "noise"), NodeProto::new("", "Add", &["x", "noise"], "y")];
    let file =
        model([nodes, vec![NodeProto::new("", "Add", &["x", "sum"], "y")]].concat(), vec![shape], value("y", &[2]));
    assert_eq!(rewritten(&file).folded, 0);
    nodes_random[0].attribute.clear();
    let file = model(nodes_random, vec![], value("y", &[2]));
    assert_eq!((rewritten(&file).folded, rewritten(&file).nodes), (0, 2));
}
