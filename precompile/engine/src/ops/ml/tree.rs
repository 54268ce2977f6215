//! `TreeEnsembleClassifier`, `TreeEnsembleRegressor` and the newer `TreeEnsemble`.
//!
//! A row's score is the sum of the leaves it reaches, in the order of the trees, from zero, and the base value last.
//! On doubles, features are compared with thresholds in doubles.

use std::sync::OnceLock;

use super::post::Post;
use super::tree_nodes::{Ensemble, Numbers, Raw, read};
use super::{Labels, arg_max, floats, matrix};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::forest::{Aggregate, Branch, Forest, Number, Rule, Test};
use crate::onnx::LoadError;
use crate::ops::{Built, LATEST, Operator, kernel};
use crate::tensor::{Data, Element, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::ml("TreeEnsembleClassifier", 1..=LATEST, classifier),
    Operator::ml("TreeEnsembleRegressor", 1..=LATEST, regressor),
    Operator::ml("TreeEnsemble", 5..=LATEST, ensemble),
];

/// Multiply-adds that a node on the way down counts as: it is one load that the next one waits for, and takes about as long.
const MACS_PER_NODE: u64 = 32;

/// The trees at the width of their numbers, and at double width once somebody gives doubles.
struct Trees {
    narrow: Option<Forest<f32>>,
    wide: OnceLock<Forest<f64>>,
}

impl Trees {
    fn new(node: &Node<'_>, ensemble: &Ensemble) -> Result<Self, LoadError> {
        let wide = OnceLock::new();
        if ensemble.wide {
            let _ = wide.set(ensemble.flatten(node, |v| v)?);
            return Ok(Self { narrow: None, wide });
        }
        Ok(Self { narrow: Some(ensemble.flatten(node, |v| v as f32)?), wide })
    }

    fn targets(&self) -> usize {
        self.narrow.as_ref().map(|f| f.targets).or_else(|| self.wide.get().map(|f| f.targets)).unwrap_or(0)
    }

    fn trees(&self) -> usize {
        self.narrow.as_ref().map(|f| f.roots.len()).or_else(|| self.wide.get().map(|f| f.roots.len())).unwrap_or(0)
    }

    /// Rows x targets, in doubles (which hold the sums in `f32` exactly where those were made in `f32`).
    fn scores(&self, x: &Tensor, aggregate: Aggregate, context: &Context) -> Result<(usize, Vec<f64>), Failure> {
        let (rows, width) = matrix(x)?;
        if let (Some(narrow), false) = (&self.narrow, matches!(x.data(), Data::F64(_))) {
            let scores = score(narrow, &floats(x, context)?, (rows, width), aggregate, context)?;
            return Ok((rows, scores.into_iter().map(f64::from).collect()));
        }
        let wide = self.wide.get_or_init(|| widen(self.narrow.as_ref().expect("one of the two is there")));
        let scores = match x.data() {
            Data::F64(values) => score(wide, values, (rows, width), aggregate, context)?,
            _ => {
                let values: Vec<f64> = floats(x, context)?.iter().map(|v| f64::from(*v)).collect();
                score(wide, &values, (rows, width), aggregate, context)?
            }
        };
        Ok((rows, scores))
    }
}

fn score<T: Number + Element>(
    forest: &Forest<T>,
    x: &[T],
    (rows, width): (usize, usize),
    aggregate: Aggregate,
    context: &Context,
) -> Result<Vec<T>, Failure> {
    if width < forest.features {
        let expected = forest.features;
        return Err(failure::wrong_shape(format!("the trees use {expected} features, got rows of {width}")));
    }
    let count = rows.checked_mul(forest.targets).ok_or_else(|| failure::out_of_memory("too many rows"))?;
    // A double for each score, too.
    context.claim::<f64>(count)?;
    let mut scores = context.zeros::<T>(count)?;
    forest.score(x, width, aggregate, &mut scores);
    // The way down is data: each row is charged the longest way in each tree.
    let visited: u64 = forest.roots.iter().map(|(_, depth)| u64::from(*depth) + 1).sum();
    let visited = visited.saturating_mul(rows as u64);
    context.count_macs(visited.saturating_mul(MACS_PER_NODE));
    context.count_moved(visited.saturating_mul(size_of::<Branch<T>>() as u64));
    Ok(scores)
}

