//! Rows of a benchmark: printed as measure, value, target, and written to `target/bench/<area>.json`.

use serde_json::json;
use std::{fmt, fs, hint::black_box, io, path::Path, time::Instant};

/// What a measure should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// This much or less.
    AtMost(f64),
    /// This much or more.
    AtLeast(f64),
    /// Nothing: shown for comparison.
    Shown,
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
            Self::Shown => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
            Self::Shown => write!(f, "shown"),
        }
    }
}

/// The rows of one area.
#[derive(Debug)]
pub struct Report {
    area: &'static str,
    rows: Vec<serde_json::Value>,
}

impl Report {
    /// An empty report; `area` names the file.
    pub fn new(area: &'static str) -> Self {
        println!("{:<72} {:>12}  {:<12} met", "measure", "value", "target");
        Self { area, rows: Vec::new() }
    }

    /// Prints and keeps a row. The unit belongs into `measure`.
    pub fn row(&mut self, measure: &str, value: f64, target: Target) {
        let met = target.met(value);
        println!("{measure:<72} {value:>12.3}  {:<12} {}", target.to_string(), if met { "yes" } else { "NO" });
        self.rows.push(json!({ "measure": measure, "value": value, "target": target.to_string(), "met": met }));
    }

    /// Writes `target/bench/<area>.json` below `workspace`.
    pub fn write(&self, workspace: &Path) -> io::Result<()> {
        let folder = workspace.join("target/bench");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(self.area).with_extension("json"), serde_json::to_string_pretty(&self.rows)?)
    }
}

/// Seconds that one call of `run` takes: the best of `samples` timings of `calls` calls each, since on a shared machine
/// whatever is above the best is somebody else's work.
pub fn best_seconds<T>(samples: usize, calls: u32, mut run: impl FnMut() -> T) -> f64 {
    (0..samples.max(1))
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                black_box(run());
            }
            start.elapsed().as_secs_f64() / f64::from(calls)
        })
        .fold(f64::INFINITY, f64::min)
}

/// The workspace's root, for [`Report::write`].
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
