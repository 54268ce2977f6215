//! `bench engine`: how fast this machine answers.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{CommandError, thousands};
use crate::{
    Catalog, ExactModel, LoadOptions, OrtConfig, Pool, Tensor,
    catalog::{Entry, Place},
    certify::{cases, measure_batching},
    engine::{BatchFacts, FACTS_FILE},
    ort::OrtModel,
    publish::PublishOptions,
    screen,
};

/// Time spent on each measurement, and runs at most.
const TIME: Duration = Duration::from_millis(500);
const RUNS: usize = 2_000;

/// What was measured of one model.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Seconds of a run of one row on one thread.
    pub exact_seconds: f64,
    /// The same on all threads.
    pub exact_seconds_all_threads: f64,
    /// The same by ONNX Runtime on one thread, its worker process included, where that is found.
    pub ort_seconds: Option<f64>,
    /// What batches gain.
    pub batch: BatchFacts,
}

/// Measures one model, or all; batching facts of added models are kept for the scheduler.
pub fn bench(
    catalog: &Catalog,
    query: Option<&str>,
    ort: &OrtConfig,
    out: &mut impl Write,
) -> Result<Vec<Measured>, CommandError> {
    let entries = match query {
        Some(query) => vec![catalog.find(query)?],
        None => catalog.list()?.0,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all = format!("{threads} threads");
    writeln!(
        out,
        "{:<16} {:>12} {:>12} {:>12} {:>12} {:>12} {:>10}",
        "microseconds", "exact", all, "onnxruntime", "best batch", "rows/s", "gas"
    )?;
    let mut measured = Vec::new();
    for entry in entries {
        match measure(catalog, &entry, threads, ort) {
            Ok(one) => {
                write_row(&one, entry.manifest.gas_per_run(), out)?;
                if entry.place == Place::Directory
                    && let Some(dir) = catalog.dir()
                {
                    let facts = serde_json::to_vec_pretty(&one.batch).expect("numbers");
                    dir.write_note(entry.manifest.id(), FACTS_FILE, &facts)?;
                }
                measured.push(one);
            }
            Err(error) => writeln!(out, "{:<16} {error}", entry.manifest.name())?,
        }
    }
    Ok(measured)
}

fn measure(catalog: &Catalog, entry: &Entry, threads: usize, ort: &OrtConfig) -> Result<Measured, CommandError> {
    let other = |error: String| CommandError::Other(error);
    let files = catalog.files(entry)?;
    let graph = files[&entry.manifest.graph().name].clone();
    let weights = screen::check(&graph, &files).map_err(|error| other(error.to_string()))?;
    let folder = catalog.dir().map(|dir| dir.path(entry.manifest.id())).filter(|_| !weights.is_empty());
    let options = LoadOptions { folder, ..LoadOptions::default() };
    let model = ExactModel::load(graph.clone(), &options).map_err(|error| other(error.to_string()))?;
    let (one, all) = (Pool::new(1), Pool::new(threads));
    let mut run = |tensors: Vec<Tensor>| model.run(tensors, &all).map_err(|failure| failure.reason);
    let cases = cases::made_up(entry.manifest.inputs(), &PublishOptions::new("m"), &mut run)?;
    let rows: Vec<Vec<Tensor>> = cases.iter().map(|case| case.tensors.clone()).collect();
    let input = &rows[rows.len() - 1];
    let exact = |pool: &Pool| best(|| model.run(input.clone(), pool).is_ok());
    let worker = OrtModel::start(&graph, &files, 1, ort).ok();
    let batch = measure_batching(&model, &rows, &all).map_err(CommandError::Failed)?;
    Ok(Measured {
        name: entry.manifest.name().into(),
        exact_seconds: exact(&one),
        exact_seconds_all_threads: exact(&all),
        ort_seconds: worker.map(|worker| best(|| worker.run(input.clone()).is_ok())),
        batch,
    })
}

/// The fastest run: what is above it is somebody else's work.
fn best(run: impl Fn() -> bool) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    for round in 0..RUNS {
        if round > 2 && start.elapsed() > TIME {
            break;
        }
        let before = Instant::now();
        std::hint::black_box(run());
        best = best.min(before.elapsed().as_secs_f64());
    }
    best
}

fn write_row(one: &Measured, gas: u64, out: &mut impl Write) -> Result<(), CommandError> {
    let micros = |seconds: f64| format!("{:.1}", seconds * 1e6);
    let rows = one.batch.rows_worth_merging();
    let timing = one.batch.timings.iter().find(|timing| timing.rows == rows);
    let per_second = timing.map_or(1.0 / one.exact_seconds, |timing| timing.rows as f64 * 1e6 / timing.micros);
    writeln!(
        out,
        "{:<16} {:>12} {:>12} {:>12} {:>12} {:>12} {:>10}",
        one.name,
        micros(one.exact_seconds),
        micros(one.exact_seconds_all_threads),
        one.ort_seconds.map_or("-".into(), micros),
        rows,
        thousands(per_second as u64),
        thousands(gas)
    )?;
    Ok(())
}