fn widen(forest: &Forest<f32>) -> Forest<f64> {
    let branch = |b: &Branch<f32>| Branch { feature: b.feature, threshold: f64::from(b.threshold), next: b.next };
    Forest {
        branches: forest.branches.iter().map(branch).collect(),
        rules: forest.rules.clone(),
        rule: forest.rule,
        roots: forest.roots.clone(),
        leaves: forest.leaves.clone(),
        weights: forest.weights.iter().map(|(target, weight)| (*target, f64::from(*weight))).collect(),
        targets: forest.targets,
        features: forest.features,
    }
}

fn aggregate_of(node: &Node<'_>, name: &str) -> Result<Aggregate, LoadError> {
    match name {
        "SUM" => Ok(Aggregate::Sum),
        "AVERAGE" => Ok(Aggregate::Average),
        "MIN" => Ok(Aggregate::Min),
        "MAX" => Ok(Aggregate::Max),
        _ => Err(node.error(format!("unknown aggregate_function {name}"))),
    }
}

/// Adds in `f32` unless the ensemble is of doubles.
fn add_base(score: f64, base: f64, wide: bool) -> f64 {
    if wide { score + base } else { f64::from(score as f32 + base as f32) }
}

fn average(score: f64, trees: usize, wide: bool) -> f64 {
    let trees = trees.max(1);
    if wide { score / trees as f64 } else { f64::from(score as f32 / trees as f32) }
}

fn regressor(node: &Node<'_>) -> Built {
    let targets = usize::try_from(node.int("n_targets", 1)?).map_err(|_| node.error("n_targets is negative"))?;
    let base = Numbers::read(node, "base_values")?;
    if !base.values.is_empty() && base.values.len() != targets {
        return Err(node.error(format!("{} base_values for {targets} targets", base.values.len())));
    }
    let aggregate = aggregate_of(node, &node.string("aggregate_function", "SUM")?)?;
    let post = Post::read(node)?;
    let ensemble = read(node, "target", targets)?;
    let (trees, wide) = (Trees::new(node, &ensemble)?, ensemble.wide);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let wide = wide || matches!(x.data(), Data::F64(_));
        let (rows, scores) = trees.scores(x, aggregate, context)?;
        let mut out = context.reserve::<f32>(scores.len())?;
        for (index, score) in scores.iter().enumerate() {
            let score = if aggregate == Aggregate::Average { average(*score, trees.trees(), wide) } else { *score };
            let base = base.values.get(index % targets.max(1)).copied();
            out.push(base.map_or(score, |base| add_base(score, base, wide)) as f32);
        }
        out.chunks_mut(targets.max(1)).for_each(|row| post.apply(row));
        Ok(vec![Tensor::new([rows, targets], out)?])
    })
}

/// What a classifier with two labels does with scores of one class only.
#[derive(Clone, Copy)]
enum Binary {
    /// Both classes have leaves.
    No,
    /// One class has, and no weight is negative: the score is a probability.
    Probability,
    /// One class has: positive scores mean the second label.
    Margin,
}

fn classifier(node: &Node<'_>) -> Built {
    let labels = Labels::read(node, "classlabels_int64s", "classlabels_strings")?;
    let labels = labels.ok_or_else(|| node.error("there are no class labels"))?;
    let classes = labels.len();
    let base = Numbers::read(node, "base_values")?;
    if !matches!(base.values.len(), 0 | 1) && base.values.len() != classes {
        return Err(node.error(format!("{} base_values for {classes} classes", base.values.len())));
    }
    let post = Post::read(node)?;
    let ensemble = read(node, "class", classes.max(1))?;
    let weights = || ensemble.nodes.iter().flat_map(|n| &n.weights);
    let only = weights().next().map(|(class, _)| *class).filter(|first| weights().all(|(class, _)| class == first));
    let binary = match only {
        Some(_) if classes <= 2 && weights().all(|(_, weight)| *weight >= 0.0) => Binary::Probability,
        Some(_) if classes <= 2 => Binary::Margin,
        _ => Binary::No,
    };
    let scored = only.unwrap_or(0) as usize;
    let (trees, wide) = (Trees::new(node, &ensemble)?, ensemble.wide);
    let bases = base.values;
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let wide = wide || matches!(x.data(), Data::F64(_));
        let (rows, scores) = trees.scores(x, Aggregate::Sum, context)?;
        let width = if classes == 1 { 2 } else { classes };
        let mut out = context.reserve::<f32>(rows * width)?;
        context.claim::<i64>(rows)?;
        let mut chosen = Vec::with_capacity(rows);
        for row in scores.chunks(trees.targets()) {
            match binary {
                Binary::No => {
                    let from = out.len();
                    let base = |class: usize| bases.get(class).copied();
                    out.extend(
                        row.iter().enumerate().map(|(c, s)| base(c).map_or(*s, |b| add_base(*s, b, wide)) as f32),
                    );
                    chosen.push(arg_max(&out[from..]));
                    post.apply(&mut out[from..]);
                }
                Binary::Probability | Binary::Margin => {
                    let base = bases.last().copied();
                    let score = base.map_or(row[scored], |b| add_base(row[scored], b, wide)) as f32;
                    let (pair, second) = two_classes(score, binary, post);
                    out.extend(pair);
                    chosen.push(if second { classes - 1 } else { 0 });
                }
            }
        }
        Ok(vec![labels.pick(&chosen), Tensor::new([rows, width], out)?])
    })
}

