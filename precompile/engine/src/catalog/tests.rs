use super::*;
use crate::{
    Engine, ExactModel, LoadOptions, Pool,
    catalog::bundled::NAMES,
    certify::measure_batching,
    engine::Config,
    input::{self, Format},
    publish::{PublishOptions, publish_exact, publish_text},
    text::TextRequest,
    wire,
};
use foreblock_precompile::{FailureCode, Outcome, abi::DType};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

/// Rows of one request, and bytes of a text, that bundled models are priced for: rows of text would cost too much.
fn largest(name: &str) -> (usize, usize) {
    if name == "text" { (1, 1_024) } else { (16, 128) }
}

/// Recorded cases that become golden vectors.
const GOLDEN: usize = 8;

/// What Python recorded of ONNX Runtime.
#[derive(serde::Deserialize)]
struct Recorded {
    absolute_error_max: BTreeMap<String, f64>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    inputs: Vec<Named>,
    outputs: Vec<Named>,
}

#[derive(serde::Deserialize)]
struct Named {
    name: String,
    shape: Vec<usize>,
    data: Box<RawValue>,
}

fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "models", name].iter().collect()
}

fn recorded(name: &str) -> Recorded {
    serde_json::from_slice(&fs::read(folder(name).join("vectors.json")).unwrap()).unwrap()
}

fn wire_input(case: &Case, specs: &[foreblock_precompile::abi::TensorSpec]) -> Bytes {
    let field = |input: &Named| {
        let flat: Vec<&RawValue> = serde_json::from_str(input.data.get()).unwrap();
        let flat: Vec<&str> = flat.into_iter().map(RawValue::get).collect();
        format!("{:?}: {}", input.name, nested(&flat, &input.shape))
    };
    let text = format!("{{{}}}", case.inputs.iter().map(field).collect::<Vec<_>>().join(", "));
    wire::write(&input::parse(text.as_bytes(), Format::Json, specs).unwrap()).0
}

/// A flat list as nested lists of this shape.
fn nested(flat: &[&str], shape: &[usize]) -> String {
    let Some((length, inner)) = shape.split_first() else { return flat[0].into() };
    let parts = flat.chunks(flat.len().div_ceil((*length).max(1)).max(1)).map(|part| nested(part, inner));
    format!("[{}]", parts.collect::<Vec<_>>().join(", "))
}

/// `manifest.json`, `golden.json` and `facts.json` follow from the graph: with `FOREBLOCK_BLESS=1` this test writes
/// them, without it they must be right. Timings are this machine's, so of `facts.json` only the rest is compared.
#[test]
fn bundled_files_are_what_publishing_gives() {
    let bless = std::env::var_os("FOREBLOCK_BLESS").is_some();
    let pool = Pool::new(1);
    for name in NAMES {
        let graph: Bytes = fs::read(folder(name).join("model.onnx")).unwrap().into();
        let model = ExactModel::load(graph.clone(), &LoadOptions::default()).unwrap();
        let specs = crate::publish::specs(model.inputs()).unwrap();
        let inputs: Vec<Bytes> =
            recorded(name).cases.iter().take(GOLDEN).map(|case| wire_input(case, &specs)).collect();
        let rows: Vec<_> = inputs.iter().map(|input| wire::decode_input(input, &specs).unwrap()).collect();
        let facts = measure_batching(&model, &rows, &pool).unwrap();
        assert!(facts.rows_independent, "{name}");
        let (rows_max, length_max) = largest(name);
        let options = PublishOptions { rows_max, length_max, golden_inputs: inputs, ..PublishOptions::new(name) };
        let published = publish_exact(graph, options, &pool).unwrap();
        let expected = [
            ("manifest.json", published.manifest.to_json().into()),
            ("golden.json", published.files["golden.json"].clone()),
        ];
        for (file, content) in expected {
            let path = folder(name).join(file);
            if bless {
                fs::write(&path, &content).unwrap();
            }
            let advice = format!("{}: run this test with FOREBLOCK_BLESS=1", path.display());
            assert!(fs::read(&path).unwrap() == content, "{advice}");
        }
        if bless {
            fs::write(folder(name).join("facts.json"), serde_json::to_string_pretty(&facts).unwrap() + "\n").unwrap();
        }
    }
}

