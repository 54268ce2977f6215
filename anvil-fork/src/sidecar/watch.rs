//! The one thread that follows the node: new blocks, reorganisations, and what comes into its pool.
//!
//! Whatever the node does (it is down, slow, started anew, of another chain), this thread tries again; until the node is well, lookups find
//! what was computed before, or nothing.

use super::{
    announced::Announced,
    answers::{Health, Seen, Sidecar},
    head::{NodeState, next_env},
    node::{self, Header},
    pool::Pool,
};
use crate::{
    chain::{Spec, Transaction, wall},
    fork::{Heads, Upstream, UpstreamError},
};
use alloy_consensus::Transaction as _;
use alloy_evm::FromRecoveredTx;
use alloy_primitives::{Address, B256, U256};
use foreblock_pre_executor::{Head, PendingTransaction, PreExecutor};
use foreblock_precompile::{Committee, OPERATOR_REGISTRY_ADDRESS};
use revm::context::TxEnv;
use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

/// What is decided once.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// Time between two looks, where the node does not say by itself what is new.
    pub poll: Duration,
    /// Time between two blocks, if it is known.
    pub block_time: Option<Duration>,
    /// Most transactions watched.
    pub pending_max: usize,
    /// The chain's rules.
    pub spec: Spec,
}

/// Time between two looks at the whole pool: what was not announced, and what left without being mined.
const WHOLE_POOL: Duration = Duration::from_secs(10);
/// Blocks looked at one by one after a pause; beyond, the whole pool says what is left.
const BLOCKS_MAX: u64 = 64;
/// What was read at the last block and is read in advance at the next.
const PREFETCH_ACCOUNTS: usize = 256;
const PREFETCH_SLOTS: usize = 1_024;
/// Transactions of one look that the node is asked for access lists of.
const HINTS_MAX: usize = 64;
/// Longest time between blocks that is believed where none is given.
const SLOT_MAX: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(10);

/// Follows the node until nobody holds the sidecar any more.
pub fn watch(heads: Heads, config: WatchConfig, sidecar: &Arc<Sidecar>) {
    let (poll, weak) = (config.poll, Arc::downgrade(sidecar));
    let mut watch = Watch {
        pool: Pool::new(config.pending_max),
        heads,
        config,
        head: None,
        state: None,
        announced: Announced::new(),
        hints: true,
        whole: None,
        swept: Instant::now(),
    };
    loop {
        let Some(sidecar) = Weak::upgrade(&weak) else { return };
        let health = watch.look(&sidecar).unwrap_or_else(|error| Health::Silent(error.to_string()));
        if health != Health::Well {
            // What it said before may not be so when it is back.
            watch.announced.forget();
            watch.whole = None;
        }
        let (head, pending) = (watch.head.map(|(number, _)| number), watch.pool.len());
        sidecar.set_seen(Seen { health, head, pending, news: watch.announced.way() });
        drop(sidecar);
        watch.announced.wait(poll);
    }
}

struct Watch {
    heads: Heads,
    config: WatchConfig,
    pool: Pool,
    head: Option<(u64, B256)>,
    state: Option<Arc<Upstream>>,
    announced: Announced,
    /// Whether the node makes access lists.
    hints: bool,
    whole: Option<Instant>,
    swept: Instant,
}

impl Watch {
    fn look(&mut self, sidecar: &Sidecar) -> Result<Health, UpstreamError> {
        let told = self.heads.told_chain_id()?;
        if told != self.heads.chain_id() {
            self.forget_all(sidecar.pre_executor());
            return Ok(Health::OtherChain(told));
        }
        let latest = node::latest(&self.heads)?;
        if self.head != Some((latest.header.number, latest.header.hash)) {
            self.new_head(sidecar, &latest)?;
        }
        self.new_transactions(sidecar.pre_executor())?;
        if self.swept.elapsed() > SWEEP {
            self.swept = Instant::now();
            sidecar.pre_executor().sweep();
        }
        Ok(Health::Well)
    }

    fn forget_all(&mut self, pre_executor: &PreExecutor) {
        self.pool.keep(&HashSet::new()).into_iter().for_each(|hash| pre_executor.drop_transaction(hash));
        (self.head, self.state) = (None, None);
    }

    fn new_head(&mut self, sidecar: &Sidecar, latest: &Header) -> Result<(), UpstreamError> {
        let (number, hash) = (latest.header.number, latest.header.hash);
        if !self.take_blocks(sidecar.pre_executor(), latest)? {
            // Transactions of blocks that are none any more are back in the pool, and others may have left it.
            if self.head.is_some() {
                tracing::info!(number, %hash, "the node reorganised, or was away");
            }
            self.whole = None;
        }
        let state = Arc::new(self.heads.state(number, hash));
        if let Some(before) = self.state.replace(state.clone()) {
            state.prefetch(&before.known_accounts(PREFETCH_ACCOUNTS)).map_err(unshared)?;
            state.prefetch_slots(&before.known_slots(PREFETCH_SLOTS)).map_err(unshared)?;
        }
        let storage = |key: U256| state.slot(OPERATOR_REGISTRY_ADDRESS, key);
        sidecar.set_committee(Committee::read(storage).map_err(unshared)?);
        let slot = self.slot(latest)?;
        let age = Duration::from_secs(wall().saturating_sub(latest.header.timestamp));
        sidecar.pre_executor().new_head(Head {
            block: number + 1,
            env: next_env(&self.config.spec, &latest.header),
            state: Arc::new(NodeState(state)),
            seal_in: slot.saturating_sub(age).max(self.config.poll),
            slot,
            writes: None,
        });
        self.head = Some((number, hash));
        Ok(())
    }

