use alloy_primitives::{Keccak256, keccak256};
use serde::{Deserialize, Serialize};

use crate::{Atto, BatchProof, Domain, EvmAddress, Leaf, LeafHash, PaymentId, Share, UnixTime};

/// One entry of a direct payment: a share, and the leaf that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirectEntry {
    /// Who is paid how much.
    pub share: Share,
    /// For which leaf.
    pub leaf: LeafHash,
}

/// Everything that fixes the id of one direct payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectProof {
    /// Whose money it is.
    pub payer: EvmAddress,
    /// Until when the chunks may be stored for it.
    pub upload_by: UnixTime,
    /// Every entry of the payment, in its order; at most
    /// [`MAX_DIRECT_ENTRIES`](crate::limits::MAX_DIRECT_ENTRIES).
    pub entries: Vec<DirectEntry>,
}

impl DirectProof {
    /// The payment that pays for these leaves: their shares, leaf by leaf, in share order.
    pub fn for_leaves(payer: EvmAddress, upload_by: UnixTime, leaves: &[Leaf]) -> Self {
        let entries = leaves
            .iter()
            .flat_map(|leaf| {
                let hash = leaf.hash();
                leaf.shares.iter().map(move |&share| DirectEntry { share, leaf: hash })
            })
            .collect();
        Self { payer, upload_by, entries }
    }

    /// The words of the call, `[payee << 96 | amount, leaf hash]` an entry.
    pub fn words(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        self.entries.iter().flat_map(|entry| [entry.share.word(), entry.leaf.0])
    }

    /// The sum of all entries.
    pub fn total(&self) -> Atto {
        self.entries.iter().map(|entry| entry.share.amount).sum()
    }

    /// The vault's id of this payment:
    /// `keccak256(abi.encode("direct", chain id, vault, payer, uploadBy, keccak256(words)))`.
    pub fn id(&self, domain: &Domain) -> PaymentId {
        let mut words = Keccak256::new();
        for word in self.words() {
            words.update(word);
        }
        let mut preimage = [0; 192];
        preimage[..6].copy_from_slice(b"direct");
        preimage[56..64].copy_from_slice(&domain.chain_id.to_be_bytes());
        preimage[76..96].copy_from_slice(&domain.vault.0);
        preimage[108..128].copy_from_slice(&self.payer.0);
        preimage[152..160].copy_from_slice(&self.upload_by.0.to_be_bytes());
        preimage[160..].copy_from_slice(words.finalize().as_slice());
        PaymentId(keccak256(preimage).0)
    }

    /// Whether the entries of this leaf are exactly its shares, as a multiset: none missing, none
    /// extra, none merged.
    pub fn pays(&self, leaf: &Leaf) -> bool {
        let hash = leaf.hash();
        let mut paid: Vec<Share> =
            self.entries.iter().filter(|e| e.leaf == hash).map(|e| e.share).collect();
        let mut owed = leaf.shares.to_vec();
        paid.sort_unstable();
        owed.sort_unstable();
        paid == owed
    }
}

/// What shows that a chunk is paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PaymentProof {
    /// Paid share by share.
    Direct(DirectProof),
    /// Paid with many others at once.
    Batch(BatchProof),
}

impl PaymentProof {
    /// The vault's id of the payment.
    pub fn id(&self, domain: &Domain) -> PaymentId {
        match self {
            Self::Direct(direct) => direct.id(domain),
            Self::Batch(batch) => batch.terms.id(domain),
        }
    }

    /// Until when chunks may be stored for it.
    pub fn upload_by(&self) -> UnixTime {
        match self {
            Self::Direct(direct) => direct.upload_by,
            Self::Batch(batch) => batch.terms.upload_by,
        }
    }
}
