//! A client's block executor with inference lists: what a built block commits to, and what a verified block may use. It stands between the
//! client and its own executor, so that the header's requests hash comes out right in both directions.

use crate::ledger::{Certify, Lists, Noted};
use alloy_primitives::{B256, Bytes};
use foreblock_precompile::{InferenceList, MODEL_REGISTRY_ADDRESS, REQUEST_TYPE, Used, price};
use std::sync::Arc;
use version::{
    adapter::{ForeblockEvm, ForeblockEvmFactory},
    alloy_evm::{
        Evm, EvmFactory, FromRecoveredTx, FromTxWithEncoded,
        block::{
            BlockExecutionError, BlockExecutionResult, BlockExecutor, BlockExecutorFactory, ExecutableTx, GasOutput,
            StateDB,
        },
        precompiles::PrecompilesMap,
        revm::{
            DatabaseCommit, Inspector,
            context::{TxEnv, result::InvalidTransaction},
        },
    },
};

#[cfg(not(feature = "evm-038"))]
mod version {
    pub(super) use ::alloy_evm;
    pub(super) use foreblock_precompile as adapter;
}

#[cfg(feature = "evm-038")]
mod version {
    pub(super) use alloy_evm_038 as alloy_evm;
    pub(super) use foreblock_precompile::alloy_evm_038 as adapter;
}

/// Which outcomes a block is executed with.
#[derive(Clone, Debug)]
pub enum Source {
    /// Those that are there: it is being built, and its list will say which it used.
    There,
    /// Those of its list, and all of them.
    List(Arc<InferenceList>),
}

/// What a block is executed with, beside what Ethereum's rules need.
#[derive(Clone, Debug)]
pub struct BlockContext<C> {
    /// The client's own context.
    pub inner: C,
    /// Which outcomes.
    pub source: Source,
    /// What the parent's list ran: it moves the price.
    pub parent_gas: u64,
}

/// Wraps a client's factory of block executors, whose EVM is Foreblock's.
#[derive(Clone, Debug)]
pub struct InferenceExecutorFactory<F> {
    inner: F,
    certify: Certify,
    lists: Arc<Lists>,
}

impl<F> InferenceExecutorFactory<F> {
    /// Blocks are executed by `inner`. The lists of built blocks are made of what `certify` knows, and kept in `lists`.
    pub fn new(inner: F, certify: Certify, lists: Arc<Lists>) -> Self {
        Self { inner, certify, lists }
    }

    /// What a block is built with.
    pub fn building<C>(&self, inner: C, parent: B256) -> BlockContext<C> {
        BlockContext { inner, source: Source::There, parent_gas: self.lists.gas(parent) }
    }

    /// What a block is verified with. One whose list never came is executed with an empty one: it is valid if it asked nothing.
    pub fn verifying<C>(&self, inner: C, parent: B256, block: B256) -> BlockContext<C> {
        BlockContext { inner, source: Source::List(self.lists.list(block)), parent_gas: self.lists.gas(parent) }
    }
}

impl<F> BlockExecutorFactory for InferenceExecutorFactory<F>
where
    F: BlockExecutorFactory<EvmFactory = ForeblockEvmFactory>,
    TxEnv: FromRecoveredTx<F::Transaction> + FromTxWithEncoded<F::Transaction>,
{
    type EvmFactory = ForeblockEvmFactory;
    type TxExecutionResult = F::TxExecutionResult;
    type ExecutionCtx<'a> = BlockContext<F::ExecutionCtx<'a>>;
    type Transaction = F::Transaction;
    type Receipt = F::Receipt;
    type Executor<'a, DB: StateDB, I: Inspector<<ForeblockEvmFactory as EvmFactory>::Context<DB>>> =
        InferenceExecutor<F::Executor<'a, DB, I>>;

    fn evm_factory(&self) -> &ForeblockEvmFactory {
        self.inner.evm_factory()
    }

    fn create_executor<'a, DB, I>(
        &'a self,
        mut evm: <ForeblockEvmFactory as EvmFactory>::Evm<DB, I>,
        context: Self::ExecutionCtx<'a>,
    ) -> Self::Executor<'a, DB, I>
    where
        DB: StateDB,
        I: Inspector<<ForeblockEvmFactory as EvmFactory>::Context<DB>>,
    {
        if let Source::List(list) = &context.source {
            evm.set_outcomes(Arc::new(list.outcomes()));
        }
        InferenceExecutor {
            inner: self.inner.create_executor(evm, context.inner),
            source: context.source,
            start: price::start_block_call(context.parent_gas),
            used: Vec::new(),
            certify: self.certify.clone(),
            lists: self.lists.clone(),
        }
    }
}

/// Executes one block.
#[derive(Debug)]
pub struct InferenceExecutor<E> {
    inner: E,
    source: Source,
    start: Bytes,
    used: Vec<Used>,
    certify: Certify,
    lists: Arc<Lists>,
}

impl<E> InferenceExecutor<E> {
    /// The block's list: its own, which holds what was used and nothing else, or one of what it used.
    fn list(&self) -> Result<Arc<InferenceList>, BlockExecutionError> {
        match &self.source {
            Source::List(list) => {
                list.verify_used(self.used.iter().map(|used| used.id)).map_err(BlockExecutionError::other)?;
                Ok(list.clone())
            }
            Source::There => self.certify.list(&self.used).map(Arc::new).map_err(BlockExecutionError::other),
        }
    }
}

impl<E, V> BlockExecutor for InferenceExecutor<E>
where
    E: BlockExecutor<Evm = ForeblockEvm<V>>,
    V: Evm<DB: StateDB, Precompiles = PrecompilesMap>,
    V::Tx: FromRecoveredTx<E::Transaction> + FromTxWithEncoded<E::Transaction>,
    V::Error: From<InvalidTransaction>,
{
    type Transaction = E::Transaction;
    type Receipt = E::Receipt;
    type Evm = E::Evm;
    type Result = E::Result;

    fn apply_pre_execution_changes(&mut self) -> Result<(), BlockExecutionError> {
        self.inner.apply_pre_execution_changes()?;
        let evm = self.inner.evm_mut();
        let done = evm
            .transact_system_call(price::SYSTEM_ADDRESS, MODEL_REGISTRY_ADDRESS, self.start.clone())
            .map_err(|error| BlockExecutionError::msg(format!("system call to ModelRegistry: {error}")))?;
        evm.db_mut().commit(done.state);
        Ok(())
    }

    fn execute_transaction_without_commit(
        &mut self,
        tx: impl ExecutableTx<Self>,
    ) -> Result<Self::Result, BlockExecutionError> {
        let (env, tx) = tx.into_parts();
        self.inner.execute_transaction_without_commit((env, tx))
    }

    fn commit_transaction(&mut self, output: Self::Result) -> GasOutput {
        self.used.extend(self.inner.evm().take_used());
        self.inner.commit_transaction(output)
    }

    fn finish(self) -> Result<(Self::Evm, BlockExecutionResult<Self::Receipt>), BlockExecutionError> {
        let list = self.list()?;
        let (evm, mut result) = self.inner.finish()?;
        if let Some(commitment) = list.commitment() {
            result.requests.push_request_with_type(REQUEST_TYPE, commitment);
            self.lists.note(commitment, Noted::of(list, &self.used));
        }
        Ok((evm, result))
    }

    fn evm_mut(&mut self) -> &mut Self::Evm {
        self.inner.evm_mut()
    }

    fn evm(&self) -> &Self::Evm {
        self.inner.evm()
    }

    fn receipts(&self) -> &[Self::Receipt] {
        self.inner.receipts()
    }
}
