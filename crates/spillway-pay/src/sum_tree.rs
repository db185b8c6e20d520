//! The Merkle-sum tree over the leaves of a batch: built with `rs_merkle`, whose nodes here carry a
//! hash and a sum.
//!
//! `leaf = H("leaf", chunk, H(shares))`, `node = H(hash left ‖ sum left ‖ hash right ‖ sum right)`,
//! each 32 bytes: 96 bytes under a leaf's hash and 128 under a node's, so that neither can be taken
//! for the other. An odd node moves up as it is. `rs_merkle`'s own proofs are malleable and are not
//! used to check anything: see [`crate::verify::batch_leaf`].

use alloy_primitives::keccak256;
use rs_merkle::{Hasher, MerkleTree};
use spillway_types::{
    Atto, Leaf, NodeHash, Retry, Sibling, Side,
    limits::{MAX_BATCH_LEAVES, MAX_PROOF_DEPTH},
};

/// A node of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumNode {
    /// Its hash.
    pub hash: NodeHash,
    /// The sum of the leaves below it.
    pub sum: Atto,
}

impl SumNode {
    /// The node of a leaf. Its shares must fit 96 bits each, else hash and sum say different things:
    /// whoever builds or checks a tree looks at them first.
    pub fn leaf(leaf: &Leaf) -> Self {
        Self { hash: NodeHash(leaf.hash().0), sum: leaf.total() }
    }

    /// The node above these two; `None` when their sum is over [`Atto::MAX_SHARE`], which no total
    /// is.
    #[must_use]
    pub fn above(left: Self, right: Self) -> Option<Self> {
        let sum = left.sum.checked_add(right.sum).filter(|&sum| sum <= Atto::MAX_SHARE)?;
        let mut preimage = [0; 128];
        preimage[..32].copy_from_slice(&left.hash.0);
        preimage[48..64].copy_from_slice(&left.sum.0.to_be_bytes());
        preimage[64..96].copy_from_slice(&right.hash.0);
        preimage[112..].copy_from_slice(&right.sum.0.to_be_bytes());
        Some(Self { hash: NodeHash(keccak256(preimage).0), sum })
    }
}

impl From<SumNode> for Vec<u8> {
    fn from(node: SumNode) -> Self {
        [node.hash.0.as_slice(), &node.sum.0.to_be_bytes()].concat()
    }
}

/// Bytes that are no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node has 48 bytes, these are {found}")]
pub struct NotANode {
    found: usize,
}

impl TryFrom<Vec<u8>> for SumNode {
    type Error = NotANode;

    fn try_from(bytes: Vec<u8>) -> Result<Self, NotANode> {
        let found = bytes.len();
        let (hash, sum) = bytes.split_first_chunk::<32>().ok_or(NotANode { found })?;
        let sum = sum.try_into().map_err(|_| NotANode { found })?;
        Ok(Self { hash: NodeHash(*hash), sum: Atto(u128::from_be_bytes(sum)) })
    }
}

/// How `rs_merkle` makes nodes.
#[derive(Clone, Debug)]
struct SumHasher;

impl Hasher for SumHasher {
    type Hash = SumNode;

    /// Of raw data: the trees here are made of nodes, so this is never asked for. A node of nothing
    /// is in no tree.
    fn hash(data: &[u8]) -> SumNode {
        SumNode { hash: NodeHash(keccak256(data).0), sum: Atto::ZERO }
    }

    fn concat_and_hash(left: &SumNode, right: Option<&SumNode>) -> SumNode {
        let Some(right) = right else { return *left };
        SumNode::above(*left, *right)
            .expect("invariant: a tree is built after its total is checked")
    }
}

/// Why there is no tree over some leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// None, or more than a batch has.
    #[error("{found} leaves, a batch has 1 to {MAX_BATCH_LEAVES}")]
    LeafCount {
        /// How many there are.
        found: usize,
    },
    /// A share that does not fit 96 bits: its word would say something else.
    #[error("a share of leaf {index} is over 96 bits")]
    ShareTooLarge {
        /// Which leaf, from 0.
        index: usize,
    },
    /// A leaf that pays nothing could never be drawn, and no node takes it.
    #[error("leaf {index} pays nothing")]
    ZeroLeaf {
        /// Which leaf, from 0.
        index: usize,
    },
    /// The sum of all leaves does not fit 96 bits.
    #[error("the batch is over 96 bits")]
    TotalTooLarge,
}

impl TreeError {
    /// The same leaves give the same error.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

/// The tree over the leaves of one batch, in their order.
pub struct SumTree {
    tree: MerkleTree<SumHasher>,
    root: SumNode,
    leaves: usize,
}

impl SumTree {
    /// Builds the tree: 1 to [`MAX_BATCH_LEAVES`] leaves, three hashes each.
    ///
    /// # Errors
    /// The first leaf that no batch can hold, or that all together are too much.
    pub fn new(leaves: &[Leaf]) -> Result<Self, TreeError> {
        if leaves.is_empty() || leaves.len() > MAX_BATCH_LEAVES {
            return Err(TreeError::LeafCount { found: leaves.len() });
        }
        let mut total = Atto::ZERO;
        for (index, leaf) in leaves.iter().enumerate() {
            if leaf.shares.iter().any(|share| share.amount > Atto::MAX_SHARE) {
                return Err(TreeError::ShareTooLarge { index });
            }
            if leaf.total() == Atto::ZERO {
                return Err(TreeError::ZeroLeaf { index });
            }
            total = total.saturating_add(leaf.total());
            if total > Atto::MAX_SHARE {
                return Err(TreeError::TotalTooLarge);
            }
        }
        let nodes: Vec<SumNode> = leaves.iter().map(SumNode::leaf).collect();
        let tree = MerkleTree::<SumHasher>::from_leaves(&nodes);
        let root = tree.root().expect("invariant: there is a leaf");
        Ok(Self { tree, root, leaves: leaves.len() })
    }

    /// The root: its hash and sum are terms of the batch.
    pub fn root(&self) -> SumNode {
        self.root
    }

    /// The nodes beside the path of a leaf, from the leaf up.
    ///
    /// # Panics
    /// When there is no such leaf.
    pub fn siblings(&self, index: usize) -> Vec<Sibling> {
        assert!(index < self.leaves, "leaf {index} of {}", self.leaves);
        let proof = self.tree.proof(&[index]);
        let mut nodes = proof.proof_hashes().iter();
        let mut siblings = Vec::with_capacity(MAX_PROOF_DEPTH);
        let (mut at, mut width) = (index, self.leaves);
        while width > 1 {
            let side = if at.is_multiple_of(2) { Side::Right } else { Side::Left };
            // The last of an odd level has no sibling and moves up.
            if side == Side::Left || at + 1 < width {
                let node = nodes.next().expect("invariant: a hash for each sibling");
                siblings.push(Sibling { hash: node.hash, sum: node.sum, side });
            }
            (at, width) = (at / 2, width.div_ceil(2));
        }
        siblings
    }
}

impl std::fmt::Debug for SumTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SumTree")
            .field("root", &self.root)
            .field("leaves", &self.leaves)
            .finish_non_exhaustive()
    }
}
