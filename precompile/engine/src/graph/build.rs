//! Compiling a graph: names become slots, constants are folded, what nobody needs is left out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::context::Context;
use super::fuse::Elementwise;
use super::node::{Node, Subgraph, name_of};
use super::offload::{self, DeviceStep};
use super::order::sorted;
use super::plan::{Inputs, Plan, Source, Step};
use super::requantise::Role;
use super::turn::Turned;
use crate::cuda::Accelerator;
use crate::kernels::Isa;
use crate::onnx::error::invalid;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto};
use crate::onnx::tensors::Constants;
use crate::onnx::{Limits, LoadError};
use crate::ops;
use crate::tensor::Tensor;

/// Largest constant that folding makes: larger ones are computed on each run and freed again.
const FOLDED_BYTES_MAX: u64 = 16 << 20;
/// Multiply-adds that folding may spend: a hostile file must not keep a node busy while it loads.
const FOLDED_MACS_MAX: u64 = 1 << 33;

/// Opset versions by domain; the default domain is the empty name.
pub(crate) type Opsets = HashMap<String, i64>;

/// State of compiling a model; scopes are nested as the graphs are.
pub(super) struct Compiler {
    pub(super) isa: Isa,
    accelerator: Option<Accelerator>,
    pub(super) limits: Limits,
    opsets: Opsets,
    constants: Constants,
    scopes: Vec<Scope>,
    nodes: usize,
    folded_bytes: u64,
    folded_macs: u64,
}

/// Names visible in a graph.
#[derive(Default)]
struct Scope {
    names: HashMap<String, Source>,
    /// Names of values that are transposes of others, not done so far.
    turned: HashMap<String, Turned>,
    plan: Plan,
    /// Where the values from outside come from, in the graph around.
    captured: Vec<Source>,
    /// Values from outside that the subgraphs of the node at hand need.
    wanted: Vec<Source>,
}

/// Compiles the graph of a model. Each constant's own bytes are freed once it is read, so that all constants are never in
/// memory twice.
pub(crate) fn compile(
    mut graph: GraphProto,
    opsets: Opsets,
    constants: Constants,
    isa: Isa,
    limits: &Limits,
    accelerator: Option<&Accelerator>,
) -> Result<Plan, LoadError> {
    let mut compiler = Compiler {
        isa,
        accelerator: accelerator.cloned(),
        limits: limits.clone(),
        opsets,
        constants,
        scopes: Vec::new(),
        nodes: 0,
        folded_bytes: 0,
        folded_macs: 0,
    };
    let constants = graph.initializer.iter_mut().map(|proto| {
        let tensor = compiler.constants.read(proto);
        *proto = TensorProto { name: proto.name.take(), ..Default::default() };
        tensor
    });
    let constants = constants.collect::<Result<_, _>>()?;
    Ok(compiler.graph(&graph, constants)?.plan)
}

impl Compiler {
    pub(super) fn read_constant(&mut self, proto: &TensorProto) -> Result<Tensor, LoadError> {
        self.constants.read(proto)
    }

    pub(super) fn subgraph(&mut self, graph: &GraphProto) -> Result<Subgraph, LoadError> {
        let constants = graph.initializer.iter().map(|proto| self.constants.read(proto)).collect::<Result<_, _>>()?;
        let done = self.graph(graph, constants)?;
        let outer = self.scope();
        let first_capture = outer.wanted.len();
        outer.wanted.extend(done.captured);
        Ok(Subgraph { plan: Arc::new(done.plan), first_capture })
    }

    fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("a graph is being compiled")
    }

    fn graph(&mut self, graph: &GraphProto, constants: Vec<Tensor>) -> Result<Scope, LoadError> {
        if self.scopes.len() >= self.limits.depth_max {
            let (value, max) = (self.scopes.len() as u64 + 1, self.limits.depth_max as u64);
            return Err(LoadError::TooLarge { what: "the depth of nested graphs", value, max });
        }
        self.scopes.push(Scope::default());
        self.declare(graph, constants)?;
        for index in sorted(graph)? {
            self.node(&graph.node[index])?;
        }
        for output in &graph.output {
            let name = output.name.as_deref().unwrap_or_default();
            let source = self.resolve(name)?.ok_or_else(|| invalid(format!("output {name} is computed by no node")))?;
            self.scope().plan.outputs.push(source);
        }
        let mut scope = self.scopes.pop().expect("pushed above");
        scope.plan.prune();
        scope.plan.requantise();
        scope.plan.mark_last_uses();
        scope.plan.group();
        Ok(scope)
    }

    fn declare(&mut self, graph: &GraphProto, constants: Vec<Tensor>) -> Result<(), LoadError> {
        if !graph.sparse_initializer.is_empty() {
            return Err(invalid("sparse initializers are not supported: store the constants dense"));
        }
        for (proto, tensor) in graph.initializer.iter().zip(constants) {
            self.define(proto.name.as_deref().unwrap_or_default(), Source::Constant(tensor))?;
        }
        let constants: HashSet<&str> = graph.initializer.iter().filter_map(|i| i.name.as_deref()).collect();
        for input in &graph.input {
            let name = input.name.as_deref().unwrap_or_default();
            if !constants.contains(name) {
                let slot = self.new_slot();
                self.scope().plan.inputs.push(slot);
                self.define(name, Source::Slot { slot, last: false })?;
            }
        }
        Ok(())
    }

    fn new_slot(&mut self) -> usize {
        let plan = &mut self.scope().plan;
        plan.slots += 1;
        plan.slots - 1
    }

    pub(super) fn define(&mut self, name: &str, source: Source) -> Result<(), LoadError> {
        self.free_name(name)?;
        self.scope().names.insert(name.to_owned(), source);
        Ok(())
    }

    pub(super) fn define_turned(&mut self, name: &str, turned: Turned) -> Result<(), LoadError> {
        self.free_name(name)?;
        self.scope().turned.insert(name.to_owned(), turned);
        Ok(())
    }

    fn free_name(&mut self, name: &str) -> Result<(), LoadError> {
        if name.is_empty() {
            return Err(invalid("an input or constant has no name"));
        }
        let scope = self.scope();
        if scope.names.contains_key(name) || scope.turned.contains_key(name) {
            return Err(invalid(format!("the name {name} is defined twice")));
        }
        Ok(())
    }

    /// What `name` is a transpose of, in the graph at hand.
    pub(super) fn turned(&self, name: &str) -> Option<&Turned> {
        self.scopes.last()?.turned.get(name)
    }

    pub(super) fn take_turned(&mut self, name: &str) -> Option<Turned> {
        self.scope().turned.remove(name)
    }

    /// What `name` means, if the graph at hand defines it.
    pub(super) fn own(&self, name: &str) -> Option<Source> {
        self.scopes.last()?.names.get(name).cloned()
    }

    pub(super) fn opset(&self, domain: &str) -> i64 {
        self.opsets.get(domain).copied().unwrap_or(0)
    }

    /// What `name` means in the innermost graph; a value of a graph around is captured on the way.
    fn resolve(&mut self, name: &str) -> Result<Option<Source>, LoadError> {
        self.unturn(name)?;
        let Some(depth) = self.scopes.iter().rposition(|scope| scope.names.contains_key(name)) else { return Ok(None) };
        let mut source = self.scopes[depth].names[name].clone();
        if matches!(source, Source::Slot { .. }) {
            for scope in &mut self.scopes[depth + 1..] {
                let slot = scope.plan.slots;
                scope.plan.slots += 1;
                scope.plan.captures.push(slot);
                scope.captured.push(source);
                source = Source::Slot { slot, last: false };
                scope.names.insert(name.to_owned(), source.clone());
            }
        }
        Ok(Some(source))
    }

    fn node(&mut self, proto: &NodeProto) -> Result<(), LoadError> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes_max {
            return Err(LoadError::TooLarge {
                what: "the number of nodes",
                value: self.nodes as u64,
                max: self.limits.nodes_max as u64,
            });
        }
        if self.turn(proto)? {
            return Ok(());
        }
        if nests(proto) {
            // Graphs inside see plain values only.
            let mut names: Vec<_> = self.scope().turned.keys().cloned().collect();
            names.sort();
            names.iter().try_for_each(|name| self.unturn(name))?;
        }
        self.place(proto)
    }

    /// Builds a node and appends it to the plan.
    pub(super) fn place(&mut self, proto: &NodeProto) -> Result<(), LoadError> {
        let (operator, opset) = self.operator(proto)?;
        let mut inputs = Vec::with_capacity(proto.input.len());
        for name in &proto.input {
            let missing = || invalid(format!("node {} uses {name}, which nothing defines", name_of(proto)));
            inputs.push(if name.is_empty() { Source::Absent } else { self.resolve(name)?.ok_or_else(missing)? });
        }
        let constant =
            |source: &Source| if let Source::Constant(tensor) = source { Some(tensor.clone()) } else { None };
        let constants = inputs.iter().map(constant).collect();
        self.scope().wanted.clear();
        let node = Node { proto, opset, constants, absorbed: Default::default(), compiler: (&mut *self).into() };
        let weights = node.constant(1).map(Tensor::len);
        let kernel = (operator.build)(&node)?;
        let role = if operator.domain.is_empty() { Role::of(operator.name, &inputs, &node) } else { None };
        let offloaded = if node.offloads() { ops::cuda::build(operator, &node) } else { None };
        let rows_alone = match operator.name {
            "MatMul" | "MatMulNBits" => true,
            "Gemm" => proto.input.len() == 2 && !node.flag("transA", false)?,
            _ => false,
        };
        let absorbed = node.absorbed.into_inner();
        let by_rows = weights.filter(|_| rows_alone && absorbed.contains(&1));
        let device = offloaded.and_then(|kernel| self.on_device(kernel, &inputs));
        for index in absorbed {
            inputs[index] = Source::Absent;
        }
        let captured = std::mem::take(&mut self.scope().wanted);
        let label = format!("{} ({})", name_of(proto), operator.name);
        let nested = nests(proto);
        let elementwise =
            if operator.domain.is_empty() { Elementwise::of(operator.name, opset, &inputs) } else { None };
        let multiplies =
            operator.domain.is_empty() && matches!(operator.name, "Conv" | "ConvTranspose" | "Gemm" | "MatMul");
        let step = Step {
            label,
            kernel,
            inputs,
            captured,
            outputs: Vec::new(),
            nested,
            elementwise,
            group: None,
            multiplies,
            tail: None,
            role,
            device,
            by_rows,
        };
        self.finish(proto, step)
    }

    /// A step's part on the device; where that breaks down already now, the step stays on the CPU.
    fn on_device(&self, kernel: ops::cuda::Offloaded, inputs: &[Source]) -> Option<DeviceStep> {
        let constants = offload::constants(inputs, self.accelerator.as_ref()?);
        constants.ok().map(|constants| DeviceStep { kernel, constants })
    }

    /// Whether steps of the graph at hand may run on a device: those of graphs in nodes do not.
    pub(super) fn offloads(&self) -> bool {
        self.accelerator.is_some() && self.scopes.len() == 1
    }

    fn operator(&self, proto: &NodeProto) -> Result<(&'static ops::Operator, i64), LoadError> {
        let op = proto.op_type.as_deref().unwrap_or_default();
        let domain = proto.domain.as_deref().filter(|d| *d != "ai.onnx").unwrap_or_default();
        let node = || name_of(proto).to_owned();
        if let Some(reason) = super::refused::reason(domain, op) {
            return Err(LoadError::Refused { node: node(), op: op.to_owned(), reason });
        }
        let opset = self.opset(domain);
        let hint = match domain {
            "" | "ai.onnx.ml" if opset == 0 => "the model does not import this operator set: export it again",
            "" | "ai.onnx.ml" => "export the model with other operators, or register it with the tolerance profile",
            _ => "custom operator sets are refused: export the model with standard ONNX operators",
        };
        let domain_shown = if domain.is_empty() { String::new() } else { format!("{domain}::") };
        let unknown =
            || LoadError::UnsupportedOperator { domain: domain_shown, op: op.to_owned(), opset, node: node(), hint };
        ops::find(domain, op, opset).map(|operator| (operator, opset)).ok_or_else(unknown)
    }

    /// Folds the step or appends it to the plan, and defines its outputs.
    fn finish(&mut self, proto: &NodeProto, mut step: Step) -> Result<(), LoadError> {
        if let Some(tensors) = self.fold(&step, proto.output.len()) {
            for (name, tensor) in proto.output.iter().zip(tensors).filter(|(name, _)| !name.is_empty()) {
                self.define(name, Source::Constant(tensor))?;
            }
            return Ok(());
        }
        for name in &proto.output {
            if name.is_empty() {
                step.outputs.push(None);
                continue;
            }
            let slot = self.new_slot();
            self.define(name, Source::Slot { slot, last: false })?;
            step.outputs.push(Some(slot));
        }
        self.scope().plan.steps.push(step);
        Ok(())
    }

    /// The outputs, where they depend on constants only, are small and exist. A failure is left to the run: the node
    /// may be in a branch that is never taken.
    fn fold(&mut self, step: &Step, outputs: usize) -> Option<Vec<Tensor>> {
        let fixed = |source: &Source| !matches!(source, Source::Slot { .. });
        if !step.inputs.iter().all(fixed) || step.nested || self.folded_macs > FOLDED_MACS_MAX {
            return None;
        }
        let limits =
            Limits { run_bytes_max: 4 * FOLDED_BYTES_MAX.min(self.limits.run_bytes_max), ..self.limits.clone() };
        let value = |source: &Source| if let Source::Constant(tensor) = source { Some(tensor.clone()) } else { None };
        let mut inputs = Inputs::new(step.inputs.iter().map(value).collect());
        let context = Context::new(self.isa, &limits);
        let tensors = (step.kernel)(&mut inputs, &context);
        self.folded_macs = self.folded_macs.saturating_add(context.cost().macs);
        let tensors = tensors.ok()?;
        let bytes: u64 = tensors.iter().map(Tensor::size_bytes).sum();
        let total = self.folded_bytes.saturating_add(bytes);
        if tensors.len() < outputs || bytes > FOLDED_BYTES_MAX || total > self.limits.weights_bytes_max {
            return None;
        }
        self.folded_bytes = total;
        Some(tensors)
    }
}

/// Whether a node holds graphs.
fn nests(proto: &NodeProto) -> bool {
    proto.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty())
}