    /// Tells of what was included since the last look; false where the chain does not simply go on.
    fn take_blocks(&mut self, pre_executor: &PreExecutor, latest: &Header) -> Result<bool, UpstreamError> {
        let Some((number, hash)) = self.head else { return Ok(false) };
        if latest.header.number <= number || latest.header.number - number > BLOCKS_MAX {
            return Ok(false);
        }
        let mut parent = hash;
        for number in number + 1..=latest.header.number {
            let asked;
            let block = if number == latest.header.number {
                latest
            } else {
                asked = node::block(&self.heads, number)?;
                let Some(block) = &asked else { return Ok(false) };
                block
            };
            if block.header.parent_hash != parent {
                return Ok(false);
            }
            parent = block.header.hash;
            let ours: Vec<B256> = block.transactions.iter().filter(|hash| self.pool.remove(hash)).copied().collect();
            if !ours.is_empty() {
                let gas = node::gas_used(&self.heads, number);
                ours.iter().for_each(|hash| pre_executor.included(*hash, gas.get(hash).copied().unwrap_or(0)));
            }
        }
        Ok(true)
    }

    fn slot(&self, latest: &Header) -> Result<Duration, UpstreamError> {
        if let Some(time) = self.config.block_time {
            return Ok(time);
        }
        let Some(number) = latest.header.number.checked_sub(1) else { return Ok(SLOT_MAX) };
        let before = node::block(&self.heads, number)?.map_or(0, |block| block.header.timestamp);
        let seconds = latest.header.timestamp.saturating_sub(before).max(1);
        Ok(Duration::from_secs(seconds).min(SLOT_MAX))
    }

    fn new_transactions(&mut self, pre_executor: &PreExecutor) -> Result<(), UpstreamError> {
        let said = self.announced.new_hashes(&self.heads)?;
        let due = said.is_none() || self.whole.is_none_or(|at| at.elapsed() >= WHOLE_POOL);
        let unknown: Vec<B256> = said.into_iter().flatten().filter(|hash| !self.pool.contains(hash)).collect();
        let mut new = node::transactions(&self.heads, &unknown)?;
        if due {
            new.extend(self.whole_pool(pre_executor)?);
            self.whole = Some(Instant::now());
        }
        self.submit(pre_executor, new);
        Ok(())
    }

    /// Drops what left the pool; what is in it and not known.
    fn whole_pool(&mut self, pre_executor: &PreExecutor) -> Result<Vec<Transaction>, UpstreamError> {
        let mut all = match node::pending(&self.heads) {
            Ok(all) => all,
            // What it announces alone must do.
            Err(UpstreamError::Refused { .. }) if self.announced.any() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let there: HashSet<B256> = all.iter().map(|tx| *tx.tx_hash()).collect();
        self.pool.keep(&there).into_iter().for_each(|hash| pre_executor.drop_transaction(hash));
        all.retain(|tx| !self.pool.contains(tx.tx_hash()));
        // The pre-executor ranks by tip; of one sender it wants them in their order.
        all.sort_by_key(|tx| tx.nonce());
        Ok(all)
    }

    fn submit(&mut self, pre_executor: &PreExecutor, transactions: Vec<Transaction>) {
        self.read_ahead(&transactions);
        for tx in transactions {
            let (hash, sender) = (*tx.tx_hash(), tx.signer());
            let Ok(replaces) = self.pool.add(hash, sender, tx.nonce()) else { continue };
            let env = TxEnv::from_recovered_tx(tx.inner(), sender);
            pre_executor.submit(PendingTransaction { hash, env, replaces });
        }
    }

    /// Reads what transactions will read, by the access lists that they carry and by those that the node makes. What fails is read
    /// when it is needed.
    fn read_ahead(&mut self, transactions: &[Transaction]) {
        let Some(state) = &self.state else { return };
        let (mut accounts, mut slots) = (Vec::<Address>::new(), Vec::new());
        for tx in transactions.iter().take(PREFETCH_SLOTS) {
            accounts.push(tx.signer());
            accounts.extend(tx.to());
            for item in tx.access_list().into_iter().flat_map(|list| list.iter()) {
                accounts.push(item.address);
                slots.extend(item.storage_keys.iter().map(|key| (item.address, (*key).into())));
            }
        }
        let asking = transactions.iter().filter(|tx| !tx.input().is_empty() && tx.to().is_some());
        let asking = asking.filter(|tx| tx.access_list().is_none_or(|list| list.is_empty())).take(HINTS_MAX);
        if self.hints {
            match node::access_lists(&self.heads, asking) {
                Ok(hints) => {
                    accounts.extend(hints.accounts);
                    slots.extend(hints.slots);
                }
                Err(UpstreamError::Refused { code: -32_601, .. }) => self.hints = false,
                Err(error) => tracing::debug!(%error, "no access lists"),
            }
        }
        accounts.sort_unstable();
        accounts.dedup();
        slots.sort_unstable();
        slots.dedup();
        slots.truncate(PREFETCH_SLOTS);
        if let Err(error) = state.prefetch(&accounts).and_then(|()| state.prefetch_slots(&slots)) {
            tracing::debug!(%error, "nothing read ahead");
        }
    }
}

fn unshared(error: Arc<UpstreamError>) -> UpstreamError {
    (*error).clone()
}
