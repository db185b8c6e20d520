use super::{Batch, Priced};

/// Cuts the priced chunks of all batches anew, in their order, into batches of these sizes; what was
/// priced before is empty then. Chunks beyond the sizes stay with the last one. Batches keep their
/// numbers: the new ones come after all that are there.
pub(crate) fn regroup(batches: &mut Vec<Batch>, sizes: impl IntoIterator<Item = usize>) {
    let mut priced = Vec::new();
    for batch in batches.iter_mut() {
        let Batch::Quoted { priced: here } = batch else { continue };
        priced.append(here);
        // Nothing of it is left: others pay for its chunks.
        *batch = Batch::Stored;
    }
    priced.sort_by_key(|priced: &Priced| priced.chunk);
    let mut rest = priced.into_iter();
    let mut groups: Vec<Vec<Priced>> =
        sizes.into_iter().map(|size| rest.by_ref().take(size).collect()).collect();
    match groups.last_mut() {
        Some(last) => last.extend(rest),
        None => groups.push(rest.collect()),
    }
    let groups = groups.into_iter().filter(|priced| !priced.is_empty());
    batches.extend(groups.map(|priced| Batch::Quoted { priced }));
}

/// As few parts as `most` allows, in order and of about equal size.
pub(crate) fn even_parts<T>(all: &[T], most: usize) -> impl Iterator<Item = &[T]> {
    let count = all.len().div_ceil(most);
    let (size, larger) = (all.len() / count.max(1), all.len() % count.max(1));
    let mut rest = all;
    (0..count).map(move |part| {
        let (head, tail) = rest.split_at(size + usize::from(part < larger));
        rest = tail;
        head
    })
}

#[cfg(test)]
mod tests {
    use spillway_types::{Atto, ChunkAddress, Leaf, PeerSecret, QuoteTerms, RewardAddress, Share};

    use super::*;
    use crate::session::{ChunkIx, PlanIx};

    fn priced(chunk: u32) -> Priced {
        let terms = QuoteTerms {
            domain: spillway_types::Domain {
                network: spillway_types::NetworkId([0; 32]),
                chain_id: 1,
                vault: spillway_types::EvmAddress([0; 20]),
            },
            address: ChunkAddress([1; 32]),
            size: 1,
            price: Atto(1),
            reward: RewardAddress([2; 20]),
            issued: spillway_types::UnixTime(0),
            expires: spillway_types::UnixTime(1),
            min_tip: Atto(0),
            max_prize: Atto(1),
            max_window_secs: 1,
            confirmations: 0,
        };
        let shares = [Share { payee: RewardAddress([2; 20]), amount: Atto(1) }; 5];
        Priced {
            chunk: ChunkIx(chunk),
            leaf: Leaf { address: ChunkAddress([1; 32]), shares },
            quotes: [terms.sign(&PeerSecret::from_seed(&[1; 32])); 5],
        }
    }

    fn quoted(chunks: &[u32]) -> Batch {
        Batch::Quoted { priced: chunks.iter().copied().map(priced).collect() }
    }

    #[test]
    fn priced_chunks_are_cut_anew_and_others_are_left() {
        let planned = Batch::Planned { plan: PlanIx(0), chunks: vec![ChunkIx(9)] };
        let mut batches = vec![quoted(&[4, 5]), planned.clone(), quoted(&[0, 1, 2])];
        regroup(&mut batches, [4, 1]);
        let (new_a, new_b) = (quoted(&[0, 1, 2, 4]), quoted(&[5]));
        assert_eq!(batches, [Batch::Stored, planned, Batch::Stored, new_a, new_b]);
    }

    #[test]
    fn parts_are_few_and_even() {
        for (len, most, sizes) in [
            (0, 3, &[][..]),
            (3, 3, &[3]),
            (4, 3, &[2, 2]),
            (10, 3, &[3, 3, 2, 2]),
            (5, usize::MAX, &[5]),
        ] {
            let all: Vec<usize> = (0..len).collect();
            let parts: Vec<&[usize]> = even_parts(&all, most).collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), sizes);
            assert_eq!(parts.concat(), all);
        }
    }

    #[test]
    fn no_chunk_is_lost_whatever_the_sizes() {
        for sizes in [vec![], vec![1], vec![9, 9], vec![0, 2], vec![3]] {
            let mut batches = vec![quoted(&[0, 1]), quoted(&[2])];
            regroup(&mut batches, sizes);
            let chunks = batches.iter().flat_map(|batch| match batch {
                Batch::Quoted { priced } => priced.iter().map(|priced| priced.chunk.0).collect(),
                _ => Vec::new(),
            });
            assert_eq!(chunks.collect::<Vec<_>>(), [0, 1, 2]);
        }
        let mut batches = vec![Batch::Stored];
        regroup(&mut batches, []);
        assert_eq!(batches, [Batch::Stored]);
    }
}
