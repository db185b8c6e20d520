use std::collections::BTreeMap;

use spillway_pay::LeafSpan;
use spillway_types::{Atto, BatchTerms, ChunkAddress, PaymentId, Seed, UnixTime};

/// Where the proof of a leaf is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// With its chunk.
    Chunk,
    /// In a file of its own.
    Further,
}

/// A leaf that the node holds a proof of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) address: ChunkAddress,
    /// How many points it covers.
    pub(super) sum: Atto,
    pub(super) place: Place,
}

/// The node's leaves of a batch that was not drawn yet, by the first point that each covers.
#[derive(Clone, Debug)]
pub(super) struct OpenBatch {
    pub(super) terms: BatchTerms,
    pub(super) leaves: BTreeMap<Atto, Found>,
}

impl OpenBatch {
    /// The draws that fall on the node's leaves, each with the first point of its leaf.
    ///
    /// Spans of sound proofs of one batch never overlap: the hash of every node on a path covers the
    /// sums on both sides of it.
    pub(super) fn won(&self, id: PaymentId, seed: Seed) -> Vec<(u8, Atto)> {
        let draw = |draw| {
            let point = self.terms.draw_point(seed, id, draw);
            let (&from, leaf) = self.leaves.range(..=point).next_back()?;
            LeafSpan { from, sum: leaf.sum }.contains(point).then_some((draw, from))
        };
        (0..self.terms.draws).filter_map(draw).collect()
    }
}

/// The batches that wait for their draw, by payment id. Only what can be found again.
#[derive(Debug)]
pub(super) struct Index {
    limit: usize,
    leaves: usize,
    batches: BTreeMap<PaymentId, OpenBatch>,
}

impl Index {
    /// An empty index of at most `limit` leaves.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, leaves: 0, batches: BTreeMap::new() }
    }

    /// Takes a leaf in, in place of one at the same point; false when there is no room.
    pub(super) fn add(
        &mut self,
        id: PaymentId,
        terms: &BatchTerms,
        from: Atto,
        found: Found,
    ) -> bool {
        let known = self.batches.get(&id).is_some_and(|batch| batch.leaves.contains_key(&from));
        if !known && self.leaves >= self.limit {
            return false;
        }
        let fresh = || OpenBatch { terms: *terms, leaves: BTreeMap::new() };
        let batch = self.batches.entry(id).or_insert_with(fresh);
        if batch.leaves.insert(from, found).is_none() {
            self.leaves += 1;
        }
        true
    }

    /// Takes a batch out.
    pub(super) fn take(&mut self, id: PaymentId) -> Option<OpenBatch> {
        let batch = self.batches.remove(&id)?;
        self.leaves -= batch.leaves.len();
        Some(batch)
    }

    /// Takes out the batches whose time is over; whether there were any.
    pub(super) fn forget(&mut self, over: impl Fn(UnixTime) -> bool) -> bool {
        let before = self.batches.len();
        self.batches.retain(|_, batch| !over(batch.terms.upload_by));
        self.leaves = self.batches.values().map(|batch| batch.leaves.len()).sum();
        self.batches.len() < before
    }

    /// The batches, in the order of their ids.
    pub(super) fn batches(&self) -> impl Iterator<Item = (PaymentId, &BatchTerms)> {
        self.batches.iter().map(|(id, batch)| (*id, &batch.terms))
    }
}

#[cfg(test)]
mod tests {
    use spillway_types::{Domain, EvmAddress, NetworkId, NodeHash};

    use super::*;

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

    fn found(sum: u128) -> Found {
        Found { address: ChunkAddress([0; 32]), sum: Atto(sum), place: Place::Chunk }
    }

    fn id_of(terms: &BatchTerms) -> PaymentId {
        let vault = EvmAddress([9; 20]);
        terms.id(&Domain { network: NetworkId([0; 32]), chain_id: 1, vault })
    }

    proptest::proptest! {
        /// Every draw is won by exactly the leaf that its point falls on, if that leaf is the
        /// node's.
        #[test]
        fn draws_are_won_as_their_points_fall(
            sums in proptest::collection::vec((1_u128..1 << 80, proptest::bool::ANY), 1..40),
            draws in 1_u8..=200,
            seed in proptest::array::uniform32(0_u8..),
        ) {
            let terms = terms(sums.iter().map(|(sum, _)| sum).sum(), draws);
            let (id, seed) = (id_of(&terms), Seed(seed));
            let mut batch = OpenBatch { terms, leaves: BTreeMap::new() };
            let mut from = 0;
            let mut spans = Vec::new();
            for (sum, own) in sums {
                spans.push((LeafSpan { from: Atto(from), sum: Atto(sum) }, own));
                if own {
                    batch.leaves.insert(Atto(from), found(sum));
                }
                from += sum;
            }
            let won = batch.won(id, seed);
            let mut expected = Vec::new();
            for draw in 0..draws {
                let point = terms.draw_point(seed, id, draw);
                let hit: Vec<_> = spans.iter().filter(|(span, _)| span.contains(point)).collect();
                proptest::prop_assert_eq!(hit.len(), 1);
                if hit[0].1 {
                    expected.push((draw, hit[0].0.from));
                }
            }
            proptest::prop_assert_eq!(won, expected);
        }
    }

    #[test]
    fn it_holds_so_many_leaves_and_no_more() {
        let mut index = Index::new(3);
        let (one, two) = (terms(10, 1), terms(20, 1));
        let (first, second) = (id_of(&one), id_of(&two));
        assert!(index.add(first, &one, Atto(0), found(5)));
        assert!(index.add(first, &one, Atto(5), found(5)));
        assert!(index.add(second, &two, Atto(0), found(20)));
        assert!(!index.add(second, &two, Atto(20), found(1)));
        // One that is there is no new one.
        assert!(index.add(first, &one, Atto(5), Found { place: Place::Further, ..found(5) }));
        assert_eq!(index.take(first).map(|batch| batch.leaves.len()), Some(2));
        assert!(index.take(first).is_none());
        assert!(index.add(first, &one, Atto(0), found(5)));
        assert!(index.add(first, &one, Atto(5), found(5)));
        assert!(!index.forget(|upload_by| upload_by < UnixTime(4)));
        assert!(index.forget(|upload_by| upload_by == UnixTime(4)));
        assert_eq!((index.leaves, index.batches().count()), (0, 0));
    }
}
