//! The strict check of payment proofs, as nodes make it before they ask the chain.

use spillway_types::{
    Atto, DirectProof, Leaf, LeafHash, PaymentProof, Retry, RewardAddress,
    limits::MAX_DIRECT_ENTRIES,
};

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
        // A proof of a kind that this version does not know pays for nothing.
        _ => Err(ProofError::NotPaid { leaf: leaf.hash(), entries: 0 }),
    }
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
pub(crate) fn plan_is_sound(plan: &crate::Plan) -> Result<(), ProofError> {
    // Before the proof cuts amounts into words.
    for (index, share) in plan.leaves.iter().flat_map(|leaf| &leaf.shares).enumerate() {
        if share.amount > Atto::MAX_SHARE {
            return Err(ProofError::AmountTooLarge { index });
        }
    }
    match plan.proof() {
        PaymentProof::Direct(direct) => direct_is_sound(&direct),
        _ => Err(ProofError::EntryCount { found: 0 }),
    }
}
