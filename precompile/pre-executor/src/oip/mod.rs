//! The Open Inference Protocol, version 2, over gRPC: what KServe, Triton, MLServer and OpenVINO Model Server speak.
//!
//! | room | what |
//! | --- | --- |
//! | [`OipEngine`] | any such server as an operator's engine |
//! | [`OipService`] | an operator as such a server, with its statements in the response's parameters |
//! | [`RemoteOperator`] | an operator elsewhere, as the panel sees it |
//!
//! Foreblock's own requests carry whole inputs, `abi.encode(Tensor[])`, in one `BYTES` tensor named [`INPUT`]; their request ids
//! are those of the chain. A client that knows nothing of Foreblock sends the model's own tensors instead.

mod client;
mod engine;
mod messages;
mod remote;
mod service;
mod tensors;
#[cfg(test)]
mod tests;
mod tls;

pub use client::{Client, ConnectError};
pub use engine::OipEngine;
pub use remote::RemoteOperator;
pub use service::{OipService, serve};
pub use tls::{Tls, TlsError};

/// Name of the tensor that holds whole inputs.
pub const INPUT: &str = "foreblock_input";
/// Name of the tensor that holds whole outcomes: `uint16 code ‖ data`, code 0 for an output.
pub const OUTCOME: &str = "foreblock_outcome";
/// Parameter: what is asked: `answer`, `compute` (not signed), `commit`, `reveal` or `endorse`.
pub const PHASE: &str = "foreblock_phase";
/// Parameter: the chain for which statements are signed.
pub const CHAIN_ID: &str = "foreblock_chain_id";
/// Parameter: how far answers may lie apart, one number in WAD for each output, separated by commas.
pub const TOLERANCES: &str = "foreblock_tolerances";
/// Parameter of a response: the operator's address.
pub const OPERATOR: &str = "foreblock_operator";
/// Parameter of a response: ids of the requests, separated by commas.
pub const REQUEST_IDS: &str = "foreblock_request_ids";
/// Parameter of a response: hashes of the outcomes, separated by commas.
pub const OUTCOME_HASHES: &str = "foreblock_outcome_hashes";
/// Parameter of a response: signatures, commitments or salts, separated by commas; empty where there is none.
pub const SIGNATURES: &str = "foreblock_signatures";
/// Parameter of a response: commitments, or the salts of those that are revealed.
pub const COMMITMENTS: &str = "foreblock_commitments";
/// Parameter of a response: for each input why there is no outcome, as JSON; empty where there is one.
pub const REASONS: &str = "foreblock_reasons";
