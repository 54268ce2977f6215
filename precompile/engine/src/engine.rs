//! The engine: from requests to outcomes.
//!
//! [`Engine::run`] gives an [`Outcome`] where the answer is a pure function of model and input, a failure included, and
//! [`Unavailable`] where this node, now, cannot compute: that says nothing about the request and is never signed.
//! Models load when they are first asked for, once, and the least recently used give way when memory is short.

mod batch;
mod cache;
mod facts;
mod model;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use alloy_primitives::{Bytes, keccak256};
use foreblock_precompile::{ModelId, Outcome, RequestId};

pub(crate) use batch::{concat_rows, split_rows};
pub use facts::{BatchFacts, BatchTiming, FACTS_FILE, Facts, State};

use crate::{
    Catalog, Limits, Pool,
    cuda::{self, Accelerator, DeviceError},
    ort::{Device, OrtConfig},
    text,
};
use cache::Cache;
use model::Model;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The built-in exact engine; for a model of the tolerance profile that it does not load, ONNX Runtime.
    #[default]
    Exact,
    /// ONNX Runtime for every model. Its answers to models of an exact profile are near the exact ones, not equal: for
    /// comparison, and for networks of one operator.
    Ort,
}

/// How to build an [`Engine`].
#[derive(Clone, Debug)]
pub struct Config {
    /// What computes.
    pub kind: Kind,
    /// Threads that one run may use; no exact answer depends on it.
    pub threads: usize,
    /// Bytes of loaded models, by the size of their files, before the least recently used gives way.
    pub loaded_bytes_max: u64,
    /// Bounds on models and runs.
    pub limits: Limits,
    /// Where ONNX Runtime is and what its worker processes may use.
    pub ort: OrtConfig,
    /// GPU of the exact engine; its answers are those of the CPU.
    pub accelerator: Option<Accelerator>,
}

impl Config {
    /// What people call the engines.
    pub const NAMES: [&str; 5] = ["exact", "exact-cuda", "ort", "ort-cuda", "ort-tensorrt"];

    /// The defaults for one of [`Config::NAMES`]. Fails for `exact-cuda` where there is no GPU.
    pub fn named(name: &str) -> Result<Self, DeviceError> {
        let device = match name {
            "ort-cuda" => Device::Cuda,
            "ort-tensorrt" => Device::TensorRt,
            _ => Device::Cpu,
        };
        let kind = if name.starts_with("ort") { Kind::Ort } else { Kind::Exact };
        let accelerator = if name == "exact-cuda" { Some(Accelerator::new(cuda::open(0)?)) } else { None };
        let ort = OrtConfig { device, ..OrtConfig::default() };
        Ok(Self { kind, accelerator, ort, ..Self::default() })
    }
}

impl Default for Config {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (limits, ort) = (Limits::default(), OrtConfig::default());
        Self { kind: Kind::Exact, threads, loaded_bytes_max: 2 << 30, limits, ort, accelerator: None }
    }
}

/// Why this node cannot compute now. Never an outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The model's files are not here.
    #[error("{0}")]
    NotHere(String),
    /// The model does not load.
    #[error("model {id} does not load: {reason}")]
    Load {
        /// Which.
        id: ModelId,
        /// Why.
        reason: String,
    },
    /// The computation itself broke: a panic, a worker that died or took too long.
    #[error("the engine broke while computing: {0}")]
    Broke(String),
}

/// Computes outcomes. A handle to shared state: clone it freely, call it from any thread.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    config: Config,
    pool: Arc<Pool>,
    cache: Cache<Model>,
}

impl Engine {
    /// An engine for the models of a catalog. Loads nothing yet.
    pub fn new(catalog: Catalog, config: Config) -> Self {
        let (pool, cache) = (Arc::new(Pool::new(config.threads)), Cache::new(config.loaded_bytes_max));
        Self(Arc::new(Inner { catalog, config, pool, cache }))
    }

    /// The outcomes of one model for many inputs, each `abi.encode(Tensor[])`, in their order. Loads the model first
    /// where it is not loaded. Inputs are merged to one run where the model gains from that and no row depends on
    /// another.
    pub fn run(&self, id: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let run = || self.model(id).map(|model| batch::run(&model, inputs));
        match guarded(run) {
            Ok(outcomes) => outcomes,
            Err(unavailable) => inputs.iter().map(|_| Err(unavailable.clone())).collect(),
        }
    }

    /// Loads a model in the background, so that its first request need not wait.
    pub fn preload(&self, id: ModelId) {
        let engine = self.clone();
        let load = move || drop(engine.load(id));
        // Without a thread to spare the first request loads it.
        let _ = std::thread::Builder::new().name("model-loader".into()).spawn(load);
    }

    /// Loads a model where it is not loaded, and waits for it.
    pub fn load(&self, id: ModelId) -> Result<(), Unavailable> {
        guarded(|| self.model(id).map(drop))
    }

    /// What the scheduler and people want to know of a model. Never waits for one to load.
    pub fn facts(&self, id: ModelId) -> Result<Facts, Unavailable> {
        let entry = self.0.catalog.get(id).map_err(|error| Unavailable::NotHere(error.to_string()))?;
        let batch = BatchFacts::read(self.0.catalog.note(&entry, FACTS_FILE).as_deref());
        let (state, loaded) = self.0.cache.peek(id);
        let engine = loaded.as_ref().map_or_else(|| self.engine_name(), |model| model.engine_name());
        let elsewhere = self.0.config.kind == Kind::Ort;
        let unloaded = || if elsewhere { batch.rows_together() } else { batch.rows_worth_merging() };
        let rows_max = loaded.as_ref().map_or_else(unloaded, |model| model.rows_max);
        let run_time = loaded.and_then(|model| model.run_time());
        Ok(Facts { manifest: entry.manifest, batch, rows_max, state, engine, run_time })
    }

    /// How far a request to a language model is, while this engine answers it.
    pub fn progress(&self, id: ModelId, request: RequestId) -> Option<text::Progress> {
        let all = self.0.cache.peek(id).1?.progress();
        all.into_iter().find(|one| keccak256([id, one.input].concat()) == request)
    }

    /// What answers: `exact (avx2)`, `exact (NVIDIA H200)` or `onnxruntime`.
    pub fn engine_name(&self) -> String {
        match self.0.config.kind {
            Kind::Exact => model::exact_name(self.0.config.accelerator.as_ref()),
            Kind::Ort => "onnxruntime".into(),
        }
    }

    /// The models of this node.
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// How it was built.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Drops a loaded model, for one whose files were removed or replaced.
    pub fn unload(&self, id: ModelId) {
        self.0.cache.remove(id);
    }

    fn model(&self, id: ModelId) -> Result<Arc<Model>, Unavailable> {
        let inner = &self.0;
        inner.cache.get(id, || {
            guarded(|| {
                let entry = inner.catalog.get(id).map_err(|error| Unavailable::NotHere(error.to_string()))?;
                Model::load(&inner.catalog, &entry, &inner.config, inner.pool.clone())
            })
        })
    }
}

/// Runs `work`; a panic in it is this node's trouble, not the caller's.
fn guarded<T>(work: impl FnOnce() -> Result<T, Unavailable>) -> Result<T, Unavailable> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Unavailable::Broke(format!("a panic: {}; please report it", text.as_deref().unwrap_or("without words"))))
    })
}

#[cfg(test)]
mod tests;
