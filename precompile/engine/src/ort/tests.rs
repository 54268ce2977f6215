//! Against the real library, in real worker processes: this test binary is the worker.

use super::*;
use crate::{Tensor, model_dir::Files, onnx::proto::*};
use foreblock_precompile::FailureCode;
use prost::Message;
use std::path::Path;

/// The worker of these tests: started by them, it serves and ends without telling the test harness.
#[test]
fn worker_process() {
    if std::env::args().any(|argument| argument == "--exact") && std::env::args().any(|a| a.ends_with("worker_process"))
    {
        let code = worker_main();
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
}

fn config() -> OrtConfig {
    let arguments = ["--exact", "ort::tests::worker_process", "--nocapture", "--test-threads=1"];
    let program = std::env::current_exe().unwrap();
    OrtConfig { worker: Some((program, arguments.map(OsString::from).to_vec())), ..OrtConfig::default() }
}

/// The configuration with the real library; `None` where it is absent, which CI does not accept.
pub(crate) fn real() -> Option<OrtConfig> {
    let provisioned = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/provision/onnxruntime");
    let given = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from).unwrap_or(provisioned);
    let config = OrtConfig { library: Some(given.clone()), ..config() };
    match find_library(&config) {
        Ok(_) => Some(config),
        Err(_) => {
            let missing =
                format!("no ONNX Runtime in {}: run `cargo xtask test` or set ORT_DYLIB_PATH", given.display());
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            println!("skipped: {missing}");
            None
        }
    }
}

/// `y = <op>(x, …)`, every input called by its letter, of any shape with one dimension.
fn graph(op: &str, inputs: &[(&str, i32)], output: i32) -> Bytes {
    let info = |name: &str, kind| {
        let dim = vec![DimensionProto { value: Some(DimensionValue::Param("n".into())) }];
        let tensor = TensorTypeProto { elem_type: Some(kind), shape: Some(TensorShapeProto { dim }) };
        let value = Some(TypeValue::Tensor(tensor));
        ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { value }), doc_string: None }
    };
    let names = inputs.iter().map(|(name, _)| (*name).into()).collect();
    let node = NodeProto { input: names, output: vec!["y".into()], op_type: Some(op.into()), ..Default::default() };
    let graph = GraphProto {
        name: Some("g".into()),
        node: vec![node],
        input: inputs.iter().map(|(name, kind)| info(name, *kind)).collect(),
        output: vec![info("y", output)],
        ..Default::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() }.encode_to_vec().into()
}

use bytes::Bytes;

fn floats(values: &[f32]) -> Tensor {
    Tensor::vector(values.to_vec())
}

#[test]
fn a_model_runs_in_a_worker() {
    let Some(config) = real() else { return };
    let model = OrtModel::start(&graph("Add", &[("a", 1), ("b", 1)], 1), &Files::new(), 1, &config).unwrap();
    assert!(model.name().starts_with("onnxruntime 1."), "{}", model.name());
    assert_eq!(probe(&config).unwrap(), model.name());
    let sum = model.run(vec![floats(&[1.0, 2.0]), floats(&[0.5, -2.0])]).unwrap();
    assert_eq!(sum, [floats(&[1.5, 0.0])]);
    assert_eq!(model.run(vec![floats(&[]), floats(&[])]).unwrap(), [floats(&[])], "zero-sized");
}

#[test]
fn every_element_type_passes() {
    use half::{bf16, f16};
    let Some(config) = real() else { return };
    let texts = Tensor::vector(vec!["a".to_string(), "größe".into()]);
    for tensor in [
        floats(&[1.0, f32::MIN_POSITIVE / 4.0]),
        Tensor::vector(vec![1.0f64]),
        Tensor::vector(vec![f16::from_f32(1.5)]),
        Tensor::vector(vec![bf16::from_f32(1.5)]),
        Tensor::vector(vec![u8::MAX]),
        Tensor::vector(vec![i8::MIN]),
        Tensor::vector(vec![u16::MAX]),
        Tensor::vector(vec![i16::MIN]),
        Tensor::vector(vec![u32::MAX]),
        Tensor::vector(vec![i32::MIN]),
        Tensor::vector(vec![u64::MAX]),
        Tensor::vector(vec![i64::MIN]),
        Tensor::vector(vec![true, false]),
        texts,
    ] {
        let kind = tensor.element_type() as i32;
        let model = OrtModel::start(&graph("Identity", &[("x", kind)], kind), &Files::new(), 1, &config).unwrap();
        assert_eq!(model.run(vec![tensor.clone()]).unwrap(), [tensor]);
    }
}

