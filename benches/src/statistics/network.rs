use fastrand::Rng;
use spillway_types::{Atto, ChunkAddress, Distance, PeerKey, RewardAddress, Share, limits};

/// How a node keeps what it was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Conduct {
    /// Takes every chunk and keeps it.
    Reliable,
    /// Refuses every second chunk.
    Refusing,
    /// Loses every second chunk, and its proof, before the draw.
    Losing,
}

impl Conduct {
    pub(super) const ALL: [Self; 3] = [Self::Reliable, Self::Refusing, Self::Losing];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reliable => "reliable",
            Self::Refusing => "refuses half",
            Self::Losing => "loses half",
        }
    }
}

/// One storage node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) conduct: Conduct,
    pub(super) payee: RewardAddress,
    /// What it asks for a chunk.
    pub(super) price: Atto,
    /// Its distance from the chunk [`ORIGIN`].
    from_origin: Words,
}

/// The chunk that all distances are measured by.
const ORIGIN: ChunkAddress = ChunkAddress([0; 32]);

/// Prices are between this and 20 times as much, in the token's smallest unit: so small that sums of
/// squares over a batch fit the exact arithmetic, so large that rounding is nothing beside them.
pub(super) const LEAST_PRICE: u128 = 1_000_000_000;
const DEAREST: u64 = 20;

/// The nodes, and who is nearest to what.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) nodes: Vec<Node>,
    first: PeerKey,
}

impl Network {
    /// Nodes with random keys, prices and conduct: about half reliable.
    pub(super) fn new(count: usize, rng: &mut Rng) -> Self {
        let keys: Vec<PeerKey> = (0..count).map(|_| PeerKey(random_bytes(rng))).collect();
        let nodes = keys
            .iter()
            .enumerate()
            .map(|(index, key)| Node {
                conduct: match rng.u8(..4) {
                    0 => Conduct::Refusing,
                    1 => Conduct::Losing,
                    _ => Conduct::Reliable,
                },
                payee: payee(1, index),
                price: Atto(LEAST_PRICE * u128::from(rng.u64(100..=100 * DEAREST)) / 100),
                from_origin: words(&key.distance(&ORIGIN)),
            })
            .collect();
        Self { nodes, first: keys[0] }
    }

    /// The nodes nearest to a chunk, nearest first.
    pub(super) fn close_group(&self, chunk: &ChunkAddress) -> [usize; limits::CLOSE_GROUP] {
        // XOR distances add up: from any node over the origin and the first node to the chunk.
        let origin = self.nodes[0].from_origin;
        let first = words(&self.first.distance(chunk));
        let shift = (first.0 ^ origin.0, first.1 ^ origin.1);
        let mut nearest: Vec<(Words, usize)> = Vec::with_capacity(limits::CLOSE_GROUP + 1);
        for (index, node) in self.nodes.iter().enumerate() {
            let distance = (node.from_origin.0 ^ shift.0, node.from_origin.1 ^ shift.1);
            if nearest.get(limits::CLOSE_GROUP - 1).is_some_and(|last| last.0.0 < distance.0) {
                continue;
            }
            let at = nearest.partition_point(|other| other.0 < distance);
            nearest.insert(at, (distance, index));
            nearest.truncate(limits::CLOSE_GROUP);
        }
        std::array::from_fn(|place| nearest[place].1)
    }

    /// What a client lists for a node: its price, sometimes up to a quarter more.
    pub(super) fn share(&self, node: usize, rng: &mut Rng) -> Share {
        let Node { payee, price, .. } = self.nodes[node];
        let more = if rng.u8(..4) == 0 { u128::from(rng.u64(..=250)) } else { 0 };
        Share { payee, amount: Atto(price.0 + price.0 * more / 1_000) }
    }
}

/// The reward address of this number; `owner` tells nodes from clients.
pub(super) fn payee(owner: u8, number: usize) -> RewardAddress {
    let mut bytes = [0; 20];
    bytes[0] = owner;
    bytes[12..].copy_from_slice(&(number as u64).to_be_bytes());
    RewardAddress(bytes)
}

/// Bytes for keys, chunks and seeds.
pub(super) fn random_bytes(rng: &mut Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    bytes
}

/// A distance in two halves, the high one first: quick to compare.
type Words = (u128, u128);

fn words(distance: &Distance) -> Words {
    let half = |at: usize| {
        distance.0[at..at + 16].iter().fold(0, |word, &byte| word << 8 | u128::from(byte))
    };
    (half(0), half(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_close_group_is_the_nearest_by_the_products_own_distance() {
        let mut rng = Rng::with_seed(7);
        let keys: Vec<PeerKey> = {
            let mut same = rng.clone();
            (0..40).map(|_| PeerKey(random_bytes(&mut same))).collect()
        };
        let network = Network::new(40, &mut rng);
        for _ in 0..20 {
            let chunk = ChunkAddress(random_bytes(&mut rng));
            let mut order: Vec<usize> = (0..40).collect();
            order.sort_by_key(|&node| keys[node].distance(&chunk));
            assert_eq!(network.close_group(&chunk)[..], order[..limits::CLOSE_GROUP]);
        }
    }
}
