//! Elementwise steps that follow each other on the CPU, with constants only: one pass over memory instead of one each; and
//! none where they follow a product, which does them to each piece of its output that is complete.
//!
//! They stay steps of their own in the plan. What they cost is counted as if they ran one after the other, and wherever one
//! pass does not fit (another type, a shape that does not broadcast), they do.

use std::ops::Range;
use std::sync::Arc;

use super::context::Context;
use super::plan::{Inputs, Plan, Slots, Source, Step};
use crate::failure::Failure;
use crate::kernels::Isa;
use crate::kernels::fused::{Channels, Operation, Place, Stage, apply, apply_to};
use crate::tensor::{Data, ElementType, Tensor};

/// What a step does to each element of an input that is no constant.
#[derive(Clone)]
pub(super) struct Elementwise {
    operation: Operation,
    constant: Option<Tensor>,
}

/// Operators of one input and no attribute.
const FUNCTIONS: [(&str, Operation); 4] =
    [("Erf", Operation::Erf), ("Relu", Operation::Relu), ("Sigmoid", Operation::Sigmoid), ("Tanh", Operation::Tanh)];

impl Elementwise {
    /// Of a node of ONNX's own operator set.
    pub(super) fn of(op: &str, opset: i64, inputs: &[Source]) -> Option<Self> {
        let function = FUNCTIONS.iter().find(|(name, _)| *name == op);
        if let (Some((_, operation)), [Source::Slot { .. }]) = (function, inputs) {
            return Some(Self { operation: *operation, constant: None });
        }
        let operation = match op {
            "Add" => Operation::Add,
            "Sub" => Operation::Sub,
            "Mul" => Operation::Mul,
            "Div" => Operation::Div,
            _ => return None,
        };
        let swaps = matches!(operation, Operation::Add | Operation::Mul);
        let constant = match inputs {
            _ if opset < 7 => return None,
            [Source::Slot { .. }, Source::Slot { .. }] if operation == Operation::Mul => {
                return Some(Self { operation: Operation::MulKept, constant: None });
            }
            [Source::Slot { .. }, Source::Constant(constant)] => constant,
            [Source::Constant(constant), Source::Slot { .. }] if swaps => constant,
            _ => return None,
        };
        let fits = constant.element_type() == ElementType::F32;
        fits.then(|| Self { operation, constant: Some(constant.clone()) })
    }
}

/// Elementwise steps as one.
#[derive(Default)]
pub(super) struct Fused {
    stages: Vec<Stage>,
    /// Of each stage.
    counts: Vec<Count>,
    /// Shapes of the constants that are not one number.
    shapes: Vec<Vec<usize>>,
    /// Dimensions of the constants at most: fewer ones of the values would get more.
    rank: usize,
}

/// What a step counts.
struct Count {
    /// Values it reads, and those that nobody needs afterwards.
    reads: u64,
    frees: u64,
    constant_bytes: u64,
}

impl Fused {
    fn push(&mut self, step: &Step, keeps: bool) {
        let Some(Elementwise { operation, constant }) = step.elementwise.clone() else { return };
        let slots = || step.inputs.iter().filter(|source| matches!(source, Source::Slot { .. }));
        let frees = slots().filter(|source| matches!(source, Source::Slot { last: true, .. })).count() as u64;
        let constant_bytes = constant.as_ref().map_or(0, Tensor::size_bytes);
        self.counts.push(Count { reads: slots().count() as u64, frees, constant_bytes });
        self.rank = self.rank.max(constant.as_ref().map_or(0, Tensor::rank));
        self.shapes.extend(constant.as_ref().filter(|c| c.len() != 1).map(|c| c.shape().to_vec()));
        let constants = match constant.map(Tensor::into_parts) {
            Some((_, Data::F32(constants))) => constants,
            _ => Arc::default(),
        };
        self.stages.push(Stage { operation, constants, keeps });
    }

    fn len(&self) -> usize {
        self.stages.len()
    }

