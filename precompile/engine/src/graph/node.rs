//! What an operator's builder sees of its node.

use std::cell::RefCell;
use std::sync::Arc;

use super::build::Compiler;
use super::context::Context;
use super::plan::{Inputs, Plan};
use crate::failure::Failure;
use crate::kernels::Isa;
use crate::onnx::LoadError;
use crate::onnx::proto::{AttributeProto, NodeProto, attribute_type as code};
use crate::tensor::Tensor;

/// A node while the model is loaded.
pub struct Node<'a> {
    pub(super) proto: &'a NodeProto,
    pub(super) opset: i64,
    pub(super) constants: Vec<Option<Tensor>>,
    pub(super) absorbed: RefCell<Vec<usize>>,
    pub(super) compiler: RefCell<&'a mut Compiler>,
}

impl<'a> Node<'a> {
    /// Name of the node, or of its first output.
    pub fn name(&self) -> &str {
        name_of(self.proto)
    }

    /// `op_type`.
    pub fn op(&self) -> &str {
        self.proto.op_type.as_deref().unwrap_or_default()
    }

    /// Version of the operator set.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// Instruction set that the model will run with: packed constants are laid out for it.
    pub fn isa(&self) -> Isa {
        self.compiler.borrow().isa
    }

    pub(super) fn offloads(&self) -> bool {
        self.compiler.borrow().offloads()
    }

    /// Number of inputs listed, absent ones in between included.
    pub fn inputs(&self) -> usize {
        self.proto.input.len()
    }

    /// Whether input `index` is there.
    pub fn has_input(&self, index: usize) -> bool {
        self.proto.input.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Number of outputs listed; a kernel returns as many tensors, or more.
    pub fn outputs(&self) -> usize {
        self.proto.output.len()
    }

    /// Whether somebody may use output `index`.
    pub fn has_output(&self, index: usize) -> bool {
        self.proto.output.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Input `index`, if it is known at load.
    pub fn constant(&self, index: usize) -> Option<&Tensor> {
        self.constants.get(index)?.as_ref()
    }

    /// As [`Node::constant`]; the kernel keeps what it needs of it, and will find the input absent.
    pub fn absorb(&self, index: usize) -> Option<Tensor> {
        let tensor = self.constant(index)?.clone();
        self.absorbed.borrow_mut().push(index);
        Some(tensor)
    }

    /// A load error about this node. Say what was expected, what came, and what to do.
    pub fn error(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Node { node: self.name().into(), op: self.op().into(), reason: reason.into() }
    }

    /// The error of a check at load that kernels make, too.
    pub fn failure(&self, failure: Failure) -> LoadError {
        self.error(failure.reason)
    }

    /// Whether the attribute is there.
    pub fn has(&self, name: &str) -> bool {
        self.proto.attribute.iter().any(|a| a.name.as_deref() == Some(name))
    }

    fn attribute(&self, name: &str, kind: i32) -> Result<Option<&'a AttributeProto>, LoadError> {
        let Some(found) = self.proto.attribute.iter().find(|a| a.name.as_deref() == Some(name)) else {
            return Ok(None);
        };
        if found.ref_attr_name.as_deref().is_some_and(|r| !r.is_empty()) {
            return Err(self.error(format!("attribute {name} refers to a function's attribute outside of a function")));
        }
        // Before IR version 2 the kind was not written.
        match found.r#type {
            None | Some(0) => Ok(Some(found)),
            Some(k) if k == kind => Ok(Some(found)),
            Some(k) => Err(self.error(format!("attribute {name} is of kind {k}, expected {kind}"))),
        }
    }

    /// An integer attribute.
    pub fn int(&self, name: &str, default: i64) -> Result<i64, LoadError> {
        Ok(self.attribute(name, code::INT)?.map_or(default, |a| a.i.unwrap_or(0)))
    }

    /// An integer attribute that is 0 or not.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, LoadError> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    /// A float attribute.
    pub fn float(&self, name: &str, default: f32) -> Result<f32, LoadError> {
        Ok(self.attribute(name, code::FLOAT)?.map_or(default, |a| a.f.unwrap_or(0.0)))
    }

    /// A text attribute.
    pub fn string(&self, name: &str, default: &str) -> Result<String, LoadError> {
        match self.attribute(name, code::STRING)? {
            None => Ok(default.to_owned()),
            Some(a) => self.text(name, a.s.as_deref().unwrap_or_default()),
        }
    }

    /// A list of integers, or `None` where it is absent.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, LoadError> {
        Ok(self.attribute(name, code::INTS)?.map(|a| a.ints.clone()))
    }

    /// A list of floats, or `None` where it is absent.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, LoadError> {
        Ok(self.attribute(name, code::FLOATS)?.map(|a| a.floats.clone()))
    }

    /// A list of texts, or `None` where it is absent.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, LoadError> {
        let Some(found) = self.attribute(name, code::STRINGS)? else { return Ok(None) };
        found.strings.iter().map(|s| self.text(name, s)).collect::<Result<_, _>>().map(Some)
    }

    fn text(&self, name: &str, bytes: &[u8]) -> Result<String, LoadError> {
        let text = std::str::from_utf8(bytes).map_err(|_| self.error(format!("attribute {name} is not UTF-8")))?;
        Ok(text.to_owned())
    }

    /// A tensor, or `None` where it is absent.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>, LoadError> {
        let Some(found) = self.attribute(name, code::TENSOR)? else { return Ok(None) };
        let proto = found.t.as_ref().ok_or_else(|| self.error(format!("attribute {name} holds no tensor")))?;
        self.compiler.borrow_mut().read_constant(proto).map(Some)
    }

    /// A graph to run inside this node, or `None` where it is absent.
    pub fn subgraph(&self, name: &str) -> Result<Option<Subgraph>, LoadError> {
        let Some(found) = self.attribute(name, code::GRAPH)? else { return Ok(None) };
        let graph = found.g.as_ref().ok_or_else(|| self.error(format!("attribute {name} holds no graph")))?;
        self.compiler.borrow_mut().subgraph(graph).map(Some)
    }
}

/// Name by which messages speak of a node.
pub(super) fn name_of(proto: &NodeProto) -> &str {
    let named = proto.name.as_deref().filter(|name| !name.is_empty());
    named.or_else(|| proto.output.first().map(String::as_str)).unwrap_or("without a name")
}

/// A graph inside a node: a branch of `If`, the body of `Loop` or `Scan`.
pub struct Subgraph {
    pub(super) plan: Arc<Plan>,
    pub(super) first_capture: usize,
}

impl Subgraph {
    /// Number of inputs, values taken from outside not counted.
    pub fn inputs(&self) -> usize {
        self.plan.inputs.len()
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.plan.outputs.len()
    }

    /// Runs it on `arguments`. `inputs` are those of the node that holds it: they carry the values from outside.
    pub fn run(&self, arguments: Vec<Tensor>, inputs: &Inputs, context: &Context) -> Result<Vec<Tensor>, Failure> {
        let range = self.first_capture..self.first_capture + self.plan.captures.len();
        self.plan.run(arguments, &inputs.captured[range], context)
    }
}
