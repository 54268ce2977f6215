//! Which rules are in force when.

use alloy_eips::{eip1559::BaseFeeParams, eip7840::BlobParams};
use alloy_evm::{EvmEnv, eth::spec::EthExecutorSpec, spec_by_timestamp_and_block_number};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{Address, U256};
use revm::{
    context::{BlockEnv, CfgEnv},
    primitives::hardfork::SpecId,
};

/// A hardfork's name that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown hardfork `{0}`: expected one of {names}, or `latest`", names = NAMES.map(|(name, _)| name).join(", "))]
pub struct UnknownHardfork(String);

const NAMES: [(&str, EthereumHardfork); 18] = [
    ("frontier", EthereumHardfork::Frontier),
    ("homestead", EthereumHardfork::Homestead),
    ("dao", EthereumHardfork::Dao),
    ("tangerine", EthereumHardfork::Tangerine),
    ("spuriousdragon", EthereumHardfork::SpuriousDragon),
    ("byzantium", EthereumHardfork::Byzantium),
    ("constantinople", EthereumHardfork::Constantinople),
    ("petersburg", EthereumHardfork::Petersburg),
    ("istanbul", EthereumHardfork::Istanbul),
    ("muirglacier", EthereumHardfork::MuirGlacier),
    ("berlin", EthereumHardfork::Berlin),
    ("london", EthereumHardfork::London),
    ("arrowglacier", EthereumHardfork::ArrowGlacier),
    ("grayglacier", EthereumHardfork::GrayGlacier),
    ("paris", EthereumHardfork::Paris),
    ("shanghai", EthereumHardfork::Shanghai),
    ("cancun", EthereumHardfork::Cancun),
    ("prague", EthereumHardfork::Prague),
];

/// The last fork that this node has rules for.
const LATEST: EthereumHardfork = EthereumHardfork::Osaka;

/// The chain's id and forks. Every fork up to one is active from genesis, unless a genesis file says otherwise.
#[derive(Clone, Debug)]
pub struct Spec {
    chain_id: u64,
    conditions: Vec<(EthereumHardfork, ForkCondition)>,
}

impl Spec {
    /// All forks up to the one with this name.
    pub fn up_to(chain_id: u64, name: &str) -> Result<Self, UnknownHardfork> {
        let wanted = name.to_ascii_lowercase().replace(['-', '_', ' '], "");
        let last = match wanted.as_str() {
            "latest" | "osaka" => LATEST,
            "merge" => EthereumHardfork::Paris,
            wanted => NAMES.iter().find(|(name, _)| *name == wanted).ok_or_else(|| UnknownHardfork(name.to_owned()))?.1,
        };
        Ok(Self::from_genesis_to(chain_id, last))
    }

    fn from_genesis_to(chain_id: u64, last: EthereumHardfork) -> Self {
        let known = NAMES.iter().map(|(_, fork)| *fork).chain([LATEST]);
        let mut conditions = Vec::new();
        for fork in known {
            // The DAO fork moves money on the main network only.
            if fork != EthereumHardfork::Dao {
                conditions.push((fork, at_genesis(fork)));
            }
            if fork == last {
                break;
            }
        }
        Self { chain_id, conditions }
    }

    /// The rules that a public chain had or has at each of its blocks; `None` for other chains.
    pub fn of_chain(chain_id: u64) -> Option<Self> {
        let conditions = match chain_id {
            1 => EthereumHardfork::mainnet().to_vec(),
            11_155_111 => EthereumHardfork::sepolia().to_vec(),
            17_000 => EthereumHardfork::holesky().to_vec(),
            560_048 => EthereumHardfork::hoodi().to_vec(),
            _ => return None,
        };
        Some(Self { chain_id, conditions })
    }

