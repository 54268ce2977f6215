//! The EVM with the precompile in it, for any alloy-evm client.

use super::{
    precompile::{Notes, install},
    version::{alloy_evm, revm},
};
use crate::{Outcomes, PRECOMPILE_ADDRESS, Request, Used};
use alloy_evm::{
    Database, Evm, EvmEnv, EvmFactory,
    eth::{EthEvm, EthEvmContext, EthEvmFactory},
    precompiles::PrecompilesMap,
};
use alloy_primitives::{Address, Bytes};
use revm::{
    Inspector,
    context::{
        BlockEnv, CfgEnv, DBErrorMarker, TxEnv,
        result::{EVMError, HaltReason, InvalidTransaction, ResultAndState},
    },
    inspector::NoOpInspector,
    precompile::{PrecompileSpecId, Precompiles},
    primitives::hardfork::SpecId,
};
use std::{fmt, sync::Arc};

/// An address that the precompile cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It does not end in `0F`.
    #[error("precompile address {0} does not end in 0F: choose one that does, such as {PRECOMPILE_ADDRESS}")]
    Ending(Address),
    /// The fork has a precompile there.
    #[error("precompile address {0} is a precompile of {1:?} already: choose another, such as {PRECOMPILE_ADDRESS}")]
    Taken(Address, SpecId),
}

/// Whether the inference precompile can stand at `address` under this fork's rules.
pub fn check_address(address: Address, spec: SpecId) -> Result<(), AddressError> {
    if address.last() != Some(&0x0f) {
        return Err(AddressError::Ending(address));
    }
    if Precompiles::new(PrecompileSpecId::from_spec_id(spec)).contains(&address) {
        return Err(AddressError::Taken(address, spec));
    }
    Ok(())
}

/// Wraps any `Evm`: a missing outcome becomes an *invalid transaction*, which stock block executors skip; every other
/// error passes through unchanged.
pub struct ForeblockEvm<E> {
    inner: E,
    address: Address,
    notes: Notes,
}

impl<E: Evm<Precompiles = PrecompilesMap>> ForeblockEvm<E>
where
    E::Error: From<InvalidTransaction>,
{
    /// Puts the precompile at `address` into `inner`.
    pub fn new(mut inner: E, address: Address, outcomes: Arc<dyn Outcomes>) -> Self {
        let notes = Notes::default();
        install(inner.precompiles_mut(), address, outcomes, notes.clone());
        Self { inner, address, notes }
    }

    /// Answers from these outcomes from now on. A node makes the EVM before it knows what for; a block that is verified has its list
    /// as the only source.
    pub fn set_outcomes(&mut self, outcomes: Arc<dyn Outcomes>) {
        install(self.inner.precompiles_mut(), self.address, outcomes, self.notes.clone());
    }

    /// The outcomes that the last transaction used, in the order of its calls, repetitions included.
    pub fn take_used(&self) -> Vec<Used> {
        self.notes.take_used()
    }

    /// The request that aborted the last transaction, if that is why it was invalid.
    pub fn take_missing(&self) -> Option<Request> {
        self.notes.take_missing()
    }

    fn execute<T>(&mut self, run: impl FnOnce(&mut E) -> Result<T, E::Error>) -> Result<T, E::Error> {
        self.notes.clear();
        let result = run(&mut self.inner);
        match (result, self.notes.missing()) {
            (Err(_), Some(request)) => Err(not_ready(&request).into()),
            (result, _) => result,
        }
    }
}

/// Worded so that clients that look for "not valid yet" (Anvil) keep the transaction in their pool.
fn not_ready(request: &Request) -> InvalidTransaction {
    let text = format!("transaction not valid yet: request {} of model {} has no outcome", request.id, request.model);
    InvalidTransaction::Str(text.into())
}

impl<E> fmt::Debug for ForeblockEvm<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeblockEvm").field("notes", &self.notes).finish_non_exhaustive()
    }
}

