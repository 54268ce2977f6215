//! The steps by which sums of `int32` become `int8` again in graphs of integers, as one step each.
//!
//! `exact-i8/v1` writes them with ordinary operators on `int64`: what they compute follows from the graph alone, on any
//! engine. Here the whole chain is done to each piece of a product that is complete. Chains are found by constants and
//! element types that are known when a model is loaded, so that what a run counts is the same everywhere, too.

use std::sync::Arc;

use super::node::Node;
use super::plan::{Inputs, Plan, Source, Step};
use crate::kernels::requantise::{LIFT, Requantise, Rounding, Term};
use crate::ops::{self, Kernel};
use crate::tensor::{ElementType, Tensor};

/// Largest magnitude of a zero point in a sum: far more than 8 bits need, far less than 64 bits hold.
const ZERO_MAX: i64 = 1 << 15;
/// Largest magnitude of a constant in a sum, for the same reason.
const ADDEND_MAX: i64 = 1 << 60;

/// What a step is in such a chain.
#[derive(Clone)]
pub(super) enum Role {
    /// A product by weights of the model.
    Product(Channels),
    /// An operation on the value and a constant.
    With(Operation, Tensor),
    /// The sum of two values.
    Sum,
    Cast(ElementType),
    /// Entries of a constant, chosen by the value.
    Table(Tensor),
    /// Whatever gives elements of a type.
    Gives(ElementType),
    /// Whatever gives elements of its first input.
    Moves,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

/// Where the channels of a product's output are.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    count: usize,
    /// Dimensions behind them.
    behind: usize,
}

impl Channels {
    /// The numbers that `constant` holds for each channel, or the one for all, if it broadcasts so.
    fn of(self, constant: &Tensor) -> Option<Vec<i32>> {
        let whole = match constant.element_type() {
            ElementType::I32 => constant.values::<i32>().ok()?.iter().map(|v| i64::from(*v)).collect(),
            _ => constant.values::<i64>().ok()?.to_vec(),
        };
        let narrow = whole.iter().map(|v| i32::try_from(*v).ok()).collect::<Option<Vec<_>>>()?;
        let shape = constant.shape();
        if shape.is_empty() {
            return Some(narrow);
        }
        let at = shape.len().checked_sub(1 + self.behind)?;
        let lined_up = shape[at] == self.count && at <= usize::from(self.behind > 0);
        let others = shape.iter().enumerate().all(|(axis, length)| axis == at || *length == 1);
        (lined_up && others).then_some(narrow)
    }
}

impl Role {
    pub(super) fn of(operator: &str, inputs: &[Source], node: &Node<'_>) -> Option<Self> {
        let operation = match operator {
            "Add" => Operation::Add,
            "Sub" => Operation::Sub,
            "Mul" => Operation::Mul,
            "Div" => Operation::Div,
            "Max" => Operation::Max,
            "Min" => Operation::Min,
            _ => return Self::of_others(operator, inputs, node),
        };
        match inputs {
            [Source::Slot { .. }, Source::Constant(constant)] => Some(Self::With(operation, constant.clone())),
            [Source::Constant(constant), Source::Slot { .. }] if operation == Operation::Add => {
                Some(Self::With(operation, constant.clone()))
            }
            [Source::Slot { .. }, Source::Slot { .. }] if operation == Operation::Add => Some(Self::Sum),
            _ => None,
        }
    }

    fn of_others(operator: &str, inputs: &[Source], node: &Node<'_>) -> Option<Self> {
        match (operator, inputs) {
            ("Cast", _) => {
                let to = i32::try_from(node.int("to", 0).ok()?).ok()?;
                ElementType::from_onnx(to).map(Self::Cast)
            }
            ("Gather", [Source::Constant(table), Source::Slot { .. }]) if table.rank() == 1 => {
                Some(Self::Table(table.clone()))
            }
            ("MatMulInteger", [_, Source::Constant(w), ..]) if w.rank() == 2 => {
                Some(Self::Product(Channels { count: w.shape()[1], behind: 0 }))
            }
            ("ConvInteger", [_, Source::Constant(w), ..]) if w.rank() > 2 => {
                Some(Self::Product(Channels { count: w.shape()[0], behind: w.rank() - 2 }))
            }
            ("QuantizeLinear", _) => node.constant(2).map(|zero| Self::Gives(zero.element_type())),
            (
                "Concat" | "Flatten" | "Identity" | "MaxPool" | "Reshape" | "Slice" | "Squeeze" | "Transpose"
                | "Unsqueeze",
                [Source::Slot { .. }, ..],
            ) => Some(Self::Moves),
            _ => None,
        }
    }
}

impl Inputs {
    /// What the sums of a product of integers become on the way, if anything: the kernel has to do it.
    pub(crate) fn requantise(&mut self) -> Option<Arc<Requantise>> {
        self.requantise.take()
    }
}

