//! The manifest: all that defines a model. `modelId = keccak256(abi.encode(Manifest))`, see `IModelRegistry.sol`.

mod check;
mod json;

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_sol_types::SolValue;
use foreblock_precompile::{ModelId, ModelSlot, Profile, abi, gas};

pub use check::{ManifestError, check_file_name};

/// Version of the manifest's struct.
pub const FORMAT: u16 = 1;

/// A manifest whose fields have been checked. It is immutable: to change one is to make another model.
#[derive(Clone, Debug)]
pub struct Manifest {
    fields: abi::Manifest,
    id: ModelId,
}

impl Manifest {
    /// A manifest with its fields checked.
    pub fn new(fields: abi::Manifest) -> Result<Self, ManifestError> {
        check::check(&fields)?;
        let id = keccak256(fields.abi_encode());
        Ok(Self { fields, id })
    }

    /// The manifest that has these canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let fields = abi::Manifest::abi_decode(bytes).map_err(|error| ManifestError::NotAbi(error.to_string()))?;
        if fields.abi_encode() != bytes {
            return Err(ManifestError::NotCanonical);
        }
        Self::new(fields)
    }

    /// `abi.encode(manifest)`: what `ModelRegistry.register` takes.
    pub fn to_bytes(&self) -> Bytes {
        self.fields.abi_encode().into()
    }

    /// Reads the form for people, see [`Manifest::to_json`].
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        Self::new(json::parse(text)?)
    }

    /// The form for people: the same fields, with names for numbers. It is not what is hashed.
    pub fn to_json(&self) -> String {
        json::write(&self.fields)
    }

    /// The model's id.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// The fields, as the contract sees them.
    pub fn fields(&self) -> &abi::Manifest {
        &self.fields
    }

    /// The model's name, for people; not unique.
    pub fn name(&self) -> &str {
        &self.fields.name
    }

    /// By which rule answers are valid.
    pub fn profile(&self) -> Profile {
        Profile::from_number(self.fields.profile).expect("checked when the manifest was made")
    }

    /// The model's inputs, in the graph's order.
    pub fn inputs(&self) -> &[abi::TensorSpec] {
        &self.fields.inputs
    }

    /// The model's outputs, in the graph's order.
    pub fn outputs(&self) -> &[abi::TensorSpec] {
        &self.fields.outputs
    }

    /// The published graph: the first file.
    pub fn graph(&self) -> &abi::ModelFile {
        &self.fields.files[0]
    }

    /// Gas of one run: 2,000 + multiply-adds / 2,000 + bytes moved / 1,000, each rounded up.
    pub fn gas_per_run(&self) -> u64 {
        gas::per_run(self.fields.cost.multiplyAdds, self.fields.cost.bytesMoved)
    }

    /// What `ModelRegistry` stores for the model, and the precompile reads.
    pub fn slot(&self) -> ModelSlot {
        ModelSlot {
            gas_per_run: self.gas_per_run(),
            max_input_bytes: self.fields.cost.maxInputBytes,
            max_output_bytes: self.fields.cost.maxOutputBytes,
            profile: self.profile(),
        }
    }

    /// Whether `content` is the file that the manifest lists as `file`.
    pub fn check_content(file: &abi::ModelFile, content: &[u8]) -> Result<(), ManifestError> {
        if content.len() as u64 != file.size {
            let (name, expected, got) = (file.name.clone(), file.size, content.len() as u64);
            return Err(ManifestError::Size { name, expected, got });
        }
        let got = keccak256(content);
        if got != file.digest {
            return Err(ManifestError::Digest { name: file.name.clone(), expected: file.digest, got });
        }
        Ok(())
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Manifest {}

/// The entry of a file with this content.
pub fn file_entry(name: &str, content: &[u8]) -> abi::ModelFile {
    abi::ModelFile { name: name.into(), digest: keccak256(content), size: content.len() as u64 }
}

/// Name of a profile, as manifests for people and reports write it.
pub fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::ExactF32 => "exact-f32/v1",
        Profile::ExactI8 => "exact-i8/v1",
        Profile::Tolerance => "tolerance",
        Profile::ExactText => "exact-text/v1",
    }
}

/// Reads `0x…` of 32 bytes.
pub fn parse_id(text: &str) -> Option<ModelId> {
    text.parse::<B256>().ok()
}

#[cfg(test)]
mod tests;
