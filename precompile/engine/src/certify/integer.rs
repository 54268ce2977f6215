//! The integer profile: a quantised model becomes an integer graph, which is compared with ONNX Runtime on the model as it
//! was quantised.

use super::{Certified, CertifyError, CertifyOptions, cases, describe, exact, measure_batching, reference};
use super::{all_threads, exact_specs};
use crate::{
    ExactModel, LoadOptions, Tensor,
    integer::convert,
    publish::{PublishError, publish_as},
    rewrite::{Rewritten, rewrite},
};
use foreblock_precompile::Profile;

/// Certifies a quantised model as `exact-i8/v1`.
pub(super) fn certify(
    quantised: Rewritten,
    options: CertifyOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Certified, CertifyError> {
    say("converting to integers");
    let converted = convert(&quantised.graph)?;
    let load = LoadOptions::default();
    let rewritten = rewrite(&converted.graph, None, &load.limits).map_err(PublishError::from)?;
    crate::integer::check(&rewritten.graph)?;
    let model = ExactModel::load(rewritten.graph.clone(), &load).map_err(PublishError::from)?;
    let (pool, specs) = (all_threads(), exact_specs(&model)?);
    let mut run = |tensors: Vec<Tensor>| model.run(tensors, &pool).map_err(|failure| failure.reason);
    let (cases, made_up) = super::cases(&options, &specs, &mut run)?;
    let answers = exact::answers(&model, &cases, &pool)?;
    let matrix = exact::matrix(&rewritten, &load, &cases, say)?;
    if let Some(cell) = matrix.cells.iter().find(|cell| !cell.equal) {
        return Err(CertifyError::NotTheSame(format!("{cell:?}")));
    }
    let rows: Vec<Vec<Tensor>> = cases.iter().map(|case| case.tensors.clone()).collect();
    let mut facts = measure_batching(&model, &rows, &pool).map_err(PublishError::Run)?;
    facts.rows_independent &= matrix.rows_independent;
    let mut publish = options.publish.clone();
    publish.golden_inputs = cases::golden(&cases);
    let golden = publish.golden_inputs.len();
    let published = publish_as(rewritten.graph.clone(), publish, Profile::ExactI8, &pool)?;
    let mut report = describe(&published, &rewritten, &cases, made_up);
    report.golden_vectors = golden;
    report.matrix = Some(matrix);
    report.batch = facts.clone();
    report.outputs = reference::describe_outputs(&exact::answers_names(&rewritten)?, &answers);
    report.outputs.iter_mut().zip(&converted.steps).for_each(|(output, step)| output.step = Some(*step));
    report.notes.push(format!("converted to integers, with {} tables", converted.tables));
    exact::compare(&mut report, &answers, &quantised.graph, &options, &cases, say)?;
    Ok(Certified { published, facts, report })
}
