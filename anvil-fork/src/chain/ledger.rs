//! The chain of blocks. A clone is O(1), which is what snapshots are.

use super::{Block, StateError, View, World};
use crate::fork::Upstream;
use alloy_primitives::{B256, U256};
use std::sync::Arc;

/// Blocks from the first one kept to the head, and the state that the next block builds on.
#[derive(Clone, Debug)]
pub struct Ledger {
    blocks: imbl::Vector<Arc<Block>>,
    by_hash: imbl::HashMap<B256, u64>,
    transactions: imbl::HashMap<B256, (u64, usize)>,
    /// The head's state with what `anvil_set*` changed since.
    pub world: World,
    /// The forked chain, which ends at the first block.
    upstream: Option<Arc<Upstream>>,
    /// States of blocks before the head that are kept; all where there is no number.
    states_max: Option<usize>,
    /// Blocks whose transactions are kept.
    bodies_max: Option<usize>,
}

/// A moment to come back to.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The chain at that moment.
    pub ledger: Ledger,
    /// Its clock.
    pub clock: super::Clock,
}

impl Ledger {
    /// A chain that starts with `genesis`.
    pub fn starting_with(genesis: Block) -> Self {
        let world = genesis.world.clone();
        let mut ledger = Self {
            blocks: imbl::Vector::new(),
            by_hash: imbl::HashMap::new(),
            transactions: imbl::HashMap::new(),
            world,
            upstream: None,
            states_max: None,
            bodies_max: None,
        };
        ledger.push(genesis);
        ledger
    }

    /// A chain that goes on from the upstream's block, with what stands on top of it in that block's state.
    pub fn forking(block: Block, upstream: Arc<Upstream>) -> Self {
        Self { upstream: Some(upstream), ..Self::starting_with(block) }
    }

    /// Another chain with the same limits, on the same fork or on none.
    pub fn beginning_with(&self, first: Block, on_fork: bool) -> Self {
        let mut ledger = Self::starting_with(first).keeping(self.states_max, self.bodies_max);
        ledger.upstream = self.upstream.clone().filter(|_| on_fork);
        ledger
    }

    /// Forgets older states and transactions from now on.
    pub fn keeping(mut self, states_max: Option<usize>, bodies_max: Option<usize>) -> Self {
        (self.states_max, self.bodies_max) = (states_max, bodies_max);
        self
    }

    /// Forgets what the block just added makes too old.
    fn forget(&mut self) {
        let length = self.blocks.len();
        if let Some(at) = self.states_max.and_then(|kept| length.checked_sub(kept + 2)) {
            let block = self.blocks[at].without_states();
            self.blocks.set(at, Arc::new(block));
        }
        if let Some(at) = self.bodies_max.and_then(|kept| length.checked_sub(kept + 1)) {
            for tx in &self.blocks[at].transactions {
                self.transactions.remove(tx.tx_hash());
            }
            let block = self.blocks[at].without_transactions();
            self.blocks.set(at, Arc::new(block));
        }
    }

    /// Reads the forked chain from somewhere else.
    pub fn set_upstream(&mut self, upstream: Arc<Upstream>) {
        self.upstream = Some(upstream);
    }

    /// The forked chain.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.upstream.as_ref()
    }

    /// Adds a block, whose state becomes the current one.
    pub fn push(&mut self, block: Block) -> Arc<Block> {
        let number = block.header.number;
        self.by_hash.insert(block.hash, number);
        for (index, tx) in block.transactions.iter().enumerate() {
            self.transactions.insert(*tx.tx_hash(), (number, index));
        }
        self.world = block.world.clone();
        let block = Arc::new(block);
        self.blocks.push_back(block.clone());
        self.forget();
        block
    }

    /// Takes the last `depth` blocks off; those taken, oldest first. Genesis stays.
    pub fn rollback(&mut self, depth: u64) -> Vec<Arc<Block>> {
        let mut taken = Vec::new();
        while taken.len() < usize::try_from(depth).unwrap_or(usize::MAX) && self.blocks.len() > 1 {
            let Some(block) = self.blocks.pop_back() else { break };
            self.by_hash.remove(&block.hash);
            for tx in &block.transactions {
                self.transactions.remove(tx.tx_hash());
            }
            taken.push(block);
        }
        if self.head().states_kept {
            self.world = self.head().world.clone();
        }
        taken.reverse();
        taken
    }

    /// The last block.
    pub fn head(&self) -> &Arc<Block> {
        self.blocks.back().expect("a ledger starts with a block and rollback keeps it")
    }

    /// The first block kept.
    pub fn first(&self) -> &Arc<Block> {
        self.blocks.front().expect("a ledger starts with a block and rollback keeps it")
    }

    /// The block with this number.
    pub fn block(&self, number: u64) -> Option<&Arc<Block>> {
        let at = number.checked_sub(self.first().header.number)?;
        self.blocks.get(usize::try_from(at).ok()?)
    }

    /// The block with this hash.
    pub fn block_by_hash(&self, hash: &B256) -> Option<&Arc<Block>> {
        self.block(*self.by_hash.get(hash)?)
    }

    /// The block that holds a transaction, and where in it.
    pub fn transaction(&self, hash: &B256) -> Option<(&Arc<Block>, usize)> {
        let (number, index) = *self.transactions.get(hash)?;
        Some((self.block(number)?, index))
    }

    /// The current state.
    pub fn view(&self) -> View {
        self.view_of(self.world.clone())
    }

    /// The state after a block.
    pub fn view_after(&self, block: &Block) -> Result<View, StateError> {
        let world = match (block.hash == self.head().hash, block.states_kept) {
            (true, _) => &self.world,
            (false, true) => &block.world,
            (false, false) => return Err(StateError::NotKept(block.header.number)),
        };
        Ok(self.view_of(world.clone()))
    }

    /// The state that a block was built on.
    pub fn view_before(&self, block: &Block) -> Result<View, StateError> {
        if !block.states_kept {
            return Err(StateError::NotKept(block.header.number));
        }
        Ok(self.view_of(block.before.clone()))
    }

    fn view_of(&self, world: World) -> View {
        View { world, blocks: self.blocks.clone(), upstream: self.upstream.clone() }
    }

    /// All blocks, oldest first.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = &Arc<Block>> {
        self.blocks.iter()
    }

    /// Sum of difficulties; zero on a chain that has been proof of stake from its first block.
    pub fn total_difficulty(&self) -> U256 {
        self.blocks.iter().fold(U256::ZERO, |sum, block| sum + block.header.difficulty)
    }
}
