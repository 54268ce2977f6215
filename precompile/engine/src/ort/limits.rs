//! What a worker process may use. It limits itself before native code runs, and cannot take that back.

use super::{Device, OrtConfig};

/// Longest file that a worker may write, wherever that is.
#[cfg(unix)]
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Limits that a worker sets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Address space in bytes; 0 for no limit.
    pub(super) memory_bytes: u64,
    /// Processor time of one message in seconds, all threads together.
    pub(super) cpu_seconds: u64,
}

impl From<&OrtConfig> for Limits {
    fn from(config: &OrtConfig) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let memory_bytes = if config.device == Device::Cpu { config.memory_bytes_max } else { 0 };
        let longest = config.run_time_max.max(config.load_time_max).as_secs() + 1;
        Self { memory_bytes, cpu_seconds: longest * threads }
    }
}

impl Limits {
    /// Sets the limits that hold for the life of the process.
    #[cfg(unix)]
    pub(super) fn set(self) -> Result<(), String> {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
        let failed = |error| format!("cannot limit the worker process: {error}");
        setrlimit(Resource::Core, limit(0)).map_err(failed)?;
        // A worker has nothing to keep; ONNX Runtime uses small files in memory.
        setrlimit(Resource::Fsize, limit(FILE_BYTES_MAX)).map_err(failed)?;
        if self.memory_bytes > 0 {
            setrlimit(Resource::As, limit(self.memory_bytes)).map_err(failed)?;
        }
        Ok(())
    }

    /// Gives the next message its processor time: the system kills a process that passes it.
    #[cfg(unix)]
    pub(super) fn renew_cpu(self) -> Result<(), String> {
        use rustix::{
            process::{Resource, Rlimit, setrlimit},
            time::{ClockId, clock_gettime},
        };
        let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
        let limit = Rlimit { current: Some(used + 1 + self.cpu_seconds), maximum: None };
        setrlimit(Resource::Cpu, limit).map_err(|error| format!("cannot limit the worker's processor time: {error}"))
    }

    /// Other systems: the node's clock is the only limit.
    #[cfg(not(unix))]
    pub(super) fn set(self) -> Result<(), String> {
        Ok(())
    }

    /// Other systems: the node's clock is the only limit.
    #[cfg(not(unix))]
    pub(super) fn renew_cpu(self) -> Result<(), String> {
        Ok(())
    }
}
