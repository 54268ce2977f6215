//! Whole certifications; those with ONNX Runtime run where the library is provisioned.

use super::*;
use crate::{
    engine::{Config, Engine},
    golden::GOLDEN_FILE,
    model_dir::Files,
    onnx::proto::*,
    rewrite::to_proto,
};
use foreblock_precompile::Outcome;
use prost::Message;

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |n: &i64| match n {
        -1 => DimensionValue::Param("N".into()),
        n => DimensionValue::Value(*n),
    };
    let dim = dims.iter().map(|n| DimensionProto { value: Some(dim(n)) }).collect();
    let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) });
    ValueInfoProto { name: Some(name.into()), r#type, doc_string: None }
}

/// `tanh(x W)` with the operators of `tail` behind it.
fn perceptron(tail: &[(&str, &str)]) -> Bytes {
    let weights: Vec<f32> = (0..64 * 8).map(|i| ((i * 37 % 101) as f32 - 50.0) / 97.0).collect();
    let mut nodes = vec![NodeProto::new("", "MatMul", &["x", "w"], "h0"), NodeProto::new("", "Tanh", &["h0"], "h1")];
    let mut last = String::from("h1");
    for (index, (domain, op)) in tail.iter().enumerate() {
        let next = format!("t{index}");
        nodes.push(NodeProto::new(domain, op, &[&last], &next));
        last = next;
    }
    nodes.push(NodeProto::new("", "Identity", &[&last], "y"));
    let graph = GraphProto {
        name: Some("g".into()),
        node: nodes,
        initializer: vec![to_proto("w", &Tensor::new([64, 8], weights).unwrap())],
        input: vec![value("x", &[-1, 64])],
        output: vec![value("y", &[-1, 8])],
        ..Default::default()
    };
    let set = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    let opset_import = vec![set("", 17), set("com.microsoft", 1)];
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() }.encode_to_vec().into()
}

fn options(profile: Wanted, ort: OrtConfig) -> CertifyOptions {
    CertifyOptions {
        publish: PublishOptions { rows_max: 4, ..PublishOptions::new("perceptron") },
        cases: None,
        profile,
        ort,
        // However slow the machine is.
        cell_time_max: Duration::MAX,
    }
}

fn run(graph: &Bytes, options: CertifyOptions) -> Result<Certified, CertifyError> {
    certify(graph, options, &mut |_| {})
}

/// A configuration by which no library is found.
fn nowhere() -> OrtConfig {
    OrtConfig { library: Some("/nowhere".into()), ..OrtConfig::default() }
}

