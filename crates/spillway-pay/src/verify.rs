//! The strict check of payment proofs, as nodes make it before they ask the chain.

use spillway_types::{
    Atto, BatchProof, BatchTerms, DirectProof, Leaf, LeafHash, NodeHash, PaymentProof, Retry,
    RewardAddress, Side, UnixTime,
    limits::{MAX_DIRECT_ENTRIES, MAX_DRAWS, MAX_PROOF_DEPTH},
};

use crate::{PlanMode, SumNode, SumTree, TreeError};

/// Bits of a time in the vault's words.
const UPLOAD_BY_BITS: u32 = 40;

/// Why a proof does not show that a leaf is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// No entries, or more than the vault takes.
    #[error("{found} entries, the vault takes 1 to {MAX_DIRECT_ENTRIES}")]
    EntryCount {
        /// How many there are.
        found: usize,
    },
    /// An amount that does not fit 96 bits: its word would say something else.
    #[error("the amount of entry {index} is over 96 bits")]
    AmountTooLarge {
        /// Which entry, from 0.
        index: usize,
    },
    /// A share of the leaf that does not fit 96 bits.
    #[error("share {index} of the leaf is over 96 bits")]
    ShareTooLarge {
        /// Which share, from 0.
        index: usize,
    },
    /// The vault refuses a payment to nobody.
    #[error("entry {index} pays nobody")]
    ZeroPayee {
        /// Which entry, from 0.
        index: usize,
    },
    /// The vault refuses a payment of nothing.
    #[error("the payment is of nothing")]
    ZeroTotal,
    /// The sum does not fit 96 bits.
    #[error("the payment is over 96 bits")]
    TotalTooLarge,
    /// The entries of the leaf are not exactly its shares.
    #[error("the {entries} entries of leaf {leaf} are not its shares")]
    NotPaid {
        /// The leaf's hash.
        leaf: LeafHash,
        /// Entries with that hash.
        entries: usize,
    },
    /// There is no tree over the leaves of a batch.
    #[error("the leaves make no batch")]
    Tree(#[from] TreeError),
    /// The root is not that of the plan's leaves.
    #[error("the root of the leaves is {found}, the plan says {expected}")]
    WrongRoot {
        /// What the plan says.
        expected: NodeHash,
        /// What its leaves give.
        found: NodeHash,
    },
    /// No draws, or more than the vault takes.
    #[error("{found} draws, the vault takes 1 to {most}")]
    Draws {
        /// How many there are.
        found: u8,
        /// The most for this total.
        most: u128,
    },
    /// A tip that does not fit 96 bits.
    #[error("the tip is over 96 bits")]
    TipTooLarge,
    /// More levels than a tree has.
    #[error("{found} levels, a proof has at most {MAX_PROOF_DEPTH}")]
    TooDeep {
        /// How many there are.
        found: usize,
    },
    /// A leaf that pays nothing is no part of a batch.
    #[error("the leaf pays nothing")]
    ZeroLeaf,
    /// A sum on the path is more than the total.
    #[error("the sum at level {level} is over the total")]
    SumTooLarge {
        /// Which level: the leaf's is 0.
        level: usize,
    },
    /// An end of the upload window that does not fit 40 bits: its word would say something else.
    #[error("the end of the upload window is over 40 bits")]
    UploadByTooLate,
    /// The path ends in another hash or sum than the batch's.
    #[error("the leaf is not in the batch")]
    NotInBatch,
}

impl ProofError {
    /// A bad proof stays one.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

/// Checks that the payment of this proof, if it is recorded, pays for this leaf in full. Whether it
/// is recorded is another question, to the chain.
///
/// # Errors
/// The first thing that is wrong.
pub fn leaf_is_paid(proof: &PaymentProof, leaf: &Leaf) -> Result<(), ProofError> {
    for (index, share) in leaf.shares.iter().enumerate() {
        if share.amount > Atto::MAX_SHARE {
            return Err(ProofError::ShareTooLarge { index });
        }
    }
    match proof {
        PaymentProof::Direct(direct) => {
            direct_is_sound(direct)?;
            if direct.pays(leaf) {
                return Ok(());
            }
            let hash = leaf.hash();
            let entries = direct.entries.iter().filter(|entry| entry.leaf == hash).count();
            Err(ProofError::NotPaid { leaf: hash, entries })
        }
        PaymentProof::Batch(batch) => {
            // The vault would burn the share of nobody, and takes no direct payment to it.
            nobody_is_paid(leaf.shares.iter().map(|share| share.payee))?;
            batch_leaf(batch, leaf).map(drop)
        }
        // A proof of a kind that this version does not know pays for nothing.
        _ => Err(ProofError::NotPaid { leaf: leaf.hash(), entries: 0 }),
    }
}

/// Checks that no payee is the zero address.
fn nobody_is_paid(payees: impl Iterator<Item = RewardAddress>) -> Result<(), ProofError> {
    match payees.enumerate().find(|&(_, payee)| payee == RewardAddress::ZERO) {
        Some((index, _)) => Err(ProofError::ZeroPayee { index }),
        None => Ok(()),
    }
}

/// Checks that the end of an upload window is the same number in the vault's words.
fn upload_by_fits(upload_by: UnixTime) -> Result<(), ProofError> {
    if upload_by.0 >= 1 << UPLOAD_BY_BITS {
        return Err(ProofError::UploadByTooLate);
    }
    Ok(())
}

/// Which points of `0..total` a leaf covers: it wins the draws that fall on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafSpan {
    /// The first point.
    pub from: Atto,
    /// How many points: the leaf's sum.
    pub sum: Atto,
}

