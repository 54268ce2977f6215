//! pip is played by small shell scripts: what it would write, say and return is what is tested here.
#![cfg(unix)]

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use indicatif::ProgressBar;
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{wheel::Tags, *};

const WHEEL: &str = "sample_model-1.0.0-py3-none-any.whl";

/// A wheel with two files.
fn wheel_bytes() -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [("sample/model.onnx", "graph".repeat(1000)), ("sample/run.py", "raise SystemExit".into())] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn package(sha256: &str) -> Package {
    Package {
        name: "sample-model".into(),
        version: "1.0.0".into(),
        wheel: WHEEL.into(),
        sha256: sha256.into(),
        size_bytes: 5000,
    }
}

/// Downloads with a script in pip's place; `$SOURCE` is a good wheel, `$DEST` the folder to write to.
fn download_with(script: &str, package: &Package, folder: &Path) -> Result<std::path::PathBuf, FetchError> {
    let source = folder.join("source.whl");
    fs::write(&source, wheel_bytes()).unwrap();
    let scratch = folder.join("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let pip = folder.join("pip");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\nSOURCE='{}'\nDEST='{}'\n{script}\n",
        source.display(),
        scratch.display()
    );
    fs::write(&pip, text).unwrap();
    fs::set_permissions(&pip, fs::Permissions::from_mode(0o755)).unwrap();
    let call = [pip.to_str().unwrap()];
    pip::download_by(&[&call], package, &scratch, &ProgressBar::hidden())
}

#[test]
fn failures_of_pip_say_what_to_do() {
    let cases = [
        (
            "echo 'WARNING: Retrying after connection broken by NewConnectionError'; exit 1",
            "connect this machine to the network",
        ),
        ("echo 'ERROR: No matching distribution found for sample-model==1.0.0'; exit 1", "has no sample_model"),
        ("echo 'Successfully downloaded sample-model'; cp \"$SOURCE\" \"$DEST/other.whl\"", "has no sample_model"),
        ("echo 'OSError: [Errno 28] No space left on device'; exit 2", "the disk is full"),
        ("echo 'ERROR: something else'; exit 2", "ERROR: something else"),
    ];
    for (script, expected) in cases {
        let folder = TempDir::new().unwrap();
        let message = download_with(script, &package(""), folder.path()).unwrap_err().to_string();
        assert!(message.contains(expected), "{script}: {message}");
    }
}

#[test]
fn without_pip_the_message_says_how_to_get_it() {
    let folder = TempDir::new().unwrap();
    let calls: [&[&str]; 1] = [&["/nowhere/pip"]];
    let error = pip::download_by(&calls, &package(""), folder.path(), &ProgressBar::hidden()).unwrap_err();
    assert!(matches!(error, FetchError::NoPip { .. }));
    assert!(error.to_string().contains("sample-model==1.0.0"), "{error}");
}

#[test]
fn a_wheel_is_downloaded_and_only_the_chosen_file_is_kept() {
    let folder = TempDir::new().unwrap();
    let wheel =
        download_with("cp \"$SOURCE\" \"$DEST/sample_model-1.0.0-py3-none-any.whl\"", &package(""), folder.path())
            .unwrap();
    let models = folder.path().join("models");
    fs::create_dir(&models).unwrap();
    fs::write(models.join("model.onnx"), "an older one").unwrap();
    let choose = |path: &str| (path == "sample/model.onnx").then(|| "model.onnx".to_owned());
    let files = wheel::unpack(&package(""), &wheel, &models, &choose, &ProgressBar::hidden()).unwrap();
    assert_eq!(files, [models.join("model.onnx")]);
    assert_eq!(fs::read_to_string(&files[0]).unwrap(), "graph".repeat(1000));
    assert_eq!(fs::read_dir(&models).unwrap().count(), 1);
}

#[test]
fn what_is_wrong_with_a_wheel_is_said() {
    let folder = TempDir::new().unwrap();
    let wheel = folder.path().join(WHEEL);
    let unpack = |choose: &dyn Fn(&str) -> Option<String>| {
        wheel::unpack(&package(""), &wheel, folder.path(), choose, &ProgressBar::hidden()).unwrap_err()
    };
    fs::write(&wheel, wheel_bytes()).unwrap();
    assert!(matches!(unpack(&|_| None), FetchError::BadWheel { .. }));
    assert!(matches!(unpack(&|_| Some("../escape".into())), FetchError::BadName { .. }));
    assert!(matches!(unpack(&|_| Some("/etc/escape".into())), FetchError::BadName { .. }));
    let whole = wheel_bytes();
    fs::write(&wheel, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(unpack(&|_| Some("x".into())), FetchError::BadWheel { .. }));
    assert!(!folder.path().join("x").exists());
}

#[test]
fn another_hash_keeps_nothing() {
    let folder = TempDir::new().unwrap();
    let wheel = folder.path().join(WHEEL);
    fs::write(&wheel, wheel_bytes()).unwrap();
    let good = digest(&wheel).unwrap();
    assert!(wheel::check(&package(&good), &wheel).is_ok());
    let mut altered = wheel_bytes();
    altered[100] ^= 1;
    fs::write(&wheel, altered).unwrap();
    let message = wheel::check(&package(&good), &wheel).unwrap_err().to_string();
    assert!(message.contains(&good) && message.contains("nothing of it was kept"), "{message}");
}

#[test]
fn a_full_disk_has_its_own_error() {
    let error = failed("write", Path::new("model.onnx"), 3 << 20)(io::ErrorKind::StorageFull.into());
    assert!(error.to_string().contains("3 MiB are needed"), "{error}");
}

#[test]
fn tags_become_arguments_of_pip() {
    let cases: [(&str, &[&str]); 4] = [
        ("a-1.0-py3-none-any.whl", &[]),
        ("a-1.0-py3-none-manylinux_2_28_x86_64.whl", &["--platform", "manylinux_2_28_x86_64"]),
        ("a-1.0-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", &["--platform", "manylinux2014_x86_64"]),
        (
            "a-1.0-cp311-cp311-linux_x86_64.whl",
            &["--platform", "linux_x86_64", "--implementation", "cp", "--abi", "cp311", "--python-version", "3.11"],
        ),
    ];
    for (wheel, expected) in cases {
        assert_eq!(Tags::of(wheel).unwrap().pip_args(), expected, "{wheel}");
    }
    for wrong in ["model.onnx", "a-1.0.whl", "../a-1.0-py3-none-any.whl"] {
        assert!(Tags::of(wrong).is_err(), "{wrong}");
    }
}
