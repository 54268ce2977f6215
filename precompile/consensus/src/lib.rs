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
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

pub mod abi;
mod certificate;
mod compact;
pub mod gas;
pub mod genesis;
mod input;
mod list;
mod operators;
mod outcome;
pub mod price;
mod registry;
mod request;
mod text;

pub use certificate::{Certificate, CertificateError, Committee, Statement, StatementDomain};
pub use input::{InputError, check_input};
pub use list::{InferenceList, LIST_BYTES_MAX, ListEntry, ListError, REQUEST_TYPE};
pub use operators::OPERATORS_MAX;
pub use outcome::{Failure, FailureCode, MemoryOutcomes, Outcome, Outcomes, UnknownFailureCode, Used};
pub use registry::{ModelSlot, Profile, model_storage_key};
pub use request::{ModelId, Request, RequestId, request_id};

use alloy_primitives::{Address, address};

/// The precompile in clients of alloy-evm 0.39, and of revm 43. Its items stand in the crate's root, too.
#[cfg(feature = "evm")]
#[path = "adapter"]
pub mod alloy_evm_039 {
    mod version {
        pub(super) use ::alloy_evm;
        pub(super) use ::revm;
    }
    mod evm;
    mod inspector;
    mod precompile;

    pub use evm::{AddressError, ForeblockEvm, ForeblockEvmFactory, check_address};
    pub use inspector::{InferenceCall, InferenceEnd, InferenceInspector};
    pub use precompile::{Notes, install};
}

/// The precompile in clients of alloy-evm 0.38, and of revm 42: the same code against that release.
#[cfg(feature = "evm-038")]
#[path = "adapter"]
#[allow(clippy::duplicate_mod)] // on purpose: one source, two releases
pub mod alloy_evm_038 {
    mod version {
        pub(super) use ::alloy_evm_038 as alloy_evm;
        pub(super) use ::revm_42 as revm;
    }
    mod evm;
    mod inspector;
    mod precompile;

    pub use evm::{AddressError, ForeblockEvm, ForeblockEvmFactory, check_address};
    pub use inspector::{InferenceCall, InferenceEnd, InferenceInspector};
    pub use precompile::{Notes, install};
}

#[cfg(feature = "evm")]
pub use alloy_evm_039::{
    AddressError, ForeblockEvm, ForeblockEvmFactory, InferenceCall, InferenceEnd, InferenceInspector, Notes,
    check_address, install,
};

/// Where the inference precompile stands unless configured otherwise. It ends in `0F` and lies far above the precompiles
/// of Ethereum's forks (plain `0x0F` is BLS12_PAIRING_CHECK since Prague, EIP-2537).
pub const PRECOMPILE_ADDRESS: Address = address!("0x0000000000000000000000000000000000001A0F");

/// Where `ModelRegistry` stands; the precompile reads its mapping at storage slot 0.
pub const MODEL_REGISTRY_ADDRESS: Address = address!("0x0000000000000000000000000000000000001A1F");

/// Where `OperatorRegistry` stands; read by block verification, never by the precompile.
pub const OPERATOR_REGISTRY_ADDRESS: Address = address!("0x0000000000000000000000000000000000001A2F");
