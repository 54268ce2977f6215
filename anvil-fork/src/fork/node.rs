//! A node on a fork: how it starts, how it is reset, and what it is asked to run again first.

use super::{ForkOptions, Replay, UpstreamError};
use crate::{
    chain::{Candidate, Forked, Genesis, GenesisError, Spec, TimestampError},
    miner::MineError,
    node::{ForkConfig, Node},
};
use alloy_primitives::B256;
use std::sync::Arc;

/// A fork that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// The upstream.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// What stands on top of it.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The block that is built again.
    #[error(transparent)]
    Mine(#[from] MineError),
    /// Its time.
    #[error(transparent)]
    Time(#[from] TimestampError),
    /// A transaction that ran on the forked chain, and does not run here.
    #[error("transaction {0} of the forked chain does not run again: {1}; fork at its block with --fork-block-number")]
    NotReplayed(B256, String),
}

/// Forks: asks the upstream, and puts the first block's accounts on top.
pub fn fork(options: &ForkOptions, genesis: &Genesis, spec: &Spec, config: &ForkConfig) -> Result<Forked, ForkError> {
    let origin = super::open(options)?;
    let chain_id = origin.upstream.chain_id();
    let mut rules = Spec::of_chain(chain_id).filter(|_| !config.spec_given).unwrap_or_else(|| spec.clone());
    rules.set_chain_id(if config.chain_id_given { spec.chain_id() } else { chain_id });
    Ok(genesis.on(origin, rules)?)
}

impl Node {
    /// Begins again on a fork.
    pub fn reset_to_fork(&self, options: &ForkOptions) -> Result<(), ForkError> {
        let forked = fork(options, &self.config.genesis, &self.spec(), &self.config.fork)?;
        let gas_limit = forked.ledger.head().header.gas_limit;
        self.set(|settings| {
            settings.next_base_fee = None;
            if !self.config.fork.gas_limit_given {
                settings.gas_limit = gas_limit;
            }
        });
        self.change(|chain| chain.spec = Arc::new(forked.spec));
        self.restart(forked.ledger);
        forked.replay.map_or(Ok(()), |replay| self.replay(replay))
    }

    /// Builds the beginning of a block of the forked chain again, with the block's own fields.
    pub fn replay(&self, replay: Replay) -> Result<(), ForkError> {
        let Replay { header, transactions } = replay;
        self.change(|chain| chain.clock.set_next(header.timestamp))?;
        let candidates = || {
            let candidate = |tx| Candidate { hash: *(&tx as &crate::chain::Transaction).tx_hash(), tx: Arc::new(tx) };
            transactions.into_iter().map(candidate).collect()
        };
        let mut left_out = Vec::new();
        self.mine_as(
            |plan| {
                let block = &mut plan.env.block_env;
                block.beneficiary = header.beneficiary;
                block.gas_limit = header.gas_limit;
                block.basefee = header.base_fee_per_gas.unwrap_or(0);
                block.difficulty = header.difficulty;
                block.prevrandao = Some(header.mix_hash);
                plan.beacon_root = header.parent_beacon_block_root.unwrap_or_default();
            },
            candidates,
            |built| {
                left_out = built.skipped.clone();
                left_out.is_empty()
            },
        )?;
        left_out.into_iter().next().map_or(Ok(()), |(hash, skip)| Err(ForkError::NotReplayed(hash, skip.to_string())))
    }
}
