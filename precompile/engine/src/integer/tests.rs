//! Models quantised by onnxruntime.quantization, with what ONNX Runtime answered (`tests/data/i8/make.py`), and refusals.

use std::path::{Path, PathBuf};

use super::*;
use crate::{
    ExactModel, Isa, LoadOptions, Pool, Tensor,
    model_dir::Files,
    onnx::proto::{
        DimensionProto, DimensionValue, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TensorTypeProto,
        TypeProto, TypeValue, ValueInfoProto,
    },
    ort::{Optimization, OrtConfig, OrtModel},
    rewrite::to_proto,
};
use prost::Message;

mod forms;

/// Steps that an answer may be from ONNX Runtime's: a sum that lies between two steps can fall either way in each layer.
const STEPS_MAX: f64 = 3.0;

#[derive(serde::Deserialize)]
struct Recorded {
    name: String,
    shape: Vec<usize>,
    input: Vec<f32>,
    output: Vec<f64>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/i8")
}

fn quantised(name: &str) -> Bytes {
    std::fs::read(folder().join(name).with_extension("onnx")).unwrap().into()
}

fn recorded() -> Vec<Recorded> {
    serde_json::from_slice(&std::fs::read(folder().join("vectors.json")).unwrap()).unwrap()
}

#[test]
fn answers_are_those_of_onnx_runtime_up_to_steps() {
    for case in recorded() {
        let converted = convert(&quantised(&case.name)).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let model = ExactModel::load(converted.graph, &LoadOptions::default()).unwrap();
        let input = Tensor::new(case.shape.clone(), case.input).unwrap();
        let outputs = model.run(vec![input], &Pool::new(1)).unwrap();
        let steps: Vec<f64> = outputs[0]
            .values::<f32>()
            .unwrap()
            .iter()
            .zip(&case.output)
            .map(|(got, expected)| (f64::from(*got) - expected).abs() / converted.steps[0])
            .collect();
        let far = steps.iter().filter(|steps| **steps > 0.5).count();
        let most = steps.iter().copied().fold(0.0, f64::max);
        assert_eq!(steps.len(), case.output.len(), "{}", case.name);
        assert!(most < STEPS_MAX + 0.01, "{}: {most} steps", case.name);
        assert!(far * 4 <= steps.len(), "{}: {far} of {} differ", case.name, steps.len());
    }
}

#[test]
fn the_bytes_are_the_same_for_every_batch_and_instruction_set() {
    for case in recorded() {
        let converted = convert(&quantised(&case.name)).unwrap();
        let rows = case.shape[0];
        let width = case.input.len() / rows;
        let mut expected: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let options = LoadOptions { isa: Some(isa), ..LoadOptions::default() };
            let model = ExactModel::load(converted.graph.clone(), &options).unwrap();
            for (batch, threads) in [(1, 1), (2, 2), (rows, 16)] {
                let run = |part: &[f32]| {
                    let shape = [&[part.len() / width], &case.shape[1..]].concat();
                    let outputs = model.run(vec![Tensor::new(shape, part.to_vec()).unwrap()], &Pool::new(threads));
                    outputs.unwrap()[0].values::<f32>().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                };
                let bits: Vec<u32> = case.input.chunks(batch * width).flat_map(run).collect();
                assert_eq!(*expected.get_or_insert_with(|| bits.clone()), bits, "{} {isa:?} {batch}", case.name);
            }
        }
    }
}

#[test]
fn onnx_runtime_gives_the_same_bytes_however_it_rewrites_the_graph() {
    let Some(config) = crate::ort::tests::real() else { return };
    for case in recorded() {
        let graph = convert(&quantised(&case.name)).unwrap().graph;
        let input = Tensor::new(case.shape.clone(), case.input).unwrap();
        let model = ExactModel::load(graph.clone(), &LoadOptions::default()).unwrap();
        let expected = model.run(vec![input.clone()], &Pool::new(1)).unwrap();
        for optimization in [Optimization::Disabled, Optimization::All] {
            let config = OrtConfig { optimization, ..config.clone() };
            let other = OrtModel::start(&graph, &Files::new(), 1, &config).unwrap();
            assert_eq!(other.run(vec![input.clone()]).unwrap(), expected, "{} {optimization:?}", case.name);
        }
    }
}

#[test]
fn a_converted_graph_holds_integers_only_and_nothing_else_passes_for_one() {
    let converted = convert(&quantised("conv-qdq-u8")).unwrap();
    assert!(check(&converted.graph).is_ok());
    assert!(check(&quantised("conv-qdq-u8")).is_err(), "floats between Q and DQ");
    let graph = onnx::decode(converted.graph, &Limits::default()).unwrap().graph.unwrap();
    let floats = graph.initializer.iter().filter(|tensor| tensor.data_type == Some(1)).count();
    assert_eq!(floats, 2, "the scales of the two ends");
}

/// `op` between a quantised input `x` of 8 numbers and the output `y`, with the given scales.
struct Made {
    op: &'static str,
    extra: Vec<&'static str>,
    weights: Tensor,
    x_scale: Option<f32>,
    y_scale: f32,
    quantise_y: bool,
}

impl Made {
    fn new(op: &'static str) -> Self {
        let weights = Tensor::new([8, 2], vec![3i8; 16]).unwrap();
        Self { op, extra: vec![], weights, x_scale: Some(0.1), y_scale: 0.2, quantise_y: true }
    }

