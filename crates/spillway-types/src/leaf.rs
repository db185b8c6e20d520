use alloy_primitives::keccak256;
use serde::{Deserialize, Serialize};

use crate::{Atto, ChunkAddress, LeafHash, RewardAddress, limits::CLOSE_GROUP};

/// One payee's part of the price of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Share {
    /// Who is paid.
    pub payee: RewardAddress,
    /// How much; at most [`Atto::MAX_SHARE`].
    pub amount: Atto,
}

impl Share {
    /// The word that the vault reads: `payee << 96 | amount`, big-endian. An amount of more than
    /// 96 bits is cut: callers check [`Atto::MAX_SHARE`] first.
    pub fn word(&self) -> [u8; 32] {
        let mut word = [0; 32];
        word[..20].copy_from_slice(&self.payee.0);
        word[20..].copy_from_slice(&self.amount.0.to_be_bytes()[4..]);
        word
    }
}

/// A chunk address with its five shares, in the order of the quotes: what a payment commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The chunk that is paid for.
    pub address: ChunkAddress,
    /// Who is paid how much, nearest peer first.
    pub shares: [Share; CLOSE_GROUP],
}

impl Leaf {
    /// What the leaf costs: the sum of its shares.
    pub fn total(&self) -> Atto {
        self.shares.iter().map(|share| share.amount).sum()
    }

    /// The leaf's hash, as the vault computes it:
    /// `keccak256("leaf" padded to 32 ‖ address ‖ keccak256(share words))`.
    pub fn hash(&self) -> LeafHash {
        let mut words = [[0; 32]; CLOSE_GROUP];
        for (word, share) in words.iter_mut().zip(&self.shares) {
            *word = share.word();
        }
        let mut preimage = [0; 96];
        preimage[..4].copy_from_slice(b"leaf");
        preimage[32..64].copy_from_slice(self.address.as_bytes());
        preimage[64..].copy_from_slice(keccak256(words.as_flattened()).as_slice());
        LeafHash(keccak256(preimage).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_payee_and_amount() {
        let share = Share { payee: RewardAddress([0xab; 20]), amount: Atto(0x0102) };
        let mut word = [0xab; 32];
        word[20..].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(share.word(), word);
    }
}
