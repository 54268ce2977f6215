//! What a node prints when it starts.

use crate::{accounts::wei, cli::Config, node::Node};
use alloy_primitives::{Address, B256, hex};
use alloy_sol_types::SolCall;
use foreblock_engine::manifest::profile_name;
use foreblock_precompile::abi::IInference;
use serde_json::{Value, json};
use std::{fmt::Write as _, net::SocketAddr};

/// The banner.
pub fn text(config: &Config, node: &Node, addresses: &[SocketAddr]) -> String {
    let mut text = String::new();
    write(&mut text, config, node, addresses).expect("writing to a string cannot fail");
    text
}

fn write(text: &mut String, config: &Config, node: &Node, addresses: &[SocketAddr]) -> std::fmt::Result {
    let flags = config.flags();
    let keys: Vec<(Address, B256)> = config.accounts.keys().collect();
    writeln!(text, "\nForeblock {}\n", env!("CARGO_PKG_VERSION"))?;
    writeln!(text, "Available Accounts\n==================")?;
    for (at, (address, _)) in keys.iter().enumerate() {
        writeln!(text, "({at}) {address} ({}.000000000000000000 ETH)", flags.balance)?;
    }
    writeln!(text, "\nPrivate Keys\n==================")?;
    for (at, (_, key)) in keys.iter().enumerate() {
        writeln!(text, "({at}) {key}")?;
    }
    writeln!(text, "\nWallet\n==================")?;
    writeln!(text, "Mnemonic:          {}", config.mnemonic)?;
    writeln!(text, "Derivation path:   {}", flags.derivation_path)?;
    let head = node.head();
    writeln!(text, "\nChain\n==================")?;
    writeln!(text, "Chain ID:          {}", node.chain_id())?;
    writeln!(text, "Hardfork:          {}", node.spec().name(head.header.number, head.header.timestamp))?;
    writeln!(text, "Base Fee:          {}", head.header.base_fee_per_gas.unwrap_or(0))?;
    writeln!(text, "Gas Limit:         {}", head.header.gas_limit)?;
    writeln!(text, "Genesis Timestamp: {}", head.header.timestamp)?;
    inference(text, node, addresses, keys.first())?;
    writeln!(text)?;
    addresses.iter().try_for_each(|address| writeln!(text, "Listening on {address}"))
}

fn inference(
    text: &mut String,
    node: &Node,
    addresses: &[SocketAddr],
    first: Option<&(Address, B256)>,
) -> std::fmt::Result {
    writeln!(text, "\nInference\n==================")?;
    writeln!(text, "Precompile:        {}", node.inference.address())?;
    writeln!(text, "Engine:            {}", node.inference.engine_name())?;
    writeln!(text, "\nModels\n==================")?;
    for entry in node.inference.entries() {
        let (manifest, slot) = (&entry.manifest, entry.manifest.slot());
        let profile = profile_name(manifest.profile());
        writeln!(text, "{:<12} {} ({profile}, {} gas)", manifest.name(), manifest.id(), slot.gas_per_run)?;
    }
    let example = node.inference.entries().iter().find_map(|entry| Some((entry, node.inference.sample_input(entry)?)));
    let (Some((entry, input)), Some((_, key)), Some(address)) = (example, first, addresses.first()) else {
        return Ok(());
    };
    let call = IInference::runCall { modelId: entry.manifest.id(), input }.abi_encode();
    writeln!(text, "\nTry it: ask {} in a transaction, and see what it answers", entry.manifest.name())?;
    writeln!(
        text,
        "cast rpc --rpc-url http://{address} debug_traceTransaction $(cast send --rpc-url http://{address} \
         --private-key {key} {} {} | awk '/^transactionHash/ {{print $2}}') '{{\"tracer\":\"callTracer\"}}'",
        node.inference.address(),
        hex::encode_prefixed(call)
    )
}

/// What `--config-out` writes: anvil's fields.
pub fn json(config: &Config, node: &Node) -> Value {
    let flags = config.flags();
    let head = node.head();
    let keys: Vec<(Address, B256)> = config.accounts.keys().collect();
    json!({
        "available_accounts": keys.iter().map(|(address, _)| address).collect::<Vec<_>>(),
        "private_keys": keys.iter().map(|(_, key)| key).collect::<Vec<_>>(),
        "wallet": { "derivation_path": flags.derivation_path, "mnemonic": config.mnemonic },
        "base_fee": head.header.base_fee_per_gas.unwrap_or(0).to_string(),
        "gas_limit": head.header.gas_limit.to_string(),
        "gas_price": node.settings().min_gas_price_wei.to_string(),
        "genesis_timestamp": head.header.timestamp.to_string(),
        "balance": wei(flags.balance).to_string(),
        "models": node.inference.models(),
    })
}
