//! `cargo xtask bench engine`: the exact engine against ONNX Runtime, in the same run, on one and two threads.
//!
//! The two engines take turns, and of each the fastest run counts: on a shared machine whatever is above it is somebody
//! else's work. Models have the shapes of real ones and weights from a fixed seed (`models.py`); open_nsfw is
//! fetched, and its rows are left out where that fails.

mod engines;
mod footprint;
mod gpu;
mod integer;
mod models;
mod sets;

use std::{error::Error, time::Instant};

use engines::{OrtRaw, paired};
use foreblock_engine::{
    Catalog, Engine, ExactModel, LoadOptions, ModelDir, OrtConfig, Pool, Tensor,
    certify::{CELL_TIME_MAX, CertifyOptions, Wanted, certify},
    engine::Config,
    model_dir::Files,
    ort::{OrtModel, find_library, worker_main},
    publish::{PublishOptions, publish_exact},
    wire,
};
use foreblock_tests::bench::{Report, Target, workspace};
use models::Sample;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("worker") => {
            let code = worker_main();
            std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
        }
        Some("footprint") => return footprint::child(&arguments[1..]),
        _ => {}
    }
    let ort = ort_config()?;
    engines::start(&find_library(&ort)?)?;
    let folder = workspace().join("target/bench/engine");
    let samples = models::generate(&folder)?;
    let mut report = Report::new("engine");
    speed(&mut report, &samples, &folder)?;
    integer::speed(&mut report, &samples)?;
    sets::speed(&mut report, &samples)?;
    errors(&mut report, &samples)?;
    overhead(&mut report, &samples, &ort)?;
    footprints(&mut report, &samples)?;
    settings(&mut report, &samples, &ort)?;
    gpu::speed(&mut report, &samples, &ort)?;
    report.write(workspace())?;
    Ok(())
}

fn ort_config() -> Result<OrtConfig> {
    let worker = Some((std::env::current_exe()?, vec!["worker".into()]));
    Ok(OrtConfig { worker, ..OrtConfig::default() })
}

fn sample<'a>(samples: &'a [Sample], name: &str) -> Result<&'a Sample> {
    Ok(samples.iter().find(|sample| sample.name == name).ok_or_else(|| format!("models.py made no {name}"))?)
}

/// What a convolution or a matrix product may take beside ONNX Runtime's, by what this CPU has.
fn text_target() -> f64 {
    if foreblock_engine::Isa::available().contains(&foreblock_engine::Isa::Avx512) { 1.15 } else { 1.30 }
}

fn speed(report: &mut Report, samples: &[Sample], folder: &std::path::Path) -> Result<()> {
    let mut rows: Vec<(String, Sample, f64)> = Vec::new();
    for batch in [1, 8, 32] {
        let minilm = sample(samples, "MiniLM-L6")?.repeated(batch);
        rows.push((format!("MiniLM-L6, {batch} x 128 tokens"), minilm, text_target()));
    }
    rows.push(("ResNet-18, one picture".into(), sample(samples, "ResNet-18")?.clone(), 1.5));
    match models::open_nsfw(folder) {
        Ok(nsfw) => rows.push(("open_nsfw, one picture".into(), nsfw, 1.5)),
        Err(error) => println!("open_nsfw is left out: {error}"),
    }
    for rows_of in [1, 32] {
        let cut = |name: &str| Ok::<_, Box<dyn Error>>(sample(samples, name)?.first_rows(rows_of));
        rows.push((format!("tabular MLP, {rows_of} rows"), cut("MLP")?, 1.0));
        rows.push((format!("500 trees of depth 6, {rows_of} rows"), cut("500-trees")?, 1.0));
    }
    for (name, sample, target) in rows {
        for threads in [1, 2] {
            let exact = sample.exact()?;
            let mut ort = OrtRaw::open(&sample.path, threads)?;
            let pool = Pool::new(threads);
            let (ours, theirs) = paired(
                threads,
                || drop(exact.run(sample.inputs.clone(), &pool).expect("it has an answer")),
                || drop(ort.run(&sample.inputs).expect("it has an answer")),
            );
            let measure = format!("{name}, {threads} threads: exact / ONNX Runtime");
            report.row(&measure, ours / theirs, Target::AtMost(target));
            report.row("    milliseconds, exact", ours * 1e3, Target::Shown);
        }
    }
    Ok(())
}

/// Root of the mean squared error against double precision, relative to the answers' own root mean square.
fn errors(report: &mut Report, samples: &[Sample]) -> Result<()> {
    for sample in samples {
        let Some(reference) = &sample.reference else { continue };
        let error = |outputs: &[Tensor]| -> Result<f64> {
            let values = outputs[0].values::<f32>().map_err(|failure| failure.reason)?;
            let square: f64 = values.iter().zip(reference).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
            Ok((square / reference.iter().map(|b| b * b).sum::<f64>()).sqrt())
        };
        let ours = sample.exact()?.run(sample.inputs.clone(), &Pool::new(1)).map_err(|failure| failure.reason)?;
        let (ours, theirs) = (error(&ours)?, error(&OrtRaw::open(&sample.path, 1)?.run(&sample.inputs)?)?);
        report.row(&format!("{}: error against float64, exact, in 1e-9", sample.name), ours * 1e9, Target::Shown);
        report.row(&format!("{}: the same, exact / ONNX Runtime", sample.name), ours / theirs, Target::AtMost(1.0));
    }
    Ok(())
}