impl Plan {
    /// Makes one step of each chain. Before it is marked where values are used for the last time.
    pub(super) fn requantise(&mut self) {
        let search = Search::new(self);
        let mut gone = vec![false; self.steps.len()];
        let mut merged = Vec::new();
        for at in 0..self.steps.len() {
            if let Some(one) = search.merged(at) {
                one.steps.iter().for_each(|step| gone[*step] = true);
                merged.push((at, one));
            }
        }
        for (at, one) in merged {
            self.steps[at].become_merged(one);
        }
        let mut gone = gone.into_iter();
        self.steps.retain(|_| !gone.next().unwrap_or(false));
    }
}

impl Step {
    fn become_merged(&mut self, merged: Merged) {
        self.outputs = vec![Some(merged.output)];
        let (operands, kernel): (Vec<usize>, Kernel) = match merged.work {
            Work::Product(requantise) => {
                let requantise = Arc::new(requantise);
                let product = std::mem::replace(&mut self.kernel, Box::new(|_, _| Ok(Vec::new())));
                self.kernel = Box::new(move |inputs, context| {
                    inputs.requantise = Some(requantise.clone());
                    product(inputs, context)
                });
                return;
            }
            Work::Sum(operands, terms, rounding) => (operands.to_vec(), ops::quantized::added(terms, rounding)),
            Work::Moved(operand, term, addend, rounding) => {
                (vec![operand], ops::quantized::moved(term, addend, rounding))
            }
            Work::Table(operand, table) => (vec![operand], ops::quantized::looked_up(table)),
        };
        self.inputs = operands.into_iter().map(|slot| Source::Slot { slot, last: false }).collect();
        (self.kernel, self.device, self.elementwise) = (kernel, None, None);
    }
}

/// A chain as one step, in the place of one of its steps.
struct Merged {
    /// The others.
    steps: Vec<usize>,
    output: usize,
    work: Work,
}

enum Work {
    Product(Requantise),
    Sum([usize; 2], [Term; 2], Rounding),
    /// A sum with constants.
    Moved(usize, Term, Tensor, Rounding),
    Table(usize, Box<[i8; 256]>),
}

/// What a search for chains sees of a step.
struct Seen {
    role: Option<Role>,
    inputs: Vec<usize>,
    output: Option<usize>,
}

/// Looks for chains.
struct Search {
    steps: Vec<Seen>,
    /// For each value the step that makes it.
    makers: Vec<Option<usize>>,
    /// For each value how often it is used, and by which step the last time.
    users: Vec<(usize, Option<usize>)>,
    /// Types that are known.
    kinds: Vec<Option<ElementType>>,
}

fn slot_of(source: &Source) -> Option<usize> {
    if let Source::Slot { slot, .. } = source { Some(*slot) } else { None }
}

impl Search {
    fn new(plan: &Plan) -> Self {
        let mut search = Self {
            steps: Vec::with_capacity(plan.steps.len()),
            makers: vec![None; plan.slots],
            users: vec![(0, None); plan.slots],
            kinds: vec![None; plan.slots],
        };
        plan.outputs.iter().filter_map(slot_of).for_each(|slot| search.users[slot].0 += 1);
        for (at, step) in plan.steps.iter().enumerate() {
            step.captured.iter().filter_map(slot_of).for_each(|slot| search.users[slot].0 += 1);
            let inputs: Vec<usize> = step.inputs.iter().filter_map(slot_of).collect();
            inputs.iter().for_each(|slot| search.users[*slot] = (search.users[*slot].0 + 1, Some(at)));
            let output = step.only_output();
            if let Some(slot) = output {
                search.makers[slot] = Some(at);
                search.kinds[slot] = match &step.role {
                    Some(Role::Cast(kind) | Role::Gives(kind)) => Some(*kind),
                    Some(Role::Table(table)) => Some(table.element_type()),
                    Some(Role::Moves) => inputs.first().and_then(|slot| search.kinds[*slot]),
                    _ => None,
                };
            }
            search.steps.push(Seen { role: step.role.clone(), inputs, output });
        }
        search
    }

    fn merged(&self, at: usize) -> Option<Merged> {
        let step = &self.steps[at];
        match step.role.as_ref()? {
            Role::Product(channels) => self.product(*channels, step.output?),
            Role::Sum => self.sum(step),
            Role::With(Operation::Add, addend) => self.moved(step, addend),
            Role::Cast(ElementType::I32) => self.table(step),
            _ => None,
        }
    }

    fn product(&self, channels: Channels, sums: usize) -> Option<Merged> {
        let mut chain = Chain { search: self, steps: Vec::new(), value: sums };
        let bias = match chain.with(Operation::Add, ElementType::I32) {
            Some(bias) => channels.of(bias)?,
            None => vec![0],
        };
        chain.cast(ElementType::I64)?;
        let factors = channels.of(chain.with(Operation::Mul, ElementType::I64)?)?;
        if factors.contains(&i32::MIN) {
            return None;
        }
        let rounding = chain.rounding()?;
        Some(chain.merged(Work::Product(Requantise { bias, factors, rounding })))
    }

    fn sum(&self, step: &Seen) -> Option<Merged> {
        let [first, second] = step.inputs[..] else { return None };
        let mut chain = Chain { search: self, steps: Vec::new(), value: step.output? };
        let terms = [self.term(first, &mut chain.steps)?, self.term(second, &mut chain.steps)?];
        let rounding = chain.rounding()?;
        Some(chain.merged(Work::Sum(terms.map(|(slot, _)| slot), terms.map(|(_, term)| term), rounding)))
    }

