//! The CUDA engine: its source on an emulated device answers as the CPU does, byte for byte and at the same cost; its PTX
//! holds no operation that rounds otherwise; and where there is a GPU, so does that.

#[path = "cuda/emulated.rs"]
mod emulated;
mod net;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use emulated::Emulated;
use foreblock_engine::cuda::{self, Accelerator, Device};
use foreblock_engine::onnx::proto::ModelProto;
use foreblock_engine::tensor::Data;
use foreblock_engine::{ElementType, ExactModel, LoadOptions, Pool, Tensor, exact::ValueSpec};
use prost::Message;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every model in the repository that has its weights.
fn models() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for folder in
        ["models/digits", "models/fee", "models/risk", "models/text", "models/volatility", "tests/data/ml/models"]
    {
        paths.extend(root().join(folder).read_dir().unwrap().map(|entry| entry.unwrap().path()));
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    assert!(paths.len() > 30, "the models are part of the repository");
    paths
}

/// Inputs made up for a model: `rows` rows.
fn inputs(specs: &[ValueSpec], rows: usize) -> Vec<Tensor> {
    let made = |spec: &ValueSpec| {
        let dims = spec.dims.as_ref().unwrap().iter().enumerate();
        let shape: Vec<usize> = dims.map(|(axis, d)| d.unwrap_or(if axis == 0 { rows } else { 8 })).collect();
        let numbers = (0..shape.iter().product::<usize>()).map(|i| (i as u32).wrapping_mul(2_654_435_761) >> 8);
        match spec.element_type {
            ElementType::F32 => Tensor::new(shape, numbers.map(|n| n as f32 / 4_194_304.0 - 2.0).collect()).unwrap(),
            ElementType::I64 => Tensor::new(shape, numbers.map(|n| i64::from(n % 100)).collect()).unwrap(),
            ElementType::U8 => Tensor::new(shape, numbers.map(|n| n as u8).collect()).unwrap(),
            ElementType::String => Tensor::new(shape, numbers.map(|n| format!("{}", n % 5)).collect()).unwrap(),
            other => Tensor::zeros(other, &shape).unwrap(),
        }
    };
    specs.iter().map(made).collect()
}

fn assert_same(name: &str, expected: &[Tensor], got: &[Tensor]) {
    assert_eq!(expected.len(), got.len(), "{name}");
    for (output, (expected, got)) in expected.iter().zip(got).enumerate() {
        assert_eq!(expected.shape(), got.shape(), "{name}, output {output}");
        match (expected.data(), got.data()) {
            (Data::F32(expected), Data::F32(got)) => {
                for (i, (expected, got)) in expected.iter().zip(got.iter()).enumerate() {
                    let same = expected.to_bits() == got.to_bits() || expected.is_nan() && got.is_nan();
                    assert!(same, "{name}, output {output}, element {i}: {expected:e} and {got:e}");
                }
            }
            (expected, got) => assert!(expected == got, "{name}, output {output}"),
        }
    }
}

/// Runs a model on the CPU and on a device: the same bytes, the same cost, or the same failure.
fn compare(name: &str, model: &ModelProto, folder: Option<PathBuf>, rows: usize, device: &Arc<dyn Device>) {
    let on_cpu = LoadOptions { folder, ..LoadOptions::default() };
    let accelerator = Accelerator::new(device.clone());
    let on_device = LoadOptions { accelerator: Some(accelerator.clone()), ..on_cpu.clone() };
    let cpu = ExactModel::from_proto(model, &on_cpu).unwrap();
    let gpu = ExactModel::from_proto(model, &on_device).unwrap();
    let inputs = inputs(cpu.inputs(), rows);
    let (expected, got) = (cpu.run_unchecked(inputs.clone(), &Pool::new(1)), gpu.run_unchecked(inputs, &Pool::new(1)));
    assert_eq!(accelerator.breakdown(), None, "{name}");
    match (expected, got) {
        (Ok((expected, cost)), Ok((got, device_cost))) => {
            assert_same(name, &expected, &got);
            assert_eq!(cost, device_cost, "{name}: what a run costs decides which one fails for want of memory");
        }
        (Err(expected), Err(got)) => assert_eq!(expected, got, "{name}"),
        (expected, got) => panic!("{name}: {:?} and {:?}", expected.err(), got.err()),
    }
}

