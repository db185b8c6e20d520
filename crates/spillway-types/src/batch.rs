use std::{fmt, str::FromStr};

use alloy_primitives::{U256, keccak256};
use serde::{Deserialize, Serialize};

use crate::{
    Atto, Domain, EvmAddress, Leaf, PaymentId, Share, UnixTime, hashes::bytes_newtype,
    limits::CLOSE_GROUP,
};

bytes_newtype! {
    /// The hash of a node of a Merkle-sum tree. The root's hash and sum fix the whole batch.
    NodeHash, 32, "0x"
}
bytes_newtype! {
    /// What a beacon made public: the number that draws the winners of a batch.
    Seed, 32, "0x"
}

/// The terms of one batch payment, as the vault takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchTerms {
    /// Whose money it is, and who gets back what nobody claims.
    pub payer: EvmAddress,
    /// The root of the Merkle-sum tree over the leaves.
    pub root: NodeHash,
    /// The sum of all leaves, 1 to [`Atto::MAX_SHARE`].
    pub total: Atto,
    /// What whoever settles gets a draw, at most [`Atto::MAX_SHARE`].
    pub tip: Atto,
    /// Until when the chunks may be stored.
    pub upload_by: UnixTime,
    /// How many leaves are drawn, 1 to [`MAX_DRAWS`](crate::limits::MAX_DRAWS).
    pub draws: u8,
}

impl BatchTerms {
    /// The vault's id of this payment: `keccak256(abi.encode("batch", chain id, vault, payer, root,
    /// total, tip, uploadBy, draws))`.
    pub fn id(&self, domain: &Domain) -> PaymentId {
        let mut preimage = [0; 288];
        preimage[..5].copy_from_slice(b"batch");
        preimage[56..64].copy_from_slice(&domain.chain_id.to_be_bytes());
        preimage[76..96].copy_from_slice(&domain.vault.0);
        preimage[108..128].copy_from_slice(&self.payer.0);
        preimage[128..160].copy_from_slice(&self.root.0);
        preimage[176..192].copy_from_slice(&self.total.0.to_be_bytes());
        preimage[208..224].copy_from_slice(&self.tip.0.to_be_bytes());
        preimage[248..256].copy_from_slice(&self.upload_by.0.to_be_bytes());
        preimage[287] = self.draws;
        PaymentId(keccak256(preimage).0)
    }

    /// What a draw pays its leaf: the total divided by the draws; the first draw gets the rest of
    /// the division too. Nothing without draws.
    pub fn prize(&self, draw: u8) -> Atto {
        let draws = u128::from(self.draws);
        let (Some(each), Some(rest)) =
            (self.total.0.checked_div(draws), self.total.0.checked_rem(draws))
        else {
            return Atto::ZERO;
        };
        Atto(if draw == 0 { each + rest } else { each })
    }

    /// The tips of all draws.
    pub fn tips(&self) -> Atto {
        self.tip.saturating_mul(self.draws.into())
    }

    /// What the vault takes: the total and the tips.
    pub fn escrow(&self) -> Atto {
        self.total.saturating_add(self.tips())
    }

    /// The point in `0..total` that a draw falls on: one random offset for the batch, and from there
    /// an equal step a draw, so that draws are spread evenly and every point is equally likely.
    ///
    /// `(keccak256(abi.encode(seed, id)) mod total + draw · total / draws) mod total`, as the vault
    /// computes it. Zero for terms that no vault takes.
    pub fn draw_point(&self, seed: Seed, id: PaymentId, draw: u8) -> Atto {
        let mut preimage = [0; 64];
        preimage[..32].copy_from_slice(&seed.0);
        preimage[32..].copy_from_slice(&id.0);
        let total = U256::from(self.total.0);
        if total.is_zero() || self.draws == 0 {
            return Atto::ZERO;
        }
        let start = U256::from_be_bytes(keccak256(preimage).0);
        let step = U256::from(draw) * total / U256::from(self.draws);
        Atto(start.add_mod(step, total).to())
    }
}

/// On which side of a path through the tree its sibling is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Before it.
    Left,
    /// After it.
    Right,
}