    fn moved(&self, step: &Seen, addend: &Tensor) -> Option<Merged> {
        let ([scaled], Ok(numbers)) = (&step.inputs[..], addend.values::<i64>()) else { return None };
        let mut chain = Chain { search: self, steps: Vec::new(), value: step.output? };
        let (operand, term) = self.term(*scaled, &mut chain.steps)?;
        let rounding = chain.rounding()?;
        let fits = numbers.iter().all(|number| number.abs() <= ADDEND_MAX);
        fits.then(|| chain.merged(Work::Moved(operand, term, addend.clone(), rounding)))
    }

    /// What is scaled to be the value `scaled` of a sum, and how.
    fn term(&self, scaled: usize, steps: &mut Vec<usize>) -> Option<(usize, Term)> {
        let mut value = scaled;
        let mut back = |role: fn(&Role) -> Option<i64>| {
            let at = self.makers[value].filter(|_| self.users[value].0 == 1)?;
            let number = role(self.steps[at].role.as_ref()?)?;
            value = *self.steps[at].inputs.first()?;
            steps.push(at);
            Some(number)
        };
        let factor = back(|role| number(role, Operation::Mul, ElementType::I64))?;
        back(|role| matches!(role, Role::Cast(ElementType::I64)).then_some(0))?;
        let zero = back(|role| number(role, Operation::Sub, ElementType::I32))?;
        back(|role| matches!(role, Role::Cast(ElementType::I32)).then_some(0))?;
        let factor = i32::try_from(factor).ok().filter(|factor| *factor != i32::MIN)?;
        let zero = Some(zero).filter(|zero| zero.abs() <= ZERO_MAX)? as i32;
        (self.kinds[value] == Some(ElementType::I8)).then_some((value, Term { zero, factor }))
    }

    fn table(&self, step: &Seen) -> Option<Merged> {
        let [value] = step.inputs[..] else { return None };
        let mut chain = Chain { search: self, steps: Vec::new(), value: step.output? };
        let low = single(chain.with(Operation::Add, ElementType::I32)?)?;
        let Role::Table(table) = chain.next()? else { return None };
        let table = table.values::<i8>().ok()?.try_into().ok()?;
        let fits = low == 128 && self.kinds[value] == Some(ElementType::I8);
        fits.then(|| chain.merged(Work::Table(value, Box::new(table))))
    }
}

/// The number of a constant without dimensions.
fn single(constant: &Tensor) -> Option<i64> {
    if constant.rank() != 0 {
        return None;
    }
    match constant.element_type() {
        ElementType::I32 => constant.values::<i32>().ok()?.first().map(|v| i64::from(*v)),
        _ => constant.values::<i64>().ok()?.first().copied(),
    }
}

fn number(role: &Role, operation: Operation, kind: ElementType) -> Option<i64> {
    match role {
        Role::With(own, constant) if *own == operation && constant.element_type() == kind => single(constant),
        _ => None,
    }
}

/// Steps of which each alone uses what the one before made.
struct Chain<'a> {
    search: &'a Search,
    steps: Vec<usize>,
    value: usize,
}

impl<'a> Chain<'a> {
    fn next(&mut self) -> Option<&'a Role> {
        let (1, Some(at)) = self.search.users[self.value] else { return None };
        let step = &self.search.steps[at];
        let role = step.role.as_ref()?;
        self.value = step.output?;
        self.steps.push(at);
        Some(role)
    }

    /// Goes on where the next step is this operation.
    fn with(&mut self, operation: Operation, kind: ElementType) -> Option<&'a Tensor> {
        let before = (self.value, self.steps.len());
        match self.next() {
            Some(Role::With(own, constant)) if *own == operation && constant.element_type() == kind => Some(constant),
            _ => {
                self.value = before.0;
                self.steps.truncate(before.1);
                None
            }
        }
    }

    fn cast(&mut self, kind: ElementType) -> Option<()> {
        matches!(self.next()?, Role::Cast(own) if *own == kind).then_some(())
    }

    /// From scaled sums to `int8`.
    fn rounding(&mut self) -> Option<Rounding> {
        let mut number = |operation| single(self.with(operation, ElementType::I64)?);
        let (lift, divisor, back) = (number(Operation::Add)?, number(Operation::Div)?, number(Operation::Sub)?);
        let (least, most) = (number(Operation::Max)?, number(Operation::Min)?);
        self.cast(ElementType::I8)?;
        let fits = (LIFT..LIFT + (1 << 31)).contains(&lift) && divisor > 0 && divisor.count_ones() == 1 && back >= 0;
        let (least, most) = (i8::try_from(least).ok()?, i8::try_from(most).ok()?);
        fits.then_some(Rounding { lift, shift: divisor.trailing_zeros(), back, least, most })
    }

    fn merged(self, work: Work) -> Merged {
        Merged { steps: self.steps, output: self.value, work }
    }
}

#[cfg(test)]
mod tests;