#[test]
fn an_exact_model_is_equal_over_all_settings_and_carries_golden_vectors() {
    let certified = run(&perceptron(&[]), options(Wanted::Best, nowhere())).unwrap();
    let report = &certified.report;
    let matrix = report.matrix.as_ref().unwrap();
    assert_eq!(report.profile, "exact-f32/v1");
    assert!(matrix.cells.len() >= 12 && matrix.cells.iter().all(|cell| cell.equal) && matrix.rows_independent);
    assert!(report.golden_vectors > 0 && certified.published.files.contains_key(GOLDEN_FILE));
    assert_eq!(
        (report.multiply_adds, report.gas_per_run),
        (4 * 64 * 8, 2_000 + 2 + report.bytes_moved.div_ceil(1_000))
    );
    assert!(report.notes[0].contains("not compared with ONNX Runtime"), "{:?}", report.notes);
    let (text, page) = (report.to_string(), html(report));
    assert!(text.contains("equal, byte for byte") && page.contains("<td>equal</td>") && !page.contains("DIFFERENT"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["modelId"], certified.published.manifest.id().to_string());
}

#[test]
fn what_exporters_of_tabular_models_write_is_certified_as_exact() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/ml/models");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let graph = std::fs::read(&path).unwrap().into();
        match run(&graph, options(Wanted::Exact, nowhere())) {
            Ok(certified) => {
                let matrix = certified.report.matrix.as_ref().unwrap();
                if !matrix.cells.iter().all(|cell| cell.equal) || certified.report.golden_vectors == 0 {
                    wrong.push(format!("{}: {}", path.display(), certified.report));
                }
            }
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_exact_answer_is_compared_with_onnx_runtimes_over_its_settings() {
    let Some(ort) = crate::ort::tests::real() else { return };
    let certified = run(&perceptron(&[]), options(Wanted::Best, ort)).unwrap();
    let report = &certified.report;
    assert_eq!(report.comparisons.len(), 9, "three thread counts, three levels, three batches");
    assert!(report.comparisons.iter().all(|row| row.cases == report.cases || row.setting.batch > 1));
    assert!(report.comparisons.iter().any(|row| row.outputs[0].different > 0), "tanh is not the same function");
    assert!(html(report).contains("<svg"));
}

#[test]
fn what_the_exact_engine_lacks_gets_a_tolerance_and_is_served_by_onnx_runtime() {
    let Some(ort) = crate::ort::tests::real() else { return };
    let graph = perceptron(&[("com.microsoft", "QuickGelu")]);
    let certified = run(&graph, options(Wanted::Best, ort.clone())).unwrap();
    let manifest = &certified.published.manifest;
    assert_eq!((manifest.profile(), manifest.fields().tolerances.len()), (foreblock_precompile::Profile::Tolerance, 1));
    let eps = &certified.report.outputs[0];
    assert!(eps.tolerance.as_ref().unwrap().parse::<f64>().unwrap() >= TOLERANCE_MARGIN * eps.spread);
    assert!(certified.report.notes[0].contains("not exact"), "{:?}", certified.report.notes);
    assert!(manifest.fields().cost.multiplyAdds >= 4 * 64 * 8, "counted from shapes");

    let home = tempfile::tempdir().unwrap();
    let dir = crate::ModelDir::new(home.path());
    dir.add(manifest, &certified.published.files, &Files::new()).unwrap();
    let config = Config { kind: crate::Kind::Ort, threads: 1, ort, ..Config::default() };
    let engine = Engine::new(crate::Catalog::new(Some(dir)), config);
    let specs = manifest.inputs();
    let mut any = |tensors: Vec<Tensor>| Ok(tensors);
    let case = cases::made_up(specs, &PublishOptions::new("m"), &mut any).unwrap().remove(2);
    let outcome = engine.run(manifest.id(), &[case.input]).remove(0).unwrap();
    assert!(matches!(outcome, Outcome::Output(_)), "{outcome:?}");
}

#[test]
fn a_tolerance_of_an_exact_model_counts_the_exact_engine_too() {
    let Some(ort) = crate::ort::tests::real() else { return };
    let certified = run(&perceptron(&[]), options(Wanted::Tolerance, ort)).unwrap();
    assert_eq!(certified.report.comparisons.last().unwrap().setting.engine, "exact");
    assert!(certified.report.outputs[0].spread > 0.0);
}

#[test]
fn without_onnx_runtime_an_unsupported_operator_is_explained() {
    let graph = perceptron(&[("com.microsoft", "QuickGelu")]);
    let error = run(&graph, options(Wanted::Best, nowhere())).unwrap_err().to_string();
    assert!(error.contains("QuickGelu") && error.contains("foreblock setup"), "{error}");
    let error = run(&graph, options(Wanted::Exact, nowhere())).unwrap_err();
    assert!(matches!(error, CertifyError::NotExact(_)), "{error}");
}

#[test]
fn quantised_models_are_certified_as_integers() {
    let ort = crate::ort::tests::real().unwrap_or_else(nowhere);
    for name in ["mlp-qdq-u8", "branches-qop-u8"] {
        let path = format!("{}/tests/data/i8/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        let graph: Bytes = std::fs::read(path).unwrap().into();
        let certified = run(&graph, options(Wanted::Integer, ort.clone())).unwrap();
        let (report, manifest) = (&certified.report, &certified.published.manifest);
        assert_eq!(report.profile, "exact-i8/v1");
        assert!(report.outputs[0].step.is_some() && report.golden_vectors > 0);
        let home = tempfile::tempdir().unwrap();
        let dir = crate::ModelDir::new(home.path());
        dir.add(manifest, &certified.published.files, &Files::new()).unwrap();
        let engine = Engine::new(crate::Catalog::new(Some(dir)), Config { threads: 1, ..Config::default() });
        engine.load(manifest.id()).unwrap();
    }
    let error = run(&perceptron(&[]), options(Wanted::Integer, nowhere())).unwrap_err().to_string();
    assert!(error.contains("is not quantised"), "{error}");
}

fn refused(graph: &Bytes) -> String {
    run(graph, options(Wanted::Best, nowhere())).unwrap_err().to_string()
}

#[test]
fn random_operators_are_refused() {
    assert!(refused(&perceptron(&[("", "RandomNormalLike")])).contains("RandomNormalLike is refused"));
}

#[test]
fn custom_operators_are_refused() {
    assert!(refused(&perceptron(&[("evil.corp", "Run")])).contains("custom operator"));
}

#[test]
fn unbounded_loops_are_refused() {
    assert!(refused(&perceptron(&[("", "Loop")])).contains("depends on values"));
}

#[test]
fn weights_outside_the_folder_are_refused() {
    let mut model = onnx_of(&perceptron(&[]));
    let weights = &mut model.graph.as_mut().unwrap().initializer[0];
    weights.raw_data = None;
    weights.data_location = Some(1);
    let location = StringStringEntryProto { key: Some("location".into()), value: Some("../secret".into()) };
    weights.external_data = vec![location];
    assert!(refused(&model.encode_to_vec().into()).contains("no file of the model"));
}

#[test]
fn absurd_sizes_are_refused() {
    let mut model = onnx_of(&perceptron(&[]));
    model.graph.as_mut().unwrap().initializer[0].dims = vec![1 << 40, 1 << 30];
    assert!(refused(&model.encode_to_vec().into()).contains("absurd"));
    let options = CertifyOptions {
        publish: PublishOptions { rows_max: 1 << 31, ..PublishOptions::new("perceptron") },
        ..options(Wanted::Best, nowhere())
    };
    let error = run(&perceptron(&[]), options).unwrap_err().to_string();
    assert!(error.contains("--rows"), "{error}");
}

#[test]
fn cases_that_do_not_fit_are_explained() {
    let graph = perceptron(&[]);
    let with = |cases: &[u8]| CertifyOptions {
        cases: Some(Bytes::copy_from_slice(cases)),
        ..options(Wanted::Best, nowhere())
    };
    let error = run(&graph, with(b"no archive")).unwrap_err().to_string();
    assert!(error.contains(".npz"), "{error}");
}

fn onnx_of(file: &Bytes) -> ModelProto {
    crate::onnx::decode(file.clone(), &Limits::default()).unwrap()
}

#[test]
fn a_language_model_is_equal_token_by_token() {
    let bundled = crate::catalog::bundled().iter().find(|model| model.manifest.name() == "tiny-chat").unwrap();
    let others = bundled.files.iter().filter(|(name, _)| ![GRAPH_FILE, GOLDEN_FILE].contains(&name.as_str()));
    let publish = PublishOptions {
        others: others.map(|(name, content)| (name.clone(), content.clone())).collect(),
        ..PublishOptions::new("tiny")
    };
    let with = |cases: &'static [u8]| CertifyOptions {
        publish: publish.clone(),
        cases: Some(Bytes::from_static(cases)),
        ..options(Wanted::Best, nowhere())
    };
    let graph = &bundled.files[GRAPH_FILE];
    let certified = run(graph, with("The film\n\nIs this größer?\n".as_bytes())).unwrap();
    let report = &certified.report;
    let matrix = report.matrix.as_ref().unwrap();
    assert_eq!((report.profile.as_str(), report.cases, report.golden_vectors), ("exact-text/v1", 2, 2));
    assert_eq!((matrix.cells.len(), matrix.skipped), (12 * crate::Isa::available().len(), 0), "{matrix:?}");
    assert!(matrix.cells.iter().all(|cell| cell.equal), "{matrix:?}");
    assert!(report.notes[0].contains("logits before each"), "{:?}", report.notes);
    assert_eq!(certified.published.manifest.fields().cost, bundled.manifest.fields().cost);
    assert!(matches!(run(graph, with(b"\xff")), Err(CertifyError::Input(_))));
    assert!(matches!(run(graph, with(b"\n")), Err(CertifyError::NoCase { .. })));
}
