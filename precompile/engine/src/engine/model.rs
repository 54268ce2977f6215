//! A loaded model: its manifest and what runs it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use foreblock_precompile::{Failure, Outcome, Profile};

use super::{BatchFacts, Config, FACTS_FILE, Kind, Unavailable, cache::Weighed};
use crate::{
    Catalog, ExactModel, Isa, LoadOptions, Manifest, Pool, Tensor,
    catalog::Entry,
    cuda::Accelerator,
    golden, integer,
    model_dir::Files,
    ort::{OrtModel, RunError},
    publish, screen,
    text::{self, EMBEDDING_FILE, EmbeddingModel, TextModel},
    wire,
};

/// A model ready to run.
pub(super) struct Model {
    pub(super) manifest: Manifest,
    /// Most rows of requests that one run takes together.
    pub(super) rows_max: usize,
    runner: Runner,
    size_bytes: u64,
    /// Nanoseconds of a run of one request, a moving average; 0 before the first.
    run_nanos: AtomicU64,
}

enum Runner {
    Exact { model: Box<ExactModel>, pool: Arc<Pool>, accelerator: Option<Accelerator> },
    Ort(Box<OrtModel>),
    Text(Box<TextModel>),
    Embedding(Box<EmbeddingModel>),
}

/// Why a run gave no tensors.
pub(super) enum Stop {
    /// The same on every machine.
    Failed(Failure),
    /// Only here and now.
    Unavailable(Unavailable),
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Failed(failure) => Self::Failed(failure),
            RunError::Broke(error) => Self::Unavailable(Unavailable::Broke(error.to_string())),
        }
    }
}

impl Model {
    /// Loads a model and checks its golden vectors.
    pub(super) fn load(
        catalog: &Catalog,
        entry: &Entry,
        config: &Config,
        pool: Arc<Pool>,
    ) -> Result<Self, Unavailable> {
        let id = entry.manifest.id();
        let failed = |reason: String| Unavailable::Load { id, reason };
        let files = catalog.files(entry).map_err(|error| failed(error.to_string()))?;
        let folder = catalog.dir().map(|dir| dir.path(id));
        let runner = runner(entry, &files, folder, config, pool)?;
        let facts = BatchFacts::read(catalog.note(entry, FACTS_FILE).as_deref());
        let model = Self {
            manifest: entry.manifest.clone(),
            rows_max: if matches!(runner, Runner::Ort(_)) { facts.rows_together() } else { facts.rows_worth_merging() },
            runner,
            size_bytes: files.values().map(|content| content.len() as u64).sum(),
            run_nanos: AtomicU64::new(0),
        };
        model.check_specs().map_err(failed)?;
        if !matches!(model.runner, Runner::Ort(_)) && entry.manifest.profile() != Profile::Tolerance {
            golden::check(&files, |input| model.answer(input)).map_err(|error| failed(error.to_string()))?;
        }
        Ok(model)
    }

    /// The outcome of one request.
    pub(super) fn outcome(&self, input: &[u8]) -> Result<Outcome, Unavailable> {
        if let Runner::Text(_) = &self.runner {
            let answer = self.texts(&[input]).and_then(|mut answers| answers.pop());
            return answer.unwrap_or_else(|| Err(Unavailable::Broke("no answer".into())));
        }
        let tensors = match wire::decode_input(input, self.manifest.inputs()) {
            Ok(tensors) => tensors,
            Err(failure) => return Ok(Outcome::Failed(failure)),
        };
        self.outcomes(vec![tensors]).pop().unwrap_or_else(|| Err(Unavailable::Broke("no answer".into())))
    }

    /// The outcomes of these runs, each of one request, in their order. Those in a process of their own find the next inputs
    /// there when they are done with the last.
    pub(super) fn outcomes(&self, runs: Vec<Vec<Tensor>>) -> Vec<Result<Outcome, Unavailable>> {
        let (count, start) = (runs.len(), Instant::now());
        let outputs = match &self.runner {
            Runner::Ort(model) => model.run_all(runs).into_iter().map(|run| run.map_err(Stop::from)).collect(),
            _ => runs.into_iter().map(|inputs| self.run(inputs)).collect::<Vec<_>>(),
        };
        if count > 0 {
            self.note_time(start.elapsed() / count as u32);
        }
        outputs.into_iter().map(|outputs| self.conclude(outputs)).collect()
    }

    /// The outcomes of a text model's requests, which run together; `None` for any other model.
    pub(super) fn texts<I: AsRef<[u8]>>(&self, inputs: &[I]) -> Option<Vec<Result<Outcome, Unavailable>>> {
        let Runner::Text(model) = &self.runner else { return None };
        let start = Instant::now();
        let answers = model.outcomes(inputs);
        self.note_time(start.elapsed());
        Some(answers.into_iter().map(|answer| answer.map_err(Unavailable::Broke)).collect())
    }

    /// How far the texts are that the model writes.
    pub(super) fn progress(&self) -> Vec<text::Progress> {
        if let Runner::Text(model) = &self.runner { model.progress() } else { Vec::new() }
    }

    /// What a run's outputs mean.
    pub(super) fn conclude(&self, outputs: Result<Vec<Tensor>, Stop>) -> Result<Outcome, Unavailable> {
        match outputs {
            Ok(outputs) => Ok(match self.encode(&outputs) {
                Ok(output) => Outcome::Output(output),
                Err(failure) => Outcome::Failed(failure),
            }),
            Err(Stop::Failed(failure)) => Ok(Outcome::Failed(failure)),
            Err(Stop::Unavailable(unavailable)) => Err(unavailable),
        }
    }

