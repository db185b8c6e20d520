use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spillway_types::{
    Atto, BatchProof, BatchTerms, DirectProof, Domain, EvmAddress, Leaf, NodeHash, PaymentId,
    PaymentProof, UnixTime,
};

use crate::{SumTree, TreeError};

/// How was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PaymentMode {
    /// Every share of every chunk is credited by itself.
    Direct,
    /// Many chunks at once, of which a few are drawn and paid.
    Batch,
    /// Both: a session that was gone on with in the other mode.
    Mixed,
}

impl PaymentMode {
    /// What two payments together are.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Mixed }
    }
}

/// How one plan pays, with the terms that only this way has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PlanMode {
    /// Every share of every chunk is credited by itself.
    Direct,
    /// All leaves under one Merkle-sum root.
    Batch {
        /// The root over the plan's leaves, in their order.
        root: NodeHash,
        /// What whoever settles gets a draw.
        tip: Atto,
        /// How many leaves are drawn.
        draws: u8,
    },
}

/// Everything that fixes one payment. Immutable once written: the same plan always has the same
/// payment id, and the vault takes an id once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Where it pays.
    pub domain: Domain,
    /// How it pays.
    pub mode: PlanMode,
    /// Whose money it is.
    pub payer: EvmAddress,
    /// What is paid for, at least one leaf; at most
    /// [`MAX_DIRECT_LEAVES`](spillway_types::limits::MAX_DIRECT_LEAVES) in direct mode and
    /// [`MAX_BATCH_LEAVES`](spillway_types::limits::MAX_BATCH_LEAVES) in a batch.
    pub leaves: Vec<Leaf>,
    /// Until when the chunks may be stored.
    pub upload_by: UnixTime,
    /// Until when the payment may be recorded. Not part of the id: signing again never changes it.
    pub valid_until: UnixTime,
}

impl Plan {
    /// How it pays, as results name it.
    pub fn payment_mode(&self) -> PaymentMode {
        match self.mode {
            PlanMode::Direct => PaymentMode::Direct,
            PlanMode::Batch { .. } => PaymentMode::Batch,
        }
    }

    /// The terms that the vault takes; `None` for a direct payment. The root is taken as it is
    /// written; [`Plan::proofs`] and every payment check it.
    pub fn batch_terms(&self) -> Option<BatchTerms> {
        match self.mode {
            PlanMode::Direct => None,
            PlanMode::Batch { root, tip, draws } => Some(BatchTerms {
                payer: self.payer,
                root,
                total: self.storage_cost(),
                tip,
                upload_by: self.upload_by,
                draws,
            }),
        }
    }

    /// The entries of a direct payment; `None` for a batch.
    pub fn direct(&self) -> Option<DirectProof> {
        match self.mode {
            PlanMode::Direct => {
                Some(DirectProof::for_leaves(self.payer, self.upload_by, &self.leaves))
            }
            PlanMode::Batch { .. } => None,
        }
    }

    /// What nodes are shown, leaf by leaf.
    ///
    /// # Errors
    /// When there is no tree over the leaves of a batch: no such plan is ever paid.
    pub fn proofs(&self) -> Result<PlanProofs, TreeError> {
        match self.batch_terms() {
            None => {
                let direct = DirectProof::for_leaves(self.payer, self.upload_by, &self.leaves);
                Ok(PlanProofs::Direct(Arc::new(PaymentProof::Direct(direct))))
            }
            Some(terms) => {
                let tree = Box::new(SumTree::new(&self.leaves)?);
                Ok(PlanProofs::Batch { terms, tree })
            }
        }
    }

    /// The vault's id of this payment.
    pub fn id(&self) -> PaymentId {
        match self.batch_terms() {
            Some(terms) => terms.id(&self.domain),
            None => {
                DirectProof::for_leaves(self.payer, self.upload_by, &self.leaves).id(&self.domain)
            }
        }
    }

    /// What the leaves cost: what nodes are paid.
    pub fn storage_cost(&self) -> Atto {
        self.leaves.iter().map(Leaf::total).sum()
    }

    /// What the vault takes for it, gas apart: the leaves and, in a batch, the tips of its draws.
    pub fn total(&self) -> Atto {
        self.batch_terms().map_or_else(|| self.storage_cost(), |terms| terms.escrow())
    }
}

/// The proofs of all leaves of a plan, made on demand.
#[derive(Debug)]
pub enum PlanProofs {
    /// One proof serves every leaf.
    Direct(Arc<PaymentProof>),
    /// Each leaf has its own.
    Batch {
        /// What all of them share.
        terms: BatchTerms,
        /// Where they come from.
        tree: Box<SumTree>,
    },
}

impl PlanProofs {
    /// The proof of the leaf at this place in the plan.
    ///
    /// # Panics
    /// When there is no such leaf in a batch.
    pub fn of(&self, leaf: usize) -> Arc<PaymentProof> {
        match self {
            Self::Direct(proof) => Arc::clone(proof),
            Self::Batch { terms, tree } => Arc::new(PaymentProof::Batch(BatchProof {
                terms: *terms,
                siblings: tree.siblings(leaf),
            })),
        }
    }
}
