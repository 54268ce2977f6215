//! The exact profile: the same bytes whatever the batch, the threads and the instruction set.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    Case, Certified, CertifyError, CertifyOptions, Report, all_threads, cases, describe, difference, exact_specs,
    measure_batching, reference,
};
use crate::{
    ExactModel, Isa, LoadOptions, Pool, Tensor,
    engine::{BatchFacts, concat_rows, split_rows},
    publish::{PublishError, Published, publish_as},
    rewrite::Rewritten,
};
use foreblock_precompile::Profile;

/// Rows of the batches that are compared.
const BATCHES: [usize; 4] = [1, 2, 7, 32];
/// Threads that are compared.
const THREADS: [usize; 3] = [1, 2, 16];

/// One setting of the exact engine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// `avx2`, `portable`, ...
    pub instruction_set: String,
    /// Threads.
    pub threads: usize,
    /// Rows.
    pub batch: usize,
    /// Whether the bytes are those of the first setting.
    pub equal: bool,
}

/// The settings that were compared.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Matrix {
    /// One by one.
    pub cells: Vec<Cell>,
    /// Settings left out because one run would have taken too long.
    pub skipped: usize,
    /// Whether a row's bytes are the same in every batch as alone.
    pub rows_independent: bool,
}

/// A model with the cases that show it to be the same everywhere; not yet compared with ONNX Runtime.
pub(super) struct Proven {
    pub(super) published: Published,
    pub(super) facts: BatchFacts,
    pub(super) report: Report,
    pub(super) cases: Vec<Case>,
    pub(super) answers: Vec<Vec<Tensor>>,
}

