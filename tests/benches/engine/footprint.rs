//! Load time and peak memory, each in a process of its own: this program again.

use std::{path::Path, process::Command, time::Instant};

use foreblock_engine::{ExactModel, LoadOptions, Pool};

use crate::{
    Result,
    engines::{OrtRaw, start},
    models::{Sample, generate},
};

/// Processes of which the fastest load and the least memory count.
const PROCESSES: usize = 3;

/// Seconds to load, and bytes of memory at the peak of load and one run.
pub(crate) fn measure(engine: &str, sample: &Sample) -> Result<(f64, f64)> {
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..PROCESSES {
        let output = Command::new(std::env::current_exe()?).args(["footprint", engine, &sample.name]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [seconds, bytes] = numbers[..] else {
            return Err(format!("the child said {text:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        };
        best = (best.0.min(seconds), best.1.min(bytes));
    }
    Ok(best)
}

/// The child: loads, runs once, prints seconds and bytes.
pub(crate) fn child(arguments: &[String]) -> Result<()> {
    let [engine, name] = arguments else { return Err("expected ENGINE MODEL".into()) };
    let folder = foreblock_tests::bench::workspace().join("target/bench/engine");
    let sample = generate(&folder)?.into_iter().find(|sample| sample.name == *name).ok_or("no such model")?;
    let seconds = if engine == "exact" { exact(&sample)? } else { ort(&sample)? };
    println!("{seconds} {}", peak_bytes()?);
    Ok(())
}

fn exact(sample: &Sample) -> Result<f64> {
    let started = Instant::now();
    let model = ExactModel::open(&sample.path, &LoadOptions::default())?;
    let seconds = started.elapsed().as_secs_f64();
    model.run(sample.inputs.clone(), &Pool::new(1)).map_err(|failure| failure.reason)?;
    Ok(seconds)
}

fn ort(sample: &Sample) -> Result<f64> {
    let library = std::env::var_os("ORT_DYLIB_PATH").ok_or("ORT_DYLIB_PATH is not set")?;
    let library = Path::new(&library);
    let file = if library.is_dir() { library.join("libonnxruntime.so") } else { library.to_owned() };
    start(&file)?;
    let started = Instant::now();
    let mut model = OrtRaw::open(&sample.path, 1)?;
    let seconds = started.elapsed().as_secs_f64();
    model.run(&sample.inputs)?;
    Ok(seconds)
}

/// The high-water mark of this process's resident memory.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("this system does not say")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes << 10)
}
