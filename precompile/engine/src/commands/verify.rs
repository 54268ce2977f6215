//! `model verify`: files against their hashes, the engine against the golden vectors.

use std::io::Write;

use foreblock_precompile::{Failure, Outcome, Profile};

use super::CommandError;
use crate::{Engine, Manifest, catalog::Entry, golden};

/// What was found for one model.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Which.
    pub manifest: Manifest,
    /// Golden vectors that were right, or what is wrong.
    pub result: Result<usize, String>,
}

/// Verifies one model, or all. What is wrong is in the result; `Err` only where nothing could be tried.
pub fn verify(engine: &Engine, query: Option<&str>, out: &mut impl Write) -> Result<Vec<Verified>, CommandError> {
    let entries = match query {
        Some(query) => vec![engine.catalog().find(query)?],
        None => engine.catalog().list()?.0,
    };
    let mut verified = Vec::with_capacity(entries.len());
    for entry in entries {
        let result = verify_one(engine, &entry).map_err(|error| error.to_string());
        match &result {
            Ok(0) => writeln!(out, "ok      {}: hashes are right; it has no golden vectors", entry.manifest.name())?,
            Ok(count) => {
                writeln!(out, "ok      {}: hashes and {count} golden vectors are right", entry.manifest.name())?
            }
            Err(reason) => writeln!(out, "WRONG   {}: {reason}", entry.manifest.name())?,
        }
        verified.push(Verified { manifest: entry.manifest, result });
    }
    Ok(verified)
}

fn verify_one(engine: &Engine, entry: &Entry) -> Result<usize, CommandError> {
    let files = engine.catalog().files(entry)?;
    let id = entry.manifest.id();
    engine.load(id)?;
    if entry.manifest.profile() == Profile::Tolerance {
        return Ok(0);
    }
    let run = |input: &[u8]| -> Result<_, Failure> {
        match engine.run(id, &[input.to_vec().into()]).pop() {
            Some(Ok(Outcome::Output(output))) => Ok(output),
            Some(Ok(Outcome::Failed(failure))) => Err(failure),
            Some(Err(unavailable)) => Err(crate::failure::undefined(unavailable.to_string())),
            None => Err(crate::failure::undefined("no answer")),
        }
    };
    Ok(golden::check(&files, run)?)
}
