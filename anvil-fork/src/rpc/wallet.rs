//! Accounts whose keys the node holds.

use super::{Args, Reply, RpcError};
use crate::node::Node;
use alloy_primitives::{Address, Bytes};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use std::sync::Arc;

pub(super) async fn accounts(node: &Arc<Node>, _: Args) -> Reply<Vec<Address>> {
    let mut accounts = node.accounts.read().addresses().to_vec();
    accounts.extend(
        node.settings().impersonated.iter().copied().filter(|address| !accounts.contains(address)).collect::<Vec<_>>(),
    );
    Ok(accounts)
}

fn signer(node: &Node, address: &Address) -> Reply<PrivateKeySigner> {
    node.accounts.read().signer(address).cloned().ok_or_else(|| RpcError::params("No Signer available"))
}

fn failed(error: impl std::fmt::Display) -> RpcError {
    RpcError::Internal(format!("signing failed: {error}"))
}

/// `eth_sign(address, data)` and `personal_sign(data, address)`: which is which is seen from the lengths.
pub(super) async fn sign(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let (first, second): (Bytes, Bytes) = (args.take("address or data")?, args.take("data or address")?);
    let is_ours = |bytes: &Bytes| {
        Address::try_from(bytes.as_ref()).is_ok_and(|address| node.accounts.read().signer(&address).is_some())
    };
    let (address, data) = if is_ours(&first) { (first, second) } else { (second, first) };
    let address = Address::try_from(address.as_ref()).map_err(|_| RpcError::params("No Signer available"))?;
    let signature = signer(node, &address)?.sign_message_sync(&data).map_err(failed)?;
    Ok(signature.as_bytes().into())
}

pub(super) async fn sign_typed_data(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let address: Address = args.take("address")?;
    let data: alloy_dyn_abi::TypedData = args.take("typed data")?;
    let hash = data.eip712_signing_hash().map_err(|error| RpcError::params(format!("typed data: {error}")))?;
    let signature = signer(node, &address)?.sign_hash_sync(&hash).map_err(failed)?;
    Ok(signature.as_bytes().into())
}
