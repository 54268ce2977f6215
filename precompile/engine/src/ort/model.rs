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
    process::{AHEAD_BYTES_MAX, Process},
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
        self.run_all(vec![inputs]).pop().expect("one answer for one run")
    }

    /// Runs the model on each of these, in their order, one answer for each. While it runs, its next inputs lie in the pipe. A
    /// worker that breaks answers none of those behind.
    pub fn run_all(&self, runs: Vec<Vec<Tensor>>) -> Vec<Result<Vec<Tensor>, RunError>> {
        let count = runs.len();
        let mut worker = self.lock();
        let mut answers = Vec::with_capacity(count);
        let process = worker.process.take().map_or_else(|| self.relaunch(&mut worker), Ok);
        let broke = match process {
            Err(error) => Some(error),
            Ok(mut process) => {
                let broke = self.converse(&mut process, runs, &mut answers).err();
                match broke {
                    Some(_) => worker.note_failure(),
                    None => worker.process = Some(process),
                }
                if !answers.is_empty() && broke.is_none() {
                    worker.failures = 0;
                }
                broke
            }
        };
        answers.extend(broke.map(|error| Err(RunError::Broke(error))));
        answers.resize_with(count, || Err(RunError::Broke(OrtError::Died("broke in a run before this one".into()))));
        answers
    }

    /// Says what to run and hears the answers, until all are there or the worker broke.
    fn converse(
        &self,
        process: &mut Process,
        runs: Vec<Vec<Tensor>>,
        answers: &mut Vec<Result<Vec<Tensor>, RunError>>,
    ) -> Result<(), OrtError> {
        let mut messages = runs.into_iter().map(|inputs| ToWorker::Run(inputs).write());
        let mut said = messages.next();
        if let Some(first) = &said {
            process.say(first)?;
        }
        while let Some(last) = said {
            said = messages.next();
            let (ahead, after) = match &said {
                Some(next) if next.len().max(last.len()) <= AHEAD_BYTES_MAX => (Some(next), None),
                next => (None, next.as_ref()),
            };
            ahead.map_or(Ok(()), |next| process.say(next))?;
            answers.push(meaning(process.hear(self.config.run_time_max)?));
            after.map_or(Ok(()), |next| process.say(next))?;
        }
        Ok(())
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

/// What an answer says of a run.
fn meaning(answer: FromWorker) -> Result<Vec<Tensor>, RunError> {
    match answer {
        FromWorker::Outputs(outputs) => Ok(outputs),
        // Its words differ between versions and machines; an outcome's must not.
        FromWorker::Refused(_) => {
            Err(RunError::Failed(Failure::new(FailureCode::Undefined, "the graph has no answer for this input")))
        }
        FromWorker::Failed(reason) => Err(RunError::Broke(OrtError::Load(reason))),
        FromWorker::Ready { .. } => Err(RunError::Broke(OrtError::Died("answered out of turn".into()))),
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
