//! From the attributes of the three tree operators to a [`Forest`].

use std::collections::HashMap;

use crate::graph::Node;
use crate::kernels::forest::{Branch, Forest, Number, Rule, Test};
use crate::onnx::LoadError;
use crate::tensor::{Data, Tensor};

/// Most nodes of an ensemble.
const NODES_MAX: usize = 1 << 26;

/// A node as a file has it, with links to other nodes resolved to positions.
pub(super) struct Raw {
    pub(super) feature: u32,
    pub(super) threshold: f64,
    pub(super) rule: Rule,
    /// Where to go when the test fails and when it holds; a leaf goes nowhere.
    pub(super) next: Option<[usize; 2]>,
    pub(super) weights: Vec<(u32, f64)>,
}

/// An ensemble before flattening. All numbers are `f64`, which holds every `f32` exactly.
pub(super) struct Ensemble {
    pub(super) nodes: Vec<Raw>,
    pub(super) roots: Vec<usize>,
    pub(super) targets: usize,
    /// Whether any number is a double that `f32` may not hold.
    pub(super) wide: bool,
}

/// A list of numbers given as floats or, under another name, as a tensor of doubles or floats.
pub(super) struct Numbers {
    pub(super) values: Vec<f64>,
    pub(super) wide: bool,
}

impl Numbers {
    pub(super) fn of(node: &Node<'_>, tensor: &Tensor) -> Result<Self, LoadError> {
        match tensor.data() {
            Data::F32(v) => Ok(Self { values: v.iter().map(|x| f64::from(*x)).collect(), wide: false }),
            Data::F64(v) => Ok(Self { values: v.to_vec(), wide: true }),
            Data::F16(v) => Ok(Self { values: v.iter().map(|x| x.to_f64()).collect(), wide: false }),
            _ => Err(node.error(format!("expected a tensor of floats, got {}", tensor.element_type()))),
        }
    }

    pub(super) fn read(node: &Node<'_>, name: &str) -> Result<Self, LoadError> {
        if let Some(tensor) = node.tensor(&format!("{name}_as_tensor"))? {
            return Self::of(node, &tensor);
        }
        let values = node.floats(name)?.unwrap_or_default();
        Ok(Self { values: values.into_iter().map(f64::from).collect(), wide: false })
    }
}

fn same_length(node: &Node<'_>, name: &str, length: usize, expected: usize) -> Result<(), LoadError> {
    if length == expected {
        return Ok(());
    }
    Err(node.error(format!("attribute {name} has {length} entries, expected {expected}, one a node or leaf")))
}

fn column(node: &Node<'_>, feature: i64) -> Result<u32, LoadError> {
    u32::try_from(feature).map_err(|_| node.error(format!("feature {feature} is out of range")))
}

pub(super) fn mode(node: &Node<'_>, name: &str) -> Result<Option<Test>, LoadError> {
    Ok(Some(match name {
        "BRANCH_LEQ" => Test::AtMost,
        "BRANCH_LT" => Test::Below,
        "BRANCH_GTE" => Test::AtLeast,
        "BRANCH_GT" => Test::Above,
        "BRANCH_EQ" => Test::Equal,
        "BRANCH_NEQ" => Test::Unequal,
        "LEAF" => return Ok(None),
        _ => return Err(node.error(format!("unknown node mode {name}"))),
    }))
}

/// Reads `TreeEnsembleClassifier` (`prefix` is `class`) or `TreeEnsembleRegressor` (`target`).
pub(super) fn read(node: &Node<'_>, prefix: &str, targets: usize) -> Result<Ensemble, LoadError> {
    let ints = |name: &str| Ok::<_, LoadError>(node.ints(name)?.unwrap_or_default());
    let (trees, ids) = (ints("nodes_treeids")?, ints("nodes_nodeids")?);
    let (features, modes) = (ints("nodes_featureids")?, node.strings("nodes_modes")?.unwrap_or_default());
    let (holds, fails) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?);
    let values = Numbers::read(node, "nodes_values")?;
    let missing = ints("nodes_missing_value_tracks_true")?;
    let count = ids.len();
    if count > NODES_MAX {
        return Err(node.error(format!("{count} nodes, the limit is {NODES_MAX}")));
    }
    for (name, length) in [
        ("nodes_treeids", trees.len()),
        ("nodes_featureids", features.len()),
        ("nodes_modes", modes.len()),
        ("nodes_truenodeids", holds.len()),
        ("nodes_falsenodeids", fails.len()),
        ("nodes_values", values.values.len()),
    ] {
        same_length(node, name, length, count)?;
    }
    let mut positions = HashMap::with_capacity(count);
    for (at, key) in trees.iter().zip(&ids).enumerate() {
        if positions.insert((*key.0, *key.1), at).is_some() {
            return Err(node.error(format!("tree {} has two nodes {}", key.0, key.1)));
        }
    }
    let find = |tree: i64, id: i64| {
        let none = || node.error(format!("tree {tree} has no node {id}"));
        positions.get(&(tree, id)).copied().ok_or_else(none)
    };
    let mut nodes = Vec::with_capacity(count);
    for at in 0..count {
        let test = mode(node, &modes[at])?;
        let next = match test {
            None => None,
            Some(_) => Some([find(trees[at], fails[at])?, find(trees[at], holds[at])?]),
        };
        let rule = Rule { test: test.unwrap_or(Test::AtMost), missing_holds: missing.get(at).is_some_and(|m| *m != 0) };
        let feature = if next.is_some() { column(node, features[at])? } else { 0 };
        nodes.push(Raw { feature, threshold: values.values[at], rule, next, weights: Vec::new() });
    }
    let wide = values.wide | read_weights(node, prefix, targets, find, &mut nodes)?;
    let roots = roots_of(node, &trees, &nodes)?;
    Ok(Ensemble { nodes, roots, targets, wide })
}

