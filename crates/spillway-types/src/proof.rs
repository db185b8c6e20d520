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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkAddress, RewardAddress, limits::CLOSE_GROUP};

    fn leaf(number: u8) -> Leaf {
        let mut shares =
            [Share { payee: RewardAddress([number; 20]), amount: Atto(7) }; CLOSE_GROUP];
        shares[4].amount = Atto(9);
        Leaf { address: ChunkAddress([number; 32]), shares }
    }

    fn direct() -> DirectProof {
        DirectProof::for_leaves(EvmAddress([3; 20]), UnixTime(5), &[leaf(1), leaf(2)])
    }

    #[test]
    fn the_words_of_a_call_are_each_share_and_its_leaf() {
        let words: Vec<[u8; 32]> = direct().words().collect();
        assert_eq!(words.len(), 20);
        let (share, hash) = (leaf(1).shares[0].word(), leaf(1).hash().0);
        assert_eq!((words[0], words[1]), (share, hash));
        assert_eq!((words[18], words[19]), (leaf(2).shares[4].word(), leaf(2).hash().0));
        assert_eq!(direct().total(), Atto(2 * (4 * 7 + 9)));
    }

    #[test]
    fn a_leaf_is_paid_by_exactly_its_shares() {
        let whole = direct();
        assert!(whole.pays(&leaf(1)) && whole.pays(&leaf(2)) && !whole.pays(&leaf(3)));
        let mut turned = whole.clone();
        turned.entries.reverse();
        assert!(turned.pays(&leaf(1)), "in any order");
        let mut missing = whole.clone();
        missing.entries.remove(0);
        assert!(!missing.pays(&leaf(1)) && missing.pays(&leaf(2)));
        let mut twice = whole.clone();
        twice.entries.push(twice.entries[0]);
        assert!(!twice.pays(&leaf(1)));
        let mut fifth = whole;
        fifth.entries[0].share.amount = Atto(1);
        assert!(!fifth.pays(&leaf(1)));
    }

    #[test]
    fn every_term_is_in_the_id() {
        let domain =
            Domain { network: crate::NetworkId([0; 32]), chain_id: 1, vault: EvmAddress([9; 20]) };
        let base = direct();
        let others = [
            DirectProof { payer: EvmAddress([4; 20]), ..base.clone() },
            DirectProof { upload_by: UnixTime(6), ..base.clone() },
            DirectProof { entries: base.entries[1..].to_vec(), ..base.clone() },
        ];
        for other in others {
            assert_ne!(other.id(&domain), base.id(&domain));
        }
        assert_ne!(base.id(&Domain { chain_id: 2, ..domain }), base.id(&domain));
        let proof = PaymentProof::Direct(base.clone());
        assert_eq!((proof.id(&domain), proof.upload_by()), (base.id(&domain), UnixTime(5)));
    }
}
