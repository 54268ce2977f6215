//! Transactions from clients: raw ones, and requests that the node fills in and signs.

use super::{
    Args, Reply, RpcError,
    call::{Call, prepare},
    estimate, fees, shape,
};
use crate::{chain::Transaction, node::Node};
use alloy_consensus::{
    SignableTransaction, Signed, TxEnvelope, TypedTransaction,
    transaction::{Recovered, SignerRecoverable},
};
use alloy_eips::{BlockId, Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, Signature, U256};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_signer::SignerSync;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(super) async fn raw(node: &Arc<Node>, mut args: Args) -> Reply<B256> {
    let bytes: Bytes = args.take("raw transaction")?;
    let tx = decode(&bytes)?;
    Ok(tokio::task::block_in_place(|| node.submit(tx))?)
}

pub(super) fn decode(bytes: &[u8]) -> Reply<Transaction> {
    if bytes.is_empty() {
        return Err(RpcError::params("Empty transaction data"));
    }
    let failed = |_| RpcError::params("Failed to decode transaction");
    let tx = TxEnvelope::decode_2718_exact(bytes).map_err(failed)?;
    let signer = tx.recover_signer().map_err(|_| RpcError::params("Invalid transaction signature"))?;
    Ok(Recovered::new_unchecked(tx, signer))
}

pub(super) async fn transaction(node: &Arc<Node>, mut args: Args) -> Reply<B256> {
    let request: TransactionRequest = args.take("transaction")?;
    tokio::task::block_in_place(|| {
        let (typed, from) = filled(node, request)?;
        Ok(node.submit(signed(node, typed, from)?)?)
    })
}

/// As if the sender were impersonated for this one transaction.
pub(super) async fn unsigned(node: &Arc<Node>, mut args: Args) -> Reply<B256> {
    let request: TransactionRequest = args.take("transaction")?;
    tokio::task::block_in_place(|| {
        let (typed, from) = filled(node, request)?;
        Ok(node.submit(made_up(typed, from))?)
    })
}

pub(super) async fn fill(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let request: TransactionRequest = args.take("transaction")?;
    tokio::task::block_in_place(|| {
        let (typed, from) = filled(node, request)?;
        let unsigned = Signature::new(U256::ZERO, U256::ZERO, false);
        let tx = Recovered::new_unchecked(envelope(typed, unsigned), from);
        Ok(json!({ "raw": Bytes::from(tx.encoded_2718()), "tx": shape::pending(&tx) }))
    })
}

pub(super) async fn sign(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let request: TransactionRequest = args.take("transaction")?;
    tokio::task::block_in_place(|| {
        let (typed, from) = filled(node, request)?;
        Ok(signed(node, typed, from)?.encoded_2718().into())
    })
}

/// How long a `*Sync` method waits for the receipt unless told otherwise.
const RECEIPT_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn raw_sync(node: &Arc<Node>, mut args: Args) -> Reply<shape::Receipt> {
    let bytes: Bytes = args.take("raw transaction")?;
    let timeout = args.number("timeout")?.map_or(RECEIPT_WAIT, Duration::from_millis);
    submit_and_wait(node, decode(&bytes)?, timeout).await
}

pub(super) async fn transaction_sync(node: &Arc<Node>, mut args: Args) -> Reply<shape::Receipt> {
    let request: TransactionRequest = args.take("transaction")?;
    let tx = tokio::task::block_in_place(|| {
        let (typed, from) = filled(node, request)?;
        signed(node, typed, from)
    })?;
    submit_and_wait(node, tx, RECEIPT_WAIT).await
}

async fn submit_and_wait(node: &Arc<Node>, tx: Transaction, timeout: Duration) -> Reply<shape::Receipt> {
    let mut heads = node.heads();
    let hash = tokio::task::block_in_place(|| node.submit(tx))?;
    let receipt = async {
        loop {
            if let Some((block, index)) = node.ledger().transaction(&hash) {
                return shape::receipt(block, index);
            }
            // Lagging behind is no harm: the ledger is asked again.
            let _ = heads.recv().await;
        }
    };
    let waited = tokio::time::timeout(timeout, receipt).await;
    waited.map_err(|_| RpcError::Inference(format!("transaction {hash} was not included within {timeout:?}")))
}

