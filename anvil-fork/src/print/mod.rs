//! What a node prints of transactions and calls beside its log: what contracts say with `console.log`, and traces where asked.
//!
//! Nothing watches while blocks are built. What has called the console, and everything where traces are printed, is run again
//! under an inspector.

mod console;

pub use console::CONSOLE;

use crate::{
    chain::{Block, Ledger},
    node::Node,
    rpc::RpcError,
    trace::{Stage, transaction},
};
use alloy_sol_types::SolInterface;
use foreblock_precompile::abi::IInference::IInferenceCalls;
use revm::context::TxEnv;
use revm_inspectors::tracing::{
    CallTraceArena, TraceWriter, TracingInspector, TracingInspectorConfig,
    types::{CallTrace, DecodedCallData, DecodedCallTrace},
};

/// What of it is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Printing {
    /// `console.log`.
    pub console: bool,
    /// The calls of each transaction and `eth_call`.
    pub traces: bool,
}

impl Node {
    /// Whether to look at what has, or has not, called the console.
    pub(crate) fn prints(&self, called_console: bool) -> bool {
        let wanted = self.config.printing;
        (wanted.traces || wanted.console && called_console) && self.logging()
    }

    /// Prints what a mined block's transactions did.
    pub(crate) fn print_block(&self, ledger: &Ledger, block: &Block) {
        let print = || {
            let mut stage = Stage::of_block(self, ledger, block)?;
            (0..block.transactions.len()).try_for_each(|index| self.print(&mut stage, transaction(block, index)))
        };
        if let Err(error) = print() {
            tracing::warn!(%error, number = block.header.number, "the block's traces cannot be printed");
        }
    }

    /// Prints what a transaction does, and goes on after it.
    pub(crate) fn print(&self, stage: &mut Stage, tx: TxEnv) -> Result<(), RpcError> {
        let mut inspector = TracingInspector::new(TracingInspectorConfig {
            record_inputs: true,
            record_logs: true,
            ..TracingInspectorConfig::none()
        });
        let precompile = stage.precompile();
        let (done, _) = stage.run(tx, &mut inspector)?;
        stage.commit(done);
        let mut arena = inspector.into_traces();
        let mut text = String::new();
        if self.config.printing.traces {
            for node in arena.nodes_mut() {
                let label = if node.trace.address == CONSOLE {
                    said(&node.trace)
                } else {
                    (node.trace.address == precompile).then(|| self.asked(&node.trace)).flatten()
                };
                node.trace.decoded = label.map(Box::new);
            }
            text = written(&arena);
        }
        if self.config.printing.console {
            let called = arena.nodes().iter().filter(|node| node.trace.address == CONSOLE);
            called.filter_map(|node| console::line(&node.trace.data)).for_each(|line| text.extend([&line, "\n"]));
        }
        print!("{text}");
        Ok(())
    }

    /// A call of the precompile, with the model's name.
    fn asked(&self, call: &CallTrace) -> Option<DecodedCallTrace> {
        let (method, id) = match IInferenceCalls::abi_decode(&call.data).ok()? {
            IInferenceCalls::run(call) => ("run", call.modelId),
            IInferenceCalls::runOr(call) => ("runOr", call.modelId),
            IInferenceCalls::model(call) => ("model", call.modelId),
        };
        let model = self.inference.entries().iter().find(|entry| entry.manifest.id() == id);
        let name = model.map_or_else(|| id.to_string(), |entry| entry.manifest.name().to_owned());
        Some(labelled("Inference", method, name))
    }
}

fn said(call: &CallTrace) -> Option<DecodedCallTrace> {
    Some(labelled("console", "log", console::line(&call.data)?))
}

fn labelled(label: &str, function: &str, argument: String) -> DecodedCallTrace {
    let call_data = Some(DecodedCallData { signature: format!("{function}()"), args: vec![argument] });
    DecodedCallTrace { label: Some(label.to_owned()), return_data: None, call_data }
}

fn written(arena: &CallTraceArena) -> String {
    let mut writer = TraceWriter::new(Vec::new());
    let written = writer.write_arena(arena);
    let text = written.map(|()| String::from_utf8_lossy(&writer.into_writer()).into_owned());
    format!("Traces:\n{}\n", text.unwrap_or_default())
}
