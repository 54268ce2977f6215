//! What the pre-executor leaves of ONNX Runtime's speed: requests through queue, worker, engine and store, one answer each, against
//! a loop over the same rows in this process that does nothing else, in the batches that suit it best. One thread computes in both.

use crate::{
    Result,
    engines::{self, OrtRaw, paired},
};
use foreblock_engine::{
    Catalog, Engine, ExactModel, LoadOptions, ModelDir, OrtConfig, Pool, Tensor,
    certify::measure_batching,
    engine::{self, FACTS_FILE, Kind},
    model_dir::Files,
    ort::{find_library, worker_main},
    publish::{PublishOptions, publish_exact},
    wire,
};
use foreblock_pre_executor::{Config, PreExecutor};
use foreblock_precompile::{ModelId, Outcome, Outcomes, Request};
use foreblock_tests::bench::{Report, Target};
use std::{
    path::Path,
    process::{Command, ExitCode},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// First argument of this program where it is a worker of ONNX Runtime.
pub(crate) const WORKER: &str = "worker";
/// Numbers in a row.
const WIDTH: usize = 16;
/// Who ask at the same time, so that the queue is never empty, and what each asks before it waits.
const ASKERS: u64 = 2;
const ASKED: u64 = 120;
/// Rows of one round, as many as a round takes about a third of a second.
const ROUND: Duration = Duration::from_millis(300);

/// Answers for ONNX Runtime until it is not asked any more.
pub(crate) fn worker() -> ! {
    std::process::exit(i32::from(worker_main() != ExitCode::SUCCESS))
}

pub(crate) fn run(report: &mut Report) {
    if let Err(error) = measure(report) {
        println!("throughput is left out: {error}");
    }
}

fn measure(report: &mut Report) -> Result<()> {
    let worker = Some((std::env::current_exe()?, vec![WORKER.into()]));
    let ort = OrtConfig { worker, ..OrtConfig::default() };
    engines::start(&find_library(&ort)?)?;
    for (channels, side, layers, target) in [(16, 8, 11, 0.80), (32, 16, 18, 0.95), (32, 16, 80, 0.95)] {
        let home = tempfile::tempdir()?;
        let path = home.path().join("model.onnx");
        let python = std::env::var_os("FOREBLOCK_PYTHON").unwrap_or_else(|| "python3".into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pre_executor/convolutions.py");
        let sizes = [channels, side, layers].map(|size: u32| size.to_string());
        if !Command::new(python).arg(script).arg(&path).args(sizes).status()?.success() {
            return Err("convolutions.py failed: run this by `cargo xtask bench pre-executor`".into());
        }
        compare(report, &home, &path, &ort, target)?;
    }
    Ok(())
}

fn compare(report: &mut Report, home: &TempDir, path: &Path, ort: &OrtConfig, target: f64) -> Result<()> {
    let mut raw = OrtRaw::open(path, 1)?;
    let (alone, _) = paired(1, || drop(raw.run(&[rows(0, 1)])), || {});
    let count = ((ROUND.as_secs_f64() / alone) as u64).clamp(2 * ASKERS * ASKED, 20 * ASKERS * ASKED);
    let rounds = count / (ASKERS * ASKED);
    let count = rounds * ASKERS * ASKED;
    let mut best = (f64::INFINITY, 1);
    for batch in [1, 8, 32, 64] {
        let (seconds, _) = paired(1, || drop(raw.run(&[rows(0, batch)])), || {});
        best = if seconds / (batch as f64) < best.0 { (seconds / batch as f64, batch) } else { best };
    }
    let (model, engine) = engine(home, path, ort)?;
    let pre = PreExecutor::start(Config::default(), Arc::new(engine))?;
    let asked = AtomicU64::new(1);
    ask(&pre, model, &asked, 1)?;
    let through = || {
        thread::scope(|scope| {
            for _ in 0..ASKERS {
                scope.spawn(|| ask(&pre, model, &asked, rounds).expect("all are answered"));
            }
        });
    };
    let looped = || {
        for first in (0..count).step_by(best.1 as usize) {
            drop(raw.run(&[rows(first, best.1)]).expect("it has an answer"));
        }
    };
    let (ours, theirs) = paired(1, through, looped);
    let measure = format!("throughput through the pre-executor / a raw loop, {:.0} us a row", best.0 * 1e6);
    report.row(&measure, theirs / ours, Target::AtLeast(target));
    report.row("  rows in a batch of the raw loop", best.1 as f64, Target::Shown);
    let schedule = pre.metrics().schedule;
    report.row("  rows in a batch of the pre-executor", schedule.rows as f64 / schedule.batches as f64, Target::Shown);
    Ok(())
}

/// The model, with what batches gain, behind ONNX Runtime in a process of its own.
fn engine(home: &TempDir, path: &Path, ort: &OrtConfig) -> Result<(ModelId, Engine)> {
    let published = publish_exact(std::fs::read(path)?.into(), PublishOptions::new("m"), &Pool::new(1))?;
    let exact = ExactModel::open(path, &LoadOptions::default())?;
    let samples: Vec<Vec<Tensor>> = (0..4).map(|row| vec![rows(row, 1)]).collect();
    let facts = measure_batching(&exact, &samples, &Pool::new(1)).map_err(|failure| failure.reason)?;
    let notes = Files::from([(FACTS_FILE.into(), serde_json::to_vec(&facts)?.into())]);
    let dir = ModelDir::new(home.path());
    dir.add(&published.manifest, &published.files, &notes)?;
    let config = engine::Config { kind: Kind::Ort, threads: 1, ort: ort.clone(), ..engine::Config::default() };
    let engine = Engine::new(Catalog::new(Some(dir)), config);
    engine.load(published.manifest.id())?;
    Ok((published.manifest.id(), engine))
}

/// Rows that no other number has.
fn rows(first: u64, count: u64) -> Tensor {
    let row = |row: u64| (0..WIDTH as u64).map(move |at| (row * 31 + at * 7) as f32 / 1_024.0);
    Tensor::new(vec![count as usize, WIDTH], (first..first + count).flat_map(row).collect()).expect("whole rows")
}

/// Asks what nobody asked before, so many times over, and waits for it each time.
fn ask(pre: &PreExecutor, model: ModelId, asked: &AtomicU64, times: u64) -> Result<()> {
    for _ in 0..times {
        let first = asked.fetch_add(ASKED, Relaxed);
        let request = |row: u64| {
            let tensor = wire::to_wire(&rows(row, 1)).map_err(|failure| failure.reason)?;
            Ok(Request::new(model, wire::write(&[tensor])))
        };
        let requests = (first..first + ASKED).map(request).collect::<Result<Vec<_>>>()?;
        let started = Instant::now();
        pre.wait(&requests, Duration::from_secs(60))?;
        let answered = |request: &Request| matches!(pre.store().get(request.id), Some(Outcome::Output(_)));
        if !requests.iter().all(answered) {
            return Err(format!("no answer after {} ms", started.elapsed().as_millis()).into());
        }
    }
    Ok(())
}
