//! ONNX Runtime itself, through the `ort` crate. Only workers run this.

use std::path::Path;

use half::{bf16, f16};
use ort::{
    ep,
    session::{Session as OrtSession, SessionInputValue, builder::GraphOptimizationLevel},
    value::{DynValue, TensorElementType, ValueType},
};

use super::{MINOR_VERSION_MIN, Optimization, frame::FromWorker};
use crate::{
    Tensor,
    model_dir::Files,
    tensor::{Data, Element},
};

/// How a session computes.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) threads: u32,
    pub(super) cuda: bool,
    pub(super) optimization: Optimization,
}

/// A library and, where one was asked for, a model.
pub(super) struct Session {
    name: String,
    model: Option<OrtSession>,
    /// Sessions must not outlive it.
    _environment: ort::environment::Environment,
}

impl Session {
    /// Loads the library, then the graph. Errors are for people.
    pub(super) fn load(library: &Path, graph: Option<&[u8]>, weights: &Files, how: How) -> Result<Self, String> {
        let unusable = |error: String| {
            format!(
                "{} cannot be used: {error}; expected ONNX Runtime 1.{MINOR_VERSION_MIN} or newer: run `foreblock setup`, \
                 or use --engine exact",
                library.display()
            )
        };
        let builder = ort::init_from(library).map_err(|error| unusable(error.to_string()))?;
        let environment = builder.with_name("foreblock").with_telemetry(false).build();
        let environment = environment.map_err(|error| unusable(error.to_string()))?;
        let model = graph.map(|graph| commit(&environment, graph, weights, how)).transpose();
        let model = model.map_err(|error| format!("ONNX Runtime does not load the model: {}", error.message()))?;
        let device = if how.cuda { "cuda" } else { "cpu" };
        let name = format!("onnxruntime {} ({device})", version(library));
        Ok(Self { name, model, _environment: environment })
    }

    /// What answers.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs the model.
    pub(super) fn run(&mut self, inputs: Vec<Tensor>) -> FromWorker {
        let Some(model) = &mut self.model else { return FromWorker::Failed("no model was loaded".into()) };
        let values: Result<Vec<_>, String> = inputs.into_iter().map(to_value).collect();
        let values = match values {
            Ok(values) => values,
            Err(reason) => return FromWorker::Failed(reason),
        };
        let values: Vec<SessionInputValue<'_>> = values.iter().map(SessionInputValue::from).collect();
        match model.run(&values[..]) {
            // A model of the same bytes refuses the same input everywhere, but memory is this machine's.
            Err(error) if error.message().contains("alloc") => FromWorker::Failed(error.message().into()),
            Err(error) => FromWorker::Refused(error.message().into()),
            Ok(outputs) => match outputs.values().map(|value| from_value(&value)).collect() {
                Ok(tensors) => FromWorker::Outputs(tensors),
                Err(reason) => FromWorker::Failed(reason),
            },
        }
    }
}

fn commit(
    environment: &ort::environment::Environment,
    graph: &[u8],
    weights: &Files,
    How { threads, cuda, optimization }: How,
) -> ort::Result<OrtSession> {
    let level = match optimization {
        Optimization::Disabled => GraphOptimizationLevel::Disable,
        Optimization::Basic => GraphOptimizationLevel::Level1,
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::All => GraphOptimizationLevel::All,
    };
    let mut builder = OrtSession::builder(environment)?
        .with_optimization_level(level)?
        .with_intra_threads(threads as usize)?
        .with_inter_threads(1)?
        .with_deterministic_compute(true)?;
    if cuda {
        // TF32 would keep 10 bits of 23; the search for the fastest algorithm would choose another one each time.
        let device = ep::CUDA::default()
            .with_tf32(false)
            .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Default)
            .build()
            .error_on_failure();
        builder = builder.with_execution_providers([device])?;
    }
    for (name, content) in weights {
        builder = builder.with_external_initializer_file_in_memory(name, content.to_vec().into())?;
    }
    builder.commit_from_memory(graph)
}

/// The version in the library's file name, or the one that it must have at least.
fn version(library: &Path) -> String {
    let file = std::fs::canonicalize(library).unwrap_or_else(|_| library.to_owned());
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let numbers = name.trim_end_matches(".dylib").trim_start_matches(|c: char| !c.is_ascii_digit());
    if numbers.contains('.') { numbers.to_owned() } else { format!("1.{MINOR_VERSION_MIN} or newer") }
}

fn to_value(tensor: Tensor) -> Result<DynValue, String> {
    fn plain<T>(shape: Vec<i64>, values: &[T]) -> ort::Result<DynValue>
    where
        T: ort::value::PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
    {
        Ok(ort::value::Tensor::from_array((shape, values.to_vec()))?.into_dyn())
    }
    let shape: Vec<i64> = tensor.shape().iter().map(|length| *length as i64).collect();
    let value = match tensor.data() {
        Data::F32(v) => plain(shape, v),
        Data::F64(v) => plain(shape, v),
        Data::F16(v) => plain(shape, v),
        Data::Bf16(v) => plain(shape, v),
        Data::U8(v) => plain(shape, v),
        Data::I8(v) => plain(shape, v),
        Data::U16(v) => plain(shape, v),
        Data::I16(v) => plain(shape, v),
        Data::U32(v) => plain(shape, v),
        Data::I32(v) => plain(shape, v),
        Data::U64(v) => plain(shape, v),
        Data::I64(v) => plain(shape, v),
        Data::Bool(v) => plain(shape, v),
        Data::String(v) => ort::value::Tensor::from_string_array((shape, &v[..])).map(|value| value.into_dyn()),
    };
    value.map_err(|error| format!("ONNX Runtime does not take a tensor of {:?}: {}", tensor.shape(), error.message()))
}

fn from_value(value: &DynValue) -> Result<Tensor, String> {
    let kind = match value.dtype() {
        ValueType::Tensor { ty, .. } => *ty,
        other => return Err(format!("an output is a {other:?}, not a tensor; export the model without ZipMap")),
    };
    fn plain<T>(value: &DynValue) -> Result<Tensor, String>
    where
        T: ort::value::PrimitiveTensorElementType + Element,
    {
        let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
        tensor(shape, values.to_vec())
    }
    fn tensor<T: Element>(shape: &[i64], values: Vec<T>) -> Result<Tensor, String> {
        let shape: Vec<usize> = shape.iter().map(|length| *length as usize).collect();
        Tensor::new(shape, values).map_err(|failure| failure.reason)
    }
    match kind {
        TensorElementType::Float32 => plain::<f32>(value),
        TensorElementType::Float64 => plain::<f64>(value),
        TensorElementType::Float16 => plain::<f16>(value),
        TensorElementType::Bfloat16 => plain::<bf16>(value),
        TensorElementType::Uint8 => plain::<u8>(value),
        TensorElementType::Int8 => plain::<i8>(value),
        TensorElementType::Uint16 => plain::<u16>(value),
        TensorElementType::Int16 => plain::<i16>(value),
        TensorElementType::Uint32 => plain::<u32>(value),
        TensorElementType::Int32 => plain::<i32>(value),
        TensorElementType::Uint64 => plain::<u64>(value),
        TensorElementType::Int64 => plain::<i64>(value),
        TensorElementType::Bool => plain::<bool>(value),
        TensorElementType::String => {
            let (shape, values) = value.try_extract_strings().map_err(|error| error.to_string())?;
            tensor(shape, values)
        }
        other => Err(format!("an output has the element type {other:?}, which is not supported")),
    }
}
