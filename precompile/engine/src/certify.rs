//! What is found out about a model before others rely on it.
//!
//! A model is certified *exact* where the exact engine has all its operators, its bytes are the same for every batch,
//! thread count and instruction set of this machine, and they are near those of ONNX Runtime where that is found. What
//! the exact engine lacks is certified with a *tolerance*: how far ONNX Runtime's answers lie apart over its own settings,
//! for each output, times a margin.

mod batching;
pub mod cases;
mod difference;
mod exact;
mod integer;
mod page;
mod reference;
mod report;
mod shapes;
mod text;

use std::time::Duration;

use bytes::Bytes;

pub use batching::measure_batching;
pub use difference::{Difference, EXACT_RELATIVE_MAX, TOLERANCE_FLOOR, TOLERANCE_MARGIN, eps};
pub use exact::{Cell, Matrix};
pub use page::html;
pub use reference::{Comparison, Setting};
pub use report::{OutputReport, Report};

use crate::{
    ExactModel, Limits, LoadError, LoadOptions, Pool, Tensor,
    engine::BatchFacts,
    input::InputError,
    manifest::profile_name,
    ort::{OrtConfig, OrtError},
    publish::{self, GRAPH_FILE, PublishError, PublishOptions, Published},
    rewrite::{Rewritten, rewrite},
    screen,
    text::is_text,
};
use foreblock_precompile::{abi::TensorSpec, gas};

/// Which profile to certify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Exact where that is possible, else a tolerance.
    #[default]
    Best,
    /// `exact-f32/v1` or nothing.
    Exact,
    /// `exact-i8/v1`: an integer model, converted from a quantised one, or nothing.
    Integer,
    /// A tolerance, even where exact is possible.
    Tolerance,
}

/// How to certify a model.
#[derive(Clone, Debug)]
pub struct CertifyOptions {
    /// Name, limits and further files.
    pub publish: PublishOptions,
    /// Inputs to try, as NumPy's `.npz`: an array for each input; for a language model, text with a prompt a line. Made up
    /// where there are none.
    pub cases: Option<Bytes>,
    /// Which profile.
    pub profile: Wanted,
    /// Where ONNX Runtime is.
    pub ort: OrtConfig,
    /// Longest run of one setting of the matrix, by the time of one row: slower settings are left out, and the report says so.
    pub cell_time_max: Duration,
}

/// [`CertifyOptions::cell_time_max`] where nobody says otherwise: software FMA is some fifty times slower.
pub const CELL_TIME_MAX: Duration = Duration::from_secs(10);

/// A model that is not certified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifyError {
    /// About publishing.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// About the cases.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The exact engine does not load it, and exact was wanted.
    #[error("the exact engine does not load the model: {0}; without --profile exact it can have a tolerance")]
    NotExact(LoadError),
    /// It cannot be computed in integers alone.
    #[error("the model is no exact integer model: {0}")]
    NotInteger(#[from] crate::integer::NotInteger),
    /// The exact engine does not load it, and there is no ONNX Runtime to measure a tolerance.
    #[error("the exact engine does not load the model ({exact}), and a tolerance needs ONNX Runtime: {ort}")]
    NoEngine {
        /// Why it is not exact.
        exact: String,
        /// Why ONNX Runtime does not serve.
        ort: OrtError,
    },
    /// No case has an answer.
    #[error(
        "the model has no answer for any of {tried} cases: {reason}; give cases that fit it: --cases data.npz, an array \
         for each input"
    )]
    NoCase {
        /// Cases tried.
        tried: usize,
        /// What the model said to the last.
        reason: String,
    },
    /// The engine's bytes depend on what they must not depend on.
    #[error(
        "the exact engine's bytes depend on {0}: this is a fault of the engine or of this machine; please report it"
    )]
    NotTheSame(String),
    /// The exact answer is far from ONNX Runtime's.
    #[error(
        "output {output} differs from ONNX Runtime's by {difference:e}, more than the {bound:e} that rounding explains; \
         please report it with the model, or measure a tolerance with --profile tolerance"
    )]
    Far {
        /// Which.
        output: String,
        /// Largest difference.
        difference: f64,
        /// Largest allowed.
        bound: f64,
    },
    /// ONNX Runtime gave no answer where one is needed.
    #[error("ONNX Runtime: {0}")]
    Reference(String),
}

/// A certified model.
#[derive(Clone, Debug)]
pub struct Certified {
    /// Manifest and files.
    pub published: Published,
    /// What batches gain.
    pub facts: BatchFacts,
    /// What was found.
    pub report: Report,
}

/// A request to try: as a contract sends it, and as the model takes it.
#[derive(Clone, Debug)]
pub struct Case {
    /// `abi.encode(Tensor[])`.
    pub input: alloy_primitives::Bytes,
    /// The model's tensors.
    pub tensors: Vec<Tensor>,
}

