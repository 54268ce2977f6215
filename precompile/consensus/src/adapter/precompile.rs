//! The precompile: gas, length, meaning, answer, output, in this order.

use super::version::{alloy_evm, revm};
use crate::{
    Failure, MODEL_REGISTRY_ADDRESS, ModelId, ModelSlot, Outcome, Outcomes, Request, Used,
    abi::IInference::{self, IInferenceCalls},
    check_input, gas, model_storage_key, price,
};
use alloy_evm::precompiles::{DynPrecompile, PrecompileInput, PrecompilesMap};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, SolError, SolInterface, SolValue};
use revm::precompile::{PrecompileError, PrecompileHalt, PrecompileId, PrecompileOutput, PrecompileResult};
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard},
};

/// Side channel from the precompile to the EVM that holds it: what the transaction used, and the request that aborted
/// it. `PrecompilesMap` flattens a fatal error to a string, so the request travels here.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<NotesInner>>);

#[derive(Debug, Default)]
struct NotesInner {
    used: Vec<Used>,
    missing: Option<Request>,
    /// Storage key of the model asked last: its keccak256 is a tenth of a call with a 1 KiB input.
    key: Option<(ModelId, U256)>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, NotesInner> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Forgets the transaction before.
    pub fn clear(&self) {
        let mut notes = self.lock();
        notes.used.clear();
        notes.missing = None;
    }

    /// What the transaction has used so far, in the order of its calls, repetitions included.
    pub fn take_used(&self) -> Vec<Used> {
        std::mem::take(&mut self.lock().used)
    }

    /// The request that aborted the transaction.
    pub fn take_missing(&self) -> Option<Request> {
        self.lock().missing.take()
    }

    fn storage_key(&self, model: ModelId) -> U256 {
        let mut notes = self.lock();
        match notes.key {
            Some((last, key)) if last == model => key,
            _ => notes.key.insert((model, model_storage_key(model).into())).1,
        }
    }

    pub(super) fn missing(&self) -> Option<Request> {
        self.lock().missing.clone()
    }
}

/// Puts the precompile into a client's own map, at `address`. Whoever executes must read [`Notes::take_missing`] when a
/// transaction ends in an error, and treat it as one that is not valid yet; [`ForeblockEvm`](super::ForeblockEvm) does both.
pub fn install(precompiles: &mut PrecompilesMap, address: Address, outcomes: Arc<dyn Outcomes>, notes: Notes) {
    // Extending, unlike a lookup, makes the address warm (EIP-2929: precompiles are warm).
    let id = PrecompileId::custom("foreblock inference");
    let precompile =
        DynPrecompile::new_stateful(id, move |input| Call { input, outcomes: &*outcomes, notes: &notes }.answer());
    precompiles.extend_precompiles([(address, precompile)]);
}

/// How a call ends, named by who must react.
enum End {
    /// The caller gets data.
    Return(Vec<u8>),
    /// The caller can catch a typed error.
    Revert(Vec<u8>),
    /// The caller's gas is gone.
    OutOfGas,
    /// The node aborts the transaction.
    Fatal(Cow<'static, str>),
}

/// What clients that do not read [`Notes`] show.
const MISSING: &str = "an inference outcome is not there yet";
/// What a call to a text model gets whose first tensor is something else.
const NOT_A_TEXT_REQUEST: &str = "a text model takes its parameters, Int of shape [7], as the first tensor";

/// Gas of one call against its limit.
struct Meter {
    used: u64,
    limit: u64,
}

impl Meter {
    fn charge(&mut self, gas: u64) -> Result<(), End> {
        self.used = self.used.saturating_add(gas);
        if self.used > self.limit { Err(End::OutOfGas) } else { Ok(()) }
    }

    /// Gives back what was charged in advance and not used.
    fn refund(&mut self, gas: u64) {
        self.used -= gas;
    }
}

struct Call<'a> {
    input: PrecompileInput<'a>,
    outcomes: &'a dyn Outcomes,
    notes: &'a Notes,
}