    /// How the constants lie along a tensor of `shape`: those that are not one number must be one number for each index of
    /// one axis, the same for all.
    fn channels(&self, shape: &[usize]) -> Option<Channels> {
        if shape.len() < self.rank {
            return None;
        }
        let mut common = None;
        for own in &self.shapes {
            let offset = shape.len().checked_sub(own.len())?;
            let mut long = own.iter().enumerate().filter(|(_, length)| **length != 1);
            let (axis, length) = long.next()?;
            if long.next().is_some() || shape[offset + axis] != *length {
                return None;
            }
            let channels = Channels { channels: *length, inner: shape[offset + axis + 1..].iter().product() };
            if common.replace(channels).is_some_and(|common| common != channels) {
                return None;
            }
        }
        Some(common.unwrap_or(Channels { channels: 1, inner: shape.iter().product() }))
    }

    /// Counts what `steps` would, one after the other, on values of `size` bytes.
    fn count(&self, steps: &[Step], size: u64, context: &Context) -> Result<(), Failure> {
        for (step, Count { reads, frees, constant_bytes }) in steps.iter().zip(&self.counts) {
            let live = context.live();
            let count = || {
                context.grow(size)?;
                context.count_moved((reads + 1) * size + constant_bytes);
                context.set_live(live + size)?;
                context.set_live(live + size - frees * size)
            };
            count().map_err(|failure| step.named(failure))?;
        }
        Ok(())
    }
}

/// What a product may do to its output on the way.
pub(crate) struct Tail {
    fused: Arc<Fused>,
    channels: Channels,
    columns: usize,
}

impl Tail {
    /// Does it to some neighbours in one row of the output.
    pub(crate) fn apply(&self, isa: Isa, row: usize, column: usize, values: &mut [f32]) {
        let length = values.len();
        self.apply_to(isa, row, column, &mut [values], 0..length);
    }

    /// Does it to `columns` of each of `rows`, of which the first is row `row0` and column `column0` of the output.
    pub(crate) fn apply_to(
        &self,
        isa: Isa,
        row0: usize,
        column0: usize,
        rows: &mut [&mut [f32]],
        columns: Range<usize>,
    ) {
        let (Channels { channels, inner }, stages) = (self.channels, &self.fused.stages);
        if inner == 1 {
            return apply_to(isa, rows, columns, Place::Each(column0), stages);
        }
        for (i, row) in rows.chunks_mut(1).enumerate() {
            let channel = (row0 + i) * self.columns / inner % channels;
            apply_to(isa, row, columns.clone(), Place::One(channel), stages);
        }
    }
}

impl Inputs {
    /// What else to do to an output of `shape`, in rows of `columns`, where the kernel knows how: it then has to. `rows` says
    /// whether it knows which row of all of the output it is at.
    pub(crate) fn tail(&mut self, shape: &[usize], columns: usize, rows: bool) -> Option<Tail> {
        let channels = self.tail.as_ref()?.channels(shape)?;
        let by_column = channels.inner == 1 && channels.channels == columns;
        let by_row = channels.inner > 1 && channels.inner.is_multiple_of(columns.max(1));
        if by_column || (by_row && (rows || channels.channels == 1)) {
            return Some(Tail { fused: self.tail.take()?, channels, columns });
        }
        None
    }
}

/// Where a chain of elementwise steps is: the value at hand, and one that is needed again.
#[derive(Default)]
struct Branch {
    now: Option<usize>,
    kept: Option<usize>,
}

impl Branch {
    /// Goes on by a step, if it is the next of the chain: whether the value before it is kept.
    fn follow(&mut self, step: &Step) -> Option<bool> {
        let slots: Vec<(usize, bool)> = step.slots().collect();
        let made = step.only_output()?;
        let keeps = match (step.elementwise.as_ref()?.operation, &slots[..]) {
            (Operation::MulKept, [(kept, true), (now, true)]) => {
                if self.kept.is_none() || (self.kept, self.now) != (Some(*kept), Some(*now)) {
                    return None;
                }
                self.kept = None;
                false
            }
            (Operation::MulKept, _) => return None,
            (_, [(slot, last)]) if self.now.is_none_or(|now| now == *slot) => {
                if !last && self.kept.replace(*slot).is_some() {
                    return None;
                }
                !last
            }
            _ => return None,
        };
        self.now = Some(made);
        Some(keeps)
    }
}

