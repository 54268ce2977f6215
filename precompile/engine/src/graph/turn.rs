//! Transposes move behind the elementwise operators that follow them, and vanish where two of them meet.
//!
//! A graph exported from a framework that keeps channels last puts a transpose before and after each convolution, with
//! elementwise operators in between. Those compute the same elements in any layout, so a transposed value is only noted as
//! such (`Turned`); whoever needs it as it is gets a transpose, once. No element's bits change.

use super::build::Compiler;
use super::context::Context;
use super::plan::Source;
use crate::onnx::LoadError;
use crate::onnx::proto::{AttributeProto, NodeProto, attribute_type as code};
use crate::ops::layout::permute;
use crate::tensor::Tensor;

/// A value that is another one, `base`, with its axes in another order.
#[derive(Clone, PartialEq)]
pub(super) struct Turned {
    base: String,
    order: Vec<usize>,
}

/// Operators on each element of their first input; what else they take is constant.
const EACH: [&str; 18] = [
    "Abs",
    "Cast",
    "Clip",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Log",
    "Neg",
    "Reciprocal",
    "Relu",
    "Sigmoid",
    "Sqrt",
    "Tanh",
];
/// Operators on pairs of elements.
const PAIRS: [&str; 4] = ["Add", "Div", "Mul", "Sub"];

impl Compiler {
    /// Whether the node was done with, or put before the transpose of what it takes.
    pub(super) fn turn(&mut self, proto: &NodeProto) -> Result<bool, LoadError> {
        let plain = proto.domain.as_deref().is_none_or(|domain| domain.is_empty() || domain == "ai.onnx");
        if !plain || proto.output.len() != 1 || proto.input.is_empty() || self.opset("") < 7 {
            return Ok(false);
        }
        match proto.op_type.as_deref().unwrap_or_default() {
            "Transpose" => self.note(proto),
            op if EACH.contains(&op) => self.each(proto),
            op if PAIRS.contains(&op) && proto.input.len() == 2 => self.pair(proto),
            _ => Ok(false),
        }
    }

    /// Notes a transpose instead of doing it.
    fn note(&mut self, proto: &NodeProto) -> Result<bool, LoadError> {
        let (input, output) = (&proto.input[0], &proto.output[0]);
        let Some(order) = order_of(proto) else { return Ok(false) };
        let turned = match self.turned(input) {
            Some(before) if before.order.len() != order.len() => return Ok(false),
            Some(before) => {
                Turned { base: before.base.clone(), order: order.iter().map(|a| before.order[*a]).collect() }
            }
            None => Turned { base: input.clone(), order },
        };
        let Some(base @ Source::Slot { .. }) = self.own(&turned.base) else { return Ok(false) };
        if turned.order.is_sorted() {
            self.define(output, base)?;
        } else {
            self.define_turned(output, turned)?;
        }
        Ok(true)
    }

    fn each(&mut self, proto: &NodeProto) -> Result<bool, LoadError> {
        let Some(turned) = self.turned(&proto.input[0]).cloned() else { return Ok(false) };
        let constant = |name: &String| name.is_empty() || matches!(self.own(name), Some(Source::Constant(_)));
        if !proto.input[1..].iter().all(constant) {
            return Ok(false);
        }
        let mut inputs = proto.input.clone();
        inputs[0] = turned.base;
        self.before(proto, inputs, turned.order)
    }

    fn pair(&mut self, proto: &NodeProto) -> Result<bool, LoadError> {
        let both = [&proto.input[0], &proto.input[1]];
        let (inputs, order) = match both.map(|name| self.turned(name).cloned()) {
            [Some(a), Some(b)] if a.order == b.order => (vec![a.base, b.base], a.order),
            [Some(a), None] => match self.turned_back(both[1], &a.order, &proto.output[0])? {
                Some(b) => (vec![a.base, b], a.order),
                None => return Ok(false),
            },
            [None, Some(b)] => match self.turned_back(both[0], &b.order, &proto.output[0])? {
                Some(a) => (vec![a, b.base], b.order),
                None => return Ok(false),
            },
            _ => return Ok(false),
        };
        self.before(proto, inputs, order)
    }

    /// The node on the untransposed `inputs`; its output is what it gives, transposed.
    fn before(&mut self, proto: &NodeProto, inputs: Vec<String>, order: Vec<usize>) -> Result<bool, LoadError> {
        let output = &proto.output[0];
        let base = format!("{output} before its transpose");
        self.place(&NodeProto { input: inputs, output: vec![base.clone()], ..proto.clone() })?;
        self.define_turned(output, Turned { base, order })?;
        Ok(true)
    }

    /// A constant so that, transposed by `order`, it is `name`; `None` for what is no constant of at most that rank.
    fn turned_back(&mut self, name: &str, order: &[usize], of: &str) -> Result<Option<String>, LoadError> {
        let Some(Source::Constant(tensor)) = self.own(name) else { return Ok(None) };
        if tensor.rank() > order.len() {
            return Ok(None);
        }
        let back = |tensor: Tensor| {
            let mut shape = vec![1; order.len() - tensor.rank()];
            shape.extend(tensor.shape());
            let inverse: Vec<_> = (0..order.len()).filter_map(|axis| order.iter().position(|o| *o == axis)).collect();
            permute(&tensor.reshape(shape)?, &inverse, &Context::new(self.isa, &self.limits))
        };
        let Ok(constant) = back(tensor) else { return Ok(None) };
        let turned = format!("{name} of {of}, before its transpose");
        self.define(&turned, Source::Constant(constant))?;
        Ok(Some(turned))
    }

    /// Transposes a value that is only noted so far.
    pub(super) fn unturn(&mut self, name: &str) -> Result<(), LoadError> {
        let Some(turned) = self.take_turned(name) else { return Ok(()) };
        let order = AttributeProto {
            name: Some("perm".into()),
            ints: turned.order.iter().map(|axis| *axis as i64).collect(),
            r#type: Some(code::INTS),
            ..Default::default()
        };
        self.place(&NodeProto {
            name: Some(name.into()),
            op_type: Some("Transpose".into()),
            input: vec![turned.base],
            output: vec![name.into()],
            attribute: vec![order],
            ..Default::default()
        })
    }
}

/// The attribute `perm`, if it is a permutation.
fn order_of(proto: &NodeProto) -> Option<Vec<usize>> {
    let [AttributeProto { name: Some(name), ints, r#type: None | Some(code::INTS), .. }] = &proto.attribute[..] else {
        return None;
    };
    let order: Vec<usize> = ints.iter().filter_map(|axis| usize::try_from(*axis).ok()).collect();
    let permutes = !order.is_empty() && order.len() == ints.len() && (0..order.len()).all(|a| order.contains(&a));
    (name == "perm" && permutes).then_some(order)
}
