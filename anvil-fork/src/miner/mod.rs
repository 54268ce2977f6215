//! When a block is built, and what follows from it.

mod admit;
mod log;

pub use admit::AdmitError;

use crate::{
    chain::{Block, BlockPlan, Built, Candidate, NoAdvice, Skip, build},
    node::Node,
};
use alloy_evm::block::BlockExecutionError;
use alloy_primitives::B256;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Who mines when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// As soon as a transaction can be included.
    Auto,
    /// Each time the interval is over, with or without transactions.
    Interval(Duration),
    /// Both.
    Mixed(Duration),
    /// Only when asked.
    Manual,
}

impl Mining {
    /// Whether a transaction is mined when it arrives.
    pub fn is_auto(&self) -> bool {
        matches!(self, Self::Auto | Self::Mixed(_))
    }

    /// Time between blocks, where there is one.
    pub fn interval(&self) -> Option<Duration> {
        match self {
            Self::Interval(time) | Self::Mixed(time) => Some(*time),
            Self::Auto | Self::Manual => None,
        }
    }
}

/// A block that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum MineError {
    /// The executor stopped for a reason that is no transaction's fault.
    #[error("block could not be built: {0}")]
    Execution(#[from] BlockExecutionError),
}

impl Node {
    /// Builds a block of what can be included now and adds it, even if it is empty.
    pub fn mine(&self) -> Result<Arc<Block>, MineError> {
        self.mine_if(|_| true).map(|block| block.expect("an empty block is wanted too"))
    }

    /// Builds blocks while transactions can be included.
    pub fn mine_ready(&self) -> Result<Vec<Arc<Block>>, MineError> {
        let mut blocks = Vec::new();
        while !self.pool(|pool| pool.is_empty()) {
            match self.mine_if(|built| !built.block.transactions.is_empty())? {
                Some(block) => blocks.push(block),
                None => break,
            }
        }
        Ok(blocks)
    }

    /// What the next block would be, without adding it.
    pub fn pending_block(&self) -> Result<Built, MineError> {
        let (ledger, spec, plan) = self.read(|chain| (chain.ledger.clone(), chain.spec.clone(), self.plan_for(chain)));
        Ok(build(&ledger, &spec, &self.inference.factory_of_calls(), &plan, self.candidates(), &NoAdvice)?)
    }

    fn mine_if(&self, wanted: impl FnOnce(&Built) -> bool) -> Result<Option<Arc<Block>>, MineError> {
        self.mine_as(|_| {}, || self.candidates(), wanted)
    }

    /// Builds a block with a plan that differs, or of other transactions than the pool's.
    pub(crate) fn mine_as(
        &self,
        change: impl FnOnce(&mut BlockPlan),
        candidates: impl FnOnce() -> Vec<Candidate>,
        wanted: impl FnOnce(&Built) -> bool,
    ) -> Result<Option<Arc<Block>>, MineError> {
        let alone = self.alone();
        let building = self.inference.building();
        let (ledger, spec, mut plan) =
            self.read(|chain| (chain.ledger.clone(), chain.spec.clone(), self.plan_for(chain)));
        change(&mut plan);
        let factory = self.inference.factory_of_builds();
        let built = build(&ledger, &spec, &factory, &plan, candidates(), &self.inference)?;
        self.drop_invalid(&built);
        if !wanted(&built) {
            return Ok(None);
        }
        let Built { block, skipped, writes, called_console } = built;
        let block = self.change_alone(&alone, |chain| {
            chain.clock.sealed(block.header.timestamp);
            chain.ledger.push(block)
        });
        self.set(|settings| {
            settings.next_base_fee = None;
            settings.next_prevrandao = None;
        });
        self.clear_included(&block);
        drop(building);
        drop(alone);
        if self.logging() {
            log::mined(&block, &skipped);
        }
        if self.prints(called_console) {
            self.print_block(&self.ledger(), &block);
        }
        self.announce_head(Some(block.clone()), Some(writes));
        Ok(Some(block))
    }

    fn drop_invalid(&self, built: &Built) {
        for (hash, skip) in &built.skipped {
            if let Skip::Invalid(reason) = skip {
                tracing::warn!(%hash, reason, "dropped a transaction that can never be included");
                self.pool(|pool| pool.remove(hash));
                self.inference.dropped(*hash);
            }
        }
    }

    fn clear_included(&self, block: &Block) {
        for (index, tx) in block.transactions.iter().enumerate() {
            if let Some(pooled) = self.pool(|pool| pool.remove(tx.tx_hash())) {
                self.blobs.keep(&pooled.tx);
            }
            self.inference.included(tx, block.gas_used(index));
        }
        let stale: Vec<B256> = self.pool(|pool| {
            let nonce = |tx: &crate::chain::Transaction| block.world.account(&tx.signer()).map_or(0, |a| a.nonce);
            block.transactions.iter().flat_map(|tx| pool.prune(tx.signer(), nonce(tx))).collect()
        });
        stale.into_iter().for_each(|hash| self.inference.dropped(hash));
    }
}

/// Mines until the node stops: on the interval, and when a deferred transaction has its outcomes.
pub async fn run(node: Arc<Node>) {
    let mut next = Instant::now();
    let mut interval = None;
    loop {
        let mining = node.settings().mining;
        if mining.interval() != interval {
            interval = mining.interval();
            next = Instant::now() + interval.unwrap_or_default();
            node.set_due(interval.map(|_| next.into_std()));
        }
        let tick = async {
            match interval {
                Some(_) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = node.wake_miner.notified() => {
                if node.settings().mining.is_auto() {
                    blocking(&node, |node| node.mine_ready().map(drop)).await;
                }
            }
            () = tick => {
                next += interval.unwrap_or_default();
                // After a pause of the machine, blocks are not made up for.
                next = next.max(Instant::now());
                node.set_due(Some(next.into_std()));
                blocking(&node, |node| node.mine().map(drop)).await;
            }
        }
    }
}

async fn blocking(node: &Arc<Node>, mine: fn(&Node) -> Result<(), MineError>) {
    let node = node.clone();
    match tokio::task::spawn_blocking(move || mine(&node)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "mining failed"),
        Err(error) => tracing::error!(%error, "the miner panicked"),
    }
}
