//! Questions of the suite, as they stand in the vectors.

use alloy_primitives::{Address, B256, Bytes, U256};
use foreblock_precompile::{Failure, FailureCode, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the precompile is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `CALL`, or a transaction.
    #[default]
    Call,
    /// `STATICCALL`.
    StaticCall,
    /// `DELEGATECALL` or `CALLCODE`: its code is run for another account.
    DelegateCall,
}

/// An outcome in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum OutcomeText {
    /// The model's output.
    Output {
        /// Canonical `abi.encode(Tensor[])`.
        output: Bytes,
    },
    /// No answer.
    Failed {
        /// Number of a `FailureCode`.
        code: u16,
        /// In words.
        reason: String,
    },
}

impl OutcomeText {
    /// The outcome; `None` for a code that does not exist.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(match self {
            Self::Output { output } => Outcome::Output(output.clone()),
            Self::Failed { code, reason } => {
                Outcome::Failed(Failure::new(FailureCode::try_from(*code).ok()?, reason.clone()))
            }
        })
    }
}

impl From<&Outcome> for OutcomeText {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Output(output) => Self::Output { output: output.clone() },
            Outcome::Failed(failure) => Self::Failed { code: failure.code as u16, reason: failure.reason.clone() },
        }
    }
}

/// One call of the precompile, with all that its answer may depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallCase {
    /// What the contract sends.
    pub calldata: Bytes,
    /// Gas that the call has.
    pub gas: u64,
    /// Wei sent with it.
    #[serde(default)]
    pub value: U256,
    /// How it is reached.
    #[serde(default)]
    pub scheme: Scheme,
    /// The block's time, unix seconds.
    #[serde(default)]
    pub timestamp: u64,
    /// Storage of `ModelRegistry`; what is not there is zero.
    #[serde(default)]
    pub storage: BTreeMap<U256, U256>,
    /// Slots of it that the transaction has read before.
    #[serde(default)]
    pub warm: Vec<U256>,
    /// Outcomes that are there.
    #[serde(default)]
    pub outcomes: BTreeMap<B256, OutcomeText>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Question {
    /// A call of the precompile. Answer: `end` (return, revert, out of gas, abort), and by it `gas`, `data`, `used`, `missing`.
    Call(CallCase),
    /// The id of a request. Answer: `requestId`.
    Id {
        /// The model.
        model_id: B256,
        /// `abi.encode(Tensor[])`.
        input: Bytes,
    },
    /// A model's slot. Answer: `key`, and `known` with the fields.
    Slot {
        /// The model.
        model_id: B256,
        /// What stands in the slot.
        packed: U256,
    },
    /// Gas of a model and its price. Answer: `gasPerRun`, `price`, `executionGas`, and `nextExcess` if the block ran `inferenceGas`.
    Gas {
        /// Of one run.
        multiply_adds: u64,
        /// Of one run.
        bytes_moved: u64,
        /// Storage slot 1 of `ModelRegistry`.
        excess: u64,
        /// What the block ran.
        inference_gas: u64,
    },
    /// What an operator signs. Answer: `outcomeHash`, `digest`.
    Statement {
        /// The chain.
        chain_id: u64,
        /// Where `OperatorRegistry` stands.
        registry: Address,
        /// The request.
        request_id: B256,
        /// Its outcome.
        outcome: OutcomeText,
    },
    /// A block's list. Answer: `valid`, or what is wrong as `error`.
    List {
        /// As the block carries it.
        encoded: Bytes,
        /// What the header commits to.
        commitment: Option<B256>,
        /// The chain.
        chain_id: u64,
        /// Active operators in the parent's state.
        operators: Vec<Address>,
        /// What the block's transactions used.
        used: Vec<B256>,
    },
    /// A golden vector of a model, for who computes: the request is wanted, then looked up. Answer: the outcome.
    Run {
        /// The model.
        model_id: B256,
        /// `abi.encode(Tensor[])`.
        input: Bytes,
    },
}
