//! The manifest for people: names for numbers, decimals for tolerances.

use alloy_primitives::{B256, I256, U256};
use foreblock_precompile::{Profile, abi};
use serde::{Deserialize, Serialize};

use super::{
    check::{ManifestError, field},
    profile_name,
};
use crate::{
    tensor::ElementType,
    wire::fixed::{format_wad, parse_wad},
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    format: u16,
    name: String,
    profile: String,
    files: Vec<File>,
    inputs: Vec<Spec>,
    outputs: Vec<Spec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tolerances: Vec<String>,
    cost: Cost,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    name: String,
    keccak256: B256,
    size_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    shape: Vec<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cost {
    multiply_adds: u64,
    bytes_moved: u64,
    max_input_bytes: u32,
    max_output_bytes: u32,
}

pub(super) fn parse(text: &str) -> Result<abi::Manifest, ManifestError> {
    let written: Written = serde_json::from_str(text).map_err(|error| ManifestError::NotJson(error.to_string()))?;
    Ok(abi::Manifest {
        format: written.format,
        name: written.name,
        profile: parse_profile(&written.profile)? as u8,
        files: written
            .files
            .into_iter()
            .map(|f| abi::ModelFile { name: f.name, digest: f.keccak256, size: f.size_bytes })
            .collect(),
        inputs: written.inputs.into_iter().map(parse_spec).collect::<Result<_, _>>()?,
        outputs: written.outputs.into_iter().map(parse_spec).collect::<Result<_, _>>()?,
        tolerances: written.tolerances.iter().map(|text| parse_tolerance(text)).collect::<Result<_, _>>()?,
        cost: abi::Cost {
            multiplyAdds: written.cost.multiply_adds,
            bytesMoved: written.cost.bytes_moved,
            maxInputBytes: written.cost.max_input_bytes,
            maxOutputBytes: written.cost.max_output_bytes,
        },
    })
}

pub(super) fn write(manifest: &abi::Manifest) -> String {
    let profile = Profile::from_number(manifest.profile).map_or("unknown", profile_name);
    let written = Written {
        format: manifest.format,
        name: manifest.name.clone(),
        profile: profile.into(),
        files: manifest
            .files
            .iter()
            .map(|f| File { name: f.name.clone(), keccak256: f.digest, size_bytes: f.size })
            .collect(),
        inputs: manifest.inputs.iter().map(write_spec).collect(),
        outputs: manifest.outputs.iter().map(write_spec).collect(),
        tolerances: manifest.tolerances.iter().map(|wad| format_wad(I256::from_raw(*wad))).collect(),
        cost: Cost {
            multiply_adds: manifest.cost.multiplyAdds,
            bytes_moved: manifest.cost.bytesMoved,
            max_input_bytes: manifest.cost.maxInputBytes,
            max_output_bytes: manifest.cost.maxOutputBytes,
        },
    };
    serde_json::to_string_pretty(&written).expect("strings and numbers") + "\n"
}

fn parse_profile(name: &str) -> Result<Profile, ManifestError> {
    let all = [Profile::ExactF32, Profile::ExactI8, Profile::Tolerance, Profile::ExactText];
    let known = all.into_iter().find(|profile| profile_name(*profile) == name);
    known.ok_or_else(|| field("profile", "exact-f32/v1, exact-i8/v1, tolerance or exact-text/v1", name))
}

fn parse_spec(spec: Spec) -> Result<abi::TensorSpec, ManifestError> {
    let kind = (1..=16).filter_map(ElementType::from_onnx).find(|kind| kind.name() == spec.kind);
    let kind = kind.ok_or_else(|| field(format!("type of {}", spec.name), "float, int64, string, ...", &spec.kind))?;
    Ok(abi::TensorSpec { name: spec.name, elementType: kind as u8, shape: spec.shape })
}

fn write_spec(spec: &abi::TensorSpec) -> Spec {
    let kind = ElementType::from_onnx(spec.elementType.into()).map_or("unknown", ElementType::name);
    Spec { name: spec.name.clone(), kind: kind.into(), shape: spec.shape.clone() }
}

fn parse_tolerance(text: &str) -> Result<U256, ManifestError> {
    let wad = parse_wad(text).filter(|wad| !wad.is_negative());
    wad.map(I256::into_raw).ok_or_else(|| field("tolerances", "a decimal number, 0 or more", format!("{text:?}")))
}
