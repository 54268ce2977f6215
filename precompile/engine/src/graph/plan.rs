//! A graph ready to run.

use super::context::Context;
use crate::failure::{self, Failure};
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
    values: Vec<Option<Tensor>>,
    pub(super) captured: Vec<Tensor>,
}

impl Inputs {
    /// Inputs without values from outside, for tests of single operators.
    pub fn new(values: Vec<Option<Tensor>>) -> Self {
        Self { values, captured: Vec::new() }
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

/// The values of a run in progress.
struct Slots {
    values: Vec<Option<Tensor>>,
    sizes: Vec<u64>,
}

impl Slots {
    fn put(&mut self, slot: usize, tensor: Tensor, counted_bytes: u64) {
        self.sizes[slot] = counted_bytes;
        self.values[slot] = Some(tensor);
    }

    fn fetch(&mut self, source: &Source) -> Option<Tensor> {
        match source {
            Source::Absent => None,
            Source::Constant(tensor) => Some(tensor.clone()),
            Source::Slot { slot, last: true } => self.values[*slot].take(),
            Source::Slot { slot, last: false } => self.values[*slot].clone(),
        }
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
        if arguments.len() != self.inputs.len() {
            let (expected, came) = (self.inputs.len(), arguments.len());
            return Err(failure::arity(format!("expected {expected} inputs, got {came}")));
        }
        let entry_bytes = context.live();
        let mut slots = Slots { values: vec![None; self.slots], sizes: vec![0; self.slots] };
        for (slot, tensor) in self.inputs.iter().zip(arguments) {
            let size = tensor.size_bytes();
            context.grow(size)?;
            slots.put(*slot, tensor, size);
        }
        for (slot, tensor) in self.captures.iter().zip(captured) {
            slots.put(*slot, tensor.clone(), 0);
        }
        for step in &self.steps {
            step.run(&mut slots, context).map_err(|f| Failure::new(f.code, format!("{}: {}", step.label, f.reason)))?;
        }
        let outputs = self
            .outputs
            .iter()
            .map(|source| slots.fetch(source).ok_or_else(|| failure::undefined("an output has no value")));
        let outputs = outputs.collect();
        context.set_live(entry_bytes)?;
        outputs
    }
}

impl Step {
    fn run(&self, slots: &mut Slots, context: &Context) -> Result<(), Failure> {
        let live = context.live();
        let values: Vec<_> = self.inputs.iter().map(|source| slots.fetch(source)).collect();
        let captured: Vec<_> = self.captured.iter().filter_map(|source| slots.fetch(source)).collect();
        let read: u64 = values.iter().flatten().map(Tensor::size_bytes).sum();
        let mut inputs = Inputs { values, captured };
        let outputs = (self.kernel)(&mut inputs, context)?;
        drop(inputs);
        if outputs.len() < self.outputs.len() {
            return Err(failure::arity(format!("expected {} outputs, got {}", self.outputs.len(), outputs.len())));
        }
        let mut written = 0;
        for (slot, tensor) in self.outputs.iter().zip(outputs) {
            if let Some(slot) = slot {
                let size = tensor.size_bytes();
                written += size;
                slots.put(*slot, tensor, size);
            }
        }
        context.count_moved(read + written);
        let freed = slots.freed_bytes(self.inputs.iter().chain(&self.captured));
        context.set_live(live + written)?;
        context.set_live(live + written - freed)
    }
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
