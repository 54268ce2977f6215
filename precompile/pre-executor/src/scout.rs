//! Speculative execution: which request does a pending transaction make, on this state?
//!
//! A simulation stops at the first outcome that is missing. With that outcome it is run again and comes further, so a call
//! whose input is another call's output is found as well.

use crate::reads::{READS_MAX, ReadSet, Recording, Seen, StateKey};
use alloy_evm::{Evm, EvmEnv, EvmFactory};
use alloy_primitives::{Address, U256};
use foreblock_precompile::{ForeblockEvmFactory, Request, Used};
use revm::{
    Database, Inspector,
    bytecode::opcode,
    context::TxEnv,
    database_interface::{DatabaseRef, ErasedError},
    interpreter::{
        Interpreter, InterpreterTypes,
        interpreter_types::{InputsTr, Jumps, StackTr},
    },
    state::EvmState,
};
use std::{collections::HashSet, sync::Arc};

/// A snapshot of a head's state, cheap to clone. Anything that reads a state will do.
pub trait StateView: DatabaseRef<Error = ErasedError> + std::fmt::Debug + Send + Sync {}

impl<T: DatabaseRef<Error = ErasedError> + std::fmt::Debug + Send + Sync> StateView for T {}

/// The state of a head.
pub type HeadState = Arc<dyn StateView>;

/// How a simulation ended.
#[derive(Clone, Debug)]
pub enum Found {
    /// It ran to its end with all outcomes there, successfully or reverted: it can be included.
    Complete {
        /// What it changes.
        changes: EvmState,
        /// Gas used.
        gas_used: u64,
        /// Whether it succeeded.
        success: bool,
    },
    /// It stopped at an outcome that is not there.
    Missing(Request),
    /// It cannot be executed on this state at all.
    Invalid(String),
}

/// What a simulation found.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// How it ended.
    pub found: Found,
    /// Outcomes it used until then, in the order of the calls.
    pub used: Vec<Used>,
    /// What it read.
    pub reads: ReadSet,
    /// It read something that differs in every block: number, timestamp, prevrandao, base fee and the like.
    pub volatile: bool,
}

/// Runs transactions speculatively. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scout {
    factory: ForeblockEvmFactory,
}

impl Scout {
    /// A scout that sees the outcomes of `factory`.
    pub fn new(factory: ForeblockEvmFactory) -> Self {
        Self { factory }
    }

    /// Runs `tx` as part of the block that `env` describes. The sender's nonce and funds count as sufficient.
    pub fn simulate<DB: Database + std::fmt::Debug>(&self, db: DB, env: EvmEnv, tx: TxEnv) -> Simulation {
        let mut seen = Seen::default();
        let mut watch = Watch::default();
        let gas_price_wei = U256::from(tx.gas_price).saturating_add(U256::from(tx.max_fee_per_blob_gas));
        let needs_wei = gas_price_wei.saturating_mul(U256::from(tx.gas_limit)).saturating_add(tx.value);
        let sender = tx.caller;
        let recording = Recording { inner: db, seen: &mut seen, sender, nonce: tx.nonce, needs_wei };
        let mut evm = self.factory.create_evm_with_inspector(recording, env, &mut watch);
        let result = evm.transact_raw(tx);
        let (used, missing) = (evm.take_used(), evm.take_missing());
        drop(evm);
        let found = match (result, missing) {
            (_, Some(request)) => Found::Missing(request),
            (Ok(done), None) => Found::Complete {
                gas_used: done.result.tx_gas_used(),
                success: done.result.is_success(),
                changes: done.state,
            },
            (Err(error), None) => Found::Invalid(error.to_string()),
        };
        Simulation { found, used, reads: seen.with(watch.keys, watch.too_many), volatile: watch.volatile }
    }
}

/// Sees what instructions read.
#[derive(Debug, Default)]
struct Watch {
    volatile: bool,
    keys: HashSet<StateKey>,
    too_many: bool,
}

impl Watch {
    fn read(&mut self, key: StateKey) {
        self.too_many |= self.keys.len() >= READS_MAX;
        if self.too_many {
            self.keys.clear();
        } else {
            self.keys.insert(key);
        }
    }
}

impl<CTX, INTR: InterpreterTypes<Stack: StackTr, Input: InputsTr, Bytecode: Jumps>> Inspector<CTX, INTR> for Watch {
    fn step(&mut self, interpreter: &mut Interpreter<INTR>, _: &mut CTX) {
        let top = || interpreter.stack.data().last().copied();
        match interpreter.bytecode.opcode() {
            opcode::SLOAD => {
                if let Some(slot) = top() {
                    self.read(StateKey::Slot(interpreter.input.target_address(), slot));
                }
            }
            opcode::SELFBALANCE => self.read(StateKey::Balance(interpreter.input.target_address())),
            opcode::BALANCE | opcode::EXTCODEHASH => {
                if let Some(word) = top() {
                    self.read(StateKey::Balance(Address::from_word(word.into())));
                }
            }
            opcode::NUMBER
            | opcode::TIMESTAMP
            | opcode::DIFFICULTY
            | opcode::BASEFEE
            | opcode::BLOBBASEFEE
            | opcode::BLOCKHASH
            | opcode::COINBASE
            | opcode::GASLIMIT => self.volatile = true,
            _ => {}
        }
    }
}
