//! The packed slot of `ModelRegistry` that the precompile reads.

#[cfg(any(feature = "evm", feature = "evm-038"))]
use crate::abi;
use crate::{ModelId, Outcome, text};
use alloy_primitives::{B256, U256, keccak256};

/// By which rule an answer is valid; the numbers are those of `Profile` in `IInference.sol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Profile {
    /// `exact-f32/v1`: equal bytes on every machine.
    ExactF32 = 1,
    /// `exact-i8/v1`: integer arithmetic, equal bytes on every machine.
    ExactI8 = 2,
    /// The medoid of 2f+1 answers pairwise within the manifest's tolerances.
    Tolerance = 3,
    /// `exact-text/v1`: a language model whose text is equal on every machine; its gas is that of a token.
    ExactText = 4,
}

impl Profile {
    /// The profile with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::ExactF32),
            2 => Some(Self::ExactI8),
            3 => Some(Self::Tolerance),
            4 => Some(Self::ExactText),
            _ => None,
        }
    }
}

/// What consensus knows of a registered model.
///
/// | bits | field |
/// | --- | --- |
/// | 0..64 | gas of one run, or of one token |
/// | 64..96 | longest input, bytes |
/// | 96..128 | longest output, bytes |
/// | 128..136 | profile |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelSlot {
    /// Gas of one run, see [`crate::gas::per_run`].
    pub gas_per_run: u64,
    /// Longest `input` accepted.
    pub max_input_bytes: u32,
    /// Longest `output` possible.
    pub max_output_bytes: u32,
    /// By which rule its answers are valid.
    pub profile: Profile,
}

impl ModelSlot {
    /// As stored.
    pub fn pack(&self) -> U256 {
        U256::from(self.gas_per_run)
            | U256::from(self.max_input_bytes) << 64
            | U256::from(self.max_output_bytes) << 96
            | U256::from(self.profile as u8) << 128
    }

    /// `None` for an unknown model, and for a profile of a later release, whose answers this one cannot judge.
    pub fn unpack(packed: U256) -> Option<Self> {
        let limbs = packed.as_limbs();
        let profile = Profile::from_number(limbs[2] as u8)?;
        Some(Self {
            gas_per_run: limbs[0],
            max_input_bytes: limbs[1] as u32,
            max_output_bytes: (limbs[1] >> 32) as u32,
            profile,
        })
    }

    /// Inference gas that a call pays in advance; `None` for a request that is none to a text model.
    pub fn reserved_gas(&self, input: &[u8]) -> Option<u64> {
        match self.profile {
            Profile::ExactText => Some(self.gas_per_run.saturating_mul(text::reserved(input)?)),
            _ => Some(self.gas_per_run),
        }
    }

    /// Inference gas that the call keeps once the outcome is known: never more than was paid.
    pub fn used_gas(&self, input: &[u8], outcome: &Outcome) -> u64 {
        match self.profile {
            Profile::ExactText => self.gas_per_run.saturating_mul(text::used(input, outcome)),
            _ => self.gas_per_run,
        }
    }

    #[cfg(any(feature = "evm", feature = "evm-038"))]
    pub(crate) fn info(slot: Option<Self>) -> abi::ModelInfo {
        match slot {
            None => abi::ModelInfo {
                known: false,
                profile: abi::Profile::Unknown,
                gasPerRun: 0,
                maxInputBytes: 0,
                maxOutputBytes: 0,
            },
            Some(slot) => abi::ModelInfo {
                known: true,
                profile: match slot.profile {
                    Profile::ExactF32 => abi::Profile::ExactF32,
                    Profile::ExactI8 => abi::Profile::ExactI8,
                    Profile::Tolerance => abi::Profile::Tolerance,
                    Profile::ExactText => abi::Profile::ExactText,
                },
                gasPerRun: slot.gas_per_run,
                maxInputBytes: slot.max_input_bytes,
                maxOutputBytes: slot.max_output_bytes,
            },
        }
    }
}

/// Storage key of a model's slot in `ModelRegistry`: `keccak256(modelId ‖ uint256(0))`, Solidity's layout of the mapping
/// at slot 0.
pub fn model_storage_key(model: ModelId) -> B256 {
    let mut preimage = [0; 64];
    preimage[..32].copy_from_slice(model.as_slice());
    keccak256(preimage)
}
