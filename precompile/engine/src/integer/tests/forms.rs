//! What a converted form answers, against the float engine on the quantised model itself; and what is refused.

use super::*;
use crate::onnx::proto::AttributeProto;

/// Nodes from `xf`, the dequantised input of some dimensions (`None` is free), to `h`, which is quantised and dequantised.
struct Sketch {
    dims: Vec<Option<i64>>,
    nodes: Vec<NodeProto>,
    constants: Vec<(&'static str, Tensor)>,
    quantise: bool,
}

const IMAGE: [Option<i64>; 4] = [None, Some(3), Some(6), Some(4)];

fn node(op: &str, inputs: &str, output: &str) -> NodeProto {
    NodeProto::new("", op, &inputs.split(' ').collect::<Vec<_>>(), output)
}

fn named(name: &str) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ..Default::default() }
}

trait With {
    fn int(self, name: &str, value: i64) -> Self;
    fn ints(self, name: &str, values: &[i64]) -> Self;
}

impl With for NodeProto {
    fn int(mut self, name: &str, value: i64) -> Self {
        self.attribute.push(AttributeProto { i: Some(value), r#type: Some(2), ..named(name) });
        self
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Self {
        self.attribute.push(AttributeProto { ints: values.to_vec(), r#type: Some(7), ..named(name) });
        self
    }
}

fn value(name: &str, dims: Option<&[Option<i64>]>) -> ValueInfoProto {
    let dim = |length: &Option<i64>| DimensionProto {
        value: Some(length.map_or(DimensionValue::Param("free".into()), DimensionValue::Value)),
    };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = TensorTypeProto { elem_type: Some(1), shape };
    let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) });
    ValueInfoProto { name: Some(name.into()), r#type, doc_string: None }
}

impl Sketch {
    fn new(dims: &[Option<i64>], nodes: Vec<NodeProto>) -> Self {
        Self { dims: dims.to_vec(), nodes, constants: vec![], quantise: true }
    }

    fn with(mut self, name: &'static str, tensor: Tensor) -> Self {
        self.constants.push((name, tensor));
        self
    }

    fn proto(&self) -> ModelProto {
        let mut nodes = vec![node("QuantizeLinear", "x xs zero", "xq"), node("DequantizeLinear", "xq xs zero", "xf")];
        nodes.extend(self.nodes.clone());
        if self.quantise {
            nodes.push(node("QuantizeLinear", "h ys ys_zero", "yq"));
            nodes.push(node("DequantizeLinear", "yq ys ys_zero", "y"));
        }
        let scale = |name: &str, scale: f32| to_proto(name, &Tensor::scalar(scale));
        let zero = |name: &str, zero: i8| to_proto(name, &Tensor::scalar(zero));
        let mut initializer =
            vec![scale("xs", 0.1), zero("zero", 3), scale("ys", 0.07), zero("ys_zero", -7), zero("none", 0)];
        initializer.extend(self.constants.iter().map(|(name, tensor)| to_proto(name, tensor)));
        let graph = GraphProto {
            name: Some("g".into()),
            node: nodes,
            initializer,
            input: vec![value("x", Some(&self.dims))],
            output: vec![value("y", None)],
            // A lie, which nobody may believe.
            value_info: vec![value("xf", Some(&[Some(1), Some(1), Some(2), Some(2)]))],
            ..Default::default()
        };
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
        ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() }
    }

    fn file(&self) -> Bytes {
        self.proto().encode_to_vec().into()
    }

    /// The answers as converted, on three rows.
    fn answers(&self) -> Vec<f32> {
        let converted = convert(&self.file()).unwrap_or_else(|error| panic!("{error}"));
        run(converted.graph, self.input()).unwrap()
    }

    fn input(&self) -> Tensor {
        let shape: Vec<usize> = self.dims.iter().map(|length| length.unwrap_or(3) as usize).collect();
        let count = shape.iter().product();
        Tensor::new(shape, (0..count).map(|i| ((i * 89 + i / 7) % 255) as f32 / 10.0 - 14.0).collect()).unwrap()
    }

    /// Holds the answers against those in floats: the largest difference in steps.
    fn steps_off(&self) -> f32 {
        let (got, expected) = (self.answers(), run(self.file(), self.input()).unwrap());
        assert_eq!(got.len(), expected.len());
        assert!(expected.iter().any(|number| *number != expected[0]), "a test that shows something");
        let off = got.iter().zip(&expected).map(|(got, expected)| (got - expected).abs() / 0.07);
        off.fold(0.0, f32::max)
    }

    fn refused(&self) -> String {
        convert(&self.file()).expect_err("it is refused").to_string()
    }
}

fn run(file: Bytes, input: Tensor) -> Result<Vec<f32>, crate::Failure> {
    let model = ExactModel::load(file, &LoadOptions::default()).unwrap();
    Ok(model.run(vec![input], &Pool::new(1))?[0].values::<f32>()?.to_vec())
}

fn axes(list: &[i64]) -> Tensor {
    Tensor::vector(list.to_vec())
}

/// Weights and their scale for `DequantizeLinear`.
fn weights(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    Tensor::new(shape, (0..count).map(|i| (i * 53 % 200) as i8 ^ 3).collect()).unwrap()
}

/// A product `p` of the input with a matrix, then `nodes`.
fn product(nodes: Vec<NodeProto>) -> Sketch {
    let before = [node("DequantizeLinear", "w ws none", "wf"), node("MatMul", "xf wf", "p")];
    let nodes = before.into_iter().chain(nodes).collect();
    Sketch::new(&[None, Some(8)], nodes).with("w", weights(&[8, 6])).with("ws", Tensor::scalar(0.003f32))
}

#[test]
fn outputs_may_be_moved_behind_their_dequantisation() {
    for (title, nodes) in [
        ("as it is", vec![node("Identity", "xf", "y")]),
        ("flat", vec![node("Flatten", "xf", "y")]),
        ("turned", vec![node("Transpose", "xf", "y").ints("perm", &[0, 2, 3, 1])]),
        (
            "several",
            vec![node("Unsqueeze", "xf one", "u"), node("Squeeze", "u one", "s"), node("Reshape", "s to", "y")],
        ),
        ("joined", vec![node("Identity", "xf", "i"), node("Concat", "xf i", "y").int("axis", 1)]),
        ("greatest", vec![padded(node("MaxPool", "xf", "y"))]),
    ] {
        let sketch = Sketch { quantise: false, ..Sketch::new(&IMAGE, nodes) };
        let sketch = sketch.with("one", axes(&[1])).with("to", axes(&[0, -1]));
        assert_eq!(sketch.answers(), run(sketch.file(), sketch.input()).unwrap(), "{title}");
    }
}

fn padded(pool: NodeProto) -> NodeProto {
    pool.ints("kernel_shape", &[3, 2]).ints("strides", &[2, 1]).ints("pads", &[1, 1, 1, 0])
}

#[test]
fn the_greatest_of_a_padded_window_is_never_of_the_padding() {
    let sketch = Sketch { quantise: false, ..Sketch::new(&IMAGE, vec![padded(node("MaxPool", "xf", "y"))]) };
    // All below zero, which the padding of a sum would be.
    let input = Tensor::new([1, 3, 6, 4], (0..72).map(|i| -1.0 - (i % 7) as f32).collect::<Vec<f32>>()).unwrap();
    let got = run(convert(&sketch.file()).unwrap().graph, input.clone()).unwrap();
    assert_eq!(got, run(sketch.file(), input).unwrap());
    assert!(got.iter().all(|number| *number <= -0.9), "{got:?}");
}

#[test]
fn moves_wait_with_what_they_move_for_its_scale() {
    let sketch = product(vec![node("Reshape", "p to", "r"), node("Relu", "r", "t"), node("Transpose", "t", "h")]);
    let sketch = sketch.with("to", axes(&[-1, 2, 3]));
    assert!(sketch.steps_off() < 1.01);
    let mut sketch = product(vec![node("Identity", "p", "h")]);
    // The input, too, may be moved before it is quantised.
    sketch.dims = vec![None, Some(2), Some(4)];
    let mut proto = sketch.with("flat", axes(&[0, 8])).proto();
    let graph = proto.graph.as_mut().unwrap();
    graph.node.insert(0, node("Reshape", "x flat", "xr"));
    graph.node[1].input[0] = "xr".into();
    let file: Bytes = proto.encode_to_vec().into();
    let input = Tensor::new([2, 2, 4], (0..16).map(|i| i as f32 - 7.5).collect::<Vec<f32>>()).unwrap();
    let got = run(convert(&file).unwrap().graph, input.clone()).unwrap();
    let off = got.iter().zip(run(file, input).unwrap()).map(|(a, b)| (a - b).abs() / 0.07).fold(0.0, f32::max);
    assert!(off < 1.01, "{off}");
}

#[test]
fn results_are_held_between_bounds() {
    let bounds = |sketch: Sketch| sketch.with("low", Tensor::scalar(-0.5f32)).with("high", Tensor::scalar(1.5f32));
    for (title, nodes, least, most) in [
        ("clip", vec![node("Clip", "p low high", "h")], -0.5, 1.5),
        ("from above", vec![NodeProto::new("", "Clip", &["p", "", "high"], "h")], f32::MIN, 1.5),
        ("twice", vec![node("Relu", "p", "r"), node("Clip", "r low high", "h")], 0.0, 1.5),
        ("behind a move", vec![node("Identity", "p", "i"), node("Relu", "i", "h")], 0.0, f32::MAX),
        ("a table", vec![node("Elu", "xf", "e"), node("Clip", "e low high", "h")], -0.5, 1.5),
        ("a table behind a move", vec![node("Identity", "xf", "i"), node("Relu", "i", "h")], 0.0, f32::MAX),
    ] {
        let sketch = bounds(product(nodes));
        let off = sketch.steps_off();
        assert!(off < 1.01, "{title}: {off}");
        // Half a step further: bounds are quantised, too.
        assert!(sketch.answers().iter().all(|y| *y > least - 0.036 && *y < most + 0.036), "{title}");
    }
}

#[test]
fn bounds_that_are_computed_or_empty_are_refused() {
    let clip = || product(vec![node("Clip", "p low high", "h")]).with("low", Tensor::scalar(2.0f32));
    assert!(clip().refused().contains("bounds are no constants"));
    assert!(clip().with("high", Tensor::scalar(1.0f32)).refused().contains("lower bound is above"));
}

#[test]
fn means_are_those_of_floats_up_to_a_step() {
    let pool = |node: NodeProto| padded(node).int("count_include_pad", 1);
    for (title, mean) in [
        ("of channels", node("GlobalAveragePool", "xf", "h")),
        ("of last axes", node("ReduceMean", "xf", "h").ints("axes", &[-1, 2]).int("keepdims", 0)),
        ("of channels that lie apart", node("ReduceMean", "xf", "h").ints("axes", &[3, 1])),
        ("of windows", node("AveragePool", "xf", "h").ints("kernel_shape", &[2, 3]).ints("dilations", &[1, 1])),
        ("of padded windows", pool(node("AveragePool", "xf", "h"))),
    ] {
        let off = Sketch::new(&IMAGE, vec![mean]).steps_off();
        assert!(off < 1.01, "{title}: {off}");
    }
    let mut proto = Sketch::new(&IMAGE, vec![node("ReduceMean", "xf at", "h")]).with("at", axes(&[2])).proto();
    proto.opset_import[0].version = Some(18);
    assert!(convert(&proto.encode_to_vec().into()).is_ok(), "axes as an input");
}

#[test]
fn a_mean_of_another_length_than_it_was_made_for_has_no_answer() {
    for mean in [node("GlobalAveragePool", "xf", "h"), node("ReduceMean", "xf", "h").ints("axes", &[1, 3])] {
        let converted = convert(&Sketch::new(&IMAGE, vec![mean]).file()).unwrap();
        let mut model = onnx::decode(converted.graph, &Limits::default()).unwrap();
        model.graph.as_mut().unwrap().input = vec![value("x", Some(&[None; 4]))];
        let file: Bytes = model.encode_to_vec().into();
        let ones = |shape: [usize; 4]| Tensor::new(shape, vec![1.0f32; shape.iter().product()]).unwrap();
        assert!(run(file.clone(), ones([5, 3, 6, 4])).is_ok());
        for shape in [[1, 3, 6, 5], [1, 3, 4, 3], [1, 4, 6, 3]] {
            assert!(run(file.clone(), ones(shape)).is_err(), "{shape:?}");
        }
    }
}

#[test]
fn means_of_an_unknown_count_are_refused() {
    let refused = |dims: &[Option<i64>], mean: NodeProto| Sketch::new(dims, vec![mean]).refused();
    let global = || node("GlobalAveragePool", "xf", "h");
    let reduce = |list: &[i64]| node("ReduceMean", "xf", "h").ints("axes", list);
    let pool = || node("AveragePool", "xf", "h");
    let small = || pool().ints("kernel_shape", &[2, 2]);
    let free = refused(&[None, Some(3), None, None], global());
    assert!(free.contains("GlobalAveragePool h") && free.contains("inputs fixed sizes"), "{free}");
    assert!(refused(&IMAGE, reduce(&[0])).contains("over the batch"));
    assert!(refused(&IMAGE, node("ReduceMean", "xf", "h")).contains("over given axes"));
    assert!(refused(&IMAGE, reduce(&[4])).contains("not one of its input's"));
    assert!(refused(&IMAGE, small().ints("pads", &[0, 1, 0, 1])).contains("count_include_pad"));
    assert!(refused(&IMAGE, small().int("ceil_mode", 1)).contains("ceil_mode 0"));
    let long = refused(&IMAGE, pool().ints("kernel_shape", &[1 << 12, 1 << 12]));
    assert!(long.contains("may pass 32 bits: 16777216 terms"), "{long}");
    let empty = refused(&[None, Some(0)], reduce(&[1]));
    assert!(empty.contains("the mean of nothing"), "{empty}");
}

#[test]
fn parts_on_scales_of_their_own_are_joined_on_that_of_the_result() {
    let nodes = vec![
        node("Sigmoid", "xf", "s"),
        node("QuantizeLinear", "s ss none", "sq"),
        node("DequantizeLinear", "sq ss none", "sf"),
        node("DequantizeLinear", "c ws none", "cf"),
        node("Concat", "xf sf cf", "j").int("axis", 1),
        node("Relu", "j", "h"),
    ];
    let sketch = Sketch::new(&[Some(2), Some(8)], nodes).with("ss", Tensor::scalar(0.008f32));
    let sketch = sketch.with("c", weights(&[2, 3])).with("ws", Tensor::scalar(0.02f32));
    assert!(sketch.steps_off() < 0.01, "tables round as floats do");
}

#[test]
fn a_join_that_is_not_quantised_behind_it_is_refused() {
    let nodes = vec![
        node("Sigmoid", "xf", "s"),
        node("QuantizeLinear", "s ys none", "sq"),
        node("DequantizeLinear", "sq ys none", "sf"),
        node("Concat", "xf sf", "y").int("axis", 1),
    ];
    let sketch = Sketch { quantise: false, ..Sketch::new(&IMAGE, nodes) };
    assert!(sketch.refused().contains("output y is not quantised"));
    let float = Sketch::new(&IMAGE, vec![node("Relu", "xf", "r"), node("Concat", "xf r", "h").int("axis", 1)]);
    assert!(float.refused().contains("r is not quantised"));
}

#[test]
fn a_product_of_two_activations_is_a_sum_with_another_factor() {
    let nodes = vec![
        node("Sigmoid", "xf", "s"),
        node("QuantizeLinear", "s ss none", "sq"),
        node("DequantizeLinear", "sq ss none", "sf"),
        node("Mul", "xf sf", "h"),
    ];
    let off = Sketch::new(&IMAGE, nodes).with("ss", Tensor::scalar(0.008f32)).steps_off();
    assert!(off < 1.01, "{off}");
}

#[test]
fn shapes_that_are_computed_are_refused() {
    let sketch = product(vec![node("Reshape", "p unknown", "h")]);
    assert!(sketch.refused().contains("Reshape h: its shape, axes or places are not constants"));
}
