//! ONNX Runtime, in a process of its own.
//!
//! Native code can crash on a hostile or unlucky model, so it never runs inside the node. The node starts its own binary
//! again as a *worker* ([`worker_main`]), which limits itself (memory, processor time, no core dump), loads the library
//! and one model, and answers over its standard input and output. A worker that dies, hangs or eats too much is
//! killed and started again, later each time; the node only sees [`Unavailable`](crate::Unavailable).
//!
//! Nothing here is linked: the library is found and loaded at run time, and where it is absent the exact engine serves.

mod buffers;
mod find;
mod frame;
mod limits;
mod model;
mod process;
mod session;
mod worker;

use std::{ffi::OsString, path::PathBuf, time::Duration};

pub use find::{find_library, probe};
pub use model::{OrtModel, RunError};
pub use worker::worker_main;

/// Oldest minor version of ONNX Runtime that serves: 1.31.
pub const MINOR_VERSION_MIN: u32 = 31;

/// Hidden subcommand by which the node's binary becomes a worker.
pub const WORKER_COMMAND: &str = "worker";

/// Where ONNX Runtime is, and what its workers may use.
#[derive(Clone, Debug)]
pub struct OrtConfig {
    /// The library, as given by `--onnxruntime`; searched for where it is `None`, see [`find_library`].
    pub library: Option<PathBuf>,
    /// Data directory, one of the places to search.
    pub data_dir: Option<PathBuf>,
    /// Program and arguments that call [`worker_main`]; by default this program with `worker`.
    pub worker: Option<(PathBuf, Vec<OsString>)>,
    /// Address space of a worker in bytes; unlimited on a GPU, whose driver maps far more than it uses.
    pub memory_bytes_max: u64,
    /// Longest wait for one run. Its processor time is limited to this for each thread.
    pub run_time_max: Duration,
    /// Longest wait for library and model to load.
    pub load_time_max: Duration,
    /// What it computes on.
    pub device: Device,
    /// How much the library may rewrite a graph before it runs it.
    pub optimization: Optimization,
}

/// What ONNX Runtime computes on. Its answers depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU; what CUDA has no kernel for runs on the processor.
    Cuda,
    /// The first NVIDIA GPU with TensorRT, which compiles a model when it is loaded; what it does not take runs on CUDA.
    TensorRt,
}

impl Device {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Cuda, Self::TensorRt];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }
}

/// How much ONNX Runtime rewrites a graph before it runs it. Its answers depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Optimization {
    /// Not at all.
    Disabled,
    /// What is the same on every device: constants folded, nodes merged.
    Basic,
    /// Also what the device can do better.
    Extended,
    /// Also other memory layouts.
    #[default]
    All,
}

impl Optimization {
    /// All levels, by how much they do.
    pub const ALL: [Self; 4] = [Self::Disabled, Self::Basic, Self::Extended, Self::All];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Basic => "basic",
            Self::Extended => "extended",
            Self::All => "all",
        }
    }
}

impl Default for OrtConfig {
    fn default() -> Self {
        Self {
            library: None,
            data_dir: None,
            worker: None,
            memory_bytes_max: 8 << 30,
            run_time_max: Duration::from_secs(30),
            load_time_max: Duration::from_secs(120),
            device: Device::Cpu,
            optimization: Optimization::All,
        }
    }
}

/// What goes wrong around ONNX Runtime, the computation itself aside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrtError {
    /// There is no library.
    #[error(
        "ONNX Runtime was not found in {searched}; run `foreblock setup`, pass --onnxruntime PATH, or use --engine exact"
    )]
    NotFound {
        /// Where it was looked for.
        searched: String,
    },
    /// The library or the model does not load.
    #[error("{0}")]
    Load(String),
    /// The model is refused before native code sees it.
    #[error(transparent)]
    Refused(#[from] crate::screen::Refused),
    /// The worker process cannot be started.
    #[error("cannot start a worker process ({program}): {source}")]
    Start {
        /// What was started.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The worker ended without an answer.
    #[error("the ONNX Runtime worker {0}; it is started again")]
    Died(String),
    /// The worker took too long and was killed.
    #[error("the ONNX Runtime worker took longer than {0:?} and was killed; it is started again")]
    TimedOut(Duration),
    /// The worker died before and is not to be started yet.
    #[error("the ONNX Runtime worker failed {failures} times in a row and is started again in {after:?}")]
    BackingOff {
        /// How often in a row.
        failures: u32,
        /// Until then.
        after: Duration,
    },
}

#[cfg(test)]
pub(crate) mod tests;