/// The scores of both classes from that of the second, and whether the second wins.
fn two_classes(score: f32, binary: Binary, post: Post) -> ([f32; 2], bool) {
    let probability = matches!(binary, Binary::Probability);
    let second = if probability { score > 0.5 } else { score > 0.0 };
    let mut pair = match post {
        Post::None | Post::Probit if probability => [1.0 - score, score],
        _ => [-score, score],
    };
    post.apply(&mut pair);
    (pair, second)
}

/// The attributes of `TreeEnsemble` that say where a side of a node leads.
struct Side {
    ids: Vec<i64>,
    is_leaf: Vec<i64>,
}

impl Side {
    fn read(node: &Node<'_>, side: &str) -> Result<Self, LoadError> {
        let ints = |name: String| Ok::<_, LoadError>(node.ints(&name)?.unwrap_or_default());
        Ok(Self { ids: ints(format!("nodes_{side}nodeids"))?, is_leaf: ints(format!("nodes_{side}leafs"))? })
    }

    /// Position of what lies on this side of node `at`: leaves follow the inner nodes.
    fn position(&self, node: &Node<'_>, at: usize, nodes: usize, leaves: usize) -> Result<usize, LoadError> {
        let leaf = self.is_leaf[at] != 0;
        let (first, count) = if leaf { (nodes, leaves) } else { (0, nodes) };
        let id = usize::try_from(self.ids[at]).ok().filter(|id| *id < count);
        Ok(first + id.ok_or_else(|| node.error(format!("node {at} leads to {}, out of range", self.ids[at])))?)
    }
}

fn required(node: &Node<'_>, name: &str) -> Result<Numbers, LoadError> {
    let tensor = node.tensor(name)?.ok_or_else(|| node.error(format!("attribute {name} is missing")))?;
    Numbers::of(node, &tensor)
}

fn ensemble_nodes(node: &Node<'_>) -> Result<Ensemble, LoadError> {
    let targets = usize::try_from(node.int("n_targets", 1)?).map_err(|_| node.error("n_targets is negative"))?;
    let features = node.ints("nodes_featureids")?.unwrap_or_default();
    let (fails, holds) = (Side::read(node, "false")?, Side::read(node, "true")?);
    let (splits, weights) = (required(node, "nodes_splits")?, required(node, "leaf_weights")?);
    let modes = node.tensor("nodes_modes")?.ok_or_else(|| node.error("attribute nodes_modes is missing"))?;
    let modes = modes.values::<u8>().map_err(|f| node.failure(f))?;
    let leaf_targets = node.ints("leaf_targetids")?.unwrap_or_default();
    let missing = node.ints("nodes_missing_value_tracks_true")?.unwrap_or_default();
    let (count, leaves) = (features.len(), leaf_targets.len());
    let lengths = [fails.ids.len(), fails.is_leaf.len(), holds.ids.len(), holds.is_leaf.len(), splits.values.len()];
    if lengths.iter().any(|l| *l != count) || modes.len() != count || weights.values.len() != leaves {
        return Err(node.error("the lists of nodes or leaves differ in length"));
    }
    let mut nodes = Vec::with_capacity(count + leaves);
    let mut members = Vec::new();
    for (at, feature) in features.iter().enumerate() {
        let tests = [Test::AtMost, Test::Below, Test::AtLeast, Test::Above, Test::Equal, Test::Unequal, Test::Equal];
        let test = tests.get(usize::from(modes[at])).copied();
        let test = test.ok_or_else(|| node.error(format!("node {at} has the unknown mode {}", modes[at])))?;
        if modes[at] == 6 {
            members.push(at);
        }
        let next = [fails.position(node, at, count, leaves)?, holds.position(node, at, count, leaves)?];
        let feature = u32::try_from(*feature).map_err(|_| node.error(format!("feature {feature} is out of range")))?;
        let rule = Rule { test, missing_holds: missing.get(at).is_some_and(|m| *m != 0) };
        nodes.push(Raw { feature, threshold: splits.values[at], rule, next: Some(next), weights: Vec::new() });
    }
    for (target, weight) in leaf_targets.iter().zip(&weights.values) {
        let target = u32::try_from(*target).ok().filter(|t| (*t as usize) < targets);
        let target = target.ok_or_else(|| node.error(format!("a leaf of one of {targets} targets is out of range")))?;
        let rule = Rule { test: Test::AtMost, missing_holds: false };
        nodes.push(Raw { feature: 0, threshold: 0.0, rule, next: None, weights: vec![(target, *weight)] });
    }
    let root = |r: &i64| usize::try_from(*r).ok().filter(|r| *r < count);
    let roots = node.ints("tree_roots")?.unwrap_or_default();
    let roots = roots.iter().map(|r| root(r).ok_or_else(|| node.error(format!("root {r} is out of range"))));
    let roots = roots.collect::<Result<_, _>>()?;
    expand_members(node, &members, &mut nodes)?;
    Ok(Ensemble { nodes, roots, targets, wide: splits.wide || weights.wide })
}