fn compare_all(device: &Arc<dyn Device>) {
    for path in models() {
        let model = ModelProto::decode(std::fs::read(&path).unwrap().as_slice()).unwrap();
        for rows in [1, 3] {
            compare(&path.display().to_string(), &model, path.parent().map(Path::to_owned), rows, device);
        }
    }
    compare("a convolutional network", &net::network(), None, 2, device);
    for (name, model) in operators::graphs() {
        compare(&name, &model, None, 3, device);
    }
}

#[test]
fn the_source_on_an_emulated_device_answers_as_the_cpu_does() {
    let emulated = Emulated::start();
    let device: Arc<dyn Device> = emulated.clone();
    compare_all(&device);
    assert!(emulated.launches.load(Relaxed) > 200, "{} launches: models do run there", emulated.launches.load(Relaxed));
    assert_eq!(emulated.held.load(Relaxed), 0, "all buffers were given back");
}

#[test]
fn a_device_that_breaks_down_costs_time_and_no_answer() {
    let model = net::network();
    let cpu = ExactModel::from_proto(&model, &LoadOptions::default()).unwrap();
    let inputs = inputs(cpu.inputs(), 2);
    let expected = cpu.run(inputs.clone(), &Pool::new(1)).unwrap();
    for launches in [0, 3] {
        let emulated = Emulated::start();
        emulated.launches_left.store(launches, Relaxed);
        let accelerator = Accelerator::new(emulated);
        let options = LoadOptions { accelerator: Some(accelerator.clone()), ..LoadOptions::default() };
        let gpu = ExactModel::from_proto(&model, &options).unwrap();
        assert_same("after a breakdown", &expected, &gpu.run(inputs.clone(), &Pool::new(1)).unwrap());
        assert!(accelerator.breakdown().unwrap().to_string().contains("unplugged"));
        assert_same("ever since", &expected, &gpu.run(inputs.clone(), &Pool::new(1)).unwrap());
    }
}

/// On a machine with a GPU: the same comparison on it. Elsewhere: the error says what is missing.
#[test]
fn a_gpu_answers_as_the_cpu_does_where_there_is_one() {
    match cuda::open(0) {
        Ok(device) => {
            println!("comparing with {}", device.name());
            compare_all(&device);
        }
        Err(error) => {
            println!("no GPU here: {error}");
            assert!(error.to_string().contains("GPU"), "{error}");
        }
    }
}