fn read_weights(
    node: &Node<'_>,
    prefix: &str,
    targets: usize,
    find: impl Fn(i64, i64) -> Result<usize, LoadError>,
    nodes: &mut [Raw],
) -> Result<bool, LoadError> {
    let ints = |name: String| Ok::<_, LoadError>(node.ints(&name)?.unwrap_or_default());
    let (trees, ids) = (ints(format!("{prefix}_treeids"))?, ints(format!("{prefix}_nodeids"))?);
    let classes = ints(format!("{prefix}_ids"))?;
    let weights = Numbers::read(node, &format!("{prefix}_weights"))?;
    for (name, length) in [("nodeids", ids.len()), ("ids", classes.len()), ("weights", weights.values.len())] {
        same_length(node, &format!("{prefix}_{name}"), length, trees.len())?;
    }
    for (at, weight) in weights.values.iter().enumerate() {
        let target = usize::try_from(classes[at]).ok().filter(|t| *t < targets);
        let target =
            target.ok_or_else(|| node.error(format!("leaf of {prefix} {}, there are {targets}", classes[at])))?;
        let leaf = &mut nodes[find(trees[at], ids[at])?];
        // A weight on an inner node is never reached.
        if leaf.next.is_none() {
            leaf.weights.push((target as u32, *weight));
        }
    }
    Ok(weights.wide)
}

/// The node of each tree that no other leads to; trees in the order in which they first appear.
fn roots_of(node: &Node<'_>, trees: &[i64], nodes: &[Raw]) -> Result<Vec<usize>, LoadError> {
    let mut is_child = vec![false; nodes.len()];
    for child in nodes.iter().filter_map(|n| n.next).flatten() {
        is_child[child] = true;
    }
    let mut order = Vec::new();
    let mut root_of = HashMap::new();
    for (at, tree) in trees.iter().enumerate() {
        if !root_of.contains_key(tree) {
            root_of.insert(*tree, None);
            order.push(*tree);
        }
        if !is_child[at] && root_of.insert(*tree, Some(at)).flatten().is_some() {
            return Err(node.error(format!("tree {tree} has two roots")));
        }
    }
    let root = |tree: &i64| root_of[tree].ok_or_else(|| node.error(format!("tree {tree} has no root: it is a cycle")));
    order.iter().map(root).collect()
}

impl Ensemble {
    /// Flattens the trees. Fails where links form a cycle.
    pub(super) fn flatten<T: Number>(&self, node: &Node<'_>, narrow: fn(f64) -> T) -> Result<Forest<T>, LoadError> {
        let depths = self.depths(node)?;
        let mut forest = Forest {
            branches: Vec::with_capacity(self.nodes.len()),
            rules: Vec::new(),
            rule: Rule { test: Test::AtMost, missing_holds: false },
            roots: self.roots.iter().map(|root| (*root as u32, depths[*root])).collect(),
            leaves: Vec::with_capacity(self.nodes.len()),
            weights: Vec::new(),
            targets: self.targets,
            features: 0,
        };
        for (at, raw) in self.nodes.iter().enumerate() {
            let next = raw.next.unwrap_or([at, at]).map(|n| n as u32);
            forest.branches.push(Branch { feature: raw.feature, threshold: narrow(raw.threshold), next });
            let from = forest.weights.len() as u32;
            forest.weights.extend(raw.weights.iter().map(|(target, weight)| (*target, narrow(*weight))));
            forest.leaves.push((from, forest.weights.len() as u32));
            if raw.next.is_some() {
                forest.features = forest.features.max(raw.feature as usize + 1);
            }
        }
        let inner = || self.nodes.iter().filter(|n| n.next.is_some()).map(|n| n.rule);
        let same = |a: Rule, b: Rule| a.test == b.test && a.missing_holds == b.missing_holds;
        if let Some(first) = inner().next() {
            forest.rule = first;
            if !inner().all(|rule| same(rule, first)) {
                forest.rules = self.nodes.iter().map(|n| n.rule).collect();
            }
        }
        Ok(forest)
    }

    /// Steps from each node that a root reaches to its farthest leaf, without recursion: files may be hostile.
    fn depths(&self, node: &Node<'_>) -> Result<Vec<u32>, LoadError> {
        const NEW: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut state = vec![NEW; self.nodes.len()];
        let mut depth = vec![0u32; self.nodes.len()];
        let mut stack = Vec::new();
        for root in &self.roots {
            stack.push(*root);
            while let Some(&at) = stack.last() {
                let Some(next) = self.nodes[at].next else {
                    state[at] = DONE;
                    stack.pop();
                    continue;
                };
                match state[at] {
                    NEW => {
                        state[at] = OPEN;
                        for child in next {
                            match state[child] {
                                NEW => stack.push(child),
                                OPEN => return Err(node.error("the links of a tree form a cycle")),
                                _ => {}
                            }
                        }
                    }
                    OPEN => {
                        depth[at] = 1 + next.map(|child| depth[child]).into_iter().max().unwrap_or(0);
                        state[at] = DONE;
                        stack.pop();
                    }
                    _ => drop(stack.pop()),
                }
            }
        }
        Ok(depth)
    }
}