/// Certifies a model that the exact engine has loaded.
pub(super) fn certify(
    model: ExactModel,
    load: LoadOptions,
    rewritten: Rewritten,
    options: CertifyOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Certified, CertifyError> {
    let proven = prove(&model, &load, &rewritten, Profile::ExactF32, &options, say)?;
    let Proven { published, facts, mut report, cases, answers } = proven;
    compare(&mut report, &answers, &rewritten.graph, &options, &cases, say)?;
    Ok(Certified { published, facts, report })
}

/// Runs the cases over all settings, and publishes the model in an exact profile if all bytes are equal.
pub(super) fn prove(
    model: &ExactModel,
    load: &LoadOptions,
    rewritten: &Rewritten,
    profile: Profile,
    options: &CertifyOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Proven, CertifyError> {
    let pool = all_threads();
    let specs = exact_specs(model)?;
    say("running the cases");
    let mut run = |tensors: Vec<Tensor>| model.run(tensors, &pool).map_err(|failure| failure.reason);
    let (cases, made_up) = super::cases(options, &specs, &mut run)?;
    let answers = answers(model, &cases, &pool)?;
    let matrix = matrix(rewritten, load, &cases, options.cell_time_max, say)?;
    if let Some(cell) = matrix.cells.iter().find(|cell| !cell.equal) {
        let Cell { instruction_set, threads, batch, .. } = cell;
        return Err(CertifyError::NotTheSame(format!("{instruction_set}, {threads} threads, batch {batch}")));
    }
    say("measuring batches");
    let rows: Vec<Vec<Tensor>> = cases.iter().map(|case| case.tensors.clone()).collect();
    let mut facts = measure_batching(model, &rows, &pool).map_err(PublishError::Run)?;
    facts.rows_independent &= matrix.rows_independent;
    let mut publish = options.publish.clone();
    publish.golden_inputs = cases::golden(&cases);
    let golden = publish.golden_inputs.len();
    let published = publish_as(rewritten.graph.clone(), publish, profile, &pool)?;
    let mut report = describe(&published, rewritten, &cases, made_up);
    report.golden_vectors = golden;
    report.matrix = Some(matrix);
    report.batch = facts.clone();
    report.outputs = reference::describe_outputs(&answers_names(rewritten)?, &answers);
    Ok(Proven { published, facts, report, cases, answers })
}

/// The answer to each case, alone.
pub(super) fn answers(model: &ExactModel, cases: &[Case], pool: &Pool) -> Result<Vec<Vec<Tensor>>, CertifyError> {
    let answer =
        |case: &Case| model.run(case.tensors.clone(), pool).map_err(|failure| PublishError::Run(failure).into());
    cases.iter().map(answer).collect()
}

/// Runs batches over instruction sets and threads; each must give the bytes of the fastest instruction set on one thread.
fn matrix(
    rewritten: &Rewritten,
    load: &LoadOptions,
    cases: &[Case],
    cell_time_max: Duration,
    say: &mut dyn FnMut(&str),
) -> Result<Matrix, CertifyError> {
    let batches = batches(cases);
    let mut matrix = Matrix { rows_independent: batches.len() > 1, ..Matrix::default() };
    let mut expected: Vec<Option<Vec<Tensor>>> = vec![None; batches.len()];
    let pools = THREADS.map(Pool::new);
    for isa in Isa::available() {
        let name = format!("{isa:?}").to_lowercase();
        say(&format!("comparing bytes on {name}"));
        let model = ExactModel::load(rewritten.graph.clone(), &LoadOptions { isa: Some(isa), ..load.clone() });
        let model = model.map_err(PublishError::from)?;
        let mut row_time = Duration::ZERO;
        for ((batch, members), expected) in batches.iter().zip(&mut expected) {
            for (threads, pool) in THREADS.iter().zip(&pools) {
                if row_time * (*batch as u32) > cell_time_max {
                    matrix.skipped += 1;
                    continue;
                }
                let start = Instant::now();
                let outputs = model.run(members.clone(), pool).map_err(PublishError::Run)?;
                row_time = row_time.max(start.elapsed() / *batch as u32);
                let equal = same_bytes(expected.get_or_insert_with(|| outputs.clone()), &outputs);
                matrix.cells.push(Cell { instruction_set: name.clone(), threads: *threads, batch: *batch, equal });
            }
        }
        matrix.rows_independent &= rows_are_alone(&model, &batches, &expected, &pools[1]).unwrap_or(true);
    }
    Ok(matrix)
}

/// For each batch size its rows, merged; only one row where the model's inputs have no rows.
fn batches(cases: &[Case]) -> Vec<(usize, Vec<Tensor>)> {
    let shapes = |case: &Case| case.tensors.iter().map(|tensor| tensor.shape().to_vec()).collect::<Vec<_>>();
    let alike: Vec<&Case> = cases.iter().filter(|case| shapes(case) == shapes(&cases[0])).collect();
    let is_row = alike[0].tensors.iter().all(|tensor| tensor.shape().first() == Some(&1));
    let merged = |batch: usize| {
        // Other rows for each size, so that a row meets several neighbours.
        let members: Vec<&Vec<Tensor>> =
            alike.iter().cycle().skip(batch).take(batch).map(|case| &case.tensors).collect();
        Some((batch, concat_rows(&members)?))
    };
    BATCHES.into_iter().filter(|batch| *batch == 1 || is_row).filter_map(merged).collect()
}

/// Whether each row of the largest batch has the bytes that it has alone; `None` where outputs have no rows.
fn rows_are_alone(
    model: &ExactModel,
    batches: &[(usize, Vec<Tensor>)],
    outputs: &[Option<Vec<Tensor>>],
    pool: &Pool,
) -> Option<bool> {
    let index = outputs.iter().rposition(Option::is_some)?;
    let (batch, members) = &batches[index];
    let parts = split_rows(outputs[index].as_ref()?, &vec![1; *batch])?;
    let rows = split_rows(members, &vec![1; *batch])?;
    let alone = |(row, part): (Vec<Tensor>, &Vec<Tensor>)| Some(same_bytes(&model.run(row, pool).ok()?, part));
    rows.into_iter().zip(&parts).take(BATCHES[2]).map(alone).try_fold(true, |all, one| Some(all & one?))
}

fn same_bytes(one: &[Tensor], other: &[Tensor]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            let mut difference = difference::Difference::default();
            difference.add(one, other);
            difference.different == 0
        })
}

/// Compares with ONNX Runtime, where that is found and loads the model.
pub(super) fn compare(
    report: &mut Report,
    answers: &[Vec<Tensor>],
    graph: &bytes::Bytes,
    options: &CertifyOptions,
    cases: &[Case],
    say: &mut dyn FnMut(&str),
) -> Result<(), CertifyError> {
    match reference::measure(graph, &options.publish.others, &options.ort, cases, say) {
        Err(error) => report.notes.push(format!("not compared with ONNX Runtime: {error}")),
        Ok(measured) => {
            for answered in &measured {
                report.comparisons.push(reference::compare(answers, answered));
            }
            report.check_bounds()?;
        }
    }
    Ok(())
}

/// Names of the outputs.
fn answers_names(rewritten: &Rewritten) -> Result<Vec<String>, CertifyError> {
    Ok(reference::declared(&rewritten.graph)?.1.into_iter().map(|spec| spec.name).collect())
}
