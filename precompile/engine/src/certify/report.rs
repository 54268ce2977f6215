//! What certification found, as data and as text.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
};

use foreblock_precompile::ModelId;
use serde::Serialize;

use super::{Cell, CertifyError, Comparison, Matrix, difference};
use crate::{ElementType, commands::thousands, engine::BatchFacts};

/// Elements of an integer or text output that may differ from ONNX Runtime's: a near tie may fall the other way.
const FLIPS_MAX: f64 = 0.01;

/// Steps that an integer output may be from that of ONNX Runtime on the quantised model: each layer rounds once more or less.
const STEPS_MAX: f64 = 4.0;

/// An output of the model.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputReport {
    /// Its name.
    pub name: String,
    /// Its type.
    pub element_type: String,
    /// Largest magnitude over all cases.
    pub magnitude: f64,
    /// Largest distance of any two settings' answers, where that was measured.
    pub spread: f64,
    /// Its tolerance in decimals, for a model of that profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<String>,
    /// Size of one step of an integer model's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    #[serde(skip)]
    pub(super) kind: Option<ElementType>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The model's name.
    pub name: String,
    /// Its id.
    pub model_id: ModelId,
    /// Its profile.
    pub profile: String,
    /// Bytes of the published graph.
    pub graph_bytes: u64,
    /// Nodes of it.
    pub nodes: usize,
    /// Nodes of the original that were computed.
    pub nodes_folded: usize,
    /// Nodes of the original that no output needed.
    pub nodes_unused: usize,
    /// Multiply-adds of the largest run.
    pub multiply_adds: u64,
    /// Bytes that it moves.
    pub bytes_moved: u64,
    /// Gas of each run.
    pub gas_per_run: u64,
    /// How it follows from the two.
    pub gas_formula: String,
    /// Cases tried.
    pub cases: usize,
    /// Whether they were made up.
    pub cases_made_up: bool,
    /// Cases that became golden vectors.
    pub golden_vectors: usize,
    /// The exact engine over its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// The outputs.
    pub outputs: Vec<OutputReport>,
    /// ONNX Runtime over its settings: against the exact answers, or against its own first setting.
    pub comparisons: Vec<Comparison>,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// What batches gain.
    pub batch: BatchFacts,
}

impl Report {
    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and text") + "\n"
    }

    /// Fails where an exact answer is farther from ONNX Runtime's than rounding explains.
    pub(super) fn check_bounds(&self) -> Result<(), CertifyError> {
        for comparison in &self.comparisons {
            for (output, difference) in self.outputs.iter().zip(&comparison.outputs) {
                let Some(kind) = output.kind else { continue };
                let steps = output.step.map_or(0.0, |step| step * STEPS_MAX);
                let bound = difference::bound(kind, output.magnitude).max(steps);
                let flips = (difference.elements as f64 * FLIPS_MAX).max(1.0);
                let near =
                    if kind.is_float() { difference.largest <= bound } else { difference.different as f64 <= flips };
                if !near {
                    let (output, difference) = (output.name.clone(), difference.largest);
                    return Err(CertifyError::Far { output, difference, bound });
                }
            }
        }
        Ok(())
    }

    fn write_matrix(&self, f: &mut impl Write) -> fmt::Result {
        let Some(matrix) = &self.matrix else { return Ok(()) };
        let equal = matrix.cells.iter().filter(|cell| cell.equal).count();
        writeln!(f, "\nthe exact engine over its settings: {equal} of {} equal, byte for byte", matrix.cells.len())?;
        let mut sets: Vec<&str> = matrix.cells.iter().map(|cell| cell.instruction_set.as_str()).collect();
        sets.dedup();
        let sizes = |size: fn(&Cell) -> usize| {
            let sizes: BTreeSet<usize> = matrix.cells.iter().map(size).collect();
            sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
        };
        let (threads, batches) = (sizes(|cell| cell.threads), sizes(|cell| cell.batch));
        writeln!(f, "  instruction sets {}; threads {threads}; batches {batches}", sets.join(", "))?;
        if matrix.skipped > 0 {
            writeln!(f, "  {} settings were left out: one run would have taken too long", matrix.skipped)?;
        }
        let rows = if matrix.rows_independent { "do not depend" } else { "depend, or there are none: never merged" };
        writeln!(f, "  rows on other rows of a batch: {rows}")
    }

    fn write_comparisons(&self, f: &mut impl Write) -> fmt::Result {
        if self.comparisons.is_empty() {
            return Ok(());
        }
        let base = if self.matrix.is_some() { "the exact answers" } else { "its first setting" };
        writeln!(f, "\nONNX Runtime over its settings, against {base}")?;
        writeln!(
            f,
            "  {:<10} {:>7} {:>5}  {:>11}  largest difference by output",
            "optimised", "threads", "batch", "equal"
        )?;
        for comparison in &self.comparisons {
            let setting = &comparison.setting;
            let named = |(output, d): (&OutputReport, &super::Difference)| format!("{} {:.2e}", output.name, d.largest);
            let largest: Vec<String> = self.outputs.iter().zip(&comparison.outputs).map(named).collect();
            let level = if setting.engine == "exact" { "exact" } else { &setting.optimization };
            let equal = format!("{} of {}", comparison.cases_equal, comparison.cases);
            let largest = largest.join(", ");
            writeln!(f, "  {level:<10} {:>7} {:>5}  {equal:>11}  {largest}", setting.threads, setting.batch)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.profile)?;
        writeln!(f, "  id       {}", self.model_id)?;
        writeln!(
            f,
            "  graph    {} bytes, {} nodes ({} folded, {} unused left out)",
            thousands(self.graph_bytes),
            self.nodes,
            self.nodes_folded,
            self.nodes_unused
        )?;
        writeln!(f, "  gas      {} a run = {}", thousands(self.gas_per_run), self.gas_formula)?;
        let origin = if self.cases_made_up { "made up" } else { "given" };
        writeln!(f, "  cases    {} ({origin}), {} of them golden vectors", self.cases, self.golden_vectors)?;
        for output in &self.outputs {
            write!(f, "  output   {} {}, up to {:.4e}", output.name, output.element_type, output.magnitude)?;
            match &output.tolerance {
                Some(eps) => writeln!(f, "; answers lie {:.2e} apart, tolerance {eps}", output.spread)?,
                None => writeln!(f)?,
            }
        }
        self.write_matrix(f)?;
        self.write_comparisons(f)?;
        if !self.batch.timings.is_empty() {
            writeln!(f, "\nbatches")?;
            for timing in &self.batch.timings {
                let gain = self.batch.gain(timing.rows);
                writeln!(f, "  {:>4} rows  {:>12.1} us  {gain:>5.2} times one by one", timing.rows, timing.micros)?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "\nnote: {note}"))
    }
}