/// The same for the language model, whose golden vectors are conversations.
#[test]
fn bundled_text_files_are_what_publishing_gives() {
    let bless = std::env::var_os("FOREBLOCK_BLESS").is_some();
    let folder = folder("tiny-chat");
    let read = |name: &str| Bytes::from(fs::read(folder.join(name)).unwrap());
    let others = ["tokenizer.json", "chat_template.jinja", "generation_config.json"];
    let user = |text: &str| TextRequest::new(vec![("user".into(), text.into())]);
    let asked = "Is this positive, negative or neutral?\nThe battery died after a week.";
    let options = ["choice", "positive", "negative", "neutral"].map(String::from).to_vec();
    let golden = [
        TextRequest { constraint: options, ..user(asked) },
        TextRequest { tokens_max: 12, ..user("Write a positive text about film.") },
        TextRequest { tokens_max: 12, temperature_wad: 1_000_000_000_000_000_000, seed: 7, ..user("Write a tweet.") },
    ];
    let options = PublishOptions {
        others: others.iter().map(|name| (name.to_string(), read(name))).collect(),
        golden_inputs: golden.iter().map(|request| request.to_wire().0).collect(),
        ..PublishOptions::new("tiny-chat")
    };
    let published = publish_text(read("model.onnx"), options, Arc::new(Pool::new(1))).unwrap();
    let manifest: Bytes = published.manifest.to_json().into();
    for (file, content) in [("manifest.json", manifest), ("golden.json", published.files["golden.json"].clone())] {
        let path = folder.join(file);
        if bless {
            fs::write(&path, &content).unwrap();
        }
        assert!(fs::read(&path).unwrap() == content, "{}: run this test with FOREBLOCK_BLESS=1", path.display());
    }
}

#[test]
fn bundled_models_answer_as_onnx_runtime_did() {
    let engine = Engine::new(Catalog::new(None), Config { threads: 1, ..Config::default() });
    for name in NAMES {
        let manifest = engine.catalog().find(name).unwrap().manifest;
        let recorded = recorded(name);
        let inputs: Vec<_> = recorded.cases.iter().map(|case| wire_input(case, manifest.inputs()).into()).collect();
        for (case, outcome) in recorded.cases.iter().zip(engine.run(manifest.id(), &inputs)) {
            if case.inputs[0].shape[0] > largest(name).0 {
                let refused =
                    matches!(&outcome, Ok(Outcome::Failed(failure)) if failure.code == FailureCode::OutputTooLarge);
                assert!(refused, "{name}, {}: more rows than it is priced for: {outcome:?}", case.name);
                continue;
            }
            let Ok(Outcome::Output(output)) = outcome else { panic!("{name}, {}: {outcome:?}", case.name) };
            for (expected, got) in case.outputs.iter().zip(wire::read(&output).unwrap()) {
                let values: Vec<f64> = serde_json::from_str(expected.data.get()).unwrap();
                let scale = if got.dtype == DType::Wad { 1e18 } else { 1.0 };
                let words = got
                    .data
                    .chunks_exact(32)
                    .map(|word| alloy_primitives::I256::from_be_bytes::<32>(word.try_into().unwrap()));
                let got: Vec<f64> = words.map(|word| word.to_string().parse::<f64>().unwrap() / scale).collect();
                let bound = recorded.absolute_error_max.get(&expected.name).copied().unwrap_or(0.0);
                assert_eq!(values.len(), got.len());
                let near = values.iter().zip(&got).all(|(a, b)| (a - b).abs() <= bound);
                assert!(
                    near,
                    "{name}, {}, {}: expected {values:?} within {bound:e}, got {got:?}",
                    case.name, expected.name
                );
            }
        }
    }
}

#[test]
fn bundled_models_are_found_by_name_id_and_its_beginning() {
    let catalog = Catalog::new(None);
    assert_eq!(bundled().len(), NAMES.len() + 1);
    for model in bundled() {
        let id = model.manifest.id().to_string();
        for query in [model.manifest.name(), &id, &id[..10], &id[..10].to_ascii_uppercase().replace("0X", "0x")] {
            assert_eq!(catalog.find(query).unwrap().manifest, model.manifest, "{query}");
        }
        let files = catalog.files(&catalog.get(model.manifest.id()).unwrap()).unwrap();
        for file in &model.manifest.fields().files {
            Manifest::check_content(file, &files[&file.name]).unwrap();
        }
    }
}

#[test]
fn what_is_not_there_is_said_with_a_hint() {
    let catalog = Catalog::new(None);
    for query in ["no-such-model", "0x", "0x0000000000000000000000000000000000000000000000000000000000000000"] {
        let error = catalog.find(query).unwrap_err().to_string();
        assert!(error.contains("foreblock model list"), "{error}");
    }
}