impl<E: Evm<Precompiles = PrecompilesMap>> Evm for ForeblockEvm<E>
where
    E::Error: From<InvalidTransaction>,
{
    type DB = E::DB;
    type Tx = E::Tx;
    type Error = E::Error;
    type HaltReason = E::HaltReason;
    type Spec = E::Spec;
    type BlockEnv = E::BlockEnv;
    type Precompiles = E::Precompiles;
    type Inspector = E::Inspector;

    fn block(&self) -> &Self::BlockEnv {
        self.inner.block()
    }

    fn cfg_env(&self) -> &CfgEnv<Self::Spec> {
        self.inner.cfg_env()
    }

    fn chain_id(&self) -> u64 {
        self.inner.chain_id()
    }

    fn transact_raw(&mut self, tx: Self::Tx) -> Result<ResultAndState<Self::HaltReason>, Self::Error> {
        self.execute(|evm| evm.transact_raw(tx))
    }

    fn transact_system_call(
        &mut self,
        caller: Address,
        contract: Address,
        data: Bytes,
    ) -> Result<ResultAndState<Self::HaltReason>, Self::Error> {
        self.execute(|evm| evm.transact_system_call(caller, contract, data))
    }

    fn finish(self) -> (Self::DB, EvmEnv<Self::Spec, Self::BlockEnv>) {
        self.inner.finish()
    }

    fn set_inspector_enabled(&mut self, enabled: bool) {
        self.inner.set_inspector_enabled(enabled);
    }

    fn components(&self) -> (&Self::DB, &Self::Inspector, &Self::Precompiles) {
        self.inner.components()
    }

    fn components_mut(&mut self) -> (&mut Self::DB, &mut Self::Inspector, &mut Self::Precompiles) {
        self.inner.components_mut()
    }
}

/// Drop-in for `EthEvmFactory`, in `EthBlockExecutorFactory::new(..)` or a client's EVM configuration. Cheap to clone;
/// one factory for each outcome source.
#[derive(Clone)]
pub struct ForeblockEvmFactory {
    address: Address,
    outcomes: Arc<dyn Outcomes>,
    more: Option<PutPrecompiles>,
}

/// Puts a client's own precompiles into an EVM's.
type PutPrecompiles = Arc<dyn Fn(&mut PrecompilesMap) + Send + Sync>;

impl ForeblockEvmFactory {
    /// The precompile at its default address, answering from `outcomes`.
    pub fn new(outcomes: Arc<dyn Outcomes>) -> Self {
        Self { address: PRECOMPILE_ADDRESS, outcomes, more: None }
    }

    /// The same with the precompile at another address; see [`check_address`].
    pub fn with_address(self, address: Address) -> Self {
        Self { address, ..self }
    }

    /// The same with another outcome source.
    pub fn with_outcomes(&self, outcomes: Arc<dyn Outcomes>) -> Self {
        Self { outcomes, ..self.clone() }
    }

    /// The same with precompiles that a client has beside those of the fork and this one.
    pub fn with_precompiles(self, put: impl Fn(&mut PrecompilesMap) + Send + Sync + 'static) -> Self {
        Self { more: Some(Arc::new(put)), ..self }
    }

    /// Where the precompile stands.
    pub fn address(&self) -> Address {
        self.address
    }

    fn around<E: Evm<Precompiles = PrecompilesMap>>(&self, mut inner: E) -> ForeblockEvm<E>
    where
        E::Error: From<InvalidTransaction>,
    {
        if let Some(put) = &self.more {
            put(inner.precompiles_mut());
        }
        ForeblockEvm::new(inner, self.address, self.outcomes.clone())
    }
}

impl fmt::Debug for ForeblockEvmFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeblockEvmFactory").field("address", &self.address).finish_non_exhaustive()
    }
}

impl EvmFactory for ForeblockEvmFactory {
    type Evm<DB: Database, I: Inspector<EthEvmContext<DB>>> = ForeblockEvm<EthEvm<DB, I, PrecompilesMap>>;
    type Context<DB: Database> = EthEvmContext<DB>;
    type Tx = TxEnv;
    type Error<DBError: DBErrorMarker> = EVMError<DBError>;
    type HaltReason = HaltReason;
    type Spec = SpecId;
    type BlockEnv = BlockEnv;
    type Precompiles = PrecompilesMap;

    fn create_evm<DB: Database>(&self, db: DB, env: EvmEnv) -> Self::Evm<DB, NoOpInspector> {
        self.around(EthEvmFactory::default().create_evm(db, env))
    }

    fn create_evm_with_inspector<DB: Database, I: Inspector<EthEvmContext<DB>>>(
        &self,
        db: DB,
        env: EvmEnv,
        inspector: I,
    ) -> Self::Evm<DB, I> {
        self.around(EthEvmFactory::default().create_evm_with_inspector(db, env, inspector))
    }
}