impl LeafSpan {
    /// Whether a point is one of the leaf's.
    pub fn contains(&self, point: Atto) -> bool {
        point >= self.from && point.0 - self.from.0 < self.sum.0
    }
}

/// Checks that a leaf is part of a batch, and where: exactly what the vault checks when it settles,
/// so that whoever holds a proof that is taken here is paid if the leaf is drawn. At most 35 hashes:
/// three of the leaf and one a level.
///
/// Amounts are looked at before anything is hashed, because words cut them; a tree whose sums are
/// wrong somewhere else is not noticed, and need not be: no two leaves that are proven can cover the
/// same point, and together they cover at most the total.
///
/// # Errors
/// The first thing that is wrong.
pub fn batch_leaf(proof: &BatchProof, leaf: &Leaf) -> Result<LeafSpan, ProofError> {
    for (index, share) in leaf.shares.iter().enumerate() {
        if share.amount > Atto::MAX_SHARE {
            return Err(ProofError::ShareTooLarge { index });
        }
    }
    batch_is_sound(&proof.terms)?;
    let total = proof.terms.total;
    if proof.siblings.len() > MAX_PROOF_DEPTH {
        return Err(ProofError::TooDeep { found: proof.siblings.len() });
    }
    let mut node = SumNode::leaf(leaf);
    let mut span = LeafSpan { from: Atto::ZERO, sum: node.sum };
    if span.sum == Atto::ZERO {
        return Err(ProofError::ZeroLeaf);
    }
    if span.sum > total {
        return Err(ProofError::SumTooLarge { level: 0 });
    }
    for (level, sibling) in (1..).zip(&proof.siblings) {
        let beside = SumNode { hash: sibling.hash, sum: sibling.sum };
        let above = match sibling.side {
            Side::Left => SumNode::above(beside, node),
            Side::Right => SumNode::above(node, beside),
        };
        node = above.filter(|above| above.sum <= total).ok_or(ProofError::SumTooLarge { level })?;
        if sibling.side == Side::Left {
            // It stays below the total, as the node's sum does.
            span.from = span.from.saturating_add(beside.sum);
        }
    }
    if node != (SumNode { hash: proof.terms.root, sum: total }) {
        return Err(ProofError::NotInBatch);
    }
    Ok(span)
}

/// Checks what the vault checks of a batch's terms, but for times.
///
/// # Errors
/// The first thing that the vault would refuse, or that its words could not say.
pub fn batch_is_sound(terms: &BatchTerms) -> Result<(), ProofError> {
    match terms.total {
        Atto::ZERO => return Err(ProofError::ZeroTotal),
        total if total > Atto::MAX_SHARE => return Err(ProofError::TotalTooLarge),
        _ => {}
    }
    if terms.tip > Atto::MAX_SHARE {
        return Err(ProofError::TipTooLarge);
    }
    upload_by_fits(terms.upload_by)?;
    let most = terms.total.0.min(MAX_DRAWS as u128);
    if terms.draws == 0 || u128::from(terms.draws) > most {
        return Err(ProofError::Draws { found: terms.draws, most });
    }
    Ok(())
}

/// Checks what the vault checks of the entries.
///
/// # Errors
/// The first thing that the vault would refuse, or that its words could not say.
pub fn direct_is_sound(direct: &DirectProof) -> Result<(), ProofError> {
    let found = direct.entries.len();
    if found == 0 || found > MAX_DIRECT_ENTRIES {
        return Err(ProofError::EntryCount { found });
    }
    upload_by_fits(direct.upload_by)?;
    for (index, entry) in direct.entries.iter().enumerate() {
        if entry.share.amount > Atto::MAX_SHARE {
            return Err(ProofError::AmountTooLarge { index });
        }
        if entry.share.payee == RewardAddress::ZERO {
            return Err(ProofError::ZeroPayee { index });
        }
    }
    match direct.total() {
        Atto::ZERO => Err(ProofError::ZeroTotal),
        total if total > Atto::MAX_SHARE => Err(ProofError::TotalTooLarge),
        _ => Ok(()),
    }
}

/// Checks what the vault checks of a plan, but for times.
///
/// # Errors
/// The first thing that the vault would refuse.
pub fn plan_is_sound(plan: &crate::Plan) -> Result<(), ProofError> {
    // Before the proof cuts amounts into words.
    let shares = || plan.leaves.iter().flat_map(|leaf| &leaf.shares);
    for (index, share) in shares().enumerate() {
        if share.amount > Atto::MAX_SHARE {
            return Err(ProofError::AmountTooLarge { index });
        }
    }
    match (plan.direct(), plan.batch_terms(), plan.mode) {
        (Some(direct), ..) => direct_is_sound(&direct),
        (None, Some(terms), PlanMode::Batch { root, .. }) => {
            nobody_is_paid(shares().map(|share| share.payee))?;
            let found = SumTree::new(&plan.leaves)?.root().hash;
            if found != root {
                return Err(ProofError::WrongRoot { expected: root, found });
            }
            batch_is_sound(&terms)
        }
        _ => Err(ProofError::EntryCount { found: 0 }),
    }
}
