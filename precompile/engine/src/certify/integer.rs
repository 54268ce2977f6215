//! The integer profile: a quantised model becomes an integer graph, which is compared with ONNX Runtime on the model as it
//! was quantised.

use super::{
    Certified, CertifyError, CertifyOptions,
    exact::{self, Proven},
};
use crate::{
    ExactModel, LoadOptions,
    integer::convert,
    publish::PublishError,
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
    let proven = exact::prove(&model, &load, &rewritten, Profile::ExactI8, &options, say)?;
    let Proven { published, facts, mut report, cases, answers } = proven;
    report.outputs.iter_mut().zip(&converted.steps).for_each(|(output, step)| output.step = Some(*step));
    report.notes.push(format!("converted to integers, with {} tables", converted.tables));
    exact::compare(&mut report, &answers, &quantised.graph, &options, &cases, say)?;
    Ok(Certified { published, facts, report })
}
