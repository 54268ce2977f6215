//! `determinism MODEL.onnx... FOLDER...` prints one digest a model: of what the exact engine answers to 32 questions that
//! any machine makes up in the same way; one for each case of a folder of exported node tests; and one for a language model's
//! folder. Within a machine, every
//! batch size, thread count and instruction set must answer the same, or this fails; `cargo xtask cross` compares the
//! digests between machines.
#![forbid(unsafe_code)]

mod answers;
mod cases;
mod questions;
mod text;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use alloy_primitives::B256;
use anyhow::{Context, ensure};
use bytes::Bytes;
use foreblock_engine::{ExactModel, Isa, LoadOptions, Pool, integer};

/// How many questions a model is asked.
const ROWS: usize = 32;
/// How many of them at once.
const BATCHES: [usize; 4] = [1, 2, 7, ROWS];
/// More threads than cores, too: that is where other engines' answers change.
const THREADS: [usize; 3] = [1, 2, 16];

fn main() -> ExitCode {
    let files: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        eprintln!("usage: determinism MODEL.onnx... FOLDER...");
        return ExitCode::FAILURE;
    }
    let mut code = ExitCode::SUCCESS;
    for file in &files {
        let printed = match file {
            folder if text::is_one(folder) => text::print(folder),
            folder if folder.is_dir() => cases::print(folder),
            file => print(file),
        };
        match printed {
            Ok(true) => {}
            Ok(false) => code = ExitCode::FAILURE,
            Err(error) => {
                println!("FAILED {}: {error:#}", file.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    eprintln!("instruction sets: {:?}", Isa::available());
    code
}

fn print(file: &Path) -> anyhow::Result<bool> {
    println!("{} {}", digest(file)?, file.display());
    Ok(true)
}

/// The digest of a model's answers, which no setting may change.
fn digest(file: &Path) -> anyhow::Result<B256> {
    let mut first: Option<(B256, String)> = None;
    // A quantised model is asked in the form that it is published in.
    let quantised = file.parent().is_some_and(|folder| folder.ends_with("i8"));
    let converted = quantised.then(|| converted(file)).transpose()?;
    for isa in Isa::available() {
        let options = LoadOptions { isa: Some(isa), ..LoadOptions::default() };
        let model = match &converted {
            Some(graph) => ExactModel::load(graph.clone(), &options)?,
            None => ExactModel::open(file, &options)?,
        };
        for threads in THREADS {
            let pool = Pool::new(threads);
            for batch in batches(&model) {
                let setting = format!("{isa:?}, {threads} threads, batch {batch}");
                let digest = answers::digest(&model, &pool, batch).context(setting.clone())?;
                let (expected, by) = first.get_or_insert_with(|| (digest, setting.clone()));
                ensure!(digest == *expected, "{setting} answers otherwise than {by}");
            }
        }
    }
    first.map(|(digest, _)| digest).context("no setting was run")
}

fn converted(file: &Path) -> anyhow::Result<Bytes> {
    let source = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(integer::convert(&source.into())?.graph)
}

/// The batch sizes that fit a model: a graph of fixed shape takes one question at a time.
fn batches(model: &ExactModel) -> Vec<usize> {
    let is_free = model.inputs().iter().all(|spec| matches!(spec.dims.as_deref(), Some([None, ..])));
    if is_free { BATCHES.to_vec() } else { vec![1] }
}
