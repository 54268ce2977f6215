//! `--init`: a genesis file in geth's format.

use super::ConfigError;
use crate::chain::{Genesis, Spec};
use alloy_hardforks::{EthereumHardfork as Fork, ForkCondition};
use alloy_primitives::U256;
use std::path::Path;

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<alloy_genesis::Genesis, ConfigError> {
    let failed = |error: &dyn std::fmt::Display| ConfigError::GenesisFile(path.to_owned(), error.to_string());
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&format!("not a genesis file as geth reads it: {error}")))
}

/// The rules that the file's fork numbers and times give.
pub(super) fn spec(file: &alloy_genesis::Genesis) -> Spec {
    let config = &file.config;
    let by_block = [
        (Fork::Homestead, config.homestead_block),
        (Fork::Dao, config.dao_fork_block.filter(|_| config.dao_fork_support)),
        (Fork::Tangerine, config.eip150_block),
        (Fork::SpuriousDragon, config.eip155_block),
        (Fork::Byzantium, config.byzantium_block),
        (Fork::Constantinople, config.constantinople_block),
        (Fork::Petersburg, config.petersburg_block),
        (Fork::Istanbul, config.istanbul_block),
        (Fork::MuirGlacier, config.muir_glacier_block),
        (Fork::Berlin, config.berlin_block),
        (Fork::London, config.london_block),
        (Fork::ArrowGlacier, config.arrow_glacier_block),
        (Fork::GrayGlacier, config.gray_glacier_block),
    ];
    let by_time = [
        (Fork::Shanghai, config.shanghai_time),
        (Fork::Cancun, config.cancun_time),
        (Fork::Prague, config.prague_time),
        (Fork::Osaka, config.osaka_time),
    ];
    let mut conditions = vec![(Fork::Frontier, ForkCondition::Block(0))];
    conditions.extend(by_block.into_iter().filter_map(|(fork, at)| Some((fork, ForkCondition::Block(at?)))));
    // A chain that no one mines is past the merge from its first block, wherever the file puts it.
    if config.terminal_total_difficulty.is_some() || config.shanghai_time.is_some() {
        let merged =
            ForkCondition::TTD { activation_block_number: 0, fork_block: Some(0), total_difficulty: U256::ZERO };
        conditions.push((Fork::Paris, merged));
    }
    conditions.extend(by_time.into_iter().filter_map(|(fork, at)| Some((fork, ForkCondition::Timestamp(at?)))));
    Spec::with_conditions(config.chain_id, conditions)
}

/// Puts the file's first block in place of the flags'.
pub(super) fn apply(file: &alloy_genesis::Genesis, genesis: &mut Genesis) {
    genesis.timestamp = file.timestamp;
    genesis.gas_limit = file.gas_limit;
    genesis.coinbase = file.coinbase;
    genesis.difficulty = file.difficulty;
    genesis.extra_data = file.extra_data.clone();
    genesis.mix_hash = file.mix_hash;
    genesis.nonce = file.nonce;
    genesis.number = file.number.unwrap_or(genesis.number);
    if let Some(fee) = file.base_fee_per_gas {
        genesis.base_fee = u64::try_from(fee).unwrap_or(u64::MAX);
    }
    genesis.alloc = file.alloc.iter().map(|(address, account)| (*address, account.clone())).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use revm::primitives::hardfork::SpecId;

    #[test]
    fn forks_follow_their_blocks_and_times() {
        let file: alloy_genesis::Genesis = serde_json::from_str(
            r#"{ "config": { "chainId": 7, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
                "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0,
                "berlinBlock": 0, "londonBlock": 2, "terminalTotalDifficulty": 0, "shanghaiTime": 100,
                "cancunTime": 200 }, "alloc": {}, "difficulty": "0x0", "gasLimit": "0x1c9c380" }"#,
        )
        .unwrap();
        let spec = spec(&file);
        assert_eq!(spec.chain_id(), 7);
        assert_eq!(spec.evm_spec(3, 150), SpecId::SHANGHAI);
        assert_eq!(spec.evm_spec(3, 250), SpecId::CANCUN);
    }
}