/// NVRTC needs no GPU. `cargo xtask test` fetches it and says where it is; without it only the message is checked.
#[test]
fn ptx_rounds_every_operation_to_nearest() {
    if let Some(folder) = std::env::var_os("FOREBLOCK_NVRTC")
        && std::env::var_os("LD_LIBRARY_PATH").as_ref() != Some(&folder)
    {
        // Libraries are looked for where this said when the process started.
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "ptx_rounds_every_operation_to_nearest"]).env("LD_LIBRARY_PATH", folder);
        assert!(again.status().unwrap().success());
        return;
    }
    let ptx = match cuda::compile("compute_80") {
        Ok(ptx) => ptx,
        Err(error) => {
            assert!(std::env::var_os("FOREBLOCK_NVRTC").is_none(), "NVRTC was provisioned, but: {error}");
            assert!(error.to_string().contains("libnvrtc"), "{error}");
            return println!("not checked, no NVRTC here: {error}");
        }
    };
    let mut counted = std::collections::BTreeMap::<String, usize>::new();
    let of_floats = |word: &&str| !word.starts_with('.') && (word.contains(".f32") || word.contains(".f64"));
    for word in ptx.split_whitespace().filter(of_floats) {
        *counted.entry(word.trim_end_matches(';').to_owned()).or_default() += 1;
    }
    println!("{counted:?}");
    assert!(counted.get("fma.rn.f32").is_some_and(|count| *count > 50), "{counted:?}");
    for operation in counted.keys() {
        let parts: Vec<_> = operation.split('.').collect();
        let rounds = matches!(parts[0], "add" | "sub" | "mul" | "fma" | "div" | "sqrt" | "rcp" | "cvt");
        let exact = matches!(parts[0], "mov" | "ld" | "st" | "setp" | "selp" | "neg" | "abs" | "min" | "max");
        assert!(exact || rounds && parts.contains(&"rn"), "{operation} is not rounded to nearest");
        let approximate = ["approx", "ftz", "full", "sat"].iter().find(|word| parts.contains(word));
        assert_eq!(approximate, None, "{operation}");
    }
    for kernel in cuda::KERNELS {
        assert!(ptx.contains(&format!(".entry {kernel}(")), "{kernel} is missing");
    }
}

/// Graphs of single operators, for what no model here uses.
mod operators {
    use foreblock_engine::onnx::proto::*;

    fn info(name: &str, dims: &[i64]) -> ValueInfoProto {
        // The first dimension is free.
        let value = |(i, d): (usize, &i64)| (i > 0).then_some(DimensionValue::Value(*d));
        let dim = dims.iter().enumerate().map(|d| DimensionProto { value: value(d) }).collect();
        let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
        let kind = TypeProto { value: Some(TypeValue::Tensor(tensor)) };
        ValueInfoProto { name: Some(name.into()), r#type: Some(kind), doc_string: None }
    }

    fn constant(name: &str, dims: &[i64], values: impl Fn(usize) -> f32) -> TensorProto {
        let count = dims.iter().product::<i64>() as usize;
        let raw: Vec<u8> = (0..count).flat_map(|i| values(i).to_le_bytes()).collect();
        TensorProto {
            dims: dims.into(),
            data_type: Some(1),
            raw_data: Some(raw.into()),
            name: Some(name.into()),
            ..Default::default()
        }
    }

    fn graph(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, dims: &[i64]) -> ModelProto {
        let opset = OperatorSetIdProto { domain: None, version: Some(24) };
        let graph = GraphProto {
            node: nodes,
            initializer: constants,
            input: vec![info("x", dims)],
            output: vec![ValueInfoProto { name: Some("y".into()), ..info("y", &[]) }],
            ..Default::default()
        };
        ModelProto { ir_version: Some(10), opset_import: vec![opset], graph: Some(graph), ..Default::default() }
    }

    fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
        NodeProto {
            op_type: Some(op.into()),
            input: inputs.iter().map(|name| (*name).into()).collect(),
            output: vec![output.into()],
            attribute,
            ..Default::default()
        }
    }

