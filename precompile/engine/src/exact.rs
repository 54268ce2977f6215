//! The exact engine: the same bytes on any CPU, thread count and batch.
//!
//! ```no_run
//! use foreblock_engine::{ExactModel, LoadOptions, Pool, Tensor};
//!
//! let file = std::fs::read("model.onnx")?;
//! let model = ExactModel::load(file.into(), &LoadOptions::default())?;
//! let input = Tensor::new([1, 4], vec![0.1f32, 0.2, 0.3, 0.4])?;
//! let outputs = model.run(vec![input], &Pool::new(2))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::cuda::Accelerator;
use crate::failure::{self, Failure};
use crate::graph::{self, Context, Cost, Opsets, Plan, Stop};
use crate::kernels::Isa;
use crate::onnx::error::invalid;
use crate::onnx::proto::{DimensionValue, GraphProto, ModelProto, TypeProto, TypeValue, ValueInfoProto};
use crate::onnx::tensors::Constants;
use crate::onnx::{self, Limits, LoadError};
use crate::pool::Pool;
use crate::tensor::{Data, ElementType, Tensor};

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Bounds on file and runs.
    pub limits: Limits,
    /// Folder of the model: weights may lie in other files of it.
    pub folder: Option<PathBuf>,
    /// Instruction set to compute with; the best there is by default. No answer depends on it.
    pub isa: Option<Isa>,
    /// Device to compute on as far as it can; none by default. No answer depends on it.
    pub accelerator: Option<Accelerator>,
}

/// What a model takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSpec {
    /// Name in the graph.
    pub name: String,
    /// Type of the elements.
    pub element_type: ElementType,
    /// Length of each dimension, `None` where it is free. `None` where even the number of dimensions is.
    pub dims: Option<Vec<Option<usize>>>,
}

/// A model ready to run.
pub struct ExactModel {
    plan: Plan,
    inputs: Vec<ValueSpec>,
    outputs: Vec<ValueSpec>,
    limits: Limits,
    isa: Isa,
    accelerator: Option<Accelerator>,
}

impl ExactModel {
    /// Loads an ONNX file from memory.
    pub fn load(file: Bytes, options: &LoadOptions) -> Result<Self, LoadError> {
        Self::from_owned(onnx::decode(file, &options.limits)?, options)
    }

    /// Loads an ONNX file; its weights may lie in other files of its folder.
    pub fn open(path: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        let folder = options
            .folder
            .clone()
            .or_else(|| path.parent().map(|p| if p.as_os_str().is_empty() { ".".into() } else { p.to_owned() }));
        Self::from_owned(onnx::open(path, &options.limits)?, &LoadOptions { folder, ..options.clone() })
    }

    /// Loads a decoded model.
    pub fn from_proto(model: &ModelProto, options: &LoadOptions) -> Result<Self, LoadError> {
        Self::from_owned(model.clone(), options)
    }

    fn from_owned(mut model: ModelProto, options: &LoadOptions) -> Result<Self, LoadError> {
        let graph = model.graph.take().ok_or_else(|| invalid("the file holds no graph"))?;
        let (inputs, outputs) = specs(&graph)?;
        let isa = options.isa.unwrap_or_else(Isa::best);
        let accelerator = options.accelerator.clone();
        let constants = Constants::new(&options.limits, options.folder.as_deref());
        let plan = graph::compile(graph, opsets(&model), constants, isa, &options.limits, accelerator.as_ref())?;
        Ok(Self { plan, inputs, outputs, limits: options.limits.clone(), isa, accelerator })
    }

    /// What it takes, in order.
    pub fn inputs(&self) -> &[ValueSpec] {
        &self.inputs
    }

    /// What it gives, in order.
    pub fn outputs(&self) -> &[ValueSpec] {
        &self.outputs
    }

