//! The chain of blocks. A clone is O(1), which is what snapshots are.

use super::{Block, StateError, View, World};
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
        };
        ledger.push(genesis);
        ledger
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
        View { world: self.world.clone(), blocks: self.blocks.clone() }
    }

    /// The state after a block.
    pub fn view_after(&self, block: &Block) -> Result<View, StateError> {
        let world = match (block.hash == self.head().hash, block.states_kept) {
            (true, _) => &self.world,
            (false, true) => &block.world,
            (false, false) => return Err(StateError::NotKept(block.header.number)),
        };
        Ok(View { world: world.clone(), blocks: self.blocks.clone() })
    }

    /// The state that a block was built on.
    pub fn view_before(&self, block: &Block) -> Result<View, StateError> {
        if !block.states_kept {
            return Err(StateError::NotKept(block.header.number));
        }
        Ok(View { world: block.before.clone(), blocks: self.blocks.clone() })
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
