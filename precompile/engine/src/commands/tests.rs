use super::*;
use crate::{
    Catalog, Engine, ModelDir,
    engine::Config,
    onnx::proto::{GraphProto, ModelProto},
};
use prost::Message;

#[test]
fn numbers_and_shapes_for_people() {
    for (number, text) in [(0u64, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
        assert_eq!(thousands(number), text);
    }
    assert_eq!(shape_text(&[-1, 16]), "[?, 16]");
    assert_eq!(shape_text(&[]), "[]");
}

fn engine() -> (Engine, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let catalog = Catalog::new(Some(ModelDir::new(home.path())));
    (Engine::new(catalog, Config { threads: 1, ..Config::default() }), home)
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_bundled_model_is_listed_shown_run_and_verified() {
    let (engine, _home) = engine();
    let listed = text(|out| drop(list(engine.catalog(), false, out).unwrap()));
    assert!(listed.contains("volatility") && listed.contains("log_returns float [?, 16]"), "{listed}");
    let json = text(|out| drop(list(engine.catalog(), true, out).unwrap()));
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&json).unwrap().len(), crate::catalog::bundled().len());
    let shown = text(|out| drop(show(engine.catalog(), "volatility", false, out).unwrap()));
    assert!(shown.contains("part of this program") && shown.contains("\"multiplyAdds\""), "{shown}");
    let input = format!("[{}]", ["0.01"; 16].join(", "));
    let answer = run(&engine, "volatility", input.as_bytes(), None, false, &mut Vec::new()).unwrap();
    let table = text(|out| write_answer(&answer, false, out).unwrap());
    assert!(table.contains(&answer.outputs[0].digits[0]), "{table}");
    let csv = format!("{}\n", ["0.01"; 16].join(","));
    let same = run(&engine, "volatility", csv.as_bytes(), None, true, &mut Vec::new()).unwrap();
    assert_eq!((same.request_id, same.output), (answer.request_id, answer.output));
    let verified = verify(&engine, None, &mut Vec::new()).unwrap();
    assert!(verified.iter().all(|model| matches!(model.result, Ok(count) if count > 0)), "{verified:?}");
}

#[test]
fn a_model_is_added_found_and_removed() {
    let (engine, home) = engine();
    let dir = engine.catalog().dir().unwrap().clone();
    let path = home.path().join("mine.onnx");
    let graph = &crate::catalog::bundled()[0].files["model.onnx"];
    std::fs::write(&path, graph).unwrap();
    let args = AddArgs { path: path.clone(), name: None, rows_max: 4, length_max: 128, others: vec![] };
    let manifest = add(&dir, &args, &mut Vec::new()).unwrap();
    assert_eq!(manifest.name(), "mine");
    let again = text(|out| drop(add(&dir, &args, out).unwrap()));
    assert!(again.starts_with("was there already: mine"), "{again}");
    assert_eq!(engine.catalog().find("mine").unwrap().manifest, manifest);
    remove(engine.catalog(), "mine", &mut Vec::new()).unwrap();
    assert!(engine.catalog().find("mine").is_err());
    let error = remove(engine.catalog(), "volatility", &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("cannot be removed"), "{error}");
}

#[test]
fn an_added_model_has_golden_vectors_and_facts_and_is_verified_by_them() {
    let (engine, home) = engine();
    let dir = engine.catalog().dir().unwrap().clone();
    let path = home.path().join("mine.onnx");
    std::fs::write(&path, &crate::catalog::bundled()[2].files["model.onnx"]).unwrap();
    let args = AddArgs { path, name: None, rows_max: 4, length_max: 128, others: vec![] };
    let manifest = add(&dir, &args, &mut Vec::new()).unwrap();
    let verified = verify(&engine, Some("mine"), &mut Vec::new()).unwrap();
    assert!(matches!(verified[0].result, Ok(count) if count > 4), "{verified:?}");
    assert!(engine.facts(manifest.id()).unwrap().batch.timings.len() > 1);
    let golden = dir.path(manifest.id()).join("golden.json");
    let text = std::fs::read_to_string(&golden).unwrap();
    std::fs::write(&golden, text.replace("\"output\": \"0x00", "\"output\": \"0x01")).unwrap();
    engine.unload(manifest.id());
    assert!(verify(&engine, Some("mine"), &mut Vec::new()).unwrap()[0].result.is_err());
}

#[test]
fn a_model_is_certified_into_a_folder_and_added() {
    let (engine, home) = engine();
    let dir = engine.catalog().dir().unwrap().clone();
    let path = home.path().join("mine.onnx");
    std::fs::write(&path, &crate::catalog::bundled()[0].files["model.onnx"]).unwrap();
    let add = AddArgs { path, name: None, rows_max: 1, length_max: 16, others: vec![] };
    let (out, ort) =
        (home.path().join("out"), crate::OrtConfig { library: Some("/nowhere".into()), ..Default::default() });
    let args = CertifyArgs { add, cases: None, profile: crate::certify::Wanted::Exact, out: Some(out.clone()), ort };
    let certified = certify(Some(&dir), &args, &mut |_| {}, &mut Vec::new()).unwrap();
    for file in
        ["report.txt", "report.json", "report.html", "manifest.json", "manifest.hex", "model.onnx", "golden.json"]
    {
        assert!(out.join(file).is_file(), "{file}");
    }
    assert_eq!(engine.catalog().find("mine").unwrap().manifest, certified.published.manifest);
    let blocked = home.path().join("mine.onnx").join("below a file");
    let error = certify(None, &CertifyArgs { out: Some(blocked), ..args }, &mut |_| {}, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("--out"), "{error}");
}

#[test]
fn every_bundled_model_is_measured() {
    let (engine, _home) = engine();
    let ort = crate::OrtConfig { library: Some("/nowhere".into()), ..Default::default() };
    let mut out = Vec::new();
    let measured = bench(engine.catalog(), Some("fee"), &ort, &mut out).unwrap();
    assert!(measured[0].exact_seconds > 0.0 && measured[0].ort_seconds.is_none());
    assert!(String::from_utf8(out).unwrap().contains("fee"));
}

#[test]
fn what_is_no_model_is_not_added() {
    let (engine, home) = engine();
    let dir = engine.catalog().dir().unwrap().clone();
    let empty = ModelProto { graph: Some(GraphProto::default()), ..Default::default() }.encode_to_vec();
    for (content, words) in [(&b"text"[..], "not an ONNX model"), (&empty, "manifest field inputs")] {
        let path = home.path().join("broken.onnx");
        std::fs::write(&path, content).unwrap();
        let args = AddArgs { path, name: None, rows_max: 1, length_max: 1, others: vec![] };
        let error = add(&dir, &args, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let missing = AddArgs { path: home.path().join("no.onnx"), name: None, rows_max: 1, length_max: 1, others: vec![] };
    assert!(matches!(add(&dir, &missing, &mut Vec::new()), Err(CommandError::Read { .. })));
}

#[test]
fn wrong_input_is_explained_before_anything_runs() {
    let (engine, _home) = engine();
    let error = run(&engine, "volatility", b"[1, 2]", None, false, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "input log_returns: expected shape [?, 16], got [2]");
    let error = run(&engine, "no-model", b"[1]", None, false, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("foreblock model list"), "{error}");
}
