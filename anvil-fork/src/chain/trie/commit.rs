//! What a trie commits to: the encodings of its nodes, its root hash, and proofs.

use super::{Cell, Node, Trie, TrieValue, nibble, path};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::{
    EMPTY_ROOT_HASH, TrieMask,
    nodes::{BranchNodeRef, ExtensionNodeRef, LeafNodeRef, RlpNode},
};

impl<V: TrieValue> Trie<V> {
    /// The root hash.
    pub fn root(&self) -> B256 {
        let Some(root) = &self.root else { return EMPTY_ROOT_HASH };
        let node = root.encoded(0);
        node.as_hash().unwrap_or_else(|| keccak256(node.as_slice()))
    }

    /// The encoded nodes from the root towards `key`, as `eth_getProof` gives them.
    pub fn proof(&self, key: &B256) -> Vec<Bytes> {
        let mut nodes = Vec::new();
        let mut next = self.root.as_ref();
        let mut depth = 0;
        while let Some(cell) = next {
            let mut rlp = Vec::new();
            cell.encode(depth, &mut rlp);
            // Nodes under 32 bytes are part of their parent already.
            if depth == 0 || rlp.len() >= 32 {
                nodes.push(rlp.into());
            }
            next = match &cell.node {
                Node::Leaf { .. } => None,
                Node::Extension { path: at, child } => {
                    let fits = *at == path(key, depth, depth + at.len());
                    depth += at.len();
                    fits.then_some(child)
                }
                Node::Branch(children) => {
                    depth += 1;
                    children[nibble(key, depth - 1)].as_ref()
                }
            };
        }
        nodes
    }
}

impl<V: TrieValue> Cell<V> {
    fn encoded(&self, depth: usize) -> &RlpNode {
        self.rlp.get_or_init(|| {
            let mut rlp = Vec::new();
            self.encode(depth, &mut rlp)
        })
    }

    fn encode(&self, depth: usize, rlp: &mut Vec<u8>) -> RlpNode {
        match &self.node {
            Node::Leaf { key, value } => LeafNodeRef::new(&path(key, depth, 64), &value.trie_rlp()).rlp(rlp),
            Node::Extension { path, child } => {
                ExtensionNodeRef::new(path, child.encoded(depth + path.len()).as_slice()).rlp(rlp)
            }
            Node::Branch(children) => {
                let mut mask = TrieMask::default();
                let mut stack = Vec::with_capacity(16);
                for (at, child) in (0u8..).zip(children) {
                    if let Some(child) = child {
                        mask.set_bit(at);
                        stack.push(child.encoded(depth + 1).clone());
                    }
                }
                BranchNodeRef::new(&stack, mask).rlp(rlp)
            }
        }
    }
}