#[test]
fn an_input_without_an_answer_is_a_failure_in_fixed_words() {
    let Some(config) = real() else { return };
    let model = OrtModel::start(&graph("Gather", &[("x", 1), ("i", 7)], 1), &Files::new(), 1, &config).unwrap();
    let ask = |index: i64| model.run(vec![floats(&[1.0, 2.0]), Tensor::vector(vec![index])]);
    assert_eq!(ask(1).unwrap(), [floats(&[2.0])]);
    match ask(7) {
        Err(RunError::Failed(failure)) => {
            assert_eq!(failure.code, FailureCode::Undefined);
            assert_eq!(failure.reason, "the graph has no answer for this input");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ask(0).unwrap(), [floats(&[1.0])], "the worker lives on");
}

#[test]
fn many_runs_are_answered_in_their_order_whatever_their_size_and_failures_stay_with_their_own() {
    let Some(config) = real() else { return };
    let model = OrtModel::start(&graph("Gather", &[("x", 1), ("i", 7)], 1), &Files::new(), 1, &config).unwrap();
    // Some lie in the pipe while the one before runs, and some are too large for that.
    let asked: Vec<(usize, i64)> = vec![(4, 1), (4, 3), (20_000, 9_999), (4, 7), (100_000, 99_999), (4, 0), (4, 2)];
    let run = |(length, index): &(usize, i64)| {
        let numbers: Vec<f32> = (0..*length).map(|number| number as f32).collect();
        vec![floats(&numbers), Tensor::vector(vec![*index])]
    };
    let answers = model.run_all(asked.iter().map(run).collect());
    assert_eq!(answers.len(), asked.len());
    for ((length, index), answer) in asked.into_iter().zip(answers) {
        match answer {
            Ok(outputs) => assert_eq!(outputs, [floats(&[index as f32])], "number {index} of {length}"),
            Err(error) => assert!(matches!(error, RunError::Failed(_)) && index == 7, "{error:?}"),
        }
    }
    assert!(model.run_all(Vec::new()).is_empty());
}

#[test]
fn a_worker_that_breaks_answers_nothing_behind_and_is_started_again() {
    let Some(config) = real() else { return };
    let config = OrtConfig { run_time_max: Duration::from_millis(1), ..config };
    let model = OrtModel::start(&slow_graph(3_000), &Files::new(), 1, &config).unwrap();
    let run = || vec![Tensor::new([3_000, 1], vec![1f32; 3_000]).unwrap()];
    let answers = model.run_all(vec![run(), run(), run()]);
    let why: Vec<String> = answers
        .into_iter()
        .map(|answer| match answer {
            Err(RunError::Broke(error)) => error.to_string(),
            other => panic!("{:?}", other.map(|_| "an answer")),
        })
        .collect();
    assert!(why[0].contains("took longer") && why[1..].iter().all(|why| why.contains("before this one")), "{why:?}");
    assert!(matches!(model.run(run()), Err(RunError::Broke(OrtError::BackingOff { failures: 1, .. }))));
}

#[test]
#[cfg(unix)]
fn a_killed_worker_is_started_again() {
    let Some(config) = real() else { return };
    let model = OrtModel::start(&graph("Relu", &[("x", 1)], 1), &Files::new(), 1, &config).unwrap();
    let first = model.worker_id().unwrap();
    let pid = rustix::process::Pid::from_raw(first as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    match model.run(vec![floats(&[1.0])]) {
        Err(RunError::Broke(OrtError::Died(how))) => assert!(how.contains("signal: 9"), "{how}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(model.run(vec![floats(&[1.0])]), Err(RunError::Broke(OrtError::BackingOff { failures: 1, .. }))));
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(model.run(vec![floats(&[-1.0])]).unwrap(), [floats(&[0.0])]);
    assert_ne!(model.worker_id().unwrap(), first);
}

#[test]
fn a_worker_that_takes_too_long_is_killed() {
    let Some(config) = real() else { return };
    let config = OrtConfig { run_time_max: Duration::from_millis(1), ..config };
    // A product of 3,000 x 3,000 matrices, made from two vectors, takes longer than a millisecond.
    let model = OrtModel::start(&slow_graph(3_000), &Files::new(), 1, &config).unwrap();
    let patience = |result| matches!(result, Err(RunError::Broke(OrtError::TimedOut(_))));
    assert!(patience(model.run(vec![Tensor::new([3_000, 1], vec![1f32; 3_000]).unwrap()])));
    assert_eq!(model.worker_id(), None);
}

/// `y = (x x^T)(x x^T)` for x of n rows.
fn slow_graph(n: i64) -> Bytes {
    let info = |name: &str, shape: [i64; 2]| {
        let dim = shape.map(|n| DimensionProto { value: Some(DimensionValue::Value(n)) }).to_vec();
        let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
        let value = Some(TypeValue::Tensor(tensor));
        ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { value }), doc_string: None }
    };
    let node = |op: &str, input: &[&str], output: &str| NodeProto::new("", op, input, output);
    let graph = GraphProto {
        name: Some("g".into()),
        node: vec![node("Transpose", &["x"], "t"), node("MatMul", &["x", "t"], "m"), node("MatMul", &["m", "m"], "y")],
        input: vec![info("x", [n, 1])],
        output: vec![info("y", [n, n])],
        ..Default::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() }.encode_to_vec().into()
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_cannot_take_more_memory_than_allowed() {
    let Some(config) = real() else { return };
    let config = OrtConfig { memory_bytes_max: 1 << 30, ..config };
    // Two 20,000 x 20,000 matrices are 3.2 GB.
    let model = OrtModel::start(&slow_graph(20_000), &Files::new(), 1, &config).unwrap();
    let result = model.run(vec![Tensor::new([20_000, 1], vec![1f32; 20_000]).unwrap()]);
    assert!(matches!(result, Err(RunError::Broke(_))), "{:?}", result.map(|_| "an answer"));
}

#[test]
fn a_wrong_or_missing_library_is_an_error_with_advice() {
    let home = tempfile::tempdir().unwrap();
    let missing = OrtConfig { library: Some(home.path().join("nothing.so")), ..config() };
    let error = probe(&missing).unwrap_err().to_string();
    assert!(error.contains("nothing.so") && error.contains("foreblock setup"), "{error}");
    let text = home.path().join("libonnxruntime.so");
    std::fs::write(&text, "not a library").unwrap();
    let error = probe(&OrtConfig { library: Some(text), ..config() }).unwrap_err().to_string();
    assert!(error.contains("cannot be used") && error.contains("--engine exact"), "{error}");
    #[cfg(target_os = "linux")]
    if let Some(libc) =
        ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6"].iter().find(|path| Path::new(path).exists())
    {
        let error = probe(&OrtConfig { library: Some(libc.into()), ..config() }).unwrap_err().to_string();
        assert!(error.contains("does not export `OrtGetApiBase`"), "{error}");
    }
}

#[test]
fn a_program_that_is_no_worker_is_noticed() {
    for (program, arguments) in [("/bin/true", vec![]), ("/bin/echo", vec![OsString::from("hello")])] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let library = Some(file.path().to_owned());
        let config = OrtConfig { library, worker: Some((program.into(), arguments)), ..OrtConfig::default() };
        assert!(matches!(probe(&config), Err(OrtError::Died(_))), "{program}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let worker = Some(("/no/such/program".into(), vec![]));
    let config = OrtConfig { library: Some(file.path().to_owned()), worker, ..OrtConfig::default() };
    assert!(matches!(probe(&config), Err(OrtError::Start { .. })));
}

#[test]
fn a_broken_model_is_an_error() {
    let Some(config) = real() else { return };
    let error =
        OrtModel::start(&graph("NoSuchOperator", &[("x", 1)], 1), &Files::new(), 1, &config).err().unwrap().to_string();
    assert!(error.starts_with("ONNX Runtime does not load the model: "), "{error}");
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_with_advice() {
    let Some(config) = real() else { return };
    for (device, advice) in [(Device::Cuda, "foreblock setup --cuda"), (Device::TensorRt, "TensorRT's libraries")] {
        // CI's library is the one without GPUs; a node says so when it starts, before any request.
        match probe(&OrtConfig { device, ..config.clone() }) {
            Err(OrtError::Load(reason)) => assert!(reason.contains(advice), "{reason}"),
            Ok(name) => assert!(name.contains(device.name()), "{name}"),
            Err(other) => panic!("{other}"),
        }
    }
}