impl Call<'_> {
    fn answer(mut self) -> PrecompileResult {
        let reservoir = self.input.reservoir;
        let mut meter = Meter { used: 0, limit: self.input.gas };
        match self.dispatch(&mut meter).unwrap_or_else(|end| end) {
            End::Return(data) => Ok(PrecompileOutput::new(meter.used, data.into(), reservoir)),
            End::Revert(data) => Ok(PrecompileOutput::revert(meter.used, data.into(), reservoir)),
            End::OutOfGas => Ok(PrecompileOutput::halt(PrecompileHalt::OutOfGas, reservoir)),
            End::Fatal(reason) => Err(PrecompileError::Fatal(reason.into_owned())),
        }
    }

    fn dispatch(&mut self, meter: &mut Meter) -> Result<End, End> {
        meter.charge(gas::BASE + gas::words(self.input.data.len(), gas::INPUT_WORD))?;
        if !self.input.is_direct_call() {
            return Err(revert(IInference::IndirectCall {}));
        }
        if !self.input.value.is_zero() {
            return Err(revert(IInference::ValueSent { value: self.input.value }));
        }
        match IInferenceCalls::abi_decode(self.input.data).map_err(|_| revert(IInference::MalformedCall {}))? {
            IInferenceCalls::run(call) => self.run(meter, call),
            IInferenceCalls::runOr(call) => self.run_or(meter, call),
            IInferenceCalls::model(call) => self.model(meter, call),
        }
    }

    fn run(&mut self, meter: &mut Meter, call: IInference::runCall) -> Result<End, End> {
        match self.resolve(meter, call.modelId, call.input)? {
            Outcome::Output(output) => {
                meter.charge(gas::words(output.len(), gas::OUTPUT_WORD))?;
                Ok(End::Return(encode_bytes(&output)))
            }
            Outcome::Failed(Failure { code, reason }) => {
                Err(revert(IInference::InferenceFailed { code: code as u16, reason }))
            }
        }
    }

    fn run_or(&mut self, meter: &mut Meter, call: IInference::runOrCall) -> Result<End, End> {
        let in_time = self.input.internals.block_timestamp() <= call.deadline;
        let output =
            if in_time { self.resolve(meter, call.modelId, call.input)? } else { Outcome::Output(Bytes::new()) };
        let (ran, output) = match output {
            Outcome::Output(output) if in_time => {
                meter.charge(gas::words(output.len(), gas::OUTPUT_WORD))?;
                (true, output)
            }
            _ => {
                meter.charge(gas::words(call.fallback_.len(), gas::COPY_WORD))?;
                (false, call.fallback_)
            }
        };
        Ok(End::Return(IInference::runOrCall::abi_encode_returns(&IInference::runOrReturn { ran, output })))
    }

    fn model(&mut self, meter: &mut Meter, call: IInference::modelCall) -> Result<End, End> {
        let slot = self.slot(meter, call.modelId)?;
        Ok(End::Return(ModelSlot::info(slot).abi_encode()))
    }

    /// The outcome of a request, or the end of the call: unknown model, input too large or malformed, missing outcome.
    fn resolve(&mut self, meter: &mut Meter, model: ModelId, input: Bytes) -> Result<Outcome, End> {
        let slot = self.slot(meter, model)?.ok_or_else(|| revert(IInference::UnknownModel { modelId: model }))?;
        if input.len() > slot.max_input_bytes as usize {
            let (size, max) = (U256::from(input.len()), U256::from(slot.max_input_bytes));
            return Err(revert(IInference::InputTooLarge { size, max }));
        }
        let excess = self.sload(meter, price::EXCESS_SLOT)?;
        let excess = u64::try_from(excess).unwrap_or(u64::MAX);
        let malformed = |reason: String| revert(IInference::MalformedInput { reason });
        // What is no request to a text model is refused before anything is paid for it.
        let reserved = slot.reserved_gas(&input).ok_or_else(|| malformed(NOT_A_TEXT_REQUEST.into()))?;
        let paid = price::execution_gas(reserved, excess);
        meter.charge(paid)?;
        check_input(&input).map_err(|error| malformed(error.to_string()))?;

        let id = self.outcomes.id(model, &input);
        match self.outcomes.get(id) {
            Some(outcome) => {
                let inference_gas = slot.used_gas(&input, &outcome);
                meter.refund(paid - price::execution_gas(inference_gas, excess));
                self.notes.lock().used.push(Used { id, model, outcome: outcome.clone(), inference_gas });
                Ok(outcome)
            }
            None => {
                let request = Request { model, input, id };
                self.outcomes.missing(&request);
                self.notes.lock().missing = Some(request);
                Err(End::Fatal(MISSING.into()))
            }
        }
    }

    fn slot(&mut self, meter: &mut Meter, model: ModelId) -> Result<Option<ModelSlot>, End> {
        let key = self.notes.storage_key(model);
        Ok(ModelSlot::unpack(self.sload(meter, key)?))
    }

    /// A slot of `ModelRegistry`, at EIP-2929's prices.
    fn sload(&mut self, meter: &mut Meter, key: U256) -> Result<U256, End> {
        let loaded = self.input.internals.sload(MODEL_REGISTRY_ADDRESS, key);
        let loaded = loaded.map_err(|error| End::Fatal(error.to_string().into()))?;
        meter.charge(if loaded.is_cold { gas::COLD_SLOT } else { gas::WARM_SLOT })?;
        Ok(loaded.data)
    }
}

fn revert(error: impl SolError) -> End {
    End::Revert(error.abi_encode())
}

/// `abi.encode(bytes)`, written straight into the one buffer that is returned.
fn encode_bytes(data: &[u8]) -> Vec<u8> {
    let padded = data.len().next_multiple_of(32);
    let mut encoded = vec![0; 64 + padded];
    encoded[31] = 0x20;
    encoded[56..64].copy_from_slice(&(data.len() as u64).to_be_bytes());
    encoded[64..64 + data.len()].copy_from_slice(data);
    encoded
}
