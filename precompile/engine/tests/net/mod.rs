//! A small network of most kinds of kernels, written as ONNX messages.

use foreblock_engine::onnx::proto::*;

fn info(name: &str, dims: &[Option<i64>]) -> ValueInfoProto {
    let dim = dims.iter().map(|d| DimensionProto { value: d.map(DimensionValue::Value) }).collect();
    let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) }),
        doc_string: None,
    }
}

fn weights(name: &str, dims: &[i64], scale: f32) -> TensorProto {
    let count: i64 = dims.iter().product();
    let mut state = name.bytes().fold(12_345u32, |s, b| s.wrapping_mul(31).wrapping_add(u32::from(b)));
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * scale
    };
    let raw: Vec<u8> = (0..count).flat_map(|_| next().to_le_bytes()).collect();
    TensorProto {
        dims: dims.into(),
        data_type: Some(1),
        raw_data: Some(raw.into()),
        name: Some(name.into()),
        ..Default::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        ints: values.into(),
        r#type: Some(attribute_type::INTS),
        ..Default::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: Some(attribute_type::INT), ..Default::default() }
}

fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let input = inputs.iter().map(|s| (*s).to_owned()).collect();
    NodeProto { input, output: vec![output.into()], op_type: Some(op.into()), attribute, ..Default::default() }
}

/// Input `[batch, 3, 24, 24]`, output `[batch, 10]`.
pub(crate) fn network() -> ModelProto {
    let node = vec![
        node("Conv", &["x", "w0", "b0"], "c0", vec![ints("pads", &[1, 1, 1, 1])]),
        node("BatchNormalization", &["c0", "one", "b0", "b0", "one"], "n0", vec![]),
        node("Relu", &["n0"], "r0", vec![]),
        node(
            "MaxPool",
            &["r0"],
            "m0",
            vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1])],
        ),
        node(
            "Conv",
            &["m0", "w1"],
            "c1",
            vec![int("group", 32), ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])],
        ),
        node("Sigmoid", &["c1"], "s1", vec![]),
        node(
            "Conv",
            &["s1", "w2"],
            "c2",
            vec![ints("dilations", &[2, 2]), ints("pads", &[2, 2, 2, 2]), int("group", 2)],
        ),
        node("Tanh", &["c2"], "t2", vec![]),
        node("Reshape", &["t2", "shape"], "f2", vec![]),
        node("Transpose", &["f2"], "f3", vec![ints("perm", &[0, 2, 1])]),
        node("LayerNormalization", &["f3", "g", "h"], "l3", vec![]),
        node("MatMul", &["f3", "f2"], "q", vec![]),
        node("Softmax", &["q"], "p", vec![]),
        node("MatMul", &["p", "l3"], "a", vec![]),
        node("Gelu", &["a"], "e", vec![]),
        node("Add", &["e", "f3"], "k", vec![]),
        node("Flatten", &["k"], "flat", vec![]),
        node("Gemm", &["flat", "w4", "b4"], "z", vec![int("transB", 1)]),
        node("Softmax", &["z"], "y", vec![]),
    ];
    let mut one = weights("one", &[32], 0.0);
    one.raw_data = Some([1.0f32; 32].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>().into());
    let shape = TensorProto {
        dims: vec![3],
        data_type: Some(7),
        int64_data: vec![0, 32, -1],
        name: Some("shape".into()),
        ..Default::default()
    };
    let initializer = vec![
        weights("w0", &[32, 3, 3, 3], 0.5),
        weights("b0", &[32], 0.5),
        one,
        weights("w1", &[32, 1, 3, 3], 0.5),
        weights("w2", &[32, 16, 3, 3], 0.2),
        shape,
        weights("g", &[32], 1.0),
        weights("h", &[32], 1.0),
        weights("w4", &[10, 1152], 0.2),
        weights("b4", &[10], 0.2),
    ];
    let graph = GraphProto {
        node,
        initializer,
        input: vec![info("x", &[None, Some(3), Some(24), Some(24)])],
        output: vec![info("y", &[None, Some(10)])],
        ..Default::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(20) }];
    ModelProto { ir_version: Some(9), graph: Some(graph), opset_import, ..Default::default() }
}
