//! From an ONNX graph to a manifest: names, types and shapes, limits, and the cost of one run at its largest input.

use std::{path::PathBuf, sync::Arc};

use alloy_primitives::U256;
use bytes::Bytes;
use foreblock_precompile::{Failure, Outcome, Profile, abi};

use crate::{
    ElementType, ExactModel, LoadError, LoadOptions, Manifest, Pool, Tensor,
    exact::ValueSpec,
    golden::{self, GOLDEN_FILE, GoldenError},
    manifest::{FORMAT, ManifestError, file_entry},
    model_dir::Files,
    screen,
    text::{self, EmbeddingModel, TextModel},
};

/// Name of the published graph.
pub const GRAPH_FILE: &str = "model.onnx";
/// Bytes that an `abi.encode(Tensor[])` spends on a text at most, unless a model says otherwise.
const TEXT_BYTES_MAX: u64 = 4_096;
const WORD: u64 = 32;
/// What encoders of text are asked for golden vectors.
const GOLDEN_TEXTS: [&str; 2] = ["The plot is dull.", "Größe 日本 🌊"];

/// How to publish a model.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// Name for people.
    pub name: String,
    /// Longest first dimension, where it is free: rows of one request.
    pub rows_max: usize,
    /// Longest other free dimension.
    pub length_max: usize,
    /// Files besides the graph: a tokenizer, weights.
    pub others: Files,
    /// Folder in which the weights among `others` lie.
    pub folder: Option<PathBuf>,
    /// Inputs whose answers become golden vectors, as `abi.encode(Tensor[])`.
    pub golden_inputs: Vec<Bytes>,
}

impl PublishOptions {
    /// One row a request, 128 for other free dimensions, no further files.
    pub fn new(name: impl Into<String>) -> Self {
        let (others, golden_inputs) = (Files::new(), Vec::new());
        Self { name: name.into(), rows_max: 1, length_max: 128, others, folder: None, golden_inputs }
    }
}

/// A model that cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No engine is given such a graph.
    #[error(transparent)]
    Refused(#[from] screen::Refused),
    /// The engine does not load the graph.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The files are no text model.
    #[error("not a text model: {0}")]
    Text(String),
    /// The manifest would be refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A golden vector cannot be made.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// The graph does not say how many dimensions a tensor has.
    #[error("{0} has no shape in the graph: export the model with shapes, -1 or names for free dimensions")]
    NoShape(String),
    /// The run that measures the cost fails.
    #[error(
        "a run on zeros fails, so the cost of a run is unknown: {0}; give the largest lengths with --rows-max and --length-max"
    )]
    Run(Failure),
    /// The largest input or output passes what the wire carries.
    #[error("the largest {side} takes {size} bytes, at most {max} are possible; lower --rows-max or --length-max")]
    TooLarge {
        /// Input or output.
        side: &'static str,
        /// Bytes it takes.
        size: u64,
        /// Bytes possible.
        max: u64,
    },
}

/// A model ready to be added to the model directory and registered on chain.
#[derive(Clone, Debug)]
pub struct Published {
    /// What defines it.
    pub manifest: Manifest,
    /// The files that the manifest lists.
    pub files: Files,
}

/// Publishes a graph in the profile `exact-f32/v1`: equal bytes on every machine.
pub fn publish_exact(graph: Bytes, options: PublishOptions, pool: &Pool) -> Result<Published, PublishError> {
    publish_as(graph, options, Profile::ExactF32, pool)
}

/// Publishes a graph in one of the exact profiles.
pub(crate) fn publish_as(
    graph: Bytes,
    options: PublishOptions,
    profile: Profile,
    pool: &Pool,
) -> Result<Published, PublishError> {
    if profile == Profile::ExactF32 && options.others.contains_key(text::EMBEDDING_FILE) {
        return publish_embedding(graph, options, Arc::new(Pool::new(1)));
    }
    let model = load(&graph, &options)?;
    let (inputs, outputs) = (specs(model.inputs())?, specs(model.outputs())?);
    let cost = cost(&model, &inputs, &options, pool)?;
    let mut files = options.others;
    if !options.golden_inputs.is_empty() {
        let vectors = golden::make(&options.golden_inputs, |input| {
            let tensors = crate::wire::decode_input(input, &inputs)?;
            crate::wire::encode_output(&model.run(tensors, pool)?, &outputs, cost.maxOutputBytes)
        })?;
        files.insert(GOLDEN_FILE.into(), vectors);
    }
    published(options.name, profile, graph, files, (inputs, outputs), cost)
}