    /// Runs the model. Fails, the same on every machine, where inputs do not fit [`ExactModel::inputs`], where an
    /// operator has no answer, where memory is exceeded, and where a float output is NaN or infinite.
    pub fn run(&self, inputs: Vec<Tensor>, pool: &Pool) -> Result<Vec<Tensor>, Failure> {
        self.run_measured(inputs, pool).map(|(outputs, _)| outputs)
    }

    /// As [`ExactModel::run`], with what the run cost.
    pub fn run_measured(&self, inputs: Vec<Tensor>, pool: &Pool) -> Result<(Vec<Tensor>, Cost), Failure> {
        let (outputs, cost) = self.run_unchecked(inputs, pool)?;
        Ok((self.finite(outputs)?, cost))
    }

    /// Many runs together: for each what [`ExactModel::run`] gives, to the byte, whatever the others are. Faster, since
    /// weights are read once for all. The runs need not have equal shapes.
    pub fn run_together(&self, runs: Vec<Vec<Tensor>>, pool: &Pool) -> Vec<Result<Vec<Tensor>, Failure>> {
        let checked = runs.into_iter().map(|inputs| check_inputs(&self.inputs, &inputs).map(|()| inputs)).collect();
        let ended = pool.run(|| self.plan.run_together(checked, || Context::new(self.isa, &self.limits)));
        ended.into_iter().map(|outputs| self.finite(outputs?)).collect()
    }

    /// Elements of the weights that [`ExactModel::run_together`] reads once for all.
    pub(crate) fn shared_weights(&self) -> usize {
        self.plan.shared_weights()
    }

    fn finite(&self, outputs: Vec<Tensor>) -> Result<Vec<Tensor>, Failure> {
        match self.outputs.iter().zip(&outputs).find(|(_, tensor)| !is_finite(tensor)) {
            Some((spec, _)) => Err(failure::not_finite(format!("output {} holds NaN or infinity", spec.name))),
            None => Ok(outputs),
        }
    }

    /// As [`ExactModel::run_measured`], but NaN and infinity pass: for tests of operators.
    pub fn run_unchecked(&self, inputs: Vec<Tensor>, pool: &Pool) -> Result<(Vec<Tensor>, Cost), Failure> {
        check_inputs(&self.inputs, &inputs)?;
        if let Some(result) = self.run_on_device(&inputs, pool) {
            return result;
        }
        let context = Context::with_spares(self.isa, &self.limits, pool.spares());
        let outputs = pool.run(|| self.plan.run(inputs, &[], &context));
        let cost = context.cost();
        pool.keep(context.into_spares());
        Ok((outputs?, cost))
    }

    /// A run on the device; `None` where there is none, or where it breaks down.
    fn run_on_device(&self, inputs: &[Tensor], pool: &Pool) -> Option<Result<(Vec<Tensor>, Cost), Failure>> {
        let accelerator = self.accelerator.as_ref().filter(|accelerator| accelerator.breakdown().is_none())?;
        let context = Context::new(self.isa, &self.limits);
        match pool.run(|| self.plan.run_on(inputs.to_vec(), accelerator, &context)) {
            Ok(outputs) => Some(Ok((outputs, context.cost()))),
            Err(Stop::Failed(failure)) => Some(Err(failure)),
            Err(Stop::Broken(error)) => {
                accelerator.break_down(error);
                None
            }
        }
    }

    /// What a run on inputs of these shapes costs, found by running it on zeros.
    pub fn cost(&self, shapes: &[Vec<usize>], pool: &Pool) -> Result<Cost, Failure> {
        let zeros = |(spec, shape): (&ValueSpec, &Vec<usize>)| Tensor::zeros(spec.element_type, shape);
        let inputs = self.inputs.iter().zip(shapes).map(zeros).collect::<Result<_, _>>()?;
        Ok(self.run_unchecked(inputs, pool)?.1)
    }
}

