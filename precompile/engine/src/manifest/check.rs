//! What a manifest must fulfil: all that `ManifestRules.sol` checks, and limits of the wire format.

use std::collections::HashSet;

use alloy_primitives::B256;
use foreblock_precompile::{Profile, abi};

use super::FORMAT;
use crate::tensor::ElementType;

/// Most files of a model.
const FILES_MAX: usize = 64;
/// Most inputs or outputs: what the wire format carries.
const TENSORS_MAX: usize = 64;
/// Most dimensions of a tensor on the wire.
const RANK_MAX: usize = 8;
/// Longest name of a file, a tensor or a model, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A manifest, or a file of it, that is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestError {
    /// Bytes that decode to no manifest.
    #[error("not an abi.encode(Manifest): {0}; build it with `foreblock model add` or `certify`")]
    NotAbi(String),
    /// Bytes that decode, but are not what `abi.encode` writes.
    #[error("the manifest's bytes are not canonical: encode it with abi.encode(Manifest)")]
    NotCanonical,
    /// JSON that is no manifest.
    #[error("not a manifest in JSON: {0}; `foreblock model show` prints one that is")]
    NotJson(String),
    /// A field with a value that it may not have.
    #[error("manifest field {field}: expected {expected}, got {got}")]
    Field {
        /// Which.
        field: String,
        /// What would be right.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A file of another size than listed.
    #[error("file {name}: expected {expected} bytes, found {got}; fetch or add the model again")]
    Size {
        /// Name in the manifest.
        name: String,
        /// Listed size in bytes.
        expected: u64,
        /// Actual size in bytes.
        got: u64,
    },
    /// A file with other content than listed.
    #[error("file {name}: expected keccak256 {expected}, found {got}; it was changed: fetch or add the model again")]
    Digest {
        /// Name in the manifest.
        name: String,
        /// Listed digest.
        expected: B256,
        /// Actual digest.
        got: B256,
    },
}

pub(super) fn field(field: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> ManifestError {
    ManifestError::Field { field: field.into(), expected: expected.into(), got: got.to_string() }
}

pub(super) fn check(manifest: &abi::Manifest) -> Result<(), ManifestError> {
    if manifest.format != FORMAT {
        return Err(field("format", FORMAT.to_string(), manifest.format));
    }
    let profile = Profile::from_number(manifest.profile).ok_or_else(|| field("profile", "1 to 4", manifest.profile))?;
    check_name("name", &manifest.name)?;
    check_files(&manifest.files)?;
    check_tensors("inputs", &manifest.inputs)?;
    check_tensors("outputs", &manifest.outputs)?;
    let expected = if profile == Profile::Tolerance { manifest.outputs.len() } else { 0 };
    if manifest.tolerances.len() != expected {
        return Err(field("tolerances", format!("{expected} of them"), manifest.tolerances.len()));
    }
    if manifest.cost.maxInputBytes == 0 || manifest.cost.maxOutputBytes == 0 {
        return Err(field("cost", "limits of input and output above 0", "0"));
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), ManifestError> {
    let printable = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if printable { Ok(()) } else { Err(field(what, "1 to 128 bytes of printable text", format!("{name:?}"))) }
}

fn check_files(files: &[abi::ModelFile]) -> Result<(), ManifestError> {
    if files.is_empty() || files.len() > FILES_MAX {
        return Err(field("files", "1 to 64 files, the graph first", files.len()));
    }
    for file in files {
        check_file_name(&file.name)?;
        if file.size == 0 {
            return Err(field(format!("files.{}.size", file.name), "more than 0 bytes", 0));
        }
        if file.digest.is_zero() {
            return Err(field(format!("files.{}.digest", file.name), "the content's keccak256", file.digest));
        }
    }
    // The graph is first; the others follow sorted, and no name may come twice.
    let sorted = files[1..].windows(2).all(|pair| pair[0].name < pair[1].name);
    if !sorted || files[1..].iter().any(|file| file.name == files[0].name) {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        return Err(field("files", "the graph, then the others sorted by name, each once", names.join(", ")));
    }
    Ok(())
}

/// Whether a name is safe to be joined to a model's folder: relative, without `..`, the same on every system.
pub fn check_file_name(name: &str) -> Result<(), ManifestError> {
    check_name("files.name", name)?;
    let part_fits = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.ends_with('.');
    let refused = |c: char| !c.is_ascii_graphic() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    if name.split('/').all(part_fits) && !name.contains(refused) && !name.starts_with("manifest.") {
        return Ok(());
    }
    Err(field(
        "files.name",
        "a path of ASCII letters inside the model's folder, without `..`, spaces and special characters",
        format!("{name:?}"),
    ))
}

fn check_tensors(side: &str, specs: &[abi::TensorSpec]) -> Result<(), ManifestError> {
    if specs.is_empty() || specs.len() > TENSORS_MAX {
        return Err(field(side, "1 to 64 tensors", specs.len()));
    }
    let mut names = HashSet::new();
    for (index, spec) in specs.iter().enumerate() {
        check_name(&format!("{side}[{index}].name"), &spec.name)?;
        if !names.insert(&spec.name) {
            return Err(field(format!("{side}[{index}].name"), "a name of its own", &spec.name));
        }
        if ElementType::from_onnx(spec.elementType.into()).is_none() {
            return Err(field(format!("{side}[{index}].elementType"), "an ONNX element type", spec.elementType));
        }
        let dimensions_fit = spec.shape.iter().all(|&length| length >= -1 && length <= u32::MAX.into());
        if spec.shape.len() > RANK_MAX || !dimensions_fit {
            let expected = "at most 8 dimensions, each -1 (free) or a uint32";
            return Err(field(format!("{side}[{index}].shape"), expected, format!("{:?}", spec.shape)));
        }
    }
    Ok(())
}
