//! A graph ready to run.

use std::{ops::Range, sync::Arc};

use super::context::Context;
use super::fuse::{Elementwise, Fused};
use super::offload::{DeviceStep, Value};
use super::requantise::Role;
use crate::failure::{self, Failure};
use crate::kernels::requantise::Requantise;
use crate::ops::Kernel;
use crate::tensor::Tensor;

/// Where a step finds an input.
#[derive(Clone)]
pub(super) enum Source {
    /// Nowhere: an optional input that is not there, or one that the kernel keeps itself.
    Absent,
    /// Known at load.
    Constant(Tensor),
    /// Computed before; `last` where nobody needs it afterwards.
    Slot { slot: usize, last: bool },
}

/// One operation.
pub(super) struct Step {
    pub(super) label: String,
    pub(super) kernel: Kernel,
    pub(super) inputs: Vec<Source>,
    pub(super) captured: Vec<Source>,
    pub(super) outputs: Vec<Option<usize>>,
    /// Whether it holds graphs, whose length of work is not known.
    pub(super) nested: bool,
    /// What it does to each element, if that is all.
    pub(super) elementwise: Option<Elementwise>,
    /// The steps from this one on that may run as one pass, where there are several.
    pub(super) group: Option<Arc<Fused>>,
    /// Whether its kernel can do more to each piece of its output.
    pub(super) multiplies: bool,
    /// The steps after this one that may run together with it.
    pub(super) tail: Option<Arc<Fused>>,
    /// What it is to a chain of integer steps.
    pub(super) role: Option<Role>,
    /// Its kernel on the device that the model was loaded for.
    pub(super) device: Option<DeviceStep>,
    /// Elements of the constant weights that it multiplies the rows of its first input by, if that is what it does: the rows
    /// of many runs can then be one product.
    pub(super) by_rows: Option<usize>,
}

/// Operations in order, with all names resolved.
#[derive(Default)]
pub struct Plan {
    pub(super) slots: usize,
    pub(super) inputs: Vec<usize>,
    pub(super) captures: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<Source>,
}

/// A kernel's inputs.
pub struct Inputs {
    pub(super) values: Vec<Option<Tensor>>,
    pub(super) captured: Vec<Tensor>,
    /// What else to do to the output, until the kernel takes it.
    pub(super) tail: Option<Arc<Fused>>,
    /// What the sums of a product of integers become.
    pub(super) requantise: Option<Arc<Requantise>>,
}

impl Inputs {
    /// Inputs without values from outside, for tests of single operators.
    pub fn new(values: Vec<Option<Tensor>>) -> Self {
        Self { values, captured: Vec::new(), tail: None, requantise: None }
    }

    /// Number of inputs listed, absent ones included.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no input.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Input `index`; fails where it is absent.
    pub fn get(&self, index: usize) -> Result<&Tensor, Failure> {
        self.optional(index).ok_or_else(|| missing(index))
    }

    /// Input `index`, if it is there.
    pub fn optional(&self, index: usize) -> Option<&Tensor> {
        self.values.get(index)?.as_ref()
    }

    /// Input `index` to own; it is absent from then on. Fails where it is absent.
    pub fn take(&mut self, index: usize) -> Result<Tensor, Failure> {
        self.values.get_mut(index).and_then(Option::take).ok_or_else(|| missing(index))
    }
}

fn missing(index: usize) -> Failure {
    failure::arity(format!("input {index} is missing"))
}

/// What a slot holds: a tensor, wherever it is.
pub(super) trait Held: Clone {
    fn of(tensor: Tensor) -> Self;
    fn size_bytes(&self) -> u64;
}

impl Held for Tensor {
    fn of(tensor: Tensor) -> Self {
        tensor
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes()
    }
}

impl Held for Value {
    fn of(tensor: Tensor) -> Self {
        Self::Host(tensor)
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes()
    }
}

/// The values of a run in progress.
pub(super) struct Slots<V> {
    values: Vec<Option<V>>,
    sizes: Vec<u64>,
}

impl<V: Held> Slots<V> {
    pub(super) fn put(&mut self, slot: usize, value: V, counted_bytes: u64) {
        self.sizes[slot] = counted_bytes;
        self.values[slot] = Some(value);
    }

    pub(super) fn fetch(&mut self, source: &Source) -> Option<V> {
        match source {
            Source::Absent => None,
            Source::Constant(tensor) => Some(V::of(tensor.clone())),
            Source::Slot { slot, last: true } => self.values[*slot].take(),
            Source::Slot { slot, last: false } => self.values[*slot].clone(),
        }
    }

    /// The value of a slot, unless it belongs to a graph around.
    pub(super) fn peek(&self, slot: usize) -> Option<&V> {
        self.values[slot].as_ref().filter(|value| self.sizes[slot] == value.size_bytes())
    }

    /// The value of a slot that nobody needs afterwards.
    pub(super) fn take(&mut self, slot: usize) -> Option<V> {
        self.sizes[slot] = 0;
        self.values[slot].take()
    }

    fn freed_bytes<'a>(&mut self, sources: impl Iterator<Item = &'a Source>) -> u64 {
        let last = sources.filter_map(|s| if let Source::Slot { slot, last: true } = s { Some(*slot) } else { None });
        last.map(|slot| std::mem::take(&mut self.sizes[slot])).sum()
    }
}

