//! The graph: tokens and cache in, logits and cache out.

use foreblock_precompile::Failure;

use super::layout::Names;
use crate::{ExactModel, Pool, Tensor, failure, pool, tensor::ElementType};

/// Weights that a processor keeps in its last cache, in elements.
const WEIGHTS_CACHED: usize = 1 << 22;

/// A decoder-only graph with key-value cache.
pub(super) struct Decoder {
    model: ExactModel,
    /// What each input of the graph is.
    inputs: Vec<Role>,
    /// For each cache in the order of the inputs: which output continues it.
    continues: Vec<usize>,
    logits: usize,
    vocabulary: usize,
}

enum Role {
    Tokens(ElementType),
    Mask(ElementType),
    Positions(ElementType),
    Cache { heads: usize, width: usize, kind: ElementType },
}

/// Keys and values of what a conversation has had so far.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    tensors: Vec<Tensor>,
    length: usize,
}

/// What a conversation adds in one pass.
pub(super) struct Pass<'a> {
    pub(super) tokens: &'a [u32],
    pub(super) cache: Cache,
}

/// Logits after the last token of a pass, and the cache with all of them.
pub(super) type Passed = Result<(Vec<f32>, Cache), Failure>;

impl Decoder {
    /// A decoder of a graph, or what its layout lacks.
    pub(super) fn new(model: ExactModel, names: &Names) -> Result<Self, String> {
        let role = |spec: &crate::exact::ValueSpec| match &spec.name {
            name if *name == names.tokens => Ok(Role::Tokens(spec.element_type)),
            name if *name == names.mask => Ok(Role::Mask(spec.element_type)),
            name if *name == names.positions => Ok(Role::Positions(spec.element_type)),
            name if names.continues(name).is_some() => match spec.dims.as_deref() {
                Some([_, Some(heads), _, Some(width)]) => {
                    Ok(Role::Cache { heads: *heads, width: *width, kind: spec.element_type })
                }
                _ => {
                    Err(format!("{name} must have the shape [batch, heads, length, width] with fixed heads and width"))
                }
            },
            name => Err(format!("the graph takes {name}, which is none of {names}")),
        };
        let inputs: Vec<Role> = model.inputs().iter().map(role).collect::<Result<_, _>>()?;
        if !inputs.iter().any(|role| matches!(role, Role::Tokens(_))) {
            return Err(format!("the graph takes no {}", names.tokens));
        }
        let output = |name: &str| {
            let found = model.outputs().iter().position(|spec| spec.name == name);
            found.ok_or_else(|| format!("the graph gives no {name}: export it with its cache"))
        };
        let caches = model.inputs().iter().filter_map(|spec| names.continues(&spec.name));
        let continues = caches.map(|present| output(&present)).collect::<Result<_, _>>()?;
        let logits = output(&names.logits)?;
        let vocabulary = model.outputs()[logits].dims.as_ref().and_then(|dims| *dims.last()?);
        let vocabulary = vocabulary.ok_or("logits must have the shape [batch, length, tokens] with fixed tokens")?;
        Ok(Self { inputs, continues, logits, vocabulary, model })
    }

    /// Tokens that logits are for.
    pub(super) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// In how many groups conversations best take a pass of so many tokens. Where the processor keeps the weights, each thread
    /// reads them for a group of its own and waits for nobody; where it does not, all threads divide each product, so that
    /// memory is read once.
    pub(super) fn groups(&self, tokens: usize, pool: &Pool) -> usize {
        let weights = self.model.shared_weights();
        if weights > WEIGHTS_CACHED { 1 } else { pool.run(|| pool::threads(tokens * weights)) }
    }

    /// A conversation without tokens.
    pub(super) fn start(&self) -> Cache {
        self.cache(0)
    }

    /// A conversation of this length whose keys and values are zeros: to measure what a pass costs.
    pub(super) fn cache(&self, length: usize) -> Cache {
        let empty = |role: &Role| match role {
            Role::Cache { heads, width, kind } => Tensor::zeros(*kind, &[1, *heads, length, *width]).ok(),
            _ => None,
        };
        Cache { tensors: self.inputs.iter().filter_map(empty).collect(), length }
    }

    /// Passes of many conversations together; each gives what it would give alone.
    pub(super) fn pass(&self, passes: Vec<Pass<'_>>, pool: &Pool) -> Vec<Passed> {
        let lengths: Vec<usize> = passes.iter().map(|pass| pass.cache.length + pass.tokens.len()).collect();
        let runs = passes.into_iter().map(|pass| self.arguments(pass)).collect();
        let ended = self.model.run_together(runs, pool);
        ended.into_iter().zip(lengths).map(|(outputs, length)| self.passed(outputs?, length)).collect()
    }

    /// Multiply-adds and bytes of one token after `length` others.
    pub(super) fn cost(&self, length: usize, pool: &Pool) -> Result<crate::graph::Cost, Failure> {
        let arguments = self.arguments(Pass { tokens: &[0], cache: self.cache(length) });
        Ok(self.model.run_measured(arguments, pool)?.1)
    }

    fn arguments(&self, pass: Pass<'_>) -> Vec<Tensor> {
        let (before, count) = (pass.cache.length as i64, pass.tokens.len());
        let row = |kind: ElementType, values: Vec<i64>| match kind {
            ElementType::I32 => Tensor::new([1, values.len()], values.iter().map(|value| *value as i32).collect()),
            _ => Tensor::new([1, values.len()], values),
        };
        let mut cache = pass.cache.tensors.into_iter();
        let mut argument = |role: &Role| match role {
            Role::Tokens(kind) => row(*kind, pass.tokens.iter().map(|token| i64::from(*token)).collect()),
            Role::Mask(kind) => row(*kind, vec![1; before as usize + count]),
            Role::Positions(kind) => row(*kind, (before..before + count as i64).collect()),
            Role::Cache { .. } => Ok(cache.next().expect("one for each input")),
        };
        self.inputs.iter().map(|role| argument(role).expect("one row")).collect()
    }

    fn passed(&self, mut outputs: Vec<Tensor>, length: usize) -> Passed {
        let logits = outputs[self.logits].values::<f32>()?;
        let last = logits.len().checked_sub(self.vocabulary).ok_or_else(|| failure::undefined("no logits"))?;
        let logits = logits[last..].to_vec();
        let empty = || Tensor::scalar(0.0f32);
        let tensors = self.continues.iter().map(|index| std::mem::replace(&mut outputs[*index], empty())).collect();
        Ok((logits, Cache { tensors, length }))
    }
}
