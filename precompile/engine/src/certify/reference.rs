//! ONNX Runtime over its own settings: the yardstick of the exact profile, and the measure of a tolerance.

use bytes::Bytes;
use serde::Serialize;

use super::{Case, Certified, CertifyError, CertifyOptions, Difference, OutputReport, describe, difference, shapes};
use super::{all_threads, exact};
use crate::{
    ExactModel, Limits, LoadError, Tensor,
    engine::{BatchFacts, concat_rows, split_rows},
    exact::ValueSpec,
    model_dir::Files,
    onnx::{self, error::invalid},
    ort::{Optimization, OrtConfig, OrtError, OrtModel, RunError},
    publish::{self, PublishError, publish_tolerance},
    rewrite::Rewritten,
};

/// Batches that are compared on one thread with all optimisations.
const BATCHES: [usize; 3] = [2, 7, 32];

/// A setting of ONNX Runtime.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// What answered: `onnxruntime 1.31.1 (cpu)`, `exact`.
    pub engine: String,
    /// Graph optimisations.
    pub optimization: String,
    /// Threads.
    pub threads: usize,
    /// Rows.
    pub batch: usize,
}

/// How far one setting's answers lie from those compared with.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Which.
    pub setting: Setting,
    /// Cases whose bytes are the same.
    pub cases_equal: usize,
    /// Cases compared.
    pub cases: usize,
    /// For each output.
    pub outputs: Vec<Difference>,
}

/// What one setting answered to each case; `None` where it was not asked.
pub(super) struct Answered {
    setting: Setting,
    answers: Vec<Option<Vec<Tensor>>>,
}

fn settings() -> Vec<(Optimization, usize)> {
    let threads = [1, 2, 16].map(|threads| (Optimization::All, threads));
    let levels = [Optimization::Extended, Optimization::Basic, Optimization::Disabled].map(|level| (level, 1));
    threads.into_iter().chain(levels).collect()
}

