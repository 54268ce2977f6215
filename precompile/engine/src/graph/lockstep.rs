//! Many runs of one plan, step by step.
//!
//! Where a step multiplies rows by constant weights, the rows of all runs are one product: a row's sum does not depend on
//! the rows beside it, so no run can tell. Every other step runs for each run alone, on whatever threads there are. So runs
//! need neither equal lengths nor padding, and each counts its memory as if it were alone.

use std::ops::Range;

use super::context::Context;
use super::plan::{Inputs, Plan, Ready, Slots, Step};
use crate::failure::Failure;
use crate::pool;
use crate::tensor::Tensor;

/// A run in progress.
struct Member {
    slots: Slots<Tensor>,
    context: Context,
    failure: Option<Failure>,
}

impl Plan {
    /// The outputs of each run; a run that is a failure already stays one. Each gets a context of its own.
    pub(crate) fn run_together(
        &self,
        runs: Vec<Result<Vec<Tensor>, Failure>>,
        context: impl Fn() -> Context,
    ) -> Vec<Result<Vec<Tensor>, Failure>> {
        let begin = |arguments: Result<Vec<Tensor>, Failure>| {
            let context = context();
            let (slots, _) = self.enter(arguments?, &context)?;
            Ok(Member { slots, context, failure: None })
        };
        let mut members: Vec<Result<Member, Failure>> = runs.into_iter().map(begin).collect();
        self.lockstep(&mut members);
        let end = |member: Result<Member, Failure>| {
            let mut member = member?;
            match member.failure.take() {
                Some(failure) => Err(failure),
                None => self.outputs.iter().map(|source| Self::output(&mut member.slots, source)).collect(),
            }
        };
        members.into_iter().map(end).collect()
    }

    /// Weights that rows of many runs are multiplied by together, in elements.
    pub(crate) fn shared_weights(&self) -> usize {
        self.steps.iter().filter_map(|step| step.by_rows).sum()
    }

    /// Step after step, each for all members.
    fn lockstep(&self, members: &mut [Result<Member, Failure>]) {
        let mut end = 0;
        for part in self.steps.chunk_by(|one, next| one.by_rows.is_none() && next.by_rows.is_none()) {
            let range = end..end + part.len();
            end = range.end;
            let running = members.iter_mut().flatten().filter(|member| member.failure.is_none());
            let running: Vec<&mut Member> = running.collect();
            match part {
                [step] if step.by_rows.is_some() => step.run_rows(running),
                _ => pool::each(running, || (), |(), member| member.run(self, range.clone())),
            }
        }
    }
}

impl Member {
    /// Runs steps until one fails.
    fn run(&mut self, plan: &Plan, steps: Range<usize>) {
        self.failure = plan.run_steps(steps, &mut self.slots, &self.context).err();
    }
}

impl Step {
    /// Runs the step for all members: one product of all their rows, or, where they do not fit together, one by one.
    fn run_rows(&self, members: Vec<&mut Member>) {
        let mut ready: Vec<(&mut Member, Ready)> = Vec::with_capacity(members.len());
        for member in members {
            let taken = self.ready(&mut member.slots, &member.context);
            ready.push((member, taken));
        }
        match self.product(&ready) {
            Some(parts) => {
                for ((member, ready), part) in ready.into_iter().zip(parts) {
                    let Member { slots, context, failure } = member;
                    // What the kernel counts for a run alone.
                    let claimed = context.claim::<f32>(part.len());
                    context.count_macs(part.len() as u64 * width(&ready.inputs).unwrap_or(0) as u64);
                    let Ready { inputs, live, read } = ready;
                    drop(inputs);
                    let left = claimed.and_then(|()| self.leave(slots, vec![part], live, read, context));
                    *failure = left.map_err(|stopped| self.named(stopped)).err();
                }
            }
            None => {
                for (member, ready) in ready {
                    let ran = self.run_ready(ready, &mut member.slots, &member.context);
                    member.failure = ran.map_err(|failure| self.named(failure)).err();
                }
            }
        }
    }

    /// The output of each member out of one product, if there is one.
    fn product(&self, ready: &[(&mut Member, Ready)]) -> Option<Vec<Tensor>> {
        let (first, others) = ready.split_first()?;
        let k = width(&first.1.inputs)?;
        if others.is_empty() || others.iter().any(|(_, ready)| width(&ready.inputs) != Some(k)) {
            return None;
        }
        let mut rows = Vec::with_capacity(ready.iter().map(|(_, ready)| ready.read as usize / size_of::<f32>()).sum());
        for (_, ready) in ready {
            rows.extend_from_slice(ready.inputs.get(0).ok()?.values::<f32>().ok()?);
        }
        let left = Tensor::new([rows.len() / k, k], rows).ok()?;
        let context = Context::unbounded(first.0.context.isa());
        let mut inputs = Inputs::new(vec![Some(left), None]);
        let product = (self.kernel)(&mut inputs, &context).ok()?.into_iter().next()?;
        let columns = *product.shape().last()?;
        let mut rest = product.values::<f32>().ok()?;
        let part = |(_, ready): &(&mut Member, Ready)| {
            let mut shape = ready.inputs.get(0).ok()?.shape().to_vec();
            let count = shape[..shape.len() - 1].iter().product::<usize>() * columns;
            *shape.last_mut()? = columns;
            let (mine, others) = rest.split_at_checked(count)?;
            rest = others;
            Tensor::new(shape, mine.to_vec()).ok()
        };
        ready.iter().map(part).collect()
    }
}

/// Length of the rows of the left operand, where it has rows of `float`.
fn width(inputs: &Inputs) -> Option<usize> {
    let left = inputs.optional(0)?;
    left.values::<f32>().ok()?;
    left.shape().last().copied().filter(|k| *k > 0)
}
