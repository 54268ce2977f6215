//! From ONNX nodes to a plan: names become slots, constants are folded, and each tensor is freed after its last use.
//!
//! * [`Node`]: what an operator's builder sees, once, at load.
//! * [`Plan`]: the steps in order, with where each input comes from.
//! * `lockstep`: many runs of one plan together, for which no run's answer changes.
//! * `spares`: buffers that are written to again, within a run and from run to run.
//! * [`Inputs`] and [`Context`]: what a kernel sees on every run.

mod build;
mod context;
mod fuse;
mod lockstep;
mod node;
mod offload;
mod order;
mod plan;
mod refused;
mod requantise;
mod spares;
mod turn;

pub(crate) use build::{Opsets, compile};
pub use context::{Context, Cost};
pub(crate) use fuse::Tail;
pub use node::{Node, Subgraph};
pub(crate) use offload::{DeviceInputs, Stop, Value};
pub use plan::{Inputs, Plan};
pub(crate) use refused::reason as refusal;
pub(crate) use spares::Spares;