    fn int(name: &str, value: i64) -> AttributeProto {
        let (name, kind) = (Some(name.into()), Some(attribute_type::INT));
        AttributeProto { name, i: Some(value), r#type: kind, ..Default::default() }
    }

    fn ints(name: &str, values: &[i64]) -> AttributeProto {
        let (name, kind) = (Some(name.into()), Some(attribute_type::INTS));
        AttributeProto { name, ints: values.into(), r#type: kind, ..Default::default() }
    }

    fn text(name: &str, value: &'static str) -> AttributeProto {
        let (name, kind) = (Some(name.into()), Some(attribute_type::STRING));
        AttributeProto { name, s: Some(value.as_bytes().into()), r#type: kind, ..Default::default() }
    }

    /// Floats of all sizes: powers of two times odd mantissas.
    fn wild(i: usize) -> f32 {
        let bits = (i as u32).wrapping_mul(2_654_435_761);
        f32::from_bits(bits & 0xbfff_ffff | 0x2000_0000)
    }

    pub(crate) fn graphs() -> Vec<(String, ModelProto)> {
        let mut graphs = Vec::new();
        let functions =
            "Abs Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Log Neg Reciprocal Relu Sigmoid Sqrt Swish Tanh";
        for op in functions.split(' ') {
            // The constants' rows hold what inputs between -2 and 2 do not.
            let nodes = vec![node("Mul", &["x", "c"], "z", vec![]), node(op, &["z"], "y", vec![])];
            graphs.push((op.into(), graph(nodes, vec![constant("c", &[1, 700], wild)], &[3, 700])));
        }
        let tanh = node("Gelu", &["x"], "y", vec![text("approximate", "tanh")]);
        graphs.push(("Gelu by tanh".into(), graph(vec![tanh], vec![], &[3, 50])));
        for op in ["Add", "Sub", "Mul", "Div", "Max", "Min"] {
            let c = constant("c", &[5, 1, 7], wild);
            graphs.push((op.into(), graph(vec![node(op, &["x", "c"], "y", vec![])], vec![c], &[3, 1, 4, 7])));
        }
        for op in ["ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceSumSquare"] {
            let nodes = vec![node("Mul", &["x", "c"], "z", vec![]), node(op, &["z", "axes"], "y", vec![])];
            let mut axes = constant("axes", &[], |_| 0.0);
            (axes.dims, axes.data_type) = (vec![2], Some(7));
            axes.raw_data = Some([(-2i64).to_le_bytes(), (-1i64).to_le_bytes()].concat().into());
            let all = vec![constant("c", &[37], wild), axes];
            graphs.push((op.into(), graph(nodes, all, &[3, 5, 9, 37])));
        }
        for (op, attributes) in [
            ("Softmax", vec![]),
            ("LogSoftmax", vec![]),
            ("Transpose", vec![ints("perm", &[2, 0, 1])]),
            ("Softmax", vec![int("axis", 1)]),
        ] {
            graphs.push((op.into(), graph(vec![node(op, &["x"], "y", attributes)], vec![], &[3, 17, 29])));
        }
        for (op, inputs) in [("LayerNormalization", &["x", "s", "b"][..]), ("RMSNormalization", &["x", "s"][..])] {
            let constants = vec![constant("s", &[129], |i| i as f32 / 9.0), constant("b", &[129], wild)];
            graphs.push((op.into(), graph(vec![node(op, inputs, "y", vec![])], constants, &[3, 4, 129])));
        }
        // Longer than two blocks of k, and wider than a tile.
        let deep = vec![constant("w", &[700, 70], |i| (i % 89) as f32 / 31.0 - 1.4), constant("b", &[70], wild)];
        graphs
            .push(("MatMul".into(), graph(vec![node("MatMul", &["x", "w"], "y", vec![])], deep.clone(), &[3, 2, 700])));
        graphs.push(("Gemm".into(), graph(vec![node("Gemm", &["x", "w", "b"], "y", vec![])], deep, &[3, 700])));
        let both = vec![
            node("Transpose", &["x"], "t", vec![ints("perm", &[0, 2, 1])]),
            node("MatMul", &["x", "t"], "m", vec![]),
            node("Concat", &["m", "m"], "y", vec![int("axis", 1)]),
        ];
        graphs.push(("a batch of products, joined".into(), graph(both, vec![], &[3, 6, 20])));
        let weights = vec![constant("w", &[8, 2, 3, 2], |i| (i % 23) as f32 / 7.0 - 1.5), constant("b", &[8], wild)];
        let window =
            vec![ints("strides", &[2, 1]), ints("dilations", &[1, 2]), ints("pads", &[1, 0, 2, 3]), int("group", 2)];
        let conv = node("Conv", &["x", "w", "b"], "y", window);
        graphs.push(("Conv, grouped".into(), graph(vec![conv], weights, &[3, 4, 11, 9])));
        graphs
    }
}
