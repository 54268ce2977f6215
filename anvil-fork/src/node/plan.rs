//! What blocks are built and run with: rules, limits, and the fields that the EVM sees.

use super::{Chain, Node, Settings};
use crate::{
    chain::{Block, BlockPlan, Spec},
    inference::Inference,
};
use alloy_evm::EvmEnv;
use alloy_primitives::{B256, U256};
use revm::context_interface::block::BlobExcessGasAndPrice;

impl Node {
    /// What the next block will be built with.
    pub fn plan(&self) -> BlockPlan {
        let chain = self.chain.read();
        self.plan_for(&chain)
    }

    pub(crate) fn plan_for(&self, chain: &Chain) -> BlockPlan {
        let settings = self.settings.read();
        let parent = chain.ledger.head().clone();
        let timestamp = chain.clock.peek();
        let mut env = self.evm_env(&chain.spec, parent.header.number + 1, timestamp);
        let block = &mut env.block_env;
        block.beneficiary = settings.coinbase;
        block.gas_limit = settings.gas_limit;
        block.basefee = self.next_base_fee(&parent, &settings);
        block.prevrandao = Some(settings.next_prevrandao.unwrap_or_else(|| {
            alloy_primitives::keccak256([parent.hash.as_slice(), &timestamp.to_be_bytes()].concat())
        }));
        let blobs = chain.spec.blobs(timestamp);
        block.blob_excess_gas_and_price = blobs.map(|params| {
            let excess_blob_gas = parent.header.next_block_excess_blob_gas(params).unwrap_or(0);
            BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice: params.calc_blob_fee(excess_blob_gas) }
        });
        // A chain whose first block is only the genesis file's has no registry to call.
        let start_block_call =
            if self.config.genesis.exact { Default::default() } else { Inference::start_block_call(&parent) };
        BlockPlan {
            env,
            parent,
            start_block_call,
            certificates: self.inference.certificates(),
            beacon_root: B256::ZERO,
            ommers: Vec::new(),
            withdrawals: None,
            extra_data: Default::default(),
            transactions_max: self.config.transactions_max,
        }
    }

    fn next_base_fee(&self, parent: &Block, settings: &Settings) -> u64 {
        if settings.no_base_fee {
            return 0;
        }
        let params = alloy_eips::eip1559::BaseFeeParams::ethereum();
        settings.next_base_fee.or_else(|| parent.header.next_block_base_fee(params)).unwrap_or(0)
    }

    /// The EVM's configuration for a block that has this number and time, with the node's switches.
    pub fn evm_env(&self, spec: &Spec, number: u64, timestamp: u64) -> EvmEnv {
        let mut env = spec.evm_env(number, timestamp);
        let cfg = &mut env.cfg_env;
        cfg.disable_eip3607 = true;
        cfg.disable_block_gas_limit = self.config.no_block_gas_limit;
        cfg.limit_contract_code_size = self.config.code_size_max;
        cfg.limit_contract_initcode_size = self.config.code_size_max.map(|size| size.saturating_mul(2));
        if let Some(bytes) = self.config.memory_max {
            cfg.memory_limit = bytes;
        }
        if !self.config.tx_gas_limit {
            cfg.tx_gas_limit_cap = Some(u64::MAX);
        }
        env
    }

    /// The environment in which a mined block was built.
    pub fn env_of(&self, block: &Block) -> EvmEnv {
        self.env_of_header(&block.header)
    }

    /// The environment that a header fixes.
    pub fn env_of_header(&self, header: &alloy_consensus::Header) -> EvmEnv {
        let spec = self.spec();
        let mut env = self.evm_env(&spec, header.number, header.timestamp);
        env.block_env.beneficiary = header.beneficiary;
        env.block_env.gas_limit = header.gas_limit;
        env.block_env.basefee = header.base_fee_per_gas.unwrap_or(0);
        env.block_env.difficulty = header.difficulty;
        env.block_env.prevrandao = Some(header.mix_hash);
        env.block_env.number = U256::from(header.number);
        let price = header.excess_blob_gas.zip(spec.blobs(header.timestamp));
        env.block_env.blob_excess_gas_and_price = price.map(|(excess_blob_gas, params)| BlobExcessGasAndPrice {
            excess_blob_gas,
            blob_gasprice: params.calc_blob_fee(excess_blob_gas),
        });
        env
    }
}