/// One level of a proof: the node beside the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sibling {
    /// Its hash.
    pub hash: NodeHash,
    /// The sum of all leaves below it, at most [`Atto::MAX_SHARE`].
    pub sum: Atto,
    /// Where it is.
    pub side: Side,
}

impl Sibling {
    /// The two words that the vault reads: `[hash, side << 255 | sum]`, 1 for the left.
    pub fn words(&self) -> [[u8; 32]; 2] {
        let mut second = [0; 32];
        second[16..].copy_from_slice(&self.sum.0.to_be_bytes());
        if self.side == Side::Left {
            second[0] |= 0x80;
        }
        [self.hash.0, second]
    }
}

/// What shows that a leaf is part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchProof {
    /// The batch.
    pub terms: BatchTerms,
    /// From the leaf up, at most [`MAX_PROOF_DEPTH`](crate::limits::MAX_PROOF_DEPTH).
    pub siblings: Vec<Sibling>,
}

/// A leaf that was drawn, with what the vault needs to pay it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Win {
    /// The batch that it was drawn of.
    pub terms: BatchTerms,
    /// Which draw, from 0.
    pub draw: u8,
    /// The leaf.
    pub leaf: Leaf,
    /// The leaf's proof.
    pub siblings: Vec<Sibling>,
}

impl Win {
    /// What the draw pays whom, in the order of the leaf's shares: its prize pro rata to them, rounded
    /// down, and the rest of the rounding to the last, as the vault pays it. Nothing for a leaf that
    /// costs nothing: it is never drawn.
    pub fn payouts(&self) -> [Share; CLOSE_GROUP] {
        let prize = self.terms.prize(self.draw);
        let sum = U256::from(self.leaf.total().0);
        let mut left = if sum.is_zero() { Atto::ZERO } else { prize };
        let mut payouts = self.leaf.shares;
        for (place, share) in payouts.iter_mut().enumerate() {
            let exact = U256::from(prize.0) * U256::from(share.amount.0);
            let part = Atto(exact.checked_div(sum).unwrap_or_default().saturating_to());
            share.amount = if place + 1 == CLOSE_GROUP { left } else { part };
            left = left.saturating_sub(share.amount);
        }
        payouts
    }
}

/// A set of draws of one batch, as the vault's record holds it: draw 0 is the lowest bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DrawSet(U256);

impl DrawSet {
    /// The draws that the low 200 bits of this big-endian number name.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        let mask = (U256::ONE << crate::limits::MAX_DRAWS) - U256::ONE;
        Self(U256::from_be_bytes(bytes) & mask)
    }

    /// Whether a draw is in it.
    pub fn contains(&self, draw: u8) -> bool {
        self.0.bit(draw.into())
    }

    /// Adds a draw; whether it was not in it before. Draws that no batch has are not added.
    pub fn insert(&mut self, draw: u8) -> bool {
        let new = usize::from(draw) < crate::limits::MAX_DRAWS && !self.contains(draw);
        if new {
            self.0.set_bit(draw.into(), true);
        }
        new
    }

    /// How many draws are in it.
    pub fn count(&self) -> usize {
        self.0.count_ones()
    }
}

