//! What a contract asks.

use alloy_primitives::{B256, Bytes, keccak256};

/// `keccak256(abi.encode(Manifest))`, see `IModelRegistry.sol`.
pub type ModelId = B256;

/// `keccak256(modelId ‖ keccak256(input))`. Never gas, caller, block or transaction: the same question has one id.
pub type RequestId = B256;

/// A model and the input it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The model asked.
    pub model: ModelId,
    /// Canonical `abi.encode(Tensor[])`.
    pub input: Bytes,
    /// [`RequestId`] of the two.
    pub id: RequestId,
}

impl Request {
    /// A request with its id computed.
    pub fn new(model: ModelId, input: Bytes) -> Self {
        let id = request_id(model, &input);
        Self { model, input, id }
    }
}

/// [`RequestId`] of a model and an input.
pub fn request_id(model: ModelId, input: &[u8]) -> RequestId {
    let mut preimage = [0; 64];
    preimage[..32].copy_from_slice(model.as_slice());
    preimage[32..].copy_from_slice(keccak256(input).as_slice());
    keccak256(preimage)
}
