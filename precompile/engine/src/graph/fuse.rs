//! Elementwise steps that follow each other on the CPU, with constants only: one pass over memory instead of one each.
//!
//! They stay steps of their own in the plan. What they cost is counted as if they ran one after the other, and wherever one
//! pass does not fit (another type, a shape that does not broadcast), they do.

use super::context::Context;
use super::plan::{Plan, Slots, Source, Step};
use crate::failure::Failure;
use crate::kernels::fused::{Channels, Operation, Stage, apply};
use crate::tensor::{ElementType, Tensor};

/// What a step does to each element of its one input that is no constant.
pub(super) struct Elementwise {
    operation: Operation,
    /// Which input that is.
    input: usize,
    constant: Option<Tensor>,
}

impl Elementwise {
    /// Of a node of ONNX's own operator set.
    pub(super) fn of(op: &str, opset: i64, inputs: &[Source]) -> Option<Self> {
        let operation = match op {
            "Add" => Operation::Add,
            "Sub" => Operation::Sub,
            "Mul" => Operation::Mul,
            "Div" => Operation::Div,
            "Relu" => return Some(Self { operation: Operation::Relu, input: 0, constant: None }),
            _ => return None,
        };
        let swaps = matches!(operation, Operation::Add | Operation::Mul);
        let (input, constant) = match inputs {
            [Source::Slot { .. }, Source::Constant(constant)] => (0, constant),
            [Source::Constant(constant), Source::Slot { .. }] if swaps => (1, constant),
            _ => return None,
        };
        let fits = opset >= 7 && constant.element_type() == ElementType::F32;
        fits.then(|| Self { operation, input, constant: Some(constant.clone()) })
    }

    /// How the constant lies along a tensor of `shape`: `None` unless it is one number or one for each index of one axis.
    fn channels(&self, shape: &[usize]) -> Option<Option<Channels>> {
        let Some(constant) = &self.constant else { return Some(None) };
        let offset = shape.len().checked_sub(constant.rank())?;
        let mut long = constant.shape().iter().enumerate().filter(|(_, length)| **length != 1);
        let Some((axis, length)) = long.next() else { return Some(None) };
        let fits = long.next().is_none() && shape[offset + axis] == *length;
        fits.then(|| Some(Channels { channels: *length, inner: shape[offset + axis + 1..].iter().product() }))
    }
}

impl Plan {
    /// Finds steps that may run as one pass. Where values are used for the last time is marked before.
    pub(super) fn group(&mut self) {
        let mut first = 0;
        for at in 1..=self.steps.len() {
            if at == self.steps.len() || !follows(&self.steps[at - 1], &self.steps[at]) {
                self.steps[first].group = at - first;
                first = at;
            }
        }
    }

    /// Runs the steps of the group at `first` as one pass; false where that does not fit, and nothing was done.
    pub(super) fn run_group(
        &self,
        first: usize,
        slots: &mut Slots<Tensor>,
        context: &Context,
    ) -> Result<bool, Failure> {
        let steps = &self.steps[first..first + self.steps[first].group];
        let (Some(source), Some(Some(out))) = (steps[0].elementwise_source(), steps[steps.len() - 1].outputs.first())
        else {
            return Ok(false);
        };
        let Some(x) = slots.peek(source).filter(|x| x.element_type() == ElementType::F32 && !x.is_empty()) else {
            return Ok(false);
        };
        let Some(channels) = common_channels(steps, x.shape()) else { return Ok(false) };
        let (size, live) = (x.size_bytes(), context.live());
        for step in steps {
            let constant = step.elementwise.as_ref().and_then(|e| e.constant.as_ref());
            let count = || {
                context.grow(size)?;
                context.count_moved(2 * size + constant.map_or(0, Tensor::size_bytes));
                context.set_live(live + size)?;
                context.set_live(live)
            };
            count().map_err(|failure| step.named(failure))?;
        }
        let Some(x) = slots.take(source) else { return Ok(false) };
        let shape = x.shape().to_vec();
        let mut values = x.into_values::<f32>()?;
        let stages = steps.iter().filter_map(|step| step.elementwise.as_ref()).map(|elementwise| {
            let constants = elementwise.constant.as_ref().map_or(Ok(&[][..]), |constant| constant.values::<f32>());
            Ok(Stage { operation: elementwise.operation, constants: constants? })
        });
        let stages: Vec<_> = stages.collect::<Result<_, Failure>>()?;
        apply(context.isa(), &mut values, channels, &stages);
        slots.put(*out, Tensor::new(shape, values)?, size);
        Ok(true)
    }
}

impl Step {
    /// The slot that an elementwise step reads, if nobody needs it afterwards.
    fn elementwise_source(&self) -> Option<usize> {
        match self.inputs.get(self.elementwise.as_ref()?.input)? {
            Source::Slot { slot, last: true } => Some(*slot),
            _ => None,
        }
    }
}

fn follows(before: &Step, step: &Step) -> bool {
    let made = before.elementwise_source().and(before.outputs.first().copied().flatten());
    made.is_some() && step.elementwise_source() == made
}

/// Channels of all steps together: those that have a constant for each index of an axis must mean the same one.
fn common_channels(steps: &[Step], shape: &[usize]) -> Option<Channels> {
    let mut common = None;
    for step in steps {
        if let Some(channels) = step.elementwise.as_ref()?.channels(shape)? {
            if common.is_some_and(|common| common != channels) {
                return None;
            }
            common = Some(channels);
        }
    }
    Some(common.unwrap_or(Channels { channels: 1, inner: shape.iter().product() }))
}