impl fmt::Debug for DrawSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..=u8::MAX).filter(|&draw| self.contains(draw))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkAddress, NetworkId, RewardAddress};

    fn terms(total: u128, draws: u8) -> BatchTerms {
        BatchTerms {
            payer: EvmAddress([1; 20]),
            root: NodeHash([2; 32]),
            total: Atto(total),
            tip: Atto(3),
            upload_by: UnixTime(4),
            draws,
        }
    }

    #[test]
    fn prizes_add_up_to_the_total() {
        for (total, draws) in [(1, 1), (10, 3), (200, 200), (Atto::MAX_SHARE.0, 199)] {
            let terms = terms(total, draws);
            let sum: Atto = (0..draws).map(|draw| terms.prize(draw)).sum();
            assert_eq!(sum, Atto(total));
        }
        assert_eq!(terms(7, 2).escrow(), Atto(13));
        assert_eq!(terms(7, 0).prize(0), Atto::ZERO);
    }

    #[test]
    fn draws_are_spread_evenly() {
        let terms = terms(1_000, 4);
        let domain =
            Domain { network: NetworkId([0; 32]), chain_id: 1, vault: EvmAddress([9; 20]) };
        let id = terms.id(&domain);
        let points: Vec<u128> =
            (0..4).map(|draw| terms.draw_point(Seed([5; 32]), id, draw).0).collect();
        for pair in points.windows(2) {
            assert_eq!((pair[0] + 250) % 1_000, pair[1]);
        }
        assert_ne!(terms.draw_point(Seed([6; 32]), id, 0).0, points[0]);
        // The first is where seed and id say.
        let start = U256::from_be_bytes(keccak256([[5; 32], id.0].concat()).0);
        assert_eq!(U256::from(points[0]), start % U256::from(1_000));
        let no_draws = BatchTerms { draws: 0, ..terms };
        assert_eq!(no_draws.draw_point(Seed([5; 32]), id, 0), Atto::ZERO);
    }

    #[test]
    fn every_term_is_in_the_id() {
        let base = terms(10, 2);
        let domain =
            Domain { network: NetworkId([0; 32]), chain_id: 1, vault: EvmAddress([9; 20]) };
        let others = [
            BatchTerms { payer: EvmAddress([7; 20]), ..base },
            BatchTerms { root: NodeHash([7; 32]), ..base },
            BatchTerms { total: Atto(11), ..base },
            BatchTerms { tip: Atto(4), ..base },
            BatchTerms { upload_by: UnixTime(5), ..base },
            BatchTerms { draws: 3, ..base },
        ];
        for other in others {
            assert_ne!(other.id(&domain), base.id(&domain));
        }
        assert_ne!(base.id(&Domain { chain_id: 2, ..domain }), base.id(&domain));
        let vault = EvmAddress([8; 20]);
        assert_ne!(base.id(&Domain { vault, ..domain }), base.id(&domain));
    }

    #[test]
    fn a_prize_is_split_to_the_last_unit() {
        let split = |prize: u128, amounts: [u128; CLOSE_GROUP]| {
            let share = |amount| Share { payee: RewardAddress([7; 20]), amount: Atto(amount) };
            let leaf = Leaf { address: ChunkAddress([1; 32]), shares: amounts.map(share) };
            let win = Win { terms: terms(prize, 1), draw: 0, leaf, siblings: Vec::new() };
            win.payouts().map(|share| share.amount.0)
        };
        assert_eq!(split(100, [1, 2, 3, 4, 10]), [5, 10, 15, 20, 50]);
        assert_eq!(split(11, [1, 1, 1, 1, 1]), [2, 2, 2, 2, 3]);
        assert_eq!(split(3, [1, 1, 1, 1, 0]), [0, 0, 0, 0, 3]);
        assert_eq!(split(9, [0; CLOSE_GROUP]), [0; CLOSE_GROUP]);
        let most = Atto::MAX_SHARE.0;
        let parts = split(most, [most / 5; CLOSE_GROUP]);
        assert_eq!(parts.iter().sum::<u128>(), most);
        assert!(parts[..4].iter().all(|&part| part == most / 5), "{parts:?}");
    }

    #[test]
    fn a_set_of_draws_holds_two_hundred() {
        let mut set = DrawSet::default();
        assert!(set.insert(0) && set.insert(199) && !set.insert(199) && !set.insert(200));
        assert_eq!((set.count(), set.contains(0), set.contains(1)), (2, true, false));
        assert_eq!(format!("{set:?}"), "{0, 199}");
        assert_eq!(DrawSet::from_be_bytes([0xff; 32]).count(), 200);
    }

    #[test]
    fn the_side_is_the_highest_bit() {
        let sibling = Sibling { hash: NodeHash([1; 32]), sum: Atto(2), side: Side::Left };
        assert_eq!(sibling.words()[1][0], 0x80);
        let right = Sibling { side: Side::Right, ..sibling };
        assert_eq!((right.words()[1][0], right.words()[1][31]), (0, 2));
    }
}