fn check_inputs(specs: &[ValueSpec], inputs: &[Tensor]) -> Result<(), Failure> {
    if specs.len() != inputs.len() {
        return Err(failure::arity(format!("the model takes {} inputs, got {}", specs.len(), inputs.len())));
    }
    for (spec, tensor) in specs.iter().zip(inputs) {
        let (name, expected, came) = (&spec.name, spec.element_type, tensor.element_type());
        if expected != came {
            return Err(failure::wrong_type(format!("input {name} takes {expected}, got {came}")));
        }
        let Some(dims) = &spec.dims else { continue };
        let fits =
            dims.len() == tensor.rank() && dims.iter().zip(tensor.shape()).all(|(d, n)| d.is_none_or(|d| d == *n));
        if !fits {
            let dims: Vec<_> = dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
            let (dims, came) = (dims.join(", "), tensor.shape());
            return Err(failure::wrong_shape(format!("input {name} takes the shape [{dims}], got {came:?}")));
        }
    }
    Ok(())
}

fn is_finite(tensor: &Tensor) -> bool {
    match tensor.data() {
        // Without a way out inside a chunk, so that it is vectorised.
        Data::F32(v) => v.chunks(1 << 10).all(|chunk| !chunk.iter().fold(false, |found, x| found | !x.is_finite())),
        Data::F64(v) => v.iter().all(|x| x.is_finite()),
        Data::F16(v) => v.iter().all(|x| x.is_finite()),
        Data::Bf16(v) => v.iter().all(|x| x.is_finite()),
        _ => true,
    }
}

pub(crate) fn opsets(model: &ModelProto) -> Opsets {
    let name = |domain: Option<&str>| domain.filter(|d| *d != "ai.onnx").unwrap_or_default().to_owned();
    model.opset_import.iter().map(|o| (name(o.domain.as_deref()), o.version.unwrap_or(1))).collect()
}

/// What a graph takes and gives, as it declares it.
pub(crate) fn specs(graph: &GraphProto) -> Result<(Vec<ValueSpec>, Vec<ValueSpec>), LoadError> {
    let constants: std::collections::HashSet<_> = graph.initializer.iter().filter_map(|i| i.name.as_deref()).collect();
    let free = graph.input.iter().filter(|i| !constants.contains(i.name.as_deref().unwrap_or_default()));
    Ok((free.map(spec).collect::<Result<_, _>>()?, graph.output.iter().map(spec).collect::<Result<_, _>>()?))
}

fn spec(info: &ValueInfoProto) -> Result<ValueSpec, LoadError> {
    let name = info.name.clone().unwrap_or_default();
    let not_a_tensor = || invalid(format!("{name} is not declared as a tensor"));
    let (code, dims) = value_type(info.r#type.as_ref()).ok_or_else(not_a_tensor)?;
    let unknown = || invalid(format!("{name} has the element type {code}, which is not supported"));
    let element_type = ElementType::from_onnx(code).ok_or_else(unknown)?;
    Ok(ValueSpec { element_type, dims, name })
}

/// Element type and dimensions of a tensor. A sequence of maps, as `ZipMap` gives it, counts as the matrix of its values.
pub(crate) fn value_type(kind: Option<&TypeProto>) -> Option<(i32, Option<Vec<Option<usize>>>)> {
    match kind?.value.as_ref()? {
        TypeValue::Tensor(tensor) => {
            let length = |value: &Option<DimensionValue>| match value {
                Some(DimensionValue::Value(n)) => usize::try_from(*n).ok(),
                _ => None,
            };
            let dims = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(|d| length(&d.value)).collect());
            Some((tensor.elem_type.unwrap_or(0), dims))
        }
        TypeValue::Sequence(of) => match of.elem_type.as_ref()?.value.as_ref()? {
            TypeValue::Map(map) => Some((value_type(map.value_type.as_deref())?.0, Some(vec![None, None]))),
            _ => None,
        },
        _ => None,
    }
}