/// Publishes a decoder-only graph with key-value cache, its tokenizer and templates among the other files, in the profile
/// `exact-text/v1`: equal texts on every machine. The cost in its manifest is that of one token.
pub fn publish_text(graph: Bytes, options: PublishOptions, pool: Arc<Pool>) -> Result<Published, PublishError> {
    let model = load(&graph, &options)?;
    let mut files = options.others;
    let model = TextModel::new(model, &files, pool).map_err(PublishError::Text)?;
    let token = model.cost_of_token().map_err(PublishError::Run)?;
    if !options.golden_inputs.is_empty() {
        let vectors = golden::make(&options.golden_inputs, |input| match model.outcomes(&[input]).pop() {
            Some(Ok(Outcome::Output(output))) => Ok(output),
            Some(Ok(Outcome::Failed(failure))) => Err(failure),
            Some(Err(broke)) => Err(crate::failure::undefined(broke)),
            None => Err(crate::failure::undefined("no answer")),
        })?;
        files.insert(GOLDEN_FILE.into(), vectors);
    }
    let cost = abi::Cost {
        multiplyAdds: token.macs,
        bytesMoved: token.bytes,
        maxInputBytes: text::INPUT_BYTES_MAX,
        maxOutputBytes: text::OUTPUT_BYTES_MAX,
    };
    published(options.name, Profile::ExactText, graph, files, (text::input_specs(), text::output_specs()), cost)
}

/// Publishes a sentence encoder with its tokenizer and `embedding.json` among the other files: a text in, a vector out. The
/// cost in its manifest is that of the longest text. The golden vectors are of texts of ours.
pub fn publish_embedding(graph: Bytes, options: PublishOptions, pool: Arc<Pool>) -> Result<Published, PublishError> {
    let model = load(&graph, &options)?;
    let mut files = options.others;
    let model = EmbeddingModel::new(model, &files, pool).map_err(PublishError::Text)?;
    let (inputs, outputs) = (text::embedding_input_specs(), model.output_specs());
    let longest = model.cost().map_err(PublishError::Run)?;
    let vector = &outputs[0].shape;
    let cost = abi::Cost {
        multiplyAdds: longest.macs,
        bytesMoved: longest.bytes,
        maxInputBytes: text::EMBEDDING_INPUT_BYTES_MAX,
        maxOutputBytes: size([(ElementType::F32, &[vector[0] as usize][..])].into_iter()) as u32,
    };
    let answer = |input: &[u8]| {
        let tensors = crate::wire::decode_input(input, &inputs)?;
        crate::wire::encode_output(&model.run(&tensors)?, &outputs, cost.maxOutputBytes)
    };
    // A model of very short texts may have no room for one of them.
    let golden: Vec<Bytes> = GOLDEN_TEXTS.map(text_input).into_iter().filter(|input| answer(input).is_ok()).collect();
    if !golden.is_empty() {
        files.insert(GOLDEN_FILE.into(), golden::make(&golden, answer)?);
    }
    published(options.name, Profile::ExactF32, graph, files, (inputs, outputs), cost)
}

/// A graph that may be published.
fn load(graph: &Bytes, options: &PublishOptions) -> Result<ExactModel, PublishError> {
    let weights = screen::check(graph, &options.others)?;
    let folder = options.folder.clone().filter(|_| !weights.is_empty());
    Ok(ExactModel::load(graph.clone(), &LoadOptions { folder, ..LoadOptions::default() })?)
}

/// A text as a contract sends it.
fn text_input(text: &str) -> Bytes {
    let text = crate::wire::to_wire(&Tensor::scalar(text.to_owned())).expect("texts have a wire form");
    crate::wire::write(&[text]).0
}

/// Seals what was published without tolerances.
fn published(
    name: String,
    profile: Profile,
    graph: Bytes,
    files: Files,
    (inputs, outputs): (Vec<abi::TensorSpec>, Vec<abi::TensorSpec>),
    cost: abi::Cost,
) -> Result<Published, PublishError> {
    let fields = abi::Manifest {
        format: FORMAT,
        name,
        profile: profile as u8,
        files: vec![],
        inputs,
        outputs,
        tolerances: vec![],
        cost,
    };
    seal(graph, files, fields)
}