/// Runs the cases over threads, optimisation levels and batches.
pub(super) fn measure(
    graph: &Bytes,
    files: &Files,
    config: &OrtConfig,
    cases: &[Case],
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Answered>, OrtError> {
    let mut measured = Vec::new();
    for (optimization, threads) in settings() {
        let level = optimization.name();
        say(&format!("running ONNX Runtime: {threads} threads, optimisations {level}"));
        let model = OrtModel::start(graph, files, threads, &OrtConfig { optimization, ..config.clone() })?;
        let setting = |batch| Setting { engine: model.name(), optimization: level.into(), threads, batch };
        let answers = cases.iter().map(|case| answer(&model, case.tensors.clone())).collect::<Result<_, _>>()?;
        measured.push(Answered { setting: setting(1), answers });
        if optimization == Optimization::All && threads == 1 {
            for batch in BATCHES {
                let answers = batched(&model, cases, batch)?;
                if answers.iter().any(Option::is_some) {
                    measured.push(Answered { setting: setting(batch), answers });
                }
            }
        }
    }
    Ok(measured)
}

fn answer(model: &OrtModel, tensors: Vec<Tensor>) -> Result<Option<Vec<Tensor>>, OrtError> {
    match model.run(tensors) {
        Ok(outputs) => Ok(Some(outputs)),
        Err(RunError::Failed(_)) => Ok(None),
        Err(RunError::Broke(error)) => Err(error),
    }
}

/// The cases of the first one's shape as rows of batches; each is the first row of one and a later row of others.
fn batched(model: &OrtModel, cases: &[Case], batch: usize) -> Result<Vec<Option<Vec<Tensor>>>, OrtError> {
    let shapes = |case: &Case| case.tensors.iter().map(|tensor| tensor.shape().to_vec()).collect::<Vec<_>>();
    let alike: Vec<usize> = (0..cases.len()).filter(|index| shapes(&cases[*index]) == shapes(&cases[0])).collect();
    let mut answers = vec![None; cases.len()];
    let is_row = cases[0].tensors.iter().all(|tensor| tensor.shape().first() == Some(&1));
    for first in (0..alike.len()).step_by(batch).filter(|_| is_row) {
        let members: Vec<usize> = alike.iter().copied().cycle().skip(first).take(batch).collect();
        let rows: Vec<&Vec<Tensor>> = members.iter().map(|index| &cases[*index].tensors).collect();
        let outputs = concat_rows(&rows).map(|merged| answer(model, merged)).transpose()?.flatten();
        let parts = outputs.and_then(|outputs| split_rows(&outputs, &vec![1; batch]));
        for (index, part) in members.into_iter().zip(parts.unwrap_or_default()) {
            answers[index] = Some(part);
        }
    }
    Ok(answers)
}

/// How far a setting's answers lie from `base`.
pub(super) fn compare(base: &[Vec<Tensor>], answered: &Answered) -> Comparison {
    let mut outputs: Vec<Difference> = vec![Difference::default(); base.first().map_or(0, Vec::len)];
    let (mut cases, mut cases_equal) = (0, 0);
    for (base, answer) in base.iter().zip(&answered.answers) {
        let Some(answer) = answer else { continue };
        let before: u64 = outputs.iter().map(|output| output.different).sum();
        for ((output, one), other) in outputs.iter_mut().zip(base).zip(answer) {
            output.add(one, other);
        }
        let after: u64 = outputs.iter().map(|output| output.different).sum();
        cases += 1;
        cases_equal += usize::from(before == after);
    }
    Comparison { setting: answered.setting.clone(), cases_equal, cases, outputs }
}

/// Name, type and largest magnitude of each output.
pub(super) fn describe_outputs(names: &[String], answers: &[Vec<Tensor>]) -> Vec<OutputReport> {
    let describe = |(index, name): (usize, &String)| OutputReport {
        name: name.clone(),
        element_type: answers.first().map_or_else(String::new, |outputs| outputs[index].element_type().name().into()),
        magnitude: answers.iter().map(|outputs| difference::magnitude(&outputs[index])).fold(0.0, f64::max),
        kind: answers.first().map(|outputs| outputs[index].element_type()),
        spread: 0.0,
        tolerance: None,
        step: None,
    };
    names.iter().enumerate().map(describe).collect()
}

/// What a graph says that it takes and gives.
pub(super) fn declared(graph: &Bytes) -> Result<(Vec<ValueSpec>, Vec<ValueSpec>), PublishError> {
    let model = onnx::decode(graph.clone(), &Limits::default())?;
    let graph = model.graph.as_ref().ok_or_else(|| invalid("the file holds no graph"))?;
    Ok(crate::exact::specs(graph)?)
}

/// Certifies a model with a tolerance for each output.
pub(super) fn certify(
    model: Result<ExactModel, LoadError>,
    rewritten: Rewritten,
    options: CertifyOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Certified, CertifyError> {
    let exact_reason = model.as_ref().err().map(|error| error.to_string());
    let no_engine =
        |ort| CertifyError::NoEngine { exact: exact_reason.clone().unwrap_or_else(|| "not asked".into()), ort };
    let files = &options.publish.others;
    let (inputs, outputs) = declared(&rewritten.graph)?;
    let specs = publish::specs(&inputs)?;
    say("starting ONNX Runtime");
    let ort = OrtModel::start(&rewritten.graph, files, 1, &options.ort).map_err(no_engine)?;
    let mut run = |tensors: Vec<Tensor>| match ort.run(tensors) {
        Ok(outputs) => Ok(outputs),
        Err(RunError::Failed(failure)) => Err(failure.reason),
        Err(RunError::Broke(error)) => Err(error.to_string()),
    };
    let (cases, made_up) = super::cases(&options, &specs, &mut run)?;
    drop(ort);
    let mut measured = measure(&rewritten.graph, files, &options.ort, &cases, say).map_err(no_engine)?;
    let pool = all_threads();
    if let Ok(model) = &model {
        let setting = Setting { engine: "exact".into(), optimization: "-".into(), threads: 1, batch: 1 };
        let answers = exact::answers(model, &cases, &pool)?.into_iter().map(Some).collect();
        measured.push(Answered { setting, answers });
    }
    let base: Vec<Vec<Tensor>> = measured[0].answers.iter().flatten().cloned().collect();
    if base.len() != cases.len() {
        return Err(CertifyError::Reference("it answers a case once and not again".into()));
    }
    let names: Vec<String> = outputs.iter().map(|spec| spec.name.clone()).collect();
    let mut described = describe_outputs(&names, &base);
    let mut tolerances = Vec::new();
    for (index, output) in described.iter_mut().enumerate() {
        output.spread = spread(index, &measured);
        let kind = outputs[index].element_type;
        let eps = difference::eps(kind, output.spread, output.magnitude).ok_or_else(|| {
            CertifyError::Reference(format!("its answers for output {} have no common shape", output.name))
        })?;
        output.tolerance = Some(crate::wire::fixed::format_wad(alloy_primitives::I256::from_raw(eps)));
        tolerances.push(eps);
    }
    say("measuring the cost");
    let cost = match &model {
        Ok(model) => publish::cost(model, &specs, &options.publish, &pool)?,
        Err(_) => shapes::cost(&rewritten.graph, &inputs, &options)?,
    };
    let described_specs = (specs, publish::specs(&outputs)?);
    let published = publish_tolerance(rewritten.graph.clone(), described_specs, tolerances, cost, options.publish)?;
    let mut report = describe(&published, &rewritten, &cases, made_up);
    report.outputs = described;
    report.comparisons = measured.iter().map(|answered| compare(&base, answered)).collect();
    report.notes.push(match exact_reason {
        Some(reason) => format!("not exact: {reason}"),
        None => "the exact engine has this model: without --profile tolerance it is exact".into(),
    });
    note_flips(&mut report);
    Ok(Certified { published, facts: BatchFacts::default(), report })
}

fn note_flips(report: &mut super::Report) {
    for output in report.outputs.iter().filter(|output| output.kind.is_some_and(|kind| !kind.is_float())) {
        if output.spread > 0.0 {
            report.notes.push(format!(
                "output {} is of {} and differs between settings: operators that disagree on it certify nothing",
                output.name, output.element_type
            ));
        }
    }
}

/// Largest distance of any two settings' answers in one output.
fn spread(output: usize, measured: &[Answered]) -> f64 {
    let mut largest = 0.0f64;
    for (index, one) in measured.iter().enumerate() {
        for other in &measured[index + 1..] {
            for (a, b) in one.answers.iter().zip(&other.answers) {
                if let (Some(a), Some(b)) = (a, b) {
                    let mut difference = Difference::default();
                    difference.add(&a[output], &b[output]);
                    largest = largest.max(difference.largest);
                }
            }
        }
    }
    largest
}
