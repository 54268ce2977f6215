//! A state with an environment, on which transactions are run under an inspector.

use crate::{
    chain::{Account, Block, Ledger, StateError, View},
    node::Node,
    rpc::RpcError,
};
use alloy_evm::{Evm, EvmEnv, EvmFactory, FromRecoveredTx};
use alloy_primitives::Address;
use foreblock_precompile::{ForeblockEvmFactory, MODEL_REGISTRY_ADDRESS, Used, price};
use revm::{
    DatabaseCommit, Inspector,
    context::{TxEnv, result::ResultAndState},
    database::{AccountState, CacheDB},
};

type Context<'db> = <ForeblockEvmFactory as EvmFactory>::Context<&'db mut CacheDB<View>>;

/// Where the next transaction runs.
#[derive(Debug)]
pub struct Stage {
    factory: ForeblockEvmFactory,
    /// The state so far.
    pub db: CacheDB<View>,
    /// Rules and block fields.
    pub env: EvmEnv,
}

fn failed(error: impl std::fmt::Display) -> RpcError {
    RpcError::Internal(format!("trace failed: {error}"))
}

impl Stage {
    /// The state that a mined block's first transaction saw.
    pub fn of_block(node: &Node, ledger: &Ledger, block: &Block) -> Result<Self, RpcError> {
        let env = node.env_of(block);
        let factory = node.inference.factory_of(block);
        let mut db = CacheDB::new(ledger.view_before(block)?);
        let mut system = alloy_evm::block::SystemCaller::new(node.spec());
        let mut evm = factory.create_evm(&mut db, env.clone());
        system
            .apply_blockhashes_contract_call(block.header.parent_hash, &mut evm)
            .and_then(|()| system.apply_beacon_root_contract_call(block.header.parent_beacon_block_root, &mut evm))
            .map_err(failed)?;
        let calldata = crate::inference::Inference::start_block_call(parent_of(ledger, block)?);
        let done = evm.transact_system_call(price::SYSTEM_ADDRESS, MODEL_REGISTRY_ADDRESS, calldata);
        evm.db_mut().commit(done.map_err(failed)?.state);
        drop(evm);
        Ok(Self { factory, db, env })
    }

    /// The state that a mined transaction saw.
    pub fn of_transaction(node: &Node, ledger: &Ledger, block: &Block, index: usize) -> Result<Self, RpcError> {
        let mut stage = Self::of_block(node, ledger, block)?;
        for at in 0..index {
            stage.skip(block, at)?;
        }
        Ok(stage)
    }

    /// A state for calls, whose outcomes are there already.
    pub fn of_call(node: &Node, db: CacheDB<View>, env: EvmEnv) -> Self {
        Self { factory: node.inference.factory_of_calls(), db, env }
    }

    /// Where the precompile stands.
    pub fn precompile(&self) -> Address {
        self.factory.address()
    }

    /// Runs a mined transaction without looking.
    pub fn skip(&mut self, block: &Block, index: usize) -> Result<(), RpcError> {
        let mut evm = self.factory.create_evm(&mut self.db, self.env.clone());
        evm.transact_commit(transaction(block, index)).map(|_| ()).map_err(failed)
    }

    /// Runs a transaction; the state stays as it is until [`Self::commit`]. Also the outcomes that it used.
    pub fn run<'db, I: Inspector<Context<'db>>>(
        &'db mut self,
        tx: TxEnv,
        inspector: I,
    ) -> Result<(ResultAndState, Vec<Used>), RpcError> {
        let mut evm = self.factory.create_evm_with_inspector(&mut self.db, self.env.clone(), inspector);
        let done = evm.transact_raw(tx).map_err(crate::rpc::refused)?;
        Ok((done, evm.take_used()))
    }

    /// The account that the next transaction would find, with all of its storage; `None` where only the forked chain knows all
    /// of it.
    pub fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let mut account = self.db.db.account_or_empty(address)?;
        if let Some(now) = self.db.cache.accounts.get(&address) {
            if matches!(now.account_state, AccountState::StorageCleared | AccountState::NotExisting) {
                account = Account::new(address);
            }
            now.storage.iter().for_each(|(key, value)| account.set_slot(*key, *value));
        }
        Ok(account.storage_known.then_some(account))
    }

    /// Makes a run's changes part of the state.
    pub fn commit(&mut self, done: ResultAndState) {
        self.db.commit(done.state);
    }
}

/// A mined transaction as the EVM takes it.
pub(crate) fn transaction(block: &Block, index: usize) -> TxEnv {
    let tx = &block.transactions[index];
    TxEnv::from_recovered_tx(tx.inner(), tx.signer())
}

fn parent_of<'a>(ledger: &'a Ledger, block: &Block) -> Result<&'a Block, RpcError> {
    let parent = block.header.number.checked_sub(1).and_then(|number| ledger.block(number));
    parent.map(AsRef::as_ref).ok_or_else(|| RpcError::NotFound("the block's parent is not kept".to_owned()))
}