/// Publishes a graph in the profile `tolerance`: answers within `tolerances` (WAD, one for each output) agree.
pub(crate) fn publish_tolerance(
    graph: Bytes,
    (inputs, outputs): (Vec<abi::TensorSpec>, Vec<abi::TensorSpec>),
    tolerances: Vec<U256>,
    cost: abi::Cost,
    options: PublishOptions,
) -> Result<Published, PublishError> {
    screen::check(&graph, &options.others)?;
    let (name, profile) = (options.name, Profile::Tolerance as u8);
    let fields = abi::Manifest { format: FORMAT, name, profile, files: vec![], inputs, outputs, tolerances, cost };
    seal(graph, options.others, fields)
}

/// Lists the files in the manifest.
fn seal(graph: Bytes, mut files: Files, mut fields: abi::Manifest) -> Result<Published, PublishError> {
    let listed = files.iter().map(|(name, content)| file_entry(name, content));
    fields.files = std::iter::once(file_entry(GRAPH_FILE, &graph)).chain(listed).collect();
    files.insert(GRAPH_FILE.into(), graph);
    Ok(Published { manifest: Manifest::new(fields)?, files })
}

/// A graph's inputs or outputs as a manifest lists them.
pub fn specs(values: &[ValueSpec]) -> Result<Vec<abi::TensorSpec>, PublishError> {
    let spec = |value: &ValueSpec| {
        let dims = value.dims.as_ref().ok_or_else(|| PublishError::NoShape(value.name.clone()))?;
        let shape = dims.iter().map(|length| length.map_or(-1, |length| length as i64)).collect();
        Ok(abi::TensorSpec { name: value.name.clone(), elementType: value.element_type as u8, shape })
    };
    values.iter().map(spec).collect()
}

/// The cost of a run on zeros of the largest shapes, and the sizes of its largest input and output.
pub(crate) fn cost(
    model: &ExactModel,
    specs: &[abi::TensorSpec],
    options: &PublishOptions,
    pool: &Pool,
) -> Result<abi::Cost, PublishError> {
    let largest: Vec<Vec<usize>> = specs.iter().map(|spec| largest_shape(spec, options)).collect();
    let kinds = model.inputs().iter().map(|input| input.element_type);
    let input_size = size(kinds.zip(largest.iter().map(Vec::as_slice)));
    let zeros = model.inputs().iter().zip(&largest).map(|(input, shape)| Tensor::zeros(input.element_type, shape));
    let zeros = zeros.collect::<Result<_, _>>().map_err(PublishError::Run)?;
    let (outputs, cost) = model.run_unchecked(zeros, pool).map_err(PublishError::Run)?;
    let output_size = size(outputs.iter().map(|tensor| (tensor.element_type(), tensor.shape())));
    Ok(abi::Cost {
        multiplyAdds: cost.macs,
        bytesMoved: cost.bytes,
        maxInputBytes: limit("input", input_size)?,
        maxOutputBytes: limit("output", output_size)?,
    })
}

/// A spec's shape with its free dimensions as long as they may be.
pub fn largest_shape(spec: &abi::TensorSpec, options: &PublishOptions) -> Vec<usize> {
    let length = |(axis, &length): (usize, &i64)| match (axis, length) {
        (0, ..0) => options.rows_max,
        (_, ..0) => options.length_max,
        _ => length as usize,
    };
    spec.shape.iter().enumerate().map(length).collect()
}

/// Bytes of the largest `abi.encode(Tensor[])` of such tensors.
pub(crate) fn size<'a>(tensors: impl Iterator<Item = (ElementType, &'a [usize])>) -> u64 {
    let tensor = |(kind, shape): (ElementType, &[usize])| {
        let width = if kind == ElementType::String { TEXT_BYTES_MAX } else { WORD };
        let data = shape.iter().fold(width, |product, &length| product.saturating_mul(length as u64));
        // Offset; dtype, two offsets, two lengths; the dimensions; the data, padded.
        (6 + shape.len() as u64) * WORD + data.checked_next_multiple_of(WORD).unwrap_or(u64::MAX / 2)
    };
    tensors.map(tensor).fold(2 * WORD, u64::saturating_add)
}

pub(crate) fn limit(side: &'static str, size: u64) -> Result<u32, PublishError> {
    u32::try_from(size).map_err(|_| PublishError::TooLarge { side, size, max: u32::MAX.into() })
}