/// What stands between a request and the kernels, at a model of about a millisecond.
fn overhead(report: &mut Report, samples: &[Sample], ort: &OrtConfig) -> Result<()> {
    let sample = sample(samples, "MLP-1ms")?.first_rows(1);
    let graph = std::fs::read(&sample.path)?.into();
    let published = publish_exact(graph, PublishOptions::new("m"), &Pool::new(1))?;
    let home = tempfile::tempdir()?;
    let dir = ModelDir::new(home.path());
    dir.add(&published.manifest, &published.files, &Files::new())?;
    let engine = Engine::new(Catalog::new(Some(dir)), Config { threads: 1, ..Config::default() });
    let tensors = sample.inputs.iter().map(wire::to_wire).collect::<std::result::Result<Vec<_>, _>>();
    let input = wire::write(&tensors.map_err(|failure| failure.reason)?);
    let inputs = wire::decode_input(&input, published.manifest.inputs()).map_err(|failure| failure.reason)?;
    let id = published.manifest.id();
    let (exact, pool) = (sample.exact()?, Pool::new(1));
    engine.load(id)?;
    let (whole, model) = paired(
        1,
        || drop(engine.run(id, std::slice::from_ref(&input))),
        || drop(exact.run(inputs.clone(), &pool).expect("it has an answer")),
    );
    let nodes = node_seconds(samples)? * 13.0;
    let share = (whole / model - 1.0).max(0.0) + nodes / model;
    report.row("exact engine, model of 13 nodes alone, milliseconds", model * 1e3, Target::Shown);
    report.row("engine over its own kernels (wire, checks, nodes), %", share * 100.0, Target::AtMost(5.0));

    let files = Files::new();
    let graph = std::fs::read(&sample.path)?.into();
    let process = OrtModel::start(&graph, &files, 1, ort)?;
    let mut raw = OrtRaw::open(&sample.path, 1)?;
    let (ours, theirs) = paired(
        1,
        || drop(process.run(sample.inputs.clone()).expect("it has an answer")),
        || drop(raw.run(&sample.inputs).expect("it has an answer")),
    );
    report.row("raw ONNX Runtime, the same model, milliseconds", theirs * 1e3, Target::Shown);
    report.row("its worker process over it, %", (ours / theirs - 1.0) * 100.0, Target::AtMost(10.0));
    Ok(())
}

/// Seconds that a node takes which computes next to nothing.
fn node_seconds(samples: &[Sample]) -> Result<f64> {
    let chain = sample(samples, "chain")?;
    let (model, pool) = (chain.exact()?, Pool::new(1));
    let mut best = f64::INFINITY;
    for _ in 0..50 {
        let start = Instant::now();
        model.run(chain.inputs.clone(), &pool).map_err(|failure| failure.reason)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best / 1_000.0)
}

fn footprints(report: &mut Report, samples: &[Sample]) -> Result<()> {
    for name in ["MiniLM-L6", "ResNet-18"] {
        let sample = sample(samples, name)?;
        let (ours, theirs) = (footprint::measure("exact", sample)?, footprint::measure("ort", sample)?);
        report.row(&format!("{name}: load time, exact / ONNX Runtime"), ours.0 / theirs.0, Target::AtMost(1.5));
        report.row(&format!("{name}: peak memory, exact / ONNX Runtime"), ours.1 / theirs.1, Target::AtMost(1.2));
        report.row("    MiB, exact", ours.1 / (1 << 20) as f64, Target::Shown);
    }
    Ok(())
}

/// Batch, threads and instruction sets: settings whose bytes are the first one's.
fn settings(report: &mut Report, samples: &[Sample], ort: &OrtConfig) -> Result<()> {
    for name in ["encoder", "MLP", "500-trees"] {
        let sample = sample(samples, name)?;
        let publish = PublishOptions { rows_max: 32, length_max: 32, ..PublishOptions::new(name) };
        let options = CertifyOptions {
            publish,
            cases: None,
            profile: Wanted::Exact,
            ort: ort.clone(),
            cell_time_max: CELL_TIME_MAX,
        };
        let report_of = certify(&std::fs::read(&sample.path)?.into(), options, &mut |_| {})?.report;
        let cells = report_of.matrix.map(|matrix| matrix.cells).unwrap_or_default();
        let equal = cells.iter().filter(|cell| cell.equal).count() as f64;
        let share = |equal: f64, all: usize| equal * 100.0 / all.max(1) as f64;
        let measure = format!("{name}: {} settings of the exact engine, equal bytes, %", cells.len());
        report.row(&measure, share(equal, cells.len()), Target::AtLeast(100.0));
        let rows = &report_of.comparisons;
        let first = rows.iter().filter(|row| row.outputs.iter().all(|output| output.different == 0)).count();
        let measure = format!("{name}: {} settings of ONNX Runtime, bytes equal to exact, %", rows.len());
        report.row(&measure, share(first as f64, rows.len()), Target::Shown);
    }
    Ok(())
}

impl Sample {
    fn exact(&self) -> Result<ExactModel> {
        Ok(ExactModel::open(&self.path, &LoadOptions::default())?)
    }
}
