//! `model list`.

use std::io::Write;

use foreblock_precompile::ModelId;
use serde::Serialize;

use super::{CommandError, shape_text, thousands};
use crate::{
    Catalog, ElementType,
    catalog::{Entry, Place},
    manifest::profile_name,
};

/// One line of the list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedModel {
    /// Its id.
    pub id: ModelId,
    /// Its name.
    pub name: String,
    /// Rule by which answers are valid.
    pub profile: String,
    /// Gas of one run.
    pub gas_per_run: u64,
    /// Inputs as people read them: `log_returns float [?, 16]`.
    pub inputs: Vec<String>,
    /// Outputs in the same way.
    pub outputs: Vec<String>,
    /// Whether it is part of the program.
    pub bundled: bool,
}

/// Lists all models as a table, or as JSON.
pub fn list(catalog: &Catalog, json: bool, out: &mut impl Write) -> Result<Vec<ListedModel>, CommandError> {
    let (entries, broken) = catalog.list()?;
    let models: Vec<ListedModel> = entries.iter().map(listed).collect();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&models).expect("texts and numbers"))?;
        return Ok(models);
    }
    let width = models.iter().map(|model| model.name.len()).max().unwrap_or(4).max(4);
    writeln!(out, "{:width$}  {:66}  {:>9}  profile       takes -> gives", "name", "id", "gas")?;
    for model in &models {
        let (gas, takes, gives) = (thousands(model.gas_per_run), model.inputs.join(", "), model.outputs.join(", "));
        writeln!(out, "{:width$}  {}  {gas:>9}  {:12}  {takes} -> {gives}", model.name, model.id, model.profile)?;
    }
    for error in broken {
        writeln!(out, "broken: {error}")?;
    }
    Ok(models)
}

fn listed(entry: &Entry) -> ListedModel {
    let manifest = &entry.manifest;
    let spec = |spec: &foreblock_precompile::abi::TensorSpec| {
        let kind = ElementType::from_onnx(spec.elementType.into()).map_or("unknown", ElementType::name);
        format!("{} {kind} {}", spec.name, shape_text(&spec.shape))
    };
    ListedModel {
        id: manifest.id(),
        name: manifest.name().into(),
        profile: profile_name(manifest.profile()).into(),
        gas_per_run: manifest.gas_per_run(),
        inputs: manifest.inputs().iter().map(spec).collect(),
        outputs: manifest.outputs().iter().map(spec).collect(),
        bundled: entry.place == Place::Bundled,
    }
}
