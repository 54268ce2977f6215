//! Errors of JSON-RPC, with the codes and messages of geth and anvil where clients match on them.

use crate::{
    chain::{DumpError, StateError},
    miner::{AdmitError, MineError},
};
use alloy_primitives::{Bytes, hex};
use jsonrpsee::types::ErrorObjectOwned;

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
    /// Known, and not done by this node.
    #[error("{0}")]
    Unsupported(String),
}

impl RpcError {
    /// A revert, with its reason decoded.
    pub fn reverted(data: Bytes) -> Self {
        let reason = alloy_sol_types::decode_revert_reason(&data).filter(|reason| !reason.is_empty());
        Self::Reverted { reason, data }
    }

    /// Parameters that do not fit.
    pub fn params(text: impl Into<String>) -> Self {
        Self::InvalidParams(text.into())
    }

    fn code(&self) -> i32 {
        match self {
            Self::InvalidParams(_) => -32602,
            Self::Reverted { .. } => 3,
            Self::Rejected(_) => -32003,
            Self::NotFound(_) => -32001,
            Self::Inference(_) => -32000,
            Self::Internal(_) => -32603,
            Self::Unsupported(_) => -32004,
        }
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        let data = match &error {
            RpcError::Reverted { data, .. } => Some(hex::encode_prefixed(data)),
            _ => None,
        };
        Self::owned(error.code(), error.to_string(), data)
    }
}

impl From<StateError> for RpcError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::NotKept(_) => Self::NotFound(error.to_string()),
            StateError::MissingCode(_) => Self::Internal(error.to_string()),
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
            // anvil answers these two as plain server errors, and scripts match on the code.
            AdmitError::Pool(_) => Self::Inference(error.to_string()),
            _ => Self::Rejected(error.to_string()),
        }
    }
}

impl From<MineError> for RpcError {
    fn from(error: MineError) -> Self {
        Self::Internal(error.to_string())
    }
}
