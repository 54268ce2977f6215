//! A model that ONNX Runtime runs: its worker, started again after it died.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use foreblock_precompile::{Failure, FailureCode};

use super::{
    OrtConfig, OrtError, find_library,
    frame::{FromWorker, ToWorker},
    process::Process,
};
use crate::{Tensor, model_dir::Files, screen};

/// Wait after the first failure; it doubles with each.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
/// Longest wait.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Why a run gave no tensors.
#[derive(Debug)]
pub enum RunError {
    /// The model has no answer for this input.
    Failed(Failure),
    /// The worker broke.
    Broke(OrtError),
}

/// A model in a worker process. Runs are one after the other; each uses all threads it was given.
pub struct OrtModel {
    graph: Bytes,
    weights: Files,
    library: PathBuf,
    threads: u32,
    config: OrtConfig,
    name: String,
    worker: Mutex<Worker>,
}

#[derive(Default)]
struct Worker {
    process: Option<Process>,
    /// Deaths in a row.
    failures: u32,
    not_before: Option<Instant>,
}

impl OrtModel {
    /// Starts a worker and loads the graph there; its weights may lie in other files of the model. Refuses graphs that
    /// read further files, give random answers or bring their own operators, before native code sees them.
    pub fn start(graph: &Bytes, files: &Files, threads: usize, config: &OrtConfig) -> Result<Self, OrtError> {
        let named = screen::check(graph, files)?;
        let weights = files.iter().filter(|(name, _)| named.contains(*name));
        let library = find_library(config)?;
        let mut model = Self {
            graph: graph.clone(),
            weights: weights.map(|(name, content)| (name.clone(), content.clone())).collect(),
            library,
            threads: threads.max(1) as u32,
            config: config.clone(),
            name: String::new(),
            worker: Mutex::default(),
        };
        let (process, name) = model.launch()?;
        model.name = name;
        model.lock().process = Some(process);
        Ok(model)
    }

    /// What answers: `onnxruntime 1.31.1 (cpu)`.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Runs the model.
    pub fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let mut worker = self.lock();
        let mut process = match worker.process.take() {
            Some(process) => process,
            None => self.relaunch(&mut worker).map_err(RunError::Broke)?,
        };
        let answer = process.ask(&ToWorker::Run(inputs), self.config.run_time_max);
        match answer {
            Err(error) => {
                worker.note_failure();
                Err(RunError::Broke(error))
            }
            Ok(answer) => {
                worker.failures = 0;
                worker.process = Some(process);
                match answer {
                    FromWorker::Outputs(outputs) => Ok(outputs),
                    // Its words differ between versions and machines; an outcome's must not.
                    FromWorker::Refused(_) => Err(RunError::Failed(Failure::new(
                        FailureCode::Undefined,
                        "the graph has no answer for this input",
                    ))),
                    FromWorker::Failed(reason) => Err(RunError::Broke(OrtError::Load(reason))),
                    FromWorker::Ready { .. } => Err(RunError::Broke(OrtError::Died("answered out of turn".into()))),
                }
            }
        }
    }

    /// The system's id of the worker process, while there is one.
    pub fn worker_id(&self) -> Option<u32> {
        self.lock().process.as_ref().map(Process::id)
    }

    fn relaunch(&self, worker: &mut Worker) -> Result<Process, OrtError> {
        if let Some(after) = worker.not_before.and_then(|at| at.checked_duration_since(Instant::now())) {
            return Err(OrtError::BackingOff { failures: worker.failures, after });
        }
        self.launch().map(|(process, _)| process).inspect_err(|_| worker.note_failure())
    }

    fn launch(&self) -> Result<(Process, String), OrtError> {
        let mut process = Process::start(&self.config)?;
        let (library, graph, weights) = (self.library.clone(), Some(self.graph.clone()), self.weights.clone());
        let (threads, limits) = (self.threads, (&self.config).into());
        let (device, optimization) = (self.config.device, self.config.optimization);
        let load = ToWorker::Load { library, graph, weights, threads, device, optimization, limits };
        match process.ask(&load, self.config.load_time_max)? {
            FromWorker::Ready { name } => Ok((process, name)),
            FromWorker::Failed(reason) => Err(OrtError::Load(reason)),
            _ => Err(OrtError::Died("answered out of turn".into())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn note_failure(&mut self) {
        self.not_before = Some(Instant::now() + back_off(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

/// Wait after so many failures before this one.
fn back_off(failures: u32) -> Duration {
    BACK_OFF_FIRST.saturating_mul(1 << failures.min(16)).min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_half_a_minute() {
        let waits = [0, 1, 2, 8, 9, u32::MAX].map(back_off).map(|wait| wait.as_millis());
        assert_eq!(waits, [100, 200, 400, 25_600, 30_000, 30_000]);
    }
}
