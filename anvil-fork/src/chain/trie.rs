//! A Merkle Patricia trie that is also the map: values are read from it, copies share all nodes, and only what a block
//! touched is hashed again. So a snapshot costs nothing, and the state root of a block costs the same at any height.

mod commit;

use alloy_primitives::B256;
use alloy_trie::{Nibbles, nodes::RlpNode};
use std::sync::{Arc, OnceLock};

/// What a leaf holds.
pub trait TrieValue: Clone {
    /// The RLP that the trie commits to.
    fn trie_rlp(&self) -> Vec<u8>;
}

/// Values under 32-byte keys (hashes, so that the trie stays flat). Clones are O(1).
#[derive(Debug)]
pub struct Trie<V> {
    root: Option<Arc<Cell<V>>>,
}

impl<V> Clone for Trie<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

/// A node and its encoding, which is computed when first asked for.
#[derive(Debug)]
struct Cell<V> {
    node: Node<V>,
    rlp: OnceLock<RlpNode>,
}

impl<V: Clone> Clone for Cell<V> {
    fn clone(&self) -> Self {
        // A cell is cloned to be changed, so its encoding is not worth keeping.
        Self::new(self.node.clone())
    }
}

impl<V> Cell<V> {
    fn new(node: Node<V>) -> Self {
        Self { node, rlp: OnceLock::new() }
    }

    fn shared(node: Node<V>) -> Arc<Self> {
        Arc::new(Self::new(node))
    }
}

type Children<V> = [Option<Arc<Cell<V>>>; 16];

#[derive(Clone, Debug)]
enum Node<V> {
    /// The whole key is kept: which part of it is the path follows from the depth.
    Leaf {
        key: B256,
        value: V,
    },
    Extension {
        path: Nibbles,
        child: Arc<Cell<V>>,
    },
    Branch(Children<V>),
}

fn nibble(key: &B256, depth: usize) -> usize {
    let byte = key[depth / 2];
    usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f })
}

fn path(key: &B256, from: usize, to: usize) -> Nibbles {
    Nibbles::unpack(key).slice(from..to)
}

impl<V: TrieValue> Trie<V> {
    /// The value under `key`.
    pub fn get(&self, key: &B256) -> Option<&V> {
        let (mut cell, mut depth) = (self.root.as_ref()?, 0);
        loop {
            match &cell.node {
                Node::Leaf { key: found, value } => return (found == key).then_some(value),
                Node::Extension { path, child } => {
                    let fits = (0..path.len()).all(|at| usize::from(path.get_unchecked(at)) == nibble(key, depth + at));
                    if !fits {
                        return None;
                    }
                    depth += path.len();
                    cell = child;
                }
                Node::Branch(children) => {
                    cell = children[nibble(key, depth)].as_ref()?;
                    depth += 1;
                }
            }
        }
    }

    /// Puts `value` under `key`.
    pub fn insert(&mut self, key: B256, value: V) {
        match &mut self.root {
            None => self.root = Some(Cell::shared(Node::Leaf { key, value })),
            Some(root) => insert(root, 0, key, value),
        }
    }

    /// Takes the value under `key` out.
    pub fn remove(&mut self, key: &B256) {
        if self.get(key).is_some()
            && let Some(root) = &mut self.root
            && remove(root, 0, key)
        {
            self.root = None;
        }
    }

    /// Values of `older` that are not, or are others here; and those that are here in their place. What both share is not
    /// looked at, so this costs what has changed; some values may be in both lists.
    pub fn differences<'a>(&'a self, older: &'a Self) -> (Vec<&'a V>, Vec<&'a V>) {
        let (mut gone, mut there) = (Vec::new(), Vec::new());
        differences(older.root.as_ref(), self.root.as_ref(), &mut gone, &mut there);
        (gone, there)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> Values<'_, V> {
        Values { stack: self.root.iter().collect() }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

/// See [`Trie::values`].
#[derive(Debug)]
pub struct Values<'a, V> {
    stack: Vec<&'a Arc<Cell<V>>>,
}

impl<'a, V> Iterator for Values<'a, V> {
    type Item = &'a V;

    fn next(&mut self) -> Option<&'a V> {
        while let Some(cell) = self.stack.pop() {
            match &cell.node {
                Node::Leaf { value, .. } => return Some(value),
                Node::Extension { child, .. } => self.stack.push(child),
                Node::Branch(children) => self.stack.extend(children.iter().rev().flatten()),
            }
        }
        None
    }
}

