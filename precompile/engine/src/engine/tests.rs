use super::*;
use crate::{
    ModelDir, Pool,
    engine::facts::BatchTiming,
    model_dir::Files,
    onnx::proto::*,
    publish::{PublishOptions, publish_exact},
    wire,
};
use foreblock_precompile::{
    FailureCode,
    abi::{DType, Tensor as WireTensor},
};
use prost::Message;

/// `y = <op>(x)` over rows of two floats.
fn graph(op: &str) -> Vec<u8> {
    let dim = |value| DimensionProto { value: Some(value) };
    let info = |name: &str| {
        let dims = vec![dim(DimensionValue::Param("rows".into())), dim(DimensionValue::Value(2))];
        let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(TensorShapeProto { dim: dims }) };
        let value = Some(TypeValue::Tensor(tensor));
        ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { value }), doc_string: None }
    };
    let (input, output) = (vec!["x".into()], vec!["y".into()]);
    let node = NodeProto { input, output, op_type: Some(op.into()), ..Default::default() };
    let graph = GraphProto { node: vec![node], input: vec![info("x")], output: vec![info("y")], ..Default::default() };
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
    ModelProto { graph: Some(graph), opset_import, ..Default::default() }.encode_to_vec()
}

fn input(rows: &[[&str; 2]]) -> Bytes {
    let data: Vec<u8> =
        rows.iter().flatten().flat_map(|text| wire::fixed::parse_wad(text).unwrap().to_be_bytes::<32>()).collect();
    wire::write(&[WireTensor { dtype: DType::Wad, shape: vec![rows.len() as u32, 2], data: data.into() }])
}

struct Fixture {
    engine: Engine,
    id: ModelId,
    dir: ModelDir,
    _home: tempfile::TempDir,
}

fn fixture(op: &str, notes: Files) -> Fixture {
    let home = tempfile::tempdir().unwrap();
    let dir = ModelDir::new(home.path());
    let options = PublishOptions {
        rows_max: 64,
        golden_inputs: vec![input(&[["0.5", "-1.25"]]).into()],
        ..PublishOptions::new("twice")
    };
    let published = publish_exact(graph(op).into(), options, &Pool::new(1)).unwrap();
    dir.add(&published.manifest, &published.files, &notes).unwrap();
    let engine = Engine::new(Catalog::new(Some(dir.clone())), Config { threads: 1, ..Config::default() });
    Fixture { engine, id: published.manifest.id(), dir, _home: home }
}

fn facts_note() -> Files {
    let timings = [1, 2, 64].map(|rows| BatchTiming { rows, micros: 10.0 }).to_vec();
    let facts = BatchFacts { rows_independent: true, timings };
    [("facts.json".to_string(), serde_json::to_vec(&facts).unwrap().into())].into()
}

#[test]
fn an_input_becomes_an_output() {
    let fixture = fixture("Relu", Files::new());
    assert_eq!(fixture.engine.facts(fixture.id).unwrap().state, State::NotLoaded);
    let outcomes = fixture.engine.run(fixture.id, &[input(&[["1.5", "-2"], ["0.25", "3"]])]);
    assert_eq!(outcomes, [Ok(Outcome::Output(input(&[["1.5", "0"], ["0.25", "3"]])))]);
    let facts = fixture.engine.facts(fixture.id).unwrap();
    assert_eq!(facts.state, State::Ready);
    assert!(facts.run_time.is_some() && facts.engine.starts_with("exact ("), "{facts:?}");
    assert_eq!(fixture.engine.catalog().find("twice").unwrap().manifest, facts.manifest);
}

#[test]
fn merged_and_single_runs_agree_and_failures_stay_with_their_row() {
    let inputs = vec![
        input(&[["1.5", "-2"]]),
        Bytes::from_static(b"malformed"),
        input(&[["0.1", "0.2"], ["0.3", "0.4"]]),
        input(&[["1e39", "1"]]),
        input(&[["7", "8"]]),
    ];
    let single = fixture("Relu", Files::new());
    let merged = fixture("Relu", facts_note());
    assert_eq!(merged.engine.facts(merged.id).unwrap().batch.rows_worth_merging(), 64);
    let expected = single.engine.run(single.id, &inputs);
    assert_eq!(merged.engine.run(merged.id, &inputs), expected);
    let code = |index: usize| match &expected[index] {
        Ok(Outcome::Failed(failure)) => Some(failure.code),
        _ => None,
    };
    assert_eq!(
        [0, 1, 2, 3, 4].map(code),
        [None, Some(FailureCode::WrongType), None, Some(FailureCode::OutOfRange), None]
    );
}

#[test]
fn an_unknown_model_is_unavailable_for_every_input() {
    let fixture = fixture("Relu", Files::new());
    let outcomes = fixture.engine.run(ModelId::ZERO, &[Bytes::new(), Bytes::new()]);
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Unavailable::NotHere(_)))), "{outcomes:?}");
}

#[test]
fn changed_files_are_not_served() {
    let fixture = fixture("Relu", Files::new());
    std::fs::write(fixture.dir.path(fixture.id).join("model.onnx"), graph("Identity")).unwrap();
    let outcomes = fixture.engine.run(fixture.id, &[input(&[["1", "1"]])]);
    assert!(outcomes[0].as_ref().unwrap_err().to_string().contains("fetch or add the model again"), "{outcomes:?}");
    assert!(matches!(fixture.engine.facts(fixture.id).unwrap().state, State::Failed(_)));
}

#[test]
fn a_machine_that_computes_otherwise_does_not_serve() {
    // A manifest whose golden vector belongs to another graph stands for a machine with wrong arithmetic.
    let home = tempfile::tempdir().unwrap();
    let dir = ModelDir::new(home.path());
    let make = |op: &str, files: Files| {
        let golden_inputs = if files.is_empty() { vec![input(&[["1", "-1"]]).into()] } else { vec![] };
        let options = PublishOptions { golden_inputs, others: files, ..PublishOptions::new("m") };
        publish_exact(graph(op).into(), options, &Pool::new(1)).unwrap()
    };
    let mut files = make("Relu", Files::new()).files;
    files.remove("model.onnx");
    let published = make("Identity", files);
    dir.add(&published.manifest, &published.files, &Files::new()).unwrap();
    let engine = Engine::new(Catalog::new(Some(dir)), Config::default());
    let error = engine.load(published.manifest.id()).unwrap_err().to_string();
    assert!(error.contains("golden vector 0: expected 0x") && error.contains("does not serve"), "{error}");
}

#[test]
fn a_panic_does_not_cross_the_boundary() {
    let error = guarded::<()>(|| panic!("on purpose")).unwrap_err();
    assert_eq!(error, Unavailable::Broke("a panic: on purpose; please report it".into()));
}

#[test]
fn many_threads_share_an_engine() {
    let fixture = fixture("Relu", Files::new());
    fixture.engine.preload(fixture.id);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let outcomes = fixture.engine.run(fixture.id, &[input(&[["1", "2"]])]);
                    assert_eq!(outcomes, [Ok(Outcome::Output(input(&[["1", "2"]])))]);
                }
            });
        }
    });
}