/// Turns a test of membership into a chain of tests of equality. Sets are separated by NaN.
fn expand_members(node: &Node<'_>, members: &[usize], nodes: &mut Vec<Raw>) -> Result<(), LoadError> {
    if members.is_empty() {
        return Ok(());
    }
    let values = required(node, "membership_values")?.values;
    let mut sets = values.split(|v| v.is_nan());
    for at in members {
        let set = sets.next().filter(|set| !set.is_empty());
        let set =
            set.ok_or_else(|| node.error("membership_values has fewer sets than there are tests of membership"))?;
        let (feature, rule) = (nodes[*at].feature, nodes[*at].rule);
        let [fails, holds] = nodes[*at].next.expect("an inner node");
        let mut rest = fails;
        for value in set[1..].iter().rev() {
            let rule = Rule { missing_holds: false, ..rule };
            nodes.push(Raw { feature, threshold: *value, rule, next: Some([rest, holds]), weights: Vec::new() });
            rest = nodes.len() - 1;
        }
        nodes[*at].threshold = set[0];
        nodes[*at].next = Some([rest, holds]);
    }
    Ok(())
}

fn ensemble(node: &Node<'_>) -> Built {
    let aggregates = [Aggregate::Average, Aggregate::Sum, Aggregate::Min, Aggregate::Max];
    let aggregate = usize::try_from(node.int("aggregate_function", 1)?).ok().and_then(|a| aggregates.get(a).copied());
    let aggregate = aggregate.ok_or_else(|| node.error("unknown aggregate_function"))?;
    let posts = [Post::None, Post::Softmax, Post::Logistic, Post::SoftmaxZero, Post::Probit];
    let post = usize::try_from(node.int("post_transform", 0)?).ok().and_then(|p| posts.get(p).copied());
    let post = post.ok_or_else(|| node.error("unknown post_transform"))?;
    let ensemble = ensemble_nodes(node)?;
    let (trees, targets) = (Trees::new(node, &ensemble)?, ensemble.targets);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let wide = matches!(x.data(), Data::F64(_));
        let (rows, mut scores) = trees.scores(x, aggregate, context)?;
        if aggregate == Aggregate::Average {
            scores.iter_mut().for_each(|s| *s = average(*s, trees.trees(), wide));
        }
        if wide && post == Post::None {
            return Ok(vec![Tensor::new([rows, targets], scores)?]);
        }
        let mut out: Vec<f32> = scores.iter().map(|s| *s as f32).collect();
        out.chunks_mut(targets.max(1)).for_each(|row| post.apply(row));
        if wide {
            let out: Vec<f64> = out.into_iter().map(f64::from).collect();
            return Ok(vec![Tensor::new([rows, targets], out)?]);
        }
        Ok(vec![Tensor::new([rows, targets], out)?])
    })
}
