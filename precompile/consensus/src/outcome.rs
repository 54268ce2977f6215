//! What a request resolves to.

use crate::{ModelId, Request, RequestId, request::request_id};
use alloc::string::String;
use alloy_primitives::{B256, Bytes, Keccak256, keccak256, map::B256Map};
#[cfg(feature = "std")]
use std::sync::RwLock;

/// Result of an inference. Both arms need the same proof: nobody can staple a failure on alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Canonical `abi.encode(Tensor[])`.
    Output(Bytes),
    /// The model has no answer for this input, the same on every machine.
    Failed(Failure),
}

impl Outcome {
    /// What operators sign: `keccak256(0x00 ‖ output)`, or `keccak256(0x01 ‖ uint16 code ‖ keccak256(reason))`.
    pub fn hash(&self) -> B256 {
        let mut hasher = Keccak256::new();
        match self {
            Self::Output(output) => {
                hasher.update([0]);
                hasher.update(output);
            }
            Self::Failed(failure) => {
                hasher.update([1]);
                hasher.update((failure.code as u16).to_be_bytes());
                hasher.update(keccak256(&failure.reason));
            }
        }
        hasher.finalize()
    }
}

/// An outcome that the transaction being executed has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The request.
    pub id: RequestId,
    /// Its model.
    pub model: ModelId,
    /// What the contract saw.
    pub outcome: Outcome,
    /// The model's gas of one run: what this request adds to the block's inference gas, once (see [`crate::price`]).
    pub inference_gas: u64,
}

/// Why a model has no answer. `reason` must be a pure function of model and input: it is compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("inference failed ({code:?}): {reason}")]
pub struct Failure {
    /// The kind, stable across releases.
    pub code: FailureCode,
    /// The same in words: what was expected and what came.
    pub reason: String,
}

impl Failure {
    /// A failure in words. Reasons are cut at [`Self::MAX_REASON_BYTES`], on a character boundary.
    pub fn new(code: FailureCode, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let mut end = reason.len().min(Self::MAX_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Self { code, reason }
    }

    /// Longest `reason`, in bytes: it is carried in blocks and returned as revert data.
    pub const MAX_REASON_BYTES: usize = 256;
}

/// Kinds of failure, as `InferenceFailed.code` shows them. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum FailureCode {
    /// Another number of tensors than the model has inputs.
    WrongArity = 1,
    /// A tensor's dtype cannot stand for the model's element type.
    WrongType = 2,
    /// A tensor's shape is not the model's.
    WrongShape = 3,
    /// An element or index lies outside what the model accepts.
    OutOfRange = 4,
    /// NaN or infinity in an output.
    NotFinite = 5,
    /// An output does not fit its wire type or the model's output limit.
    OutputTooLarge = 6,
    /// The run needs more memory than models may use.
    OutOfMemory = 7,
    /// Text that is not UTF-8, or that the tokenizer refuses.
    InvalidText = 8,
    /// More steps than models may take.
    StepLimit = 9,
    /// The graph met a condition that its operators do not define, such as an integer division by zero.
    Undefined = 10,
    /// A text model without a tokenizer that can be used.
    NoTokenizer = 11,
    /// A chat template that does not parse, or does not fit the messages.
    Template = 12,
    /// What the answer must be is not understood, or no answer can be that.
    Constraint = 13,
    /// Prompt and answer have more tokens than the model takes.
    PromptTooLong = 14,
}

/// A number that names no [`FailureCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a failure code: expected 1 to 14")]
pub struct UnknownFailureCode(pub u16);

impl TryFrom<u16> for FailureCode {
    type Error = UnknownFailureCode;

    fn try_from(code: u16) -> Result<Self, Self::Error> {
        use FailureCode::*;
        const ALL: [FailureCode; 14] = [
            WrongArity,
            WrongType,
            WrongShape,
            OutOfRange,
            NotFinite,
            OutputTooLarge,
            OutOfMemory,
            InvalidText,
            StepLimit,
            Undefined,
            NoTokenizer,
            Template,
            Constraint,
            PromptTooLong,
        ];
        ALL.into_iter().find(|known| *known as u16 == code).ok_or(UnknownFailureCode(code))
    }
}

/// Where outcomes come from: the only polymorphism of the consensus code.
///
/// | place | source |
/// | --- | --- |
/// | speculation | the store, noting what is missing |
/// | block building | the store |
/// | block verification, traces of mined blocks | that block's inference list, nothing else |
/// | calls and estimates | the store, and what is missing is computed before the call runs again |
pub trait Outcomes: Send + Sync {
    /// The outcome of a request, if there is one that counts.
    fn get(&self, id: RequestId) -> Option<Outcome>;

    /// The id of a request. A source that has seen this very model and input before may remember it, after comparing
    /// all of both: hashing is most of what a call with a big input costs.
    fn id(&self, model: ModelId, input: &[u8]) -> RequestId {
        request_id(model, input)
    }

    /// Told of the request that aborts a transaction, after `get` had nothing. The default forgets it.
    fn missing(&self, request: &Request) {
        let _ = request;
    }
}

/// Outcomes in memory: the source for a block's inference list, and for tests.
#[derive(Debug, Default)]
pub struct MemoryOutcomes {
    #[cfg(feature = "std")]
    outcomes: RwLock<B256Map<Outcome>>,
    #[cfg(not(feature = "std"))]
    outcomes: B256Map<Outcome>,
}

#[cfg(feature = "std")]
impl MemoryOutcomes {
    /// Puts an outcome, replacing any that was there.
    pub fn insert(&self, id: RequestId, outcome: Outcome) {
        self.outcomes.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(id, outcome);
    }
}

impl FromIterator<(RequestId, Outcome)> for MemoryOutcomes {
    fn from_iter<T: IntoIterator<Item = (RequestId, Outcome)>>(outcomes: T) -> Self {
        let outcomes: B256Map<Outcome> = outcomes.into_iter().collect();
        #[cfg(feature = "std")]
        let outcomes = RwLock::new(outcomes);
        Self { outcomes }
    }
}

impl Outcomes for MemoryOutcomes {
    fn get(&self, id: RequestId) -> Option<Outcome> {
        #[cfg(feature = "std")]
        let outcomes = self.outcomes.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        #[cfg(not(feature = "std"))]
        let outcomes = &self.outcomes;
        outcomes.get(&id).cloned()
    }
}
