use std::collections::BTreeMap;

use spillway_types::{
    Atto, BatchTerms, Leaf, PaymentId, PaymentProof, PutRequest, RewardAddress, Seed, Side,
};

/// The leaves of a batch in the places that their proofs give them, and who is paid when they are
/// drawn: computed here from the definition, and from nothing that client, node or vault say.
#[derive(Clone, Debug)]
pub struct Draws {
    /// The batch.
    pub terms: BatchTerms,
    /// Its id.
    pub id: PaymentId,
    /// Each leaf, by the first point that is its own.
    leaves: BTreeMap<u128, Leaf>,
}

impl Draws {
    /// The batch with these leaves, in this order.
    pub fn of_leaves(terms: BatchTerms, id: PaymentId, leaves: &[Leaf]) -> Self {
        let mut from = 0;
        let mut placed = BTreeMap::new();
        for leaf in leaves {
            placed.insert(from, leaf.clone());
            from += leaf.total().0;
        }
        assert_eq!(Atto(from), terms.total, "the leaves are the whole batch");
        Self { terms, id, leaves: placed }
    }

    /// Every batch that these puts name, found in them.
    pub fn of_puts(puts: &[PutRequest], id: impl Fn(&BatchTerms) -> PaymentId) -> Vec<Self> {
        let mut batches: BTreeMap<PaymentId, Self> = BTreeMap::new();
        for put in puts {
            let PaymentProof::Batch(proof) = &put.proof else { panic!("paid otherwise") };
            let id = id(&proof.terms);
            let left = proof.siblings.iter().filter(|sibling| sibling.side == Side::Left);
            let from: u128 = left.map(|sibling| sibling.sum.0).sum();
            let empty = || Self { terms: proof.terms, id, leaves: BTreeMap::new() };
            let batch = batches.entry(id).or_insert_with(empty);
            let before = batch.leaves.insert(from, put.leaf.clone());
            assert!(before.is_none_or(|before| before == put.leaf), "two leaves in one place");
        }
        batches.into_values().inspect(Self::assert_whole).collect()
    }

    fn assert_whole(&self) {
        let mut from = 0;
        for (&at, leaf) in &self.leaves {
            assert_eq!(at, from, "no gap between leaves");
            from += leaf.total().0;
        }
        assert_eq!(Atto(from), self.terms.total, "every leaf was put");
    }

    /// How many leaves.
    pub fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// The leaf that this draw falls on.
    pub fn winner(&self, seed: Seed, draw: u8) -> &Leaf {
        let point = self.terms.draw_point(seed, self.id, draw).0;
        let (from, leaf) = self.leaves.range(..=point).next_back().unwrap();
        assert!(point < from + leaf.total().0);
        leaf
    }

    /// What these draws pay to whom: each its prize, pro rata to the shares of its leaf, rounded
    /// down, and to the last share what is left.
    pub fn pay(
        &self,
        seed: Seed,
        draws: impl IntoIterator<Item = u8>,
    ) -> BTreeMap<RewardAddress, Atto> {
        let mut pay: BTreeMap<RewardAddress, Atto> = BTreeMap::new();
        for draw in draws {
            let (leaf, prize) = (self.winner(seed, draw), self.terms.prize(draw).0);
            let mut left = prize;
            for (index, share) in leaf.shares.iter().enumerate() {
                let part = if index + 1 == leaf.shares.len() {
                    left
                } else {
                    prize.checked_mul(share.amount.0).unwrap() / leaf.total().0
                };
                left -= part;
                let credit = pay.entry(share.payee).or_default();
                *credit = credit.saturating_add(Atto(part));
            }
        }
        pay
    }

    /// Prizes and tips of these draws.
    pub fn escrow_of(&self, draws: impl IntoIterator<Item = u8>) -> Atto {
        let of = |draw| self.terms.prize(draw).saturating_add(self.terms.tip);
        draws.into_iter().map(of).sum()
    }
}