    fn model(self) -> Bytes {
        let node = |op: &str, inputs: &[&str], output: &str| NodeProto::new("", op, inputs, output);
        let value = |name: &str| {
            let dim = [1, 8].map(|n| DimensionProto { value: Some(DimensionValue::Value(n)) }).to_vec();
            let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
            let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) });
            ValueInfoProto { name: Some(name.into()), r#type, doc_string: None }
        };
        let mut constants = vec![
            to_proto("ys", &Tensor::scalar(self.y_scale)),
            to_proto("zero", &Tensor::scalar(0i8)),
            to_proto("ws", &Tensor::scalar(0.01f32)),
            to_proto("w", &self.weights),
        ];
        constants.extend(self.x_scale.map(|scale| to_proto("xs", &Tensor::scalar(scale))));
        let inputs = [&["xf"], &self.extra[..]].concat();
        let computed = if self.quantise_y { "h" } else { "y" };
        let mut nodes = vec![
            node("QuantizeLinear", &["x", "xs", "zero"], "xq"),
            node("DequantizeLinear", &["xq", "xs", "zero"], "xf"),
            node("DequantizeLinear", &["w", "ws", "zero"], "wf"),
            node(self.op, &inputs, computed),
        ];
        if self.quantise_y {
            nodes.push(node("QuantizeLinear", &["h", "ys", "zero"], "yq"));
            nodes.push(node("DequantizeLinear", &["yq", "ys", "zero"], "y"));
        }
        let graph = GraphProto {
            name: Some("g".into()),
            node: nodes,
            initializer: constants,
            input: vec![value("x")],
            output: vec![value("y")],
            ..Default::default()
        };
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
        let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() };
        model.encode_to_vec().into()
    }

    fn refused(self) -> String {
        convert(&self.model()).expect_err("it is refused").to_string()
    }
}

#[test]
fn a_product_and_a_table_are_converted() {
    assert!(convert(&Made { extra: vec!["wf"], ..Made::new("MatMul") }.model()).is_ok());
    let converted = convert(&Made::new("Sigmoid").model()).unwrap();
    assert_eq!(converted.tables, 1);
    let model = ExactModel::load(converted.graph, &LoadOptions::default()).unwrap();
    let input = Tensor::new([1, 8], vec![0.0f32, 0.1, -0.1, 10.0, -10.0, 1e30, -1e30, 2.0]).unwrap();
    let outputs = model.run(vec![input], &Pool::new(1)).unwrap();
    assert_eq!(outputs[0].values::<f32>().unwrap(), [0.4, 0.6, 0.4, 1.0, 0.0, 1.0, 0.0, 0.8]);
}

#[test]
fn an_operator_without_an_integer_form_is_refused() {
    assert!(Made::new("Softmax").refused().contains("Softmax h has no integer form"));
}

#[test]
fn a_float_output_is_refused() {
    assert!(Made { quantise_y: false, ..Made::new("Sigmoid") }.refused().contains("output y is not quantised"));
}

#[test]
fn float_weights_are_refused() {
    assert!(Made { extra: vec!["w"], ..Made::new("MatMul") }.refused().contains("w is not quantised"));
}

#[test]
fn scales_that_are_no_constants_are_refused() {
    assert!(Made { x_scale: None, ..Made::new("Sigmoid") }.refused().contains("only static scales are exact"));
}

#[test]
fn empty_scales_and_nodes_without_outputs_are_refused() {
    let change = |change: fn(&mut GraphProto)| {
        let mut model =
            onnx::decode(Made { extra: vec!["wf"], ..Made::new("MatMul") }.model(), &Limits::default()).unwrap();
        change(model.graph.as_mut().unwrap());
        convert(&model.encode_to_vec().into()).expect_err("it is refused").to_string()
    };
    let refused = change(|graph| {
        let scale = graph.initializer.iter_mut().find(|tensor| tensor.name.as_deref() == Some("ws"));
        *scale.unwrap() = to_proto("ws", &Tensor::vector(Vec::<f32>::new()));
    });
    assert!(refused.contains("expected a scale, got an empty tensor"), "{refused}");
    let refused = change(|graph| graph.node[3].output.clear());
    assert!(refused.contains("a node MatMul has no output"), "{refused}");
}

#[test]
fn sums_that_may_overflow_are_refused() {
    let weights = Tensor::new([1 << 18, 1], vec![100i8; 1 << 18]).unwrap();
    let refused = Made { extra: vec!["wf"], weights, ..Made::new("MatMul") }.refused();
    assert!(refused.contains("may pass 32 bits: 262144 terms"), "{refused}");
}

#[test]
fn factors_without_room_are_refused() {
    for y_scale in [1e-14, 1e12] {
        let refused = Made { extra: vec!["wf"], y_scale, ..Made::new("MatMul") }.refused();
        assert!(refused.contains("which no M < 2^31"), "{y_scale}: {refused}");
    }
}

#[test]
fn scales_of_rows_instead_of_channels_are_refused() {
    let mut model =
        onnx::decode(Made { extra: vec!["wf"], ..Made::new("MatMul") }.model(), &Limits::default()).unwrap();
    let constants = &mut model.graph.as_mut().unwrap().initializer;
    *constants.iter_mut().find(|tensor| tensor.name.as_deref() == Some("ws")).unwrap() =
        to_proto("ws", &Tensor::vector(vec![0.01f32; 8]));
    let refused = convert(&model.encode_to_vec().into()).expect_err("it is refused").to_string();
    assert!(refused.contains("one for each channel of the output"), "{refused}");
}
