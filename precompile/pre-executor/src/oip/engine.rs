//! Any server of the protocol as an operator's engine.

use super::{Client, client::runtime, messages::InferRequest, tensors};
use crate::{Compute, Unavailable, schedule::Prior};
use alloy_primitives::Bytes;
use foreblock_engine::{Catalog, Manifest, Tensor, tensor::Data, wire};
use foreblock_precompile::{ModelId, Outcome, abi::TensorSpec};
use futures::future::join_all;
use std::time::{Duration, Instant};

/// Longest wait for a server's answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs models on another server. The manifests are here, so that the server is asked for what the model takes, and its
/// answers are held against what the model gives. A server cannot sign: what it answers is its operator's word.
pub struct OipEngine {
    client: Client,
    catalog: Catalog,
}

impl OipEngine {
    /// Models are known there by their manifests' names.
    pub fn new(client: Client, catalog: Catalog) -> Self {
        Self { client, catalog }
    }

    async fn outcome(&self, manifest: &Manifest, input: &Bytes) -> Result<Outcome, Unavailable> {
        let inputs = match wire::decode_input(input, manifest.inputs()) {
            Ok(inputs) => inputs,
            // What the model cannot take is known without asking, and the same everywhere.
            Err(failure) => return Ok(Outcome::Failed(failure)),
        };
        let outputs = self.infer(manifest, &inputs).await.map_err(|reason| {
            Unavailable(format!("{} gives no usable answer for model {}: {reason}", self.client.url(), manifest.name()))
        })?;
        let bytes_max = manifest.fields().cost.maxOutputBytes;
        Ok(match wire::encode_output(&outputs, manifest.outputs(), bytes_max) {
            Ok(output) => Outcome::Output(output),
            Err(failure) => Outcome::Failed(failure),
        })
    }

    async fn infer(&self, manifest: &Manifest, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let named = manifest.inputs().iter().zip(inputs);
        let inputs = named.map(|(spec, tensor)| tensors::encode(&spec.name, tensor)).collect::<Result<_, _>>();
        let inputs = inputs.map_err(|error| error.to_string())?;
        let request = InferRequest { model_name: manifest.name().to_owned(), inputs, ..Default::default() };
        let answer = self.client.infer(request, Instant::now() + PATIENCE).await;
        let answer = answer.map_err(|status| {
            let (code, message) = (status.code(), status.message());
            format!("{code:?}: {message}; is it a gRPC server of the Open Inference Protocol, and has it this model?")
        })?;
        let raw = answer.raw_output_contents;
        let outputs = answer.outputs.iter().enumerate().map(|(at, tensor)| {
            let raw = if raw.is_empty() { None } else { Some(raw.get(at).map_or(&[][..], Vec::as_slice)) };
            (tensor, raw)
        });
        let outputs: Vec<_> = outputs.collect();
        let named = |spec: &TensorSpec| {
            let found = outputs.iter().find(|(tensor, _)| tensor.name == spec.name);
            let (tensor, raw) = found.ok_or_else(|| {
                let names: Vec<_> = outputs.iter().map(|(tensor, _)| tensor.name.as_str()).collect();
                format!("it answers outputs {names:?}, but the model has {:?}", spec.name)
            })?;
            checked(spec, tensors::decode(tensor, *raw).map_err(|error| error.to_string())?)
        };
        manifest.outputs().iter().map(named).collect()
    }
}

/// An output that the model can have given.
fn checked(spec: &TensorSpec, tensor: Tensor) -> Result<Tensor, String> {
    let kind = tensor.element_type();
    if kind as i32 != i32::from(spec.elementType) {
        return Err(format!("output {} has elements of type {kind}, which are not the model's", spec.name));
    }
    let fits = |(free, given): (&i64, &usize)| *free < 0 || *free as usize == *given;
    if spec.shape.len() != tensor.rank() || !spec.shape.iter().zip(tensor.shape()).all(fits) {
        return Err(format!(
            "output {} has shape {:?}, but the model's is {:?}",
            spec.name,
            tensor.shape(),
            spec.shape
        ));
    }
    let finite = match tensor.data() {
        Data::F32(values) => values.iter().all(|value| value.is_finite()),
        Data::F64(values) => values.iter().all(|value| value.is_finite()),
        _ => true,
    };
    // Whether the model or the server is at fault cannot be told from here, so nothing is signed.
    if finite { Ok(tensor) } else { Err(format!("output {} holds NaN or an infinity", spec.name)) }
}

impl Compute for OipEngine {
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let manifest = match self.catalog.get(model) {
            Ok(entry) => entry.manifest,
            Err(error) => return vec![Err(Unavailable(error.to_string())); inputs.len()],
        };
        runtime().block_on(join_all(inputs.iter().map(|input| self.outcome(&manifest, input))))
    }

    fn prior(&self, model: ModelId) -> Option<Prior> {
        self.catalog.get(model).ok().map(|_| Prior::default())
    }
}