/// Certifies a model. `say` hears what is being done.
pub fn certify(graph: &Bytes, options: CertifyOptions, say: &mut dyn FnMut(&str)) -> Result<Certified, CertifyError> {
    if is_text(&options.publish.others) {
        return text::certify(graph, options, say);
    }
    let weights = screen::check(graph, &options.publish.others).map_err(PublishError::from)?;
    let folder = options.publish.folder.clone().filter(|_| !weights.is_empty());
    let limits = Limits::default();
    say("rewriting the graph");
    let rewritten = rewrite(graph, folder.as_deref(), &limits).map_err(PublishError::from)?;
    let load = LoadOptions { limits, folder, ..LoadOptions::default() };
    if options.profile == Wanted::Integer {
        return integer::certify(rewritten, options, say);
    }
    match ExactModel::load(rewritten.graph.clone(), &load) {
        Ok(model) if options.profile != Wanted::Tolerance => exact::certify(model, load, rewritten, options, say),
        Ok(model) => reference::certify(Ok(model), rewritten, options, say),
        Err(error) if options.profile == Wanted::Exact => Err(CertifyError::NotExact(error)),
        Err(error) => reference::certify(Err(error), rewritten, options, say),
    }
}

/// Rows for the report that do not depend on the profile.
fn describe(published: &Published, rewritten: &Rewritten, cases: &[Case], made_up: bool) -> Report {
    let manifest = &published.manifest;
    let cost = &manifest.fields().cost;
    let file_bytes = published.files.get(GRAPH_FILE).map_or(0, Bytes::len) as u64;
    Report {
        name: manifest.name().into(),
        model_id: manifest.id(),
        profile: profile_name(manifest.profile()).into(),
        graph_bytes: file_bytes,
        nodes: rewritten.nodes,
        nodes_folded: rewritten.folded,
        nodes_unused: rewritten.unused,
        multiply_adds: cost.multiplyAdds,
        bytes_moved: cost.bytesMoved,
        gas_per_run: manifest.gas_per_run(),
        gas_formula: gas_formula(cost.multiplyAdds, cost.bytesMoved),
        cases: cases.len(),
        cases_made_up: made_up,
        golden_vectors: 0,
        matrix: None,
        outputs: Vec::new(),
        comparisons: Vec::new(),
        notes: Vec::new(),
        batch: BatchFacts::default(),
    }
}

/// How gas per run follows from cost, with the numbers put in.
pub fn gas_formula(multiply_adds: u64, bytes_moved: u64) -> String {
    format!(
        "{} + {multiply_adds} multiply-adds / {} + {bytes_moved} bytes / {}, each rounded up",
        gas::RUN_BASE,
        gas::MULTIPLY_ADDS_PER_GAS,
        gas::BYTES_PER_GAS
    )
}

/// The cases to try, those without an answer left out, and whether they are made up.
fn cases(
    options: &CertifyOptions,
    specs: &[TensorSpec],
    run: &mut cases::Run<'_>,
) -> Result<(Vec<Case>, bool), CertifyError> {
    let given = options.cases.as_ref();
    let cases = match given {
        Some(file) => cases::read(file, specs)?,
        None => return Ok((cases::made_up(specs, &options.publish, run)?, true)),
    };
    let tried = cases.len();
    let mut reason = String::from("the file holds no case");
    let mut kept = Vec::new();
    for case in cases {
        match run(case.tensors.clone()) {
            Ok(_) => kept.push(case),
            Err(failure) => reason = failure,
        }
    }
    if kept.is_empty() { Err(CertifyError::NoCase { tried, reason }) } else { Ok((kept, false)) }
}

/// The specs of an exact model's inputs, for cases.
fn exact_specs(model: &ExactModel) -> Result<Vec<TensorSpec>, CertifyError> {
    Ok(publish::specs(model.inputs())?)
}

/// A pool of as many threads as there are cores.
fn all_threads() -> Pool {
    Pool::new(std::thread::available_parallelism().map_or(1, usize::from))
}

/// Rewrites and publishes a graph in the exact profile without comparing engines: with golden vectors from made-up
/// cases (none where nothing that was made up has an answer) and batching facts.
pub fn publish_checked(
    graph: &Bytes,
    mut options: PublishOptions,
    pool: &Pool,
) -> Result<(Published, BatchFacts), PublishError> {
    let weights = screen::check(graph, &options.others)?;
    let folder = options.folder.clone().filter(|_| !weights.is_empty());
    let limits = Limits::default();
    let graph = rewrite(graph, folder.as_deref(), &limits)?.graph;
    let model = ExactModel::load(graph.clone(), &LoadOptions { limits, folder, ..LoadOptions::default() })?;
    let specs = publish::specs(model.inputs())?;
    let mut run = |tensors: Vec<Tensor>| model.run(tensors, pool).map_err(|failure| failure.reason);
    let cases = cases::made_up(&specs, &options, &mut run).unwrap_or_default();
    let rows: Vec<Vec<Tensor>> = cases.iter().map(|case| case.tensors.clone()).collect();
    let facts = measure_batching(&model, &rows, pool).map_err(PublishError::Run)?;
    if options.golden_inputs.is_empty() {
        options.golden_inputs = cases::golden(&cases);
    }
    Ok((publish::publish_as(graph, options, foreblock_precompile::Profile::ExactF32, pool)?, facts))
}

#[cfg(test)]
mod tests;
