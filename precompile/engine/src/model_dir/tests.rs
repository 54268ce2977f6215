use super::*;
use crate::manifest::{FORMAT, file_entry};
use foreblock_precompile::{Profile, abi};
use std::process::Command;

fn model(name: &str, graph: &[u8]) -> (Manifest, Files) {
    let manifest = Manifest::new(abi::Manifest {
        format: FORMAT,
        name: name.into(),
        profile: Profile::ExactF32 as u8,
        files: vec![file_entry("model.onnx", graph), file_entry("text/tokenizer.json", b"{}")],
        inputs: vec![abi::TensorSpec { name: "x".into(), elementType: 1, shape: vec![-1] }],
        outputs: vec![abi::TensorSpec { name: "y".into(), elementType: 1, shape: vec![-1] }],
        tolerances: vec![],
        cost: abi::Cost { multiplyAdds: 1, bytesMoved: 1, maxInputBytes: 1, maxOutputBytes: 1 },
    });
    let files = [("model.onnx", graph.to_vec()), ("text/tokenizer.json", b"{}".to_vec())];
    (manifest.unwrap(), files.into_iter().map(|(name, content)| (name.into(), content.into())).collect())
}

fn notes() -> Files {
    [("card.md".to_string(), Bytes::from_static(b"# Card"))].into()
}

fn names(dir: &ModelDir) -> Vec<String> {
    dir.list().unwrap().into_iter().map(|entry| entry.map_or_else(|e| e.to_string(), |m| m.name().into())).collect()
}

#[test]
fn models_are_added_read_listed_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let dir = ModelDir::new(home.path());
    assert!(names(&dir).is_empty(), "a directory that is not there has no models");
    let (b, files) = model("b", b"graph b");
    let (a, files_a) = model("a", b"graph a");
    assert!(dir.add(&b, &files, &notes()).unwrap());
    assert!(dir.add(&a, &files_a, &Files::new()).unwrap());
    assert!(!dir.add(&b, &files, &notes()).unwrap(), "it was there already");
    assert_eq!(names(&dir), ["a", "b"]);
    assert_eq!(dir.files(&dir.manifest(b.id()).unwrap()).unwrap(), files);
    assert_eq!(dir.note(b.id(), "card.md").as_deref(), Some(&b"# Card"[..]));
    dir.write_note(b.id(), "facts.json", b"{}").unwrap();
    assert_eq!(dir.note(b.id(), "facts.json").as_deref(), Some(&b"{}"[..]));
    dir.remove(b.id()).unwrap();
    assert_eq!(names(&dir), ["a"]);
    assert!(matches!(dir.remove(b.id()), Err(DirError::Unknown(_))));
    assert!(matches!(dir.manifest(b.id()), Err(DirError::Unknown(_))));
}

#[test]
fn changed_files_are_noticed() {
    let home = tempfile::tempdir().unwrap();
    let dir = ModelDir::new(home.path());
    let (manifest, files) = model("m", b"graph");
    dir.add(&manifest, &files, &Files::new()).unwrap();
    let graph = dir.path(manifest.id()).join("model.onnx");
    for (content, words) in [(&b"grapf"[..], "expected keccak256"), (b"graph and more", "expected 5 bytes, found 14")] {
        fs::write(&graph, content).unwrap();
        let error = dir.files(&manifest).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    fs::remove_file(&graph).unwrap();
    assert!(matches!(dir.files(&manifest), Err(DirError::Io { action: "read", .. })));
    let json = dir.path(manifest.id()).join(MANIFEST_FILE);
    fs::write(&json, model("other", b"graph").0.to_json()).unwrap();
    assert!(names(&dir)[0].contains("manifest.json: expected keccak256"), "{:?}", names(&dir));
}

#[test]
fn nothing_is_added_without_its_files() {
    let home = tempfile::tempdir().unwrap();
    let dir = ModelDir::new(home.path());
    let (manifest, mut files) = model("m", b"graph");
    files.insert("model.onnx".into(), Bytes::from_static(b"wrong"));
    assert!(matches!(dir.add(&manifest, &files, &Files::new()), Err(DirError::Broken { .. })));
    files.remove("model.onnx");
    assert!(matches!(dir.add(&manifest, &files, &Files::new()), Err(DirError::FileNotGiven(_))));
    let (_, files) = model("m", b"graph");
    let outside = [("../card.md".to_string(), Bytes::new())].into();
    assert!(dir.add(&manifest, &files, &outside).is_err());
    assert!(names(&dir).is_empty());
}

#[test]
fn a_data_directory_that_is_a_file_is_a_clear_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (manifest, files) = model("m", b"graph");
    let error = ModelDir::new(file.path()).add(&manifest, &files, &Files::new()).unwrap_err().to_string();
    assert!(error.starts_with("cannot create") && error.contains("check that the path"), "{error}");
}

/// The process that [`a_killed_writer_leaves_no_half_model`] kills: it adds models until it dies.
#[test]
fn writer_to_be_killed() {
    let Some(home) = std::env::var_os("FOREBLOCK_TEST_WRITER") else { return };
    let dir = ModelDir::new(Path::new(&home));
    for index in 0.. {
        let (manifest, files) = model(&format!("m{index}"), &vec![index as u8; 2 << 20]);
        dir.add(&manifest, &files, &notes()).unwrap();
        // Said to be stored: the parent holds us to it.
        println!("stored {}", manifest.id());
    }
}

#[test]
fn a_killed_writer_leaves_no_half_model() {
    use std::io::{BufRead, BufReader};
    let home = tempfile::tempdir().unwrap();
    let dir = ModelDir::new(home.path());
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "model_dir::tests::writer_to_be_killed", "--nocapture"])
            .env("FOREBLOCK_TEST_WRITER", home.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut stored = Vec::new();
        for line in lines {
            if let Some(id) = line.split("stored ").nth(1) {
                stored.push(id.parse::<ModelId>().unwrap());
            }
            if stored.len() >= round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        for id in stored {
            dir.files(&dir.manifest(id).unwrap()).unwrap();
        }
        for manifest in dir.list().unwrap() {
            dir.remove(manifest.unwrap().id()).unwrap();
        }
    }
    let left: Vec<_> = fs::read_dir(home.path().join("models")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".lock"]);
}