    /// Forks at their own times.
    pub fn with_conditions(chain_id: u64, conditions: Vec<(EthereumHardfork, ForkCondition)>) -> Self {
        Self { chain_id, conditions }
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The same rules under another id.
    pub fn set_chain_id(&mut self, chain_id: u64) {
        self.chain_id = chain_id;
    }

    /// The EVM's rules for a block.
    pub fn evm_spec(&self, number: u64, timestamp: u64) -> SpecId {
        spec_by_timestamp_and_block_number(self, timestamp, number)
    }

    /// Name of the rules for a block, as anvil prints it.
    pub fn name(&self, number: u64, timestamp: u64) -> String {
        format!("{:?}", self.evm_spec(number, timestamp))
    }

    /// Blob limits and prices of a block's time, from Cancun on.
    pub fn blobs(&self, timestamp: u64) -> Option<BlobParams> {
        if self.is_bpo2_active_at_timestamp(timestamp) {
            Some(BlobParams::bpo2())
        } else if self.is_bpo1_active_at_timestamp(timestamp) {
            Some(BlobParams::bpo1())
        } else if self.is_osaka_active_at_timestamp(timestamp) {
            Some(BlobParams::osaka())
        } else if self.is_prague_active_at_timestamp(timestamp) {
            Some(BlobParams::prague())
        } else {
            self.is_cancun_active_at_timestamp(timestamp).then(BlobParams::cancun)
        }
    }

    /// How the base fee moves.
    pub fn base_fees(&self) -> BaseFeeParams {
        BaseFeeParams::ethereum()
    }

    /// An EVM configuration under these rules, as Ethereum has it.
    pub fn evm_env(&self, number: u64, timestamp: u64) -> EvmEnv {
        let mut cfg = CfgEnv::new_with_spec(self.evm_spec(number, timestamp)).with_chain_id(self.chain_id);
        if let Some(blobs) = self.blobs(timestamp) {
            cfg.set_max_blobs_per_tx(blobs.max_blobs_per_tx);
        }
        let mut env = EvmEnv { cfg_env: cfg, block_env: BlockEnv::default() };
        env.block_env.number = U256::from(number);
        env.block_env.timestamp = U256::from(timestamp);
        env
    }
}

fn at_genesis(fork: EthereumHardfork) -> ForkCondition {
    match fork {
        EthereumHardfork::Paris => {
            ForkCondition::TTD { activation_block_number: 0, fork_block: Some(0), total_difficulty: U256::ZERO }
        }
        EthereumHardfork::Shanghai | EthereumHardfork::Cancun | EthereumHardfork::Prague | EthereumHardfork::Osaka => {
            ForkCondition::Timestamp(0)
        }
        _ => ForkCondition::Block(0),
    }
}

impl EthereumHardforks for Spec {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        let found = self.conditions.iter().find(|(known, _)| *known == fork);
        found.map_or(ForkCondition::Never, |(_, condition)| *condition)
    }
}

impl EthExecutorSpec for Spec {
    fn deposit_contract_address(&self) -> Option<Address> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_gives_the_rules_it_names() {
        for (name, expected) in [
            ("frontier", SpecId::FRONTIER),
            ("spurious-dragon", SpecId::SPURIOUS_DRAGON),
            ("Istanbul", SpecId::ISTANBUL),
            ("london", SpecId::LONDON),
            ("paris", SpecId::MERGE),
            ("merge", SpecId::MERGE),
            ("shanghai", SpecId::SHANGHAI),
            ("cancun", SpecId::CANCUN),
            ("prague", SpecId::PRAGUE),
            ("osaka", SpecId::OSAKA),
            ("latest", SpecId::OSAKA),
        ] {
            let spec = Spec::up_to(1, name).unwrap();
            assert_eq!(spec.evm_spec(0, 1_800_000_000), expected, "{name}");
            assert_eq!(spec.blobs(1).is_some(), expected >= SpecId::CANCUN, "{name}");
        }
        let error = Spec::up_to(1, "nonsense").unwrap_err().to_string();
        assert!(error.contains("nonsense") && error.contains("prague"), "{error}");
    }
}
