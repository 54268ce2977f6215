//! Operators on a device: which kernel of `cuda/kernels.cu` computes a node, and with what.
//!
//! A kernel here takes only what certainly has an answer: `f32`, shapes that fit, sizes above zero. For everything else it
//! gives `None`, and the operator's own kernel runs on the CPU and says what is wrong in its own words. Before that it
//! must have counted nothing; afterwards it counts memory and multiply-adds exactly as the CPU's does, so that a run costs,
//! and fails, the same on every machine.

mod elementwise;
mod images;
mod moves;
mod products;
mod rows;

use super::Operator;
use crate::cuda::{DeviceError, DeviceTensor};
use crate::graph::{Context, DeviceInputs, Node, Stop, Value};
use crate::onnx::LoadError;

/// A node's kernel on a device; `None` leaves the run to the CPU.
pub(crate) type Offloaded =
    Box<dyn Fn(&mut DeviceInputs<'_>, &Context) -> Result<Option<Vec<Value>>, Stop> + Send + Sync>;

/// What a builder gives: no kernel where the node is one for the CPU.
type Built = Result<Option<Offloaded>, LoadError>;

/// Builders by name of the operator.
type Row = (&'static str, fn(&Node<'_>) -> Built);

const TABLES: [&[Row]; 5] = [elementwise::KERNELS, images::KERNELS, moves::KERNELS, products::KERNELS, rows::KERNELS];

/// The kernel of a node whose CPU kernel was built before, so that its attributes are known to be sound.
pub(crate) fn build(operator: &Operator, node: &Node<'_>) -> Option<Offloaded> {
    if !operator.domain.is_empty() {
        return None;
    }
    let (_, builder) = TABLES.iter().copied().flatten().find(|(name, _)| *name == operator.name)?;
    builder(node).ok().flatten()
}

fn offloaded(
    run: impl Fn(&mut DeviceInputs<'_>, &Context) -> Result<Option<DeviceTensor>, Stop> + Send + Sync + 'static,
) -> Built {
    Ok(Some(Box::new(move |inputs, context| Ok(run(inputs, context)?.map(|tensor| vec![Value::Device(tensor)])))))
}

/// Input `index` on the device, if it holds elements; a whole run must fit `int`s.
fn input(inputs: &mut DeviceInputs<'_>, index: usize) -> Result<Option<DeviceTensor>, DeviceError> {
    let holds = |value: &Value| (1..=i32::MAX as usize).contains(&value.shape().iter().product());
    if inputs.get(index).is_some_and(holds) { inputs.device(index) } else { Ok(None) }
}

/// Takes the value out of an option, or leaves the run to the CPU.
macro_rules! or_cpu {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}
use or_cpu;
