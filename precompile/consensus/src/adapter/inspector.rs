//! What a trace says of the precompile's calls, in clients whose tracers know nothing of it.

use super::version::revm;
use crate::{PRECOMPILE_ADDRESS, Request, abi::IInference::IInferenceCalls};
use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolInterface;
use revm::{
    Inspector,
    context_interface::ContextTr,
    interpreter::{CallInputs, CallOutcome, InstructionResult, InterpreterTypes},
};

/// How a call of the precompile ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InferenceEnd {
    /// It returned this.
    Returned(Bytes),
    /// It reverted with this typed error.
    Reverted(Bytes),
    /// It ran out of gas.
    OutOfGas,
    /// It never ended: its outcome was missing, and the transaction was aborted.
    Aborted,
}

/// One call of the precompile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferenceCall {
    /// The contract that called.
    pub caller: Address,
    /// What it asked: model, input, id. None for `model(..)` and for what cannot be decoded.
    pub request: Option<Request>,
    /// Gas that the call used; all that it had where it ran out.
    pub gas_used: u64,
    /// How it ended.
    pub end: InferenceEnd,
}

/// Collects the precompile's calls. Stack it with a client's own inspectors: `(InferenceInspector::default(), tracer)`.
#[derive(Clone, Debug)]
pub struct InferenceInspector {
    address: Address,
    /// In the order in which they began.
    calls: Vec<InferenceCall>,
    open: Option<usize>,
}

impl Default for InferenceInspector {
    fn default() -> Self {
        Self::at(PRECOMPILE_ADDRESS)
    }
}

impl InferenceInspector {
    /// For a precompile that stands elsewhere.
    pub fn at(address: Address) -> Self {
        Self { address, calls: Vec::new(), open: None }
    }

    /// The calls since the last time, in the order in which they began.
    pub fn take(&mut self) -> Vec<InferenceCall> {
        self.open = None;
        std::mem::take(&mut self.calls)
    }
}

fn request(calldata: &[u8]) -> Option<Request> {
    match IInferenceCalls::abi_decode(calldata).ok()? {
        IInferenceCalls::run(call) => Some(Request::new(call.modelId, call.input)),
        IInferenceCalls::runOr(call) => Some(Request::new(call.modelId, call.input)),
        IInferenceCalls::model(_) => None,
    }
}

impl<CTX: ContextTr, INTR: InterpreterTypes> Inspector<CTX, INTR> for InferenceInspector {
    fn call(&mut self, context: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        if inputs.bytecode_address == self.address {
            let request = request(&inputs.input.bytes(context));
            self.open = Some(self.calls.len());
            let (caller, end) = (inputs.caller, InferenceEnd::Aborted);
            self.calls.push(InferenceCall { caller, request, gas_used: 0, end });
        }
        None
    }

    fn call_end(&mut self, _: &mut CTX, inputs: &CallInputs, outcome: &mut CallOutcome) {
        // A precompile calls nobody, so the call that ends is the one that began last.
        let Some(call) = self.open.take_if(|_| inputs.bytecode_address == self.address) else { return };
        let call = &mut self.calls[call];
        let result = &outcome.result;
        call.gas_used = inputs.gas_limit.saturating_sub(result.gas.remaining());
        call.end = if result.result.is_ok() {
            InferenceEnd::Returned(result.output.clone())
        } else if result.result.is_revert() {
            InferenceEnd::Reverted(result.output.clone())
        } else if result.result == InstructionResult::FatalExternalError {
            InferenceEnd::Aborted
        } else {
            InferenceEnd::OutOfGas
        };
    }
}
