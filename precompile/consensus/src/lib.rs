//! What all nodes of a Foreblock chain must agree on.
//!
//! A contract calls [`IInference.run(modelId, input)`](abi::IInference) at [`PRECOMPILE_ADDRESS`]. The precompile never
//! computes: it looks an [`Outcome`] up in whatever stands behind the [`Outcomes`] trait. Where the outcome is missing
//! the transaction is aborted, which stock block executors see as an invalid transaction and skip.
//!
//! Absent from this crate, on purpose: clocks, threads, files, sockets, async and models. An answer depends on calldata,
//! one registry slot, block time (for `runOr`) and the outcome source, and on nothing else.
//!
//! ```
//! # #[cfg(feature = "evm")] {
//! use foreblock_precompile::{ForeblockEvmFactory, MemoryOutcomes};
//! use std::sync::Arc;
//!
//! // Drop-in for `EthEvmFactory` in any alloy-evm client.
//! let factory = ForeblockEvmFactory::new(Arc::new(MemoryOutcomes::default()));
//! # let _ = factory;
//! # }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod abi;
mod certificate;
mod compact;
#[cfg(feature = "evm")]
mod evm;
pub mod gas;
pub mod genesis;
mod input;
mod list;
mod operators;
mod outcome;
#[cfg(feature = "evm")]
mod precompile;
pub mod price;
mod registry;
mod request;

pub use certificate::{Certificate, CertificateError, Committee, Statement, StatementDomain};
#[cfg(feature = "evm")]
pub use evm::{AddressError, ForeblockEvm, ForeblockEvmFactory, check_address};
pub use input::{InputError, check_input};
pub use list::{InferenceList, LIST_BYTES_MAX, ListEntry, ListError, REQUEST_TYPE};
pub use operators::OPERATORS_MAX;
pub use outcome::{Failure, FailureCode, MemoryOutcomes, Outcome, Outcomes, UnknownFailureCode, Used};
#[cfg(feature = "evm")]
pub use precompile::{Notes, install};
pub use registry::{ModelSlot, Profile, model_storage_key};
pub use request::{ModelId, Request, RequestId, request_id};

use alloy_primitives::{Address, address};

/// Where the inference precompile stands unless configured otherwise. It ends in `0F` and lies far above the precompiles
/// of Ethereum's forks (plain `0x0F` is BLS12_PAIRING_CHECK since Prague, EIP-2537).
pub const PRECOMPILE_ADDRESS: Address = address!("0x0000000000000000000000000000000000001A0F");

/// Where `ModelRegistry` stands; the precompile reads its mapping at storage slot 0.
pub const MODEL_REGISTRY_ADDRESS: Address = address!("0x0000000000000000000000000000000000001A1F");

/// Where `OperatorRegistry` stands; read by block verification, never by the precompile.
pub const OPERATOR_REGISTRY_ADDRESS: Address = address!("0x0000000000000000000000000000000000001A2F");
