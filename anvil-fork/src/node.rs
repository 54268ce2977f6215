//! The handle that all rooms share. Its callers never see a lock, and who changes the chain goes through [`Node::change`]
//! or the miner, one at a time.

mod plan;

use crate::{
    accounts::Accounts,
    chain::{Block, Clock, Ledger, Snapshot, Spec, View},
    fork::ForkOptions,
    inference::{Inference, Seal},
    miner::Mining,
    pool::{Order, Pool, Pooled},
    print::Printing,
};
use alloy_primitives::{Address, B256, map::HashSet};
use foreblock_pre_executor::WriteSet;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::{collections::BTreeMap, sync::Arc, time::Instant};
use tokio::sync::{Notify, broadcast};

/// What the command line fixes for the node's whole life.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Order of transactions in a block.
    pub order: Order,
    /// Most transactions in a block.
    pub transactions_max: usize,
    /// Longest code of a contract, bytes; the fork's where there is none.
    pub code_size_max: Option<usize>,
    /// No limit on the gas of all transactions of a block.
    pub no_block_gas_limit: bool,
    /// EIP-7825's limit on the gas of one transaction.
    pub tx_gas_limit: bool,
    /// Whether who cannot pay is refused at once.
    pub balance_checks: bool,
    /// Most memory of one execution, bytes.
    pub memory_max: Option<u64>,
    /// Whether state files hold the states of all blocks.
    pub dump_states: bool,
    /// Tip suggested to wallets, wei.
    pub suggested_tip_wei: u128,
    /// How far `safe` and `finalized` lie behind the head.
    pub slots_in_an_epoch: u64,
    /// Who produces the blocks that this node follows; `None` where it produces them itself.
    pub producer: Option<String>,
    /// What is printed of transactions and calls.
    pub printing: Printing,
    /// The first block, for `anvil_reset`.
    pub genesis: crate::chain::Genesis,
    /// What the command line says of forks, for `anvil_reset`.
    pub fork: ForkConfig,
}

/// What the command line says of forks.
#[derive(Clone, Debug, Default)]
pub struct ForkConfig {
    /// The fork that the node started with.
    pub options: Option<ForkOptions>,
    /// Whether the rules were chosen, and so are those of a public chain, too.
    pub spec_given: bool,
    /// Whether the chain's id was chosen, and so is that of the forked chain, too.
    pub chain_id_given: bool,
    /// Whether the gas limit was chosen, and so is not the fork block's.
    pub gas_limit_given: bool,
}

/// What changes while the node runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who gets the fees of the next blocks.
    pub coinbase: Address,
    /// Gas limit of the next blocks.
    pub gas_limit: u64,
    /// Base fee of the next block only.
    pub next_base_fee: Option<u64>,
    /// Randomness of the next block only.
    pub next_prevrandao: Option<B256>,
    /// Base fee stays at zero.
    pub no_base_fee: bool,
    /// Lowest gas price taken, before London.
    pub min_gas_price_wei: u128,
    /// Anybody may send for anybody.
    pub auto_impersonate: bool,
    /// Accounts that anybody may send for.
    pub impersonated: HashSet<Address>,
    /// Who mines when.
    pub mining: Mining,
    /// Whether blocks are logged and printed.
    pub logging: bool,
}

/// The chain and what belongs to its next block.
#[derive(Debug)]
pub struct Chain {
    /// Blocks and state.
    pub ledger: Ledger,
    /// Time.
    pub clock: Clock,
    /// Rules.
    pub spec: Arc<Spec>,
    /// Moments to come back to.
    pub snapshots: BTreeMap<u64, Snapshot>,
    /// Number of the next snapshot.
    pub next_snapshot: u64,
}

/// The node.
#[derive(Debug)]
pub struct Node {
    /// What the command line fixed.
    pub config: NodeConfig,
    /// Accounts whose keys it holds.
    pub accounts: RwLock<Accounts>,
    /// Inference.
    pub inference: Inference,
    /// Rung when there may be something to mine.
    pub wake_miner: Notify,
    chain: RwLock<Chain>,
    pool: Mutex<Pool>,
    settings: RwLock<Settings>,
    changing: Mutex<()>,
    /// When the next block of the interval is due.
    due: Mutex<Option<Instant>>,
    heads: broadcast::Sender<Arc<Block>>,
    arrivals: broadcast::Sender<Pooled>,
    /// Identity of this run, for `anvil_metadata`.
    pub instance: B256,
    /// Blobs of mined transactions.
    pub blobs: crate::rpc::Blobs,
    /// Filters that clients poll.
    pub filters: crate::rpc::Filters,
}

/// News kept for slow subscribers.
const NEWS_MAX: usize = 4_096;

impl Node {
    /// A node whose chain this is.
    pub fn new(
        config: NodeConfig,
        settings: Settings,
        accounts: Accounts,
        inference: Inference,
        spec: Spec,
        ledger: Ledger,
    ) -> Arc<Self> {
        let first = ledger.head();
        let clock = Clock::starting_at(first.header.timestamp);
        let instance =
            alloy_primitives::keccak256([first.hash.as_slice(), &crate::chain::wall().to_be_bytes()].concat());
        let chain = Chain { ledger, clock, spec: Arc::new(spec), snapshots: BTreeMap::new(), next_snapshot: 0 };
        let node = Arc::new(Self {
            config,
            accounts: RwLock::new(accounts),
            inference,
            wake_miner: Notify::new(),
            chain: RwLock::new(chain),
            pool: Mutex::default(),
            settings: RwLock::new(settings),
            changing: Mutex::default(),
            due: Mutex::default(),
            heads: broadcast::channel(NEWS_MAX).0,
            arrivals: broadcast::channel(NEWS_MAX).0,
            instance,
            blobs: Default::default(),
            filters: Default::default(),
        });
        node.announce_head(None, None);
        node
    }

