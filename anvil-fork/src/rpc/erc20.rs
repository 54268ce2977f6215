//! Balances and allowances of ERC-20 tokens, set in whatever slot the token keeps them.

use super::{
    Args, Reply, RpcError,
    call::{Call, output, prepare},
    cheats,
};
use crate::node::Node;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::{SolCall, sol};
use serde_json::Value;
use std::sync::Arc;

sol! {
    function balanceOf(address owner) external view returns (uint256);
    function allowance(address owner, address spender) external view returns (uint256);
}

pub(super) async fn deal(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let owner: Address = args.take("address")?;
    let token: Address = args.take("token")?;
    let balance = args.big_number("balance")?.ok_or_else(|| RpcError::params("missing balance"))?;
    set(node, token, balanceOfCall { owner }.abi_encode(), balance, "balance")
}

pub(super) async fn set_allowance(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let owner: Address = args.take("owner")?;
    let spender: Address = args.take("spender")?;
    let token: Address = args.take("token")?;
    let amount = args.big_number("amount")?.ok_or_else(|| RpcError::params("missing amount"))?;
    set(node, token, allowanceCall { owner, spender }.abi_encode(), amount, "allowance")
}

/// Finds the slot that the token answers this question from, and sets it.
fn set(node: &Node, token: Address, question: Vec<u8>, value: U256, what: &str) -> Reply<Value> {
    let found = tokio::task::block_in_place(|| slot(node, token, question.into(), value))?;
    let (address, key) =
        found.ok_or_else(|| RpcError::Internal(format!("Unable to set ERC20 {what}, no slot found")))?;
    cheats::edit(node, address, |_, account| account.set_slot(key, value))?;
    Ok(Value::Null)
}

/// Of the slots that the answer was made from, the one with which the answer becomes `value`.
fn slot(node: &Node, token: Address, question: Bytes, value: U256) -> Reply<Option<(Address, U256)>> {
    let (db, env) = prepare(node, None, None, None)?;
    let request = TransactionRequest { to: Some(TxKind::Call(token)), input: question.into(), ..Default::default() };
    let call = Call::new(db, env, request)?;
    let state = call.run(node)?.state;
    let read = state.iter().flat_map(|(address, account)| account.storage.keys().map(|key| (*address, *key)));
    for (address, key) in read {
        let mut changed = call.clone();
        changed.db.insert_account_storage(address, key, value)?;
        let answer = changed.run(node).and_then(|done| output(done.result));
        if answer.is_ok_and(|answer| answer.as_ref() == value.to_be_bytes::<32>()) {
            return Ok(Some((address, key)));
        }
    }
    Ok(None)
}
