//! What Otterscan asks of a transaction's inside.

use super::{Stage, localized, stage::transaction};
use crate::{
    chain::{Block, Ledger},
    node::Node,
    rpc::RpcError,
};
use alloy_primitives::Address;
use alloy_rpc_types_trace::{
    otterscan::{ContractCreator, InternalOperation},
    parity::{Action, LocalizedTransactionTrace, TraceOutput},
};
use revm_inspectors::otterscan::InternalOperationsInspector;

/// Transfers, creations and self-destructs below the transaction itself.
pub fn internal_operations(stage: &mut Stage, block: &Block, index: usize) -> Result<Vec<InternalOperation>, RpcError> {
    let mut inspector = InternalOperationsInspector::default();
    stage.run(transaction(block, index), &mut inspector)?;
    Ok(inspector.into_operations())
}

/// Whether one of these traces sends to, comes from or creates `address`.
pub fn involves(traces: &[LocalizedTransactionTrace], address: Address) -> bool {
    traces.iter().any(|found| match &found.trace.action {
        Action::Call(call) => call.from == address || call.to == address,
        Action::Create(create) => create.from == address || created(found) == Some(address),
        Action::Selfdestruct(end) => end.address == address || end.refund_address == address,
        Action::Reward(reward) => reward.author == address,
    })
}

fn created(found: &LocalizedTransactionTrace) -> Option<Address> {
    match found.trace.result.as_ref()? {
        TraceOutput::Create(output) => Some(output.address),
        TraceOutput::Call(_) => None,
    }
}

/// The transaction of this block that created the contract at `address`, and who sent the creation.
pub fn creation(
    node: &Node,
    ledger: &Ledger,
    block: &Block,
    address: Address,
) -> Result<Option<ContractCreator>, RpcError> {
    let mut stage = Stage::of_block(node, ledger, block)?;
    for index in 0..block.transactions.len() {
        for found in localized(&mut stage, block, index)? {
            if created(&found) == Some(address)
                && let Action::Create(create) = &found.trace.action
            {
                return Ok(Some(ContractCreator { hash: *block.transactions[index].tx_hash(), creator: create.from }));
            }
        }
    }
    Ok(None)
}