    /// The chain now: a copy that does not move on.
    pub fn ledger(&self) -> Ledger {
        self.chain.read().ledger.clone()
    }

    /// The last block.
    pub fn head(&self) -> Arc<Block> {
        self.chain.read().ledger.head().clone()
    }

    /// The current state.
    pub fn view(&self) -> View {
        self.chain.read().ledger.view()
    }

    /// The rules.
    pub fn spec(&self) -> Arc<Spec> {
        self.chain.read().spec.clone()
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain.read().spec.chain_id()
    }

    /// Reads the chain. `read` must not call the node.
    pub fn read<T>(&self, read: impl FnOnce(&Chain) -> T) -> T {
        read(&self.chain.read())
    }

    /// Changes the chain while no block is being built.
    pub fn change<T>(&self, change: impl FnOnce(&mut Chain) -> T) -> T {
        let _alone = self.changing.lock();
        change(&mut self.chain.write())
    }

    /// Held by the miner from planning a block to adding it.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock()
    }

    /// For the miner, which holds [`Self::alone`].
    pub(crate) fn change_alone<T>(&self, _alone: &MutexGuard<'_, ()>, change: impl FnOnce(&mut Chain) -> T) -> T {
        change(&mut self.chain.write())
    }

    /// The settings now.
    pub fn settings(&self) -> Settings {
        self.settings.read().clone()
    }

    /// Whether blocks are logged and printed.
    pub fn logging(&self) -> bool {
        self.settings.read().logging
    }

    /// Changes a setting.
    pub fn set<T>(&self, set: impl FnOnce(&mut Settings) -> T) -> T {
        set(&mut self.settings.write())
    }

    /// Uses the pool. `use_pool` must not call the node.
    pub fn pool<T>(&self, use_pool: impl FnOnce(&mut Pool) -> T) -> T {
        use_pool(&mut self.pool.lock())
    }

    /// Whether anybody may send for `address`.
    pub fn impersonates(&self, address: &Address) -> bool {
        let settings = self.settings.read();
        settings.auto_impersonate || settings.impersonated.contains(address)
    }

    /// New blocks from now on.
    pub fn heads(&self) -> broadcast::Receiver<Arc<Block>> {
        self.heads.subscribe()
    }

    /// New transactions of the pool from now on.
    pub fn arrivals(&self) -> broadcast::Receiver<Pooled> {
        self.arrivals.subscribe()
    }

    pub(crate) fn announce_arrival(&self, pooled: &Pooled) {
        let _ = self.arrivals.send(pooled.clone());
    }

    /// Notes when the next block of the interval is due.
    pub(crate) fn set_due(&self, due: Option<Instant>) {
        *self.due.lock() = due;
    }

    /// Tells everybody that the chain has another head; `block` if it was added just now, with all that it changed where that is
    /// known.
    pub(crate) fn announce_head(&self, block: Option<Arc<Block>>, writes: Option<WriteSet>) {
        if let Some(block) = block {
            let _ = self.heads.send(block);
        }
        let plan = self.plan();
        let view = self.view();
        let seal = Seal { interval: self.settings.read().mining.interval(), due: *self.due.lock() };
        self.inference.new_head(&plan, view, seal, writes);
    }

    /// Goes on from another chain; snapshots of this one are forgotten.
    pub fn restart(&self, ledger: Ledger) {
        self.change(|chain| {
            chain.clock = Clock::starting_at(ledger.head().header.timestamp);
            chain.ledger = ledger;
            chain.snapshots.clear();
        });
        self.announce_head(None, None);
    }

    /// Executes the blocks of a file after the last one, and checks each. The precompile answers nothing there: other
    /// clients wrote the file.
    pub fn import(&self, bytes: &[u8]) -> Result<u64, crate::chain::ImportError> {
        let mut ledger = self.ledger();
        let spec = self.spec();
        let factory = self.inference.factory_of(ledger.head());
        for block in crate::chain::decode_blocks(bytes)? {
            let env = spec.evm_env(block.header.number, block.header.timestamp);
            crate::chain::import(&mut ledger, &spec, &factory, env, block)?;
        }
        let height = ledger.head().header.number;
        self.set(|settings| settings.next_base_fee = None);
        self.restart(ledger);
        Ok(height)
    }

    /// Goes on from a chain that was written by [`crate::chain::dump`].
    pub fn load_state(&self, json: &[u8]) -> Result<(), crate::chain::DumpError> {
        let ledger = crate::chain::load(json, &self.ledger())?;
        self.restart(ledger);
        Ok(())
    }

    /// Nonce of an account in the current state.
    pub fn nonce(&self, address: Address) -> Result<u64, crate::chain::StateError> {
        self.view().nonce(address)
    }

    /// What `pending` transactions a builder would take now, in its order.
    pub fn candidates(&self) -> Vec<crate::chain::Candidate> {
        let base_fee = self.plan().env.block_env.basefee;
        let view = self.view();
        // Who is not known has passed no check, so has nothing that could be taken.
        let nonce = |address| view.nonce(address).unwrap_or(0);
        self.pool.lock().candidates(self.config.order, base_fee, nonce)
    }
}
