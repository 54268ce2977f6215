//! What only a devnet lets you do: `anvil_set*`, impersonation, dropping transactions.

use super::{Args, Reply, RpcError};
use crate::{
    chain::{Account, World},
    node::Node,
    pool::Order,
};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use revm::bytecode::Bytecode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Changes an account of the current state.
pub(super) fn edit(node: &Node, address: Address, edit: impl FnOnce(&mut World, &mut Account)) -> Reply<()> {
    // Over a fork, the upstream is asked before the chain is locked; inside, it answers from memory.
    node.view().account(address)?;
    node.change(|chain| {
        let mut account = chain.ledger.view().account_or_empty(address)?;
        // What was nowhere before has no storage anywhere, except on the chain below.
        account.storage_known &= chain.ledger.upstream().is_none() || chain.ledger.world.account(&address).is_some();
        edit(&mut chain.ledger.world, &mut account);
        chain.ledger.world.put(account);
        Ok::<_, RpcError>(())
    })?;
    node.announce_head(None, None);
    Ok(())
}

/// One address, or, as Tenderly allows, several.
fn addresses(args: &mut Args) -> Reply<Vec<Address>> {
    match args.take::<Value>("address")? {
        Value::Array(list) => serde_json::from_value(Value::Array(list)),
        one => serde_json::from_value(one).map(|address| vec![address]),
    }
    .map_err(|error| RpcError::params(format!("invalid argument address: {error}")))
}

pub(super) async fn set_balance(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let addresses = addresses(&mut args)?;
    let balance = args.big_number("balance")?.ok_or_else(|| RpcError::params("missing balance"))?;
    for address in addresses {
        edit(node, address, |_, account| account.balance = balance)?;
    }
    Ok(Value::Null)
}

pub(super) async fn add_balance(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let addresses = addresses(&mut args)?;
    let more = args.big_number("balance")?.ok_or_else(|| RpcError::params("missing balance"))?;
    for address in addresses {
        edit(node, address, |_, account| account.balance = account.balance.saturating_add(more))?;
    }
    Ok(Value::Null)
}

pub(super) async fn set_code(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let address = args.take("address")?;
    let code: Bytes = args.take("code")?;
    let code = Bytecode::new_raw_checked(code).map_err(|error| RpcError::params(format!("invalid code: {error}")))?;
    edit(node, address, |world, account| account.code_hash = world.put_code(code))?;
    Ok(Value::Null)
}

pub(super) async fn set_nonce(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let address = args.take("address")?;
    let nonce = args.number("nonce")?.ok_or_else(|| RpcError::params("missing nonce"))?;
    edit(node, address, |_, account| account.nonce = nonce)?;
    Ok(Value::Null)
}

pub(super) async fn set_storage(node: &Arc<Node>, mut args: Args) -> Reply<bool> {
    let address = args.take("address")?;
    let key = args.big_number("slot")?.ok_or_else(|| RpcError::params("missing slot"))?;
    let value = args.big_number("value")?.ok_or_else(|| RpcError::params("missing value"))?;
    edit(node, address, |_, account| account.set_slot(key, value))?;
    Ok(true)
}

pub(super) async fn set_coinbase(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let address = args.take("address")?;
    node.set(|settings| settings.coinbase = address);
    Ok(Value::Null)
}

pub(super) async fn set_chain_id(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let id = args.number("chain id")?.ok_or_else(|| RpcError::params("missing chain id"))?;
    node.change(|chain| Arc::make_mut(&mut chain.spec).set_chain_id(id));
    node.announce_head(None, None);
    Ok(Value::Null)
}

/// Whether blocks are logged, and what they did is printed.
pub(super) async fn set_logging(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let on: bool = args.take("enabled")?;
    node.set(|settings| settings.logging = on);
    Ok(Value::Null)
}

pub(super) async fn set_min_gas_price(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    if node.head().header.base_fee_per_gas.is_some() {
        return Err(RpcError::params("anvil_setMinGasPrice is not supported when EIP-1559 is active"));
    }
    let price = args.big_number("gas price")?.unwrap_or_default();
    node.set(|settings| settings.min_gas_price_wei = price.saturating_to());
    Ok(Value::Null)
}

pub(super) async fn set_next_base_fee(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let fee = args.number("base fee")?.ok_or_else(|| RpcError::params("missing base fee"))?;
    if node.head().header.base_fee_per_gas.is_none() {
        return Err(RpcError::params("anvil_setNextBlockBaseFeePerGas is only supported when EIP-1559 is active"));
    }
    node.set(|settings| settings.next_base_fee = Some(fee));
    node.announce_head(None, None);
    Ok(Value::Null)
}

