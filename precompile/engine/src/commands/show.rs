//! `model show`.

use std::io::Write;

use super::{CommandError, thousands};
use crate::{Catalog, Manifest, catalog::Place, engine::BatchFacts, engine::FACTS_FILE};

/// Shows a model: its manifest as JSON alone, or with what follows from it and its card.
pub fn show(catalog: &Catalog, query: &str, json: bool, out: &mut impl Write) -> Result<Manifest, CommandError> {
    let entry = catalog.find(query)?;
    let manifest = &entry.manifest;
    if json {
        out.write_all(manifest.to_json().as_bytes())?;
        return Ok(entry.manifest);
    }
    writeln!(out, "{}\n", manifest.name())?;
    writeln!(out, "id        {}", manifest.id())?;
    match (entry.place, catalog.dir()) {
        (Place::Directory, Some(dir)) => writeln!(out, "place     {}", dir.path(manifest.id()).display())?,
        _ => writeln!(out, "place     part of this program")?,
    }
    let cost = &manifest.fields().cost;
    let (adds, bytes) = (thousands(cost.multiplyAdds), thousands(cost.bytesMoved));
    writeln!(
        out,
        "gas       {} a run = 2,000 + {adds} multiply-adds / 2,000 + {bytes} bytes / 1,000",
        thousands(manifest.gas_per_run())
    )?;
    let (input, output) = (thousands(cost.maxInputBytes), thousands(cost.maxOutputBytes));
    writeln!(out, "limits    input {input} bytes, output {output} bytes")?;
    let batch = BatchFacts::read(catalog.note(&entry, FACTS_FILE).as_deref());
    let rows = batch.rows_worth_merging();
    if rows > 1 {
        writeln!(out, "batches   up to {rows} rows together, {:.1} times faster", batch.gain(rows))?;
    }
    writeln!(out, "\n{}", manifest.to_json())?;
    if let Some(card) = catalog.note(&entry, "card.md") {
        out.write_all(&card)?;
    }
    Ok(entry.manifest)
}