/// The request with everything in it that its sender left open.
pub(super) fn filled(node: &Node, mut request: TransactionRequest) -> Reply<(TypedTransaction, Address)> {
    let from = match request.from {
        Some(from) => from,
        None => *node.accounts.read().addresses().first().ok_or_else(no_signer)?,
    };
    request.from = Some(from);
    request.chain_id.get_or_insert(node.chain_id());
    if request.nonce.is_none() {
        let nonce = node.nonce(from)?;
        request.nonce = Some(node.pool(|pool| pool.next_nonce(from, nonce)));
    }
    request.to.get_or_insert(alloy_primitives::TxKind::Create);
    if request.gas.is_none() {
        let (mut db, env) = prepare(node, Some(BlockId::latest()), None, None)?;
        estimate::price_of_next_block(node, &mut db);
        let gas_limit = env.block_env.gas_limit;
        request.gas = Some(match estimate::needed(node, Call::new(db, env, request.clone())?) {
            // As anvil: it may do better by the time it is mined, and if not, its failure can be traced.
            Err(RpcError::Reverted { .. } | RpcError::Halted(_)) => gas_limit,
            needed => needed?,
        });
    }
    fill_fees(node, &mut request);
    let typed = request.build_typed_tx().map_err(|left| {
        let missing = left.missing_keys().err().map_or_else(Vec::new, |(_, missing)| missing);
        RpcError::params(format!("transaction request is incomplete: missing {}", missing.join(", ")))
    })?;
    Ok((typed, from))
}

fn fill_fees(node: &Node, request: &mut TransactionRequest) {
    let london = node.head().header.base_fee_per_gas.is_some();
    if request.gas_price.is_none() && london && request.transaction_type.is_none_or(|kind| kind >= 2) {
        let tip = *request.max_priority_fee_per_gas.get_or_insert(node.config.suggested_tip_wei);
        // Twice the base fee holds for six full blocks.
        let base_fee = u128::from(node.plan().env.block_env.basefee);
        request.max_fee_per_gas.get_or_insert(base_fee * 2 + tip);
    } else if request.gas_price.is_none() && request.max_fee_per_gas.is_none() {
        request.gas_price = Some(fees::suggested_price(node));
    }
    if request.blob_versioned_hashes.is_some() || request.sidecar.is_some() {
        let blob = node.plan().env.block_env.blob_excess_gas_and_price.map_or(1, |blob| blob.blob_gasprice);
        request.max_fee_per_blob_gas.get_or_insert(blob * 2);
    }
}

pub(super) fn signed(node: &Node, typed: TypedTransaction, from: Address) -> Reply<Transaction> {
    let Some(signer) = node.accounts.read().signer(&from).cloned() else {
        return if node.impersonates(&from) { Ok(made_up(typed, from)) } else { Err(no_signer()) };
    };
    let signature = signer
        .sign_hash_sync(&typed.signature_hash())
        .map_err(|error| RpcError::Internal(format!("signing failed: {error}")))?;
    Ok(Recovered::new_unchecked(envelope(typed, signature), from))
}

fn no_signer() -> RpcError {
    RpcError::params("No Signer available")
}

/// A transaction of an impersonated account. Its signature is the sender, so that equal transactions of two senders
/// have two hashes.
pub(super) fn made_up(typed: TypedTransaction, from: Address) -> Transaction {
    let number = U256::from_be_slice(from.as_slice());
    Recovered::new_unchecked(envelope(typed, Signature::new(number, number, false)), from)
}

fn envelope(typed: TypedTransaction, signature: Signature) -> TxEnvelope {
    let signed: Signed<TypedTransaction> = typed.into_signed(signature);
    signed.into()
}