pub(super) async fn set_prevrandao(node: &Arc<Node>, mut args: Args) -> Reply<bool> {
    let value: B256 = args.take("prevrandao")?;
    node.set(|settings| settings.next_prevrandao = Some(value));
    node.announce_head(None, None);
    Ok(true)
}

pub(super) async fn impersonate(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let address: Address = args.take("address")?;
    node.set(|settings| settings.impersonated.insert(address));
    Ok(Value::Null)
}

/// The signature and whose it is, as two parameters or, as Anvil has it, as a pair.
pub(super) async fn impersonate_signature(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let (signature, address): (Bytes, Address) = match args.take::<Value>("signature")? {
        pair @ Value::Array(_) => serde_json::from_value(pair),
        one => serde_json::from_value(one).map(|signature| (signature, Address::ZERO)),
    }
    .map_err(|error| RpcError::params(format!("invalid argument signature: {error}")))?;
    let address = args.optional("address")?.unwrap_or(address);
    let signature = signature.as_ref().try_into().map_err(|_| {
        RpcError::params(format!("invalid argument signature: expected 65 bytes (r, s, v), got {}", signature.len()))
    })?;
    node.inference.signatures.impersonate(signature, address);
    Ok(Value::Null)
}

pub(super) async fn stop_impersonating(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let address: Address = args.take("address")?;
    node.set(|settings| settings.impersonated.remove(&address));
    Ok(Value::Null)
}

pub(super) async fn auto_impersonate(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let on: bool = args.take("enabled")?;
    node.set(|settings| settings.auto_impersonate = on);
    Ok(Value::Null)
}

pub(super) async fn drop_transaction(node: &Arc<Node>, mut args: Args) -> Reply<Option<B256>> {
    let hash: B256 = args.take("transaction hash")?;
    let dropped = node.pool(|pool| pool.remove(&hash));
    node.inference.dropped(hash);
    Ok(dropped.map(|pooled| pooled.hash))
}

pub(super) async fn drop_all(node: &Arc<Node>, _: Args) -> Reply<Value> {
    node.pool(|pool| pool.clear()).into_iter().for_each(|hash| node.inference.dropped(hash));
    Ok(Value::Null)
}

pub(super) async fn drop_of_sender(node: &Arc<Node>, mut args: Args) -> Reply<Value> {
    let sender: Address = args.take("address")?;
    node.pool(|pool| pool.remove_sender(sender)).into_iter().for_each(|hash| node.inference.dropped(hash));
    Ok(Value::Null)
}

pub(super) async fn node_info(node: &Arc<Node>, _: Args) -> Reply<Value> {
    let (head, spec, settings) = (node.head(), node.spec(), node.settings());
    let order = match node.config.order {
        Order::Fees => "fees",
        Order::Fifo => "fifo",
    };
    let fork = node.read(|chain| chain.ledger.upstream().cloned());
    Ok(json!({
        "currentBlockNumber": U64::from(head.header.number),
        "currentBlockTimestamp": head.header.timestamp,
        "currentBlockHash": head.hash,
        "hardFork": spec.name(head.header.number, head.header.timestamp),
        "transactionOrder": order,
        "environment": {
            "baseFee": U256::from(node.plan().env.block_env.basefee),
            "chainId": spec.chain_id(),
            "gasLimit": U64::from(settings.gas_limit),
            "gasPrice": U256::from(super::fees::suggested_price(node)),
        },
        "forkConfig": {
            "forkUrl": fork.as_ref().map(|fork| fork.options().url()),
            "forkBlockNumber": fork.as_ref().map(|fork| fork.number()),
            "forkRetryBackoff": fork.as_ref().map(|fork| fork.options().backoff.as_millis() as u64),
        },
    }))
}

pub(super) async fn metadata(node: &Arc<Node>, _: Args) -> Reply<Value> {
    let head = node.head();
    Ok(json!({
        "clientVersion": format!("foreblock/v{}", env!("CARGO_PKG_VERSION")),
        "chainId": node.chain_id(),
        "instanceId": node.instance,
        "latestBlockNumber": head.header.number,
        "latestBlockHash": head.hash,
        "forkedNetwork": node.read(|chain| chain.ledger.upstream().cloned()).map(|fork| json!({
            "chainId": fork.chain_id(),
            "forkBlockNumber": fork.number(),
            "forkBlockHash": fork.hash(),
        })),
        "snapshots": node.read(|chain| {
            let snapshots = chain.snapshots.iter();
            snapshots.map(|(id, snapshot)| {
                let head = snapshot.ledger.head();
                (U256::from(*id).to_string(), json!([head.header.number, head.hash]))
            }).collect::<serde_json::Map<String, Value>>()
        }),
    }))
}