    /// Runs the model on tensors that fit its inputs.
    pub(super) fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Stop> {
        match &self.runner {
            Runner::Exact { model, pool, .. } => model.run(inputs, pool).map_err(Stop::Failed),
            Runner::Embedding(model) => model.run(&inputs).map_err(Stop::Failed),
            Runner::Text(_) => Err(Stop::Unavailable(Unavailable::Broke("a text model has no single run".into()))),
            Runner::Ort(model) => model.run(inputs).map_err(Stop::from),
        }
    }

    /// What answers.
    pub(super) fn engine_name(&self) -> String {
        match &self.runner {
            Runner::Exact { accelerator, .. } => exact_name(accelerator.as_ref()),
            Runner::Text(_) | Runner::Embedding(_) => exact_name(None),
            Runner::Ort(model) => model.name(),
        }
    }

    /// Mean time of a run of one request.
    pub(super) fn run_time(&self) -> Option<Duration> {
        let nanos = self.run_nanos.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    fn encode(&self, outputs: &[Tensor]) -> Result<alloy_primitives::Bytes, Failure> {
        wire::encode_output(outputs, self.manifest.outputs(), self.manifest.fields().cost.maxOutputBytes)
    }

    fn answer(&self, input: &[u8]) -> Result<alloy_primitives::Bytes, Failure> {
        let broke = |unavailable: Unavailable| crate::failure::undefined(unavailable.to_string());
        match self.outcome(input).map_err(broke)? {
            Outcome::Output(output) => Ok(output),
            Outcome::Failed(failure) => Err(failure),
        }
    }

    fn note_time(&self, time: Duration) {
        let nanos = (time.as_nanos() as u64).max(1);
        // A lost update costs one sample of an average.
        let mean = self.run_nanos.load(Relaxed);
        self.run_nanos.store(if mean == 0 { nanos } else { mean - mean / 8 + nanos / 8 }, Relaxed);
    }

    /// The graph's inputs and outputs must be those of the manifest: a hash says that files are unchanged, not that
    /// they were described rightly.
    fn check_specs(&self) -> Result<(), String> {
        let listed = (self.manifest.inputs(), self.manifest.outputs());
        let model = match &self.runner {
            Runner::Exact { model, .. } => model,
            Runner::Embedding(model) if listed == (&text::embedding_input_specs(), &model.output_specs()) => {
                return Ok(());
            }
            Runner::Embedding(_) => {
                return Err("the manifest's tensors are not those of this encoder; publish it again".into());
            }
            Runner::Text(_) if listed == (&text::input_specs(), &text::output_specs()) => return Ok(()),
            Runner::Text(_) => {
                return Err("the manifest's tensors are not those of text models; publish it again".into());
            }
            Runner::Ort(_) => return Ok(()),
        };
        let same = |side: &str, graph: &[crate::exact::ValueSpec], listed: &[_]| {
            let specs = publish::specs(graph).map_err(|error| error.to_string())?;
            if specs == listed {
                Ok(())
            } else {
                Err(format!("the manifest's {side} are not those of the graph; publish the model again"))
            }
        };
        same("inputs", model.inputs(), self.manifest.inputs())?;
        same("outputs", model.outputs(), self.manifest.outputs())
    }
}

impl Weighed for Model {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// Name of the exact engine with what it computes on here: a GPU, or else an instruction set.
pub(super) fn exact_name(accelerator: Option<&Accelerator>) -> String {
    match accelerator.filter(|accelerator| accelerator.breakdown().is_none()) {
        Some(accelerator) => format!("exact ({})", accelerator.name()),
        None => format!("exact ({})", format!("{:?}", Isa::best()).to_lowercase()),
    }
}

fn runner(
    entry: &Entry,
    files: &Files,
    folder: Option<PathBuf>,
    config: &Config,
    pool: Arc<Pool>,
) -> Result<Runner, Unavailable> {
    let id = entry.manifest.id();
    let failed = |reason: String| Unavailable::Load { id, reason };
    let graph = &files[&entry.manifest.graph().name];
    // Only files that the manifest lists have a say in what the model answers.
    let weights = screen::check(graph, files).map_err(|error| failed(error.to_string()))?;
    if entry.manifest.profile() == Profile::ExactI8 {
        integer::check(graph).map_err(|error| failed(error.to_string()))?;
    }
    let is_text = entry.manifest.profile() == Profile::ExactText;
    if is_text || (entry.manifest.profile() == Profile::ExactF32 && files.contains_key(EMBEDDING_FILE)) {
        // Whatever computes other models: only the exact engine gives the logits that a text is chosen by.
        let folder = folder.filter(|_| !weights.is_empty());
        let options = LoadOptions { limits: config.limits.clone(), folder, ..LoadOptions::default() };
        let graph = ExactModel::load(graph.clone(), &options).map_err(|error| failed(error.to_string()))?;
        return Ok(match is_text {
            true => Runner::Text(Box::new(TextModel::new(graph, files, pool).map_err(failed)?)),
            false => Runner::Embedding(Box::new(EmbeddingModel::new(graph, files, pool).map_err(failed)?)),
        });
    }
    if config.kind == Kind::Exact {
        let folder = folder.filter(|_| !weights.is_empty());
        let options =
            LoadOptions { limits: config.limits.clone(), folder, isa: None, accelerator: config.accelerator.clone() };
        match ExactModel::load(graph.clone(), &options) {
            Ok(model) => {
                let accelerator = config.accelerator.clone();
                return Ok(Runner::Exact { model: Box::new(model), pool, accelerator });
            }
            Err(error) if entry.manifest.profile() != Profile::Tolerance => return Err(failed(error.to_string())),
            Err(_) => {}
        }
    }
    let model =
        OrtModel::start(graph, files, config.threads, &config.ort).map_err(|error| failed(error.to_string()))?;
    Ok(Runner::Ort(Box::new(model)))
}
