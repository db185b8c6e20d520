use serde::{Deserialize, Serialize};
use spillway_types::{
    Atto, DirectProof, Domain, EvmAddress, Leaf, PaymentId, PaymentProof, UnixTime,
};

/// How a plan pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PaymentMode {
    /// Every share of every chunk is credited by itself.
    Direct,
}

/// Everything that fixes one payment. Immutable once written: the same plan always has the same
/// payment id, and the vault takes an id once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Where it pays.
    pub domain: Domain,
    /// How it pays.
    pub mode: PaymentMode,
    /// Whose money it is.
    pub payer: EvmAddress,
    /// What is paid for, at least one leaf, at most
    /// [`MAX_DIRECT_LEAVES`](spillway_types::limits::MAX_DIRECT_LEAVES) in direct mode.
    pub leaves: Vec<Leaf>,
    /// Until when the chunks may be stored.
    pub upload_by: UnixTime,
    /// Until when the payment may be recorded. Not part of the id: signing again never changes it.
    pub valid_until: UnixTime,
}

impl Plan {
    /// What nodes are shown. One proof serves every leaf of the plan.
    pub fn proof(&self) -> PaymentProof {
        match self.mode {
            PaymentMode::Direct => PaymentProof::Direct(DirectProof::for_leaves(
                self.payer,
                self.upload_by,
                &self.leaves,
            )),
        }
    }

    /// The vault's id of this payment.
    pub fn id(&self) -> PaymentId {
        self.proof().id(&self.domain)
    }

    /// What the vault takes for it, gas apart.
    pub fn total(&self) -> Atto {
        self.leaves.iter().map(Leaf::total).sum()
    }
}
