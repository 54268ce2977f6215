//! Decision trees, flattened so that a descent has no branch to mispredict and several descents overlap.

use crate::pool;

/// Trees descended at the same time: their loads overlap.
const LANES: usize = 8;
/// Multiply-adds that take as long as one descent.
const DESCENT_WORK: usize = 1 << 10;

/// A number that features and thresholds are compared in.
pub(crate) trait Number:
    Copy + PartialOrd + Default + Send + Sync + std::ops::Add<Output = Self> + 'static
{
    /// Whether it is not a number.
    fn is_nan(self) -> bool;
}
impl Number for f32 {
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}
impl Number for f64 {
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}

/// How a node compares a feature (left) with its threshold (right).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Test {
    #[inline(always)]
    fn holds<T: Number>(self, feature: T, threshold: T) -> bool {
        match self {
            Self::AtMost => feature <= threshold,
            Self::Below => feature < threshold,
            Self::AtLeast => feature >= threshold,
            Self::Above => feature > threshold,
            Self::Equal => feature == threshold,
            Self::Unequal => feature != threshold,
        }
    }
}

/// A node: where to go when the test fails (0) and when it holds (1). A leaf leads to itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch<T> {
    /// Column of the feature.
    pub(crate) feature: u32,
    /// The right side of the test.
    pub(crate) threshold: T,
    /// Positions in [`Forest::branches`].
    pub(crate) next: [u32; 2],
}

/// What varies between nodes where not all of them do the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The comparison.
    pub(crate) test: Test,
    /// Whether a missing feature (NaN) counts as a test that holds.
    pub(crate) missing_holds: bool,
}

/// An ensemble. Leaves' weights are added in the order of the trees, from zero.
#[derive(Debug)]
pub(crate) struct Forest<T> {
    /// All nodes of all trees.
    pub(crate) branches: Vec<Branch<T>>,
    /// Rules of the nodes; empty where all nodes follow `rule`.
    pub(crate) rules: Vec<Rule>,
    /// The rule of all nodes.
    pub(crate) rule: Rule,
    /// Root of each tree, and the number of steps that surely reach a leaf.
    pub(crate) roots: Vec<(u32, u32)>,
    /// For each node the range of its weights (empty unless it is a leaf).
    pub(crate) leaves: Vec<(u32, u32)>,
    /// Targets and weights of the leaves.
    pub(crate) weights: Vec<(u32, T)>,
    /// Number of targets.
    pub(crate) targets: usize,
    /// Largest feature column used, plus one.
    pub(crate) features: usize,
}

/// How the leaves of the trees that reach a target become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregate {
    /// The sum.
    Sum,
    /// The sum over the number of trees, divided by the caller: kept as a sum here.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl<T: Number> Forest<T> {
    /// Scores of `rows` rows of `width` features: `scores` is rows x targets and holds zeros before.
    /// `width` is at least [`Forest::features`].
    pub(crate) fn score(&self, x: &[T], width: usize, aggregate: Aggregate, scores: &mut [T]) {
        let rows = scores.len() / self.targets.max(1);
        let one = |(row, out): (usize, &mut [T])| {
            let features = &x[row * width..(row + 1) * width];
            if self.rules.is_empty() {
                self.score_row(features, aggregate, out);
            } else {
                self.descend_all(features, aggregate, out, |at, feature, threshold| {
                    let rule = self.rules[at];
                    rule.test.holds(feature, threshold) || (rule.missing_holds && feature.is_nan())
                });
            }
        };
        let pieces = pool::pieces(rows * self.roots.len() * DESCENT_WORK).min(rows);
        if pieces > 1 {
            let step = rows.div_ceil(pieces);
            let parts = scores.chunks_mut(step * self.targets).enumerate().collect();
            pool::each(
                parts,
                || (),
                |(), (index, part): (usize, &mut [T])| {
                    part.chunks_mut(self.targets).enumerate().for_each(|(row, out)| one((index * step + row, out)));
                },
            );
        } else {
            scores.chunks_mut(self.targets.max(1)).enumerate().for_each(one);
        }
    }

    /// All nodes alike: the comparison is chosen once, outside of the descent.
    fn score_row(&self, x: &[T], aggregate: Aggregate, out: &mut [T]) {
        let missing = self.rule.missing_holds;
        macro_rules! with {
            ($test:expr) => {
                if missing {
                    self.descend_all(x, aggregate, out, |_, a, b| $test.holds(a, b) || a.is_nan())
                } else {
                    self.descend_all(x, aggregate, out, |_, a, b| $test.holds(a, b))
                }
            };
        }
        match self.rule.test {
            Test::AtMost => with!(Test::AtMost),
            Test::Below => with!(Test::Below),
            Test::AtLeast => with!(Test::AtLeast),
            Test::Above => with!(Test::Above),
            Test::Equal => with!(Test::Equal),
            Test::Unequal => with!(Test::Unequal),
        }
    }

    #[inline(always)]
    fn descend_all(&self, x: &[T], aggregate: Aggregate, out: &mut [T], holds: impl Fn(usize, T, T) -> bool + Copy) {
        let mut seen = vec![false; if matches!(aggregate, Aggregate::Min | Aggregate::Max) { out.len() } else { 0 }];
        let step = |at: u32| {
            let branch = &self.branches[at as usize];
            branch.next[usize::from(holds(at as usize, x[branch.feature as usize], branch.threshold))]
        };
        let (groups, rest) = self.roots.as_chunks::<LANES>();
        for group in groups {
            let mut at = group.map(|(root, _)| root);
            let depth = group.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
            for _ in 0..depth {
                at.iter_mut().for_each(|at| *at = step(*at));
            }
            at.iter().for_each(|leaf| self.add(*leaf, aggregate, out, &mut seen));
        }
        for (root, depth) in rest {
            let leaf = (0..*depth).fold(*root, |at, _| step(at));
            self.add(leaf, aggregate, out, &mut seen);
        }
    }

    #[inline(always)]
    fn add(&self, leaf: u32, aggregate: Aggregate, out: &mut [T], seen: &mut [bool]) {
        let (from, to) = self.leaves[leaf as usize];
        for (target, weight) in &self.weights[from as usize..to as usize] {
            let slot = &mut out[*target as usize];
            match aggregate {
                Aggregate::Sum | Aggregate::Average => *slot = *slot + *weight,
                Aggregate::Min | Aggregate::Max => {
                    let first = !std::mem::replace(&mut seen[*target as usize], true);
                    let better = if aggregate == Aggregate::Min { *weight < *slot } else { *weight > *slot };
                    if first || better {
                        *slot = *weight;
                    }
                }
            }
        }
    }
}
