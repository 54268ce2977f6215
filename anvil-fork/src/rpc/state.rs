//! Balances, nonces, code, storage and their proofs.

use super::{Args, Reply, RpcError, at};
use crate::node::Node;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256, map::HashMap};
use alloy_rpc_types_eth::{EIP1186AccountProofResponse, EIP1186StorageProof};
use alloy_serde::JsonStorageKey;
use revm::database_interface::DatabaseRef;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn balance(node: &Arc<Node>, mut args: Args) -> Reply<U256> {
    let address = args.take("address")?;
    let view = at::view(node, args.optional("block")?)?;
    Ok(view.account_or_empty(address)?.balance)
}

pub(super) async fn nonce(node: &Arc<Node>, mut args: Args) -> Reply<U64> {
    let address: Address = args.take("address")?;
    let block: Option<BlockId> = args.optional("block")?;
    if block == Some(BlockId::Number(BlockNumberOrTag::Pending)) {
        let nonce = node.nonce(address)?;
        return Ok(U64::from(node.pool(|pool| pool.next_nonce(address, nonce))));
    }
    Ok(U64::from(at::view(node, block)?.account_or_empty(address)?.nonce))
}

pub(super) async fn code(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let address = args.take("address")?;
    let view = at::view(node, args.optional("block")?)?;
    Ok(view.code(address)?.original_bytes())
}

pub(super) async fn storage(node: &Arc<Node>, mut args: Args) -> Reply<B256> {
    let address = args.take("address")?;
    let key = args.big_number("slot")?.unwrap_or_default();
    let view = at::view(node, args.optional("block")?)?;
    Ok(view.storage_ref(address, key)?.into())
}

pub(super) async fn storage_values(node: &Arc<Node>, mut args: Args) -> Reply<HashMap<Address, Vec<B256>>> {
    let wanted: HashMap<Address, Vec<U256>> = args.take("slots by address")?;
    let view = at::view(node, args.optional("block")?)?;
    let mut values: HashMap<Address, Vec<B256>> = HashMap::default();
    for (address, keys) in wanted {
        let of_account = keys.into_iter().map(|key| Ok(view.storage_ref(address, key)?.into()));
        values.insert(address, of_account.collect::<Reply<_>>()?);
    }
    Ok(values)
}

pub(super) async fn account(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let address = args.take("address")?;
    let account = at::view(node, args.optional("block")?)?.account_or_empty(address)?;
    if !account.storage_known {
        return Err(no_trie("storage root"));
    }
    Ok(json!({
        "balance": account.balance,
        "nonce": U64::from(account.nonce),
        "codeHash": account.code_hash,
        "storageRoot": account.storage.root(),
    }))
}

pub(super) async fn account_info(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let address = args.take("address")?;
    let view = at::view(node, args.optional("block")?)?;
    let account = view.account_or_empty(address)?;
    let code = view.code(address)?.original_bytes();
    Ok(json!({ "balance": account.balance, "nonce": U64::from(account.nonce), "code": code }))
}

/// A fork holds what was read and changed, not the forked chain's whole trie.
fn no_trie(what: &str) -> RpcError {
    let text = "a fork has no whole state trie after its first block";
    RpcError::NotFound(format!("{text}, so there is no {what}: ask at or before the fork block"))
}

pub(super) async fn proof(node: &Arc<Node>, mut args: Args) -> Reply<EIP1186AccountProofResponse> {
    let address: Address = args.take("address")?;
    let keys: Vec<JsonStorageKey> = args.optional("storage keys")?.unwrap_or_default();
    let view = at::view(node, args.optional("block")?)?;
    if view.upstream.is_some() {
        return Err(no_trie("proof"));
    }
    let account = view.account_or_empty(address)?;
    let prove = |key: JsonStorageKey| {
        let slot = key.as_b256();
        EIP1186StorageProof {
            key,
            value: account.slot(slot.into()).unwrap_or_default(),
            proof: account.storage.proof(&keccak256(slot)),
        }
    };
    Ok(EIP1186AccountProofResponse {
        address,
        balance: account.balance,
        code_hash: account.code_hash,
        nonce: account.nonce,
        storage_hash: account.storage.root(),
        account_proof: view.world.proof(&address),
        storage_proof: keys.into_iter().map(prove).collect(),
    })
}