fn differences<'a, V>(
    old: Option<&'a Arc<Cell<V>>>,
    new: Option<&'a Arc<Cell<V>>>,
    gone: &mut Vec<&'a V>,
    there: &mut Vec<&'a V>,
) {
    match (old, new) {
        (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
        (Some(old), Some(new)) => match (&old.node, &new.node) {
            (Node::Branch(old), Node::Branch(new)) => {
                let pairs = old.iter().zip(new);
                pairs.for_each(|(old, new)| differences(old.as_ref(), new.as_ref(), gone, there));
            }
            (Node::Extension { path: from, child: old }, Node::Extension { path: to, child: new }) if from == to => {
                differences(Some(old), Some(new), gone, there);
            }
            _ => {
                gone.extend(Values { stack: vec![old] });
                there.extend(Values { stack: vec![new] });
            }
        },
        (old, new) => {
            gone.extend(Values { stack: old.into_iter().collect() });
            there.extend(Values { stack: new.into_iter().collect() });
        }
    }
}

/// A private copy of a node that others share, or the node itself.
fn unshared<V: Clone>(cell: &mut Arc<Cell<V>>) -> &mut Cell<V> {
    let cell = Arc::make_mut(cell);
    cell.rlp = OnceLock::new();
    cell
}

fn insert<V: TrieValue>(cell: &mut Arc<Cell<V>>, depth: usize, key: B256, value: V) {
    let cell = unshared(cell);
    match &mut cell.node {
        Node::Leaf { key: found, value: old } if *found == key => *old = value,
        Node::Leaf { key: found, value: old } => {
            let same = (depth..64).take_while(|at| nibble(found, *at) == nibble(&key, *at)).count();
            let fork = depth + same;
            let mut children = Children::default();
            children[nibble(found, fork)] = Some(Cell::shared(Node::Leaf { key: *found, value: old.clone() }));
            children[nibble(&key, fork)] = Some(Cell::shared(Node::Leaf { key, value }));
            cell.node = extended(path(&key, depth, fork), Node::Branch(children));
        }
        Node::Extension { path: at, child } => {
            let same =
                (0..at.len()).take_while(|i| usize::from(at.get_unchecked(*i)) == nibble(&key, depth + i)).count();
            if same == at.len() {
                return insert(child, depth + same, key, value);
            }
            let mut children = Children::default();
            let rest = at.slice(same + 1..);
            let below = if rest.is_empty() {
                child.clone()
            } else {
                Cell::shared(Node::Extension { path: rest, child: child.clone() })
            };
            children[usize::from(at.get_unchecked(same))] = Some(below);
            children[nibble(&key, depth + same)] = Some(Cell::shared(Node::Leaf { key, value }));
            cell.node = extended(at.slice(..same), Node::Branch(children));
        }
        Node::Branch(children) => match &mut children[nibble(&key, depth)] {
            Some(child) => insert(child, depth + 1, key, value),
            none => *none = Some(Cell::shared(Node::Leaf { key, value })),
        },
    }
}

/// `node` under a path, which may be empty.
fn extended<V>(path: Nibbles, node: Node<V>) -> Node<V> {
    if path.is_empty() { node } else { Node::Extension { path, child: Cell::shared(node) } }
}

/// Removes a key that is there; true where nothing is left of this node.
fn remove<V: TrieValue>(cell: &mut Arc<Cell<V>>, depth: usize, key: &B256) -> bool {
    let cell = unshared(cell);
    match &mut cell.node {
        Node::Leaf { .. } => return true,
        Node::Extension { path, child } => {
            remove(child, depth + path.len(), key);
            cell.node = joined(*path, child);
        }
        Node::Branch(children) => {
            let at = nibble(key, depth);
            if let Some(child) = &mut children[at]
                && remove(child, depth + 1, key)
            {
                children[at] = None;
            }
            let mut left = (0u8..).zip(children.iter()).filter_map(|(at, child)| Some((at, child.as_ref()?)));
            if let (Some((at, child)), None) = (left.next(), left.next()) {
                cell.node = joined(Nibbles::from_nibbles([at]), child);
            }
        }
    }
    false
}

/// The one node that stands for a path and what is below it.
fn joined<V: Clone>(path: Nibbles, child: &Arc<Cell<V>>) -> Node<V> {
    match &child.node {
        leaf @ Node::Leaf { .. } => leaf.clone(),
        Node::Extension { path: below, child } => Node::Extension { path: path.join(below), child: child.clone() },
        Node::Branch(_) => Node::Extension { path, child: child.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder};
    use std::collections::BTreeMap;

    #[derive(Clone, Debug, PartialEq)]
    struct Word(u64);

    impl TrieValue for Word {
        fn trie_rlp(&self) -> Vec<u8> {
            alloy_rlp::encode(self.0)
        }
    }

    fn reference_root(map: &BTreeMap<B256, u64>) -> B256 {
        let mut builder = HashBuilder::default();
        for (key, value) in map {
            builder.add_leaf(Nibbles::unpack(key), &alloy_rlp::encode(*value));
        }
        builder.root()
    }

    /// Short keys collide in their first nibbles, so that extensions and deep branches appear.
    fn key(seed: u64) -> B256 {
        let mut key = keccak256(seed.to_be_bytes());
        if seed.is_multiple_of(3) {
            key.0[..28].fill(0x11);
        }
        key
    }

    #[test]
    fn roots_equal_the_hash_builders_through_inserts_updates_and_removals() {
        let (mut trie, mut map) = (Trie::default(), BTreeMap::new());
        assert_eq!(trie.root(), EMPTY_ROOT_HASH);
        for step in 0..3_000u64 {
            let seed = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55;
            if step % 5 < 3 {
                trie.insert(key(seed), Word(step));
                map.insert(key(seed), step);
            } else {
                trie.remove(&key(seed));
                map.remove(&key(seed));
            }
            if step % 17 == 0 {
                assert_eq!(trie.root(), reference_root(&map), "after step {step}");
            }
        }
        assert_eq!(trie.values().map(|word| word.0).collect::<Vec<_>>(), map.values().copied().collect::<Vec<_>>());
        for key in map.keys().copied().collect::<Vec<_>>() {
            trie.remove(&key);
        }
        assert!(trie.is_empty() && trie.root() == EMPTY_ROOT_HASH);
    }

    #[test]
    fn a_clone_keeps_its_values_and_root() {
        let mut trie = Trie::default();
        (0..100).for_each(|seed| trie.insert(key(seed), Word(seed)));
        let (before, root) = (trie.clone(), trie.root());
        (0..100).for_each(|seed| if seed % 2 == 0 { trie.remove(&key(seed)) } else { trie.insert(key(seed), Word(7)) });
        assert_eq!(before.root(), root);
        assert!((0..100).all(|seed| before.get(&key(seed)) == Some(&Word(seed))));
        assert_ne!(trie.root(), root);
    }

    #[test]
    fn differences_lead_from_one_trie_to_the_other_and_leave_out_what_both_share() {
        let mut old = Trie::default();
        (0..500).for_each(|seed| old.insert(key(seed), Word(seed)));
        let mut new = old.clone();
        (0..20).for_each(|seed| new.remove(&key(seed * 7)));
        (490..520).for_each(|seed| new.insert(key(seed), Word(seed + 1_000)));
        let (gone, there) = new.differences(&old);
        assert!(gone.len() < 250 && there.len() < 250, "{} {}", gone.len(), there.len());
        let keys: BTreeMap<u64, B256> = (0..520).map(|seed| (seed, key(seed))).collect();
        let mut rebuilt = old.clone();
        gone.iter().for_each(|word| rebuilt.remove(&keys[&word.0]));
        there.iter().for_each(|word| rebuilt.insert(keys[&(word.0 % 1_000)], (*word).clone()));
        assert_eq!(rebuilt.root(), new.root());
        assert!(new.differences(&new.clone()).0.is_empty());
    }

    #[test]
    fn proofs_verify_for_present_and_absent_keys() {
        let mut trie = Trie::default();
        (0..200).for_each(|seed| trie.insert(key(seed), Word(seed)));
        for seed in [0, 1, 2, 3, 150, 500, 501, 503] {
            let value = trie.get(&key(seed)).map(TrieValue::trie_rlp);
            alloy_trie::proof::verify_proof(trie.root(), Nibbles::unpack(key(seed)), value, &trie.proof(&key(seed)))
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}
