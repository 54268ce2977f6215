//! ONNX Runtime itself, through the `ort` crate. Only workers run this.

use std::path::Path;

use ort::{
    ep,
    session::{IoBinding, Session as OrtSession, builder::GraphOptimizationLevel},
};

use super::{
    Device, MINOR_VERSION_MIN, Optimization,
    buffers::{Buffers, output},
    frame::FromWorker,
};
use crate::{Tensor, model_dir::Files};

/// How a session computes.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) threads: u32,
    pub(super) device: Device,
    pub(super) optimization: Optimization,
}

/// A library and, where one was asked for, a model.
pub(super) struct Session {
    name: String,
    model: Option<(OrtSession, Buffers)>,
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
        let model = model.map_err(|error| refusal(&error, how.device))?;
        let name = format!("onnxruntime {} ({})", version(library), how.device.name());
        Ok(Self { name, model, _environment: environment })
    }

    /// What answers.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs the model.
    pub(super) fn run(&mut self, inputs: Vec<Tensor>) -> FromWorker {
        let Some((model, buffers)) = &mut self.model else {
            return FromWorker::Failed("no model was loaded".into());
        };
        let binding = match bind(model, buffers, inputs) {
            Ok(binding) => binding,
            Err(reason) => return FromWorker::Failed(reason),
        };
        match model.run_binding(&binding) {
            // A model of the same bytes refuses the same input everywhere, but memory is this machine's.
            Err(error) if error.message().contains("alloc") => FromWorker::Failed(error.message().into()),
            Err(error) => FromWorker::Refused(error.message().into()),
            Ok(outputs) => match outputs.values().map(|value| output(&value)).collect() {
                Ok(tensors) => FromWorker::Outputs(tensors),
                Err(reason) => FromWorker::Failed(reason),
            },
        }
    }
}

/// Inputs as the device takes them, and where outputs are to land. One for each run: what a run has written to an output
/// would fix that output's shape for the next.
fn bind(model: &OrtSession, buffers: &Buffers, inputs: Vec<Tensor>) -> Result<IoBinding, String> {
    let text = |error: ort::Error| error.message().to_owned();
    let mut binding = model.create_binding().map_err(text)?;
    if inputs.len() != model.inputs().len() {
        return Err(format!("{} inputs for a model of {}", inputs.len(), model.inputs().len()));
    }
    for (input, tensor) in model.inputs().iter().zip(inputs) {
        binding.bind_input(input.name(), &buffers.input(tensor)?).map_err(text)?;
    }
    for output in model.outputs() {
        binding.bind_output_to_device(output.name(), buffers.output(output.dtype())).map_err(text)?;
    }
    Ok(binding)
}

fn commit(
    environment: &ort::environment::Environment,
    graph: &[u8],
    weights: &Files,
    How { threads, device, optimization }: How,
) -> ort::Result<(OrtSession, Buffers)> {
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
        // Threads that spin for work would take the builder's processors.
        .with_intra_op_spinning(false)?
        .with_deterministic_compute(true)?;
    if device != Device::Cpu {
        builder = builder.with_execution_providers(providers(device))?;
    }
    for (name, content) in weights {
        builder = builder.with_external_initializer_file_in_memory(name, content.to_vec().into())?;
    }
    let session = builder.commit_from_memory(graph)?;
    let buffers = Buffers::new(&session, device)?;
    Ok((session, buffers))
}

/// What computes on a GPU, by preference. One that is missing is an error: a slower device would answer otherwise.
fn providers(device: Device) -> Vec<ep::ExecutionProviderDispatch> {
    // TF32 would keep 10 bits of 23; the search for the fastest algorithm would choose another one each time.
    let cuda = ep::CUDA::default().with_tf32(false).with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Default);
    let cuda = cuda.build().error_on_failure();
    // Single precision only: answers of half the bits are another model's.
    let tensor_rt = ep::TensorRT::default().with_fp16(false).build().error_on_failure();
    if device == Device::TensorRt { vec![tensor_rt, cuda] } else { vec![cuda] }
}

/// Why a model does not load; on a GPU it may be for want of one.
fn refusal(error: &ort::Error, device: Device) -> String {
    let reason = error.message();
    match device {
        Device::Cpu => format!("ONNX Runtime does not load the model: {reason}"),
        Device::Cuda => format!(
            "ONNX Runtime does not load the model on CUDA: {reason}; it needs an NVIDIA GPU with its driver, and the library \
             that `foreblock setup --cuda` fetches; --engine ort computes without a GPU"
        ),
        Device::TensorRt => format!(
            "ONNX Runtime does not load the model with TensorRT: {reason}; it needs TensorRT's libraries where the system's \
             loader finds them, beside what --engine ort-cuda needs"
        ),
    }
}

/// The version in the library's file name, or the one that it must have at least.
fn version(library: &Path) -> String {
    let file = std::fs::canonicalize(library).unwrap_or_else(|_| library.to_owned());
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let numbers = name.trim_end_matches(".dylib").trim_start_matches(|c: char| !c.is_ascii_digit());
    if numbers.contains('.') { numbers.to_owned() } else { format!("1.{MINOR_VERSION_MIN} or newer") }
}
