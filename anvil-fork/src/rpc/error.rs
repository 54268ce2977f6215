//! Errors of JSON-RPC, with the codes and messages of geth and anvil where clients match on them.

use crate::{
    chain::{DumpError, GenesisError, StateError},
    fork::{ForkError, UpstreamError},
    miner::{AdmitError, MineError},
};
use alloy_primitives::{Bytes, hex};
use jsonrpsee::types::ErrorObjectOwned;
use std::sync::Arc;

/// What a method answers when it cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Parameters that are missing, too many or of another type.
    #[error("{0}")]
    InvalidParams(String),
    /// The EVM reverted.
    #[error("execution reverted{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Reverted {
        /// In words, where the data is `Error(string)` or `Panic(uint256)`.
        reason: Option<String>,
        /// As returned.
        data: Bytes,
    },
    /// The EVM gave up: out of gas, an invalid opcode and the like.
    #[error("EVM error {0}")]
    Halted(String),
    /// A transaction that is refused or that can never run.
    #[error("{0}")]
    Rejected(String),
    /// A block, transaction or state that is not there.
    #[error("{0}")]
    NotFound(String),
    /// An outcome could not be had in time.
    #[error("{0}")]
    Inference(String),
    /// The node's own fault.
    #[error("{0}")]
    Internal(String),
    /// What the forked chain's node answered instead.
    #[error("{message}")]
    Forwarded {
        /// Its JSON-RPC error code.
        code: i32,
        /// Its message.
        message: String,
        /// Its data.
        data: Option<serde_json::Value>,
    },
    /// Known, and not done by this node.
    #[error("{0}")]
    Unsupported(String),
}

impl RpcError {
    /// A revert, with its reason decoded.
    pub fn reverted(data: Bytes) -> Self {
        let reason = alloy_sol_types::decode_revert_reason(&data).filter(|reason| !reason.is_empty());
        let reason = reason.or_else(|| custom_error(&data));
        Self::Reverted { reason, data }
    }

    /// Parameters that do not fit.
    pub fn params(text: impl Into<String>) -> Self {
        Self::InvalidParams(text.into())
    }

    /// A call that ended without reverting and without an answer.
    pub fn halted(reason: impl std::fmt::Debug) -> Self {
        // Where gas ran out is of no use to a caller: `OutOfGas(Basic)`.
        let reason = format!("{reason:?}");
        Self::Halted(reason.split('(').next().unwrap_or_default().to_owned())
    }

    fn code(&self) -> i32 {
        match self {
            Self::InvalidParams(_) => -32602,
            Self::Reverted { .. } => 3,
            Self::Rejected(_) => -32003,
            Self::NotFound(_) => -32001,
            Self::Inference(_) => -32000,
            Self::Internal(_) | Self::Halted(_) => -32603,
            Self::Unsupported(_) => -32004,
            Self::Forwarded { code, .. } => *code,
        }
    }
}

/// An error that only the contract's own interface can decode: its selector, and the rest in hex.
fn custom_error(data: &[u8]) -> Option<String> {
    let (selector, rest) = data.split_at_checked(4)?;
    let rest = if rest.is_empty() { String::new() } else { format!(": {}", hex::encode(rest)) };
    Some(format!("custom error {}{rest}", hex::encode_prefixed(selector)))
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        let data = match &error {
            RpcError::Reverted { data, .. } => Some(serde_json::Value::String(hex::encode_prefixed(data))),
            RpcError::Forwarded { data, .. } => data.clone(),
            _ => None,
        };
        Self::owned(error.code(), error.to_string(), data)
    }
}

impl From<Arc<UpstreamError>> for RpcError {
    fn from(error: Arc<UpstreamError>) -> Self {
        error.as_ref().clone().into()
    }
}

impl From<StateError> for RpcError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::NotKept(_) => Self::NotFound(error.to_string()),
            StateError::Upstream(error) => error.into(),
            StateError::MissingCode(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<UpstreamError> for RpcError {
    fn from(error: UpstreamError) -> Self {
        let message = error.to_string();
        match error {
            // A revert is the contract's, and clients decode it.
            UpstreamError::Refused { code: 3, message, data, .. } => Self::Forwarded { code: 3, message, data },
            UpstreamError::Refused { code, data, .. } => {
                Self::Forwarded { code: i32::try_from(code).unwrap_or(-32_000), message, data }
            }
            _ => Self::Forwarded { code: -32_000, message, data: None },
        }
    }
}

impl From<ForkError> for RpcError {
    fn from(error: ForkError) -> Self {
        match error {
            ForkError::Upstream(error) => error.into(),
            ForkError::Genesis(GenesisError::Upstream(error)) => error.into(),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<DumpError> for RpcError {
    fn from(error: DumpError) -> Self {
        Self::InvalidParams(error.to_string())
    }
}

impl From<AdmitError> for RpcError {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::State(state) => state.into(),
            // anvil answers these as plain server errors, and scripts match on the code.
            AdmitError::Pool(_) | AdmitError::GasTooHigh | AdmitError::GasTooLow => Self::Inference(error.to_string()),
            _ => Self::Rejected(error.to_string()),
        }
    }
}

impl From<MineError> for RpcError {
    fn from(error: MineError) -> Self {
        Self::Internal(error.to_string())
    }
}