impl Plan {
    /// Finds steps that may run as one pass. Where values are used for the last time is marked before.
    pub(super) fn group(&mut self) {
        let mut at = 0;
        while at < self.steps.len() {
            let fused = self.fused_from(at);
            let length = fused.len();
            if length > 0 {
                let fused = Arc::new(fused);
                if let Some(before) = at.checked_sub(1).filter(|before| self.steps[*before].multiplies)
                    && self.steps[before].only_output().is_some_and(|made| self.steps[at].reads(made))
                {
                    self.steps[before].tail = Some(fused.clone());
                }
                self.steps[at].group = Some(fused).filter(|_| length > 1);
            }
            at += length.max(1);
        }
    }

    /// As many steps from `first` on as can run as one.
    fn fused_from(&self, first: usize) -> Fused {
        let mut all = Fused::default();
        let (mut open, mut branch) = (Vec::new(), Branch::default());
        for step in &self.steps[first..] {
            let Some(keeps) = branch.follow(step) else { break };
            open.push((step, keeps));
            // What was kept has to be used in the same pass.
            if branch.kept.is_none() {
                open.drain(..).for_each(|(step, keeps)| all.push(step, keeps));
            }
        }
        all
    }

    /// Runs the step at `at`, with those that run as one with it. How many there were.
    pub(super) fn advance(&self, at: usize, slots: &mut Slots<Tensor>, context: &Context) -> Result<usize, Failure> {
        let step = &self.steps[at];
        if let Some(fused) = &step.group
            && self.run_group(at, fused, slots, context)?
        {
            return Ok(fused.len());
        }
        let mut ready = step.ready(slots, context);
        ready.inputs.tail = step.tail.clone();
        let tail_left = step.run_ready(ready, slots, context).map_err(|failure| step.named(failure))?;
        match (&step.tail, tail_left) {
            (Some(fused), false) => self.count_tail(at, fused, slots, context),
            _ => Ok(1),
        }
    }

    /// What a step's tail counts, and its output where the tail's is.
    fn count_tail(
        &self,
        at: usize,
        fused: &Fused,
        slots: &mut Slots<Tensor>,
        context: &Context,
    ) -> Result<usize, Failure> {
        let steps = &self.steps[at + 1..at + 1 + fused.len()];
        if let (Some(made), Some(out)) = (self.steps[at].only_output(), steps[steps.len() - 1].only_output())
            && let Some(value) = slots.take(made)
        {
            let size = value.size_bytes();
            fused.count(steps, size, context)?;
            slots.put(out, value, size);
        }
        Ok(1 + fused.len())
    }

    /// Runs the steps of the group at `first` as one pass; false where that does not fit, and nothing was done.
    fn run_group(
        &self,
        first: usize,
        fused: &Fused,
        slots: &mut Slots<Tensor>,
        context: &Context,
    ) -> Result<bool, Failure> {
        let steps = &self.steps[first..first + fused.len()];
        let (Some((source, _)), Some(out)) = (steps[0].slots().next(), steps[steps.len() - 1].only_output()) else {
            return Ok(false);
        };
        let Some(x) = slots.peek(source).filter(|x| x.element_type() == ElementType::F32 && !x.is_empty()) else {
            return Ok(false);
        };
        let Some(channels) = fused.channels(x.shape()) else { return Ok(false) };
        let size = x.size_bytes();
        fused.count(steps, size, context)?;
        let Some(x) = slots.take(source) else { return Ok(false) };
        let shape = x.shape().to_vec();
        let mut values = x.into_values::<f32>()?;
        apply(context.isa(), &mut values, channels, &fused.stages);
        slots.put(out, Tensor::new(shape, values)?, size);
        Ok(true)
    }
}

impl Step {
    /// Computed inputs, and whether nobody needs them afterwards.
    fn slots(&self) -> impl Iterator<Item = (usize, bool)> {
        self.inputs.iter().filter_map(|source| match source {
            Source::Slot { slot, last } => Some((*slot, *last)),
            _ => None,
        })
    }

    fn reads(&self, slot: usize) -> bool {
        self.slots().next().is_some_and(|(own, _)| own == slot)
    }

    pub(super) fn only_output(&self) -> Option<usize> {
        if let [Some(slot)] = self.outputs[..] { Some(slot) } else { None }
    }
}