impl Plan {
    /// Runs all steps. `captured` are the values that a subgraph takes from the graphs around it.
    pub(crate) fn run(
        &self,
        arguments: Vec<Tensor>,
        captured: &[Tensor],
        context: &Context,
    ) -> Result<Vec<Tensor>, Failure> {
        let (mut slots, entry_bytes) = self.enter(arguments, context)?;
        for (slot, tensor) in self.captures.iter().zip(captured) {
            slots.put(*slot, tensor.clone(), 0);
        }
        self.run_steps(0..self.steps.len(), &mut slots, context)?;
        let outputs = self.outputs.iter().map(|source| Self::output(&mut slots, source)).collect();
        context.set_live(entry_bytes)?;
        outputs
    }

    /// Runs some steps; none may be inside a group.
    pub(super) fn run_steps(
        &self,
        range: Range<usize>,
        slots: &mut Slots<Tensor>,
        context: &Context,
    ) -> Result<(), Failure> {
        let mut at = range.start;
        while at < range.end {
            at += self.advance(at, slots, context)?;
        }
        Ok(())
    }

    /// Slots that hold the arguments, and the bytes that were alive before.
    pub(super) fn enter<V: Held>(&self, arguments: Vec<Tensor>, context: &Context) -> Result<(Slots<V>, u64), Failure> {
        if arguments.len() != self.inputs.len() {
            let (expected, came) = (self.inputs.len(), arguments.len());
            return Err(failure::arity(format!("expected {expected} inputs, got {came}")));
        }
        let entry_bytes = context.live();
        let mut slots = Slots { values: vec![None; self.slots], sizes: vec![0; self.slots] };
        for (slot, tensor) in self.inputs.iter().zip(arguments) {
            let size = tensor.size_bytes();
            context.grow(size)?;
            slots.put(*slot, V::of(tensor), size);
        }
        Ok((slots, entry_bytes))
    }

    pub(super) fn output<V: Held>(slots: &mut Slots<V>, source: &Source) -> Result<V, Failure> {
        slots.fetch(source).ok_or_else(|| failure::undefined("an output has no value"))
    }
}

impl Step {
    /// The inputs, taken from their slots.
    pub(super) fn ready(&self, slots: &mut Slots<Tensor>, context: &Context) -> Ready {
        let live = context.live();
        let values: Vec<_> = self.inputs.iter().map(|source| slots.fetch(source)).collect();
        let captured: Vec<_> = self.captured.iter().filter_map(|source| slots.fetch(source)).collect();
        let read = values.iter().flatten().map(Tensor::size_bytes).sum();
        Ready { inputs: Inputs { values, captured, tail: None, requantise: None }, live, read }
    }

    /// Runs the step on inputs that were taken. Whether it left the tail that they brought.
    pub(super) fn run_ready(
        &self,
        mut ready: Ready,
        slots: &mut Slots<Tensor>,
        context: &Context,
    ) -> Result<bool, Failure> {
        let outputs = (self.kernel)(&mut ready.inputs, context)?;
        let Ready { inputs, live, read } = ready;
        let tail_left = inputs.tail.is_some();
        inputs.values.into_iter().flatten().for_each(|value| context.recycle(value));
        self.leave(slots, outputs, live, read, context)?;
        Ok(tail_left)
    }

    /// Keeps the outputs, and counts: `live` bytes before the step, `read` bytes of inputs.
    pub(super) fn leave<V: Held>(
        &self,
        slots: &mut Slots<V>,
        outputs: Vec<V>,
        live: u64,
        read: u64,
        context: &Context,
    ) -> Result<(), Failure> {
        if outputs.len() < self.outputs.len() {
            return Err(failure::arity(format!("expected {} outputs, got {}", self.outputs.len(), outputs.len())));
        }
        let mut written = 0;
        for (slot, value) in self.outputs.iter().zip(outputs) {
            if let Some(slot) = slot {
                let size = value.size_bytes();
                written += size;
                slots.put(*slot, value, size);
            }
        }
        context.count_moved(read + written);
        let freed = slots.freed_bytes(self.inputs.iter().chain(&self.captured));
        context.set_live(live + written)?;
        context.set_live(live + written - freed)
    }

    /// A failure that says where it happened.
    pub(super) fn named(&self, failure: Failure) -> Failure {
        Failure::new(failure.code, format!("{}: {}", self.label, failure.reason))
    }
}

/// A step's inputs, with what they count.
pub(super) struct Ready {
    pub(super) inputs: Inputs,
    pub(super) live: u64,
    pub(super) read: u64,
}

impl Plan {
    /// Leaves out steps whose outputs nobody needs.
    pub(super) fn prune(&mut self) {
        let mut needed = vec![false; self.slots];
        let mark = |needed: &mut Vec<bool>, sources: &[Source]| {
            for source in sources {
                if let Source::Slot { slot, .. } = source {
                    needed[*slot] = true;
                }
            }
        };
        mark(&mut needed, &self.outputs);
        let mut kept = Vec::with_capacity(self.steps.len());
        while let Some(mut step) = self.steps.pop() {
            for output in &mut step.outputs {
                *output = output.filter(|slot| needed[*slot]);
            }
            if step.outputs.iter().any(Option::is_some) {
                mark(&mut needed, &step.inputs);
                mark(&mut needed, &step.captured);
                kept.push(step);
            }
        }
        kept.reverse();
        self.steps = kept;
    }

    /// Marks where a value is used for the last time, so that its buffer is freed or reused there.
    pub(super) fn mark_last_uses(&mut self) {
        let mut used = vec![false; self.slots];
        let mut mark = |sources: &mut [Source]| {
            for source in sources.iter_mut().rev() {
                if let Source::Slot { slot, last } = source {
                    *last = !std::mem::replace(&mut used[*slot], true);
                }
            }
        };
        mark(&mut self.outputs);
        for step in self.steps.iter_mut().rev() {
            mark(&mut step.captured);
            mark(&mut step.inputs);
        }
    }
}
