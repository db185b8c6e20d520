use std::collections::{BTreeMap, BTreeSet};

use spillway_pay::LeafSpan;
use spillway_types::{Atto, BatchTerms, ChunkAddress, PaymentId, Seed, UnixTime};

/// A leaf that the node holds a proof of: with its chunk, or in a file of its own, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) address: ChunkAddress,
    /// How many points it covers.
    pub(super) sum: Atto,
    /// What it pays the node.
    pub(super) rank: Atto,
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

/// The batches that wait for their draw, by payment id. Only what can be found again. When it is
/// full, the leaves stay out that pay the node the least.
#[derive(Debug)]
pub(super) struct Index {
    limit: usize,
    batches: BTreeMap<PaymentId, OpenBatch>,
    /// All leaves.
    by_rank: BTreeSet<(Atto, PaymentId, Atto)>,
}

impl Index {
    /// An empty index of at most `limit` leaves.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, batches: BTreeMap::new(), by_rank: BTreeSet::new() }
    }

    /// Takes a leaf in, in place of one at the same point, or of the one that pays the least. False
    /// when one had to stay out or go.
    pub(super) fn add(
        &mut self,
        id: PaymentId,
        terms: &BatchTerms,
        from: Atto,
        found: Found,
    ) -> bool {
        self.remove(id, from);
        let fits = self.by_rank.len() < self.limit;
        if !fits {
            match self.by_rank.first() {
                Some(&(lowest, of, at)) if lowest < found.rank => self.remove(of, at),
                _ => return false,
            }
        }
        let fresh = || OpenBatch { terms: *terms, leaves: BTreeMap::new() };
        self.batches.entry(id).or_insert_with(fresh).leaves.insert(from, found);
        self.by_rank.insert((found.rank, id, from));
        fits
    }

    fn remove(&mut self, id: PaymentId, from: Atto) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        if let Some(found) = batch.leaves.remove(&from) {
            self.by_rank.remove(&(found.rank, id, from));
        }
        if batch.leaves.is_empty() {
            self.batches.remove(&id);
        }
    }

    pub(super) fn get(&self, id: PaymentId) -> Option<&OpenBatch> {
        self.batches.get(&id)
    }

    /// Takes a batch out; whether it was there.
    pub(super) fn take(&mut self, id: PaymentId) -> bool {
        let Some(batch) = self.batches.remove(&id) else {
            return false;
        };
        for (from, found) in batch.leaves {
            self.by_rank.remove(&(found.rank, id, from));
        }
        true
    }

    /// Takes out the batches whose time is over; whether there were any.
    pub(super) fn forget(&mut self, over: impl Fn(UnixTime) -> bool) -> bool {
        let ended = self.batches.iter().filter(|(_, batch)| over(batch.terms.upload_by));
        let ended: Vec<_> = ended.map(|(id, _)| *id).collect();
        for id in &ended {
            self.take(*id);
        }
        !ended.is_empty()
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
        Found { address: ChunkAddress([0; 32]), sum: Atto(sum), rank: Atto(sum) }
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
    fn it_holds_so_many_leaves_and_those_that_pay_the_most() {
        let mut index = Index::new(3);
        let (one, two) = (terms(10, 1), terms(20, 1));
        let (first, second) = (id_of(&one), id_of(&two));
        assert!(index.add(first, &one, Atto(0), found(5)));
        assert!(index.add(first, &one, Atto(5), found(6)));
        assert!(index.add(second, &two, Atto(0), found(20)));
        // As little as the least is not enough; more takes its place.
        assert!(!index.add(second, &two, Atto(20), found(5)));
        assert!(index.get(second).is_some_and(|batch| batch.leaves.len() == 1));
        assert!(!index.add(second, &two, Atto(20), found(7)));
        let left = index.get(first).unwrap().leaves.keys().copied().collect::<Vec<_>>();
        assert_eq!((left, index.get(second).unwrap().leaves.len()), (vec![Atto(5)], 2));
        // One that is there is no new one.
        assert!(index.add(second, &two, Atto(20), found(1)));
        assert!(!index.add(first, &one, Atto(0), found(5)));
        assert!(index.take(first) && !index.take(first));
        assert!(index.add(first, &one, Atto(0), found(5)));
        assert!(index.add(first, &one, Atto(5), found(5)));
        assert!(!index.forget(|upload_by| upload_by < UnixTime(4)));
        assert!(index.forget(|upload_by| upload_by == UnixTime(4)));
        assert_eq!((index.by_rank.len(), index.batches().count()), (0, 0));
    }
}
