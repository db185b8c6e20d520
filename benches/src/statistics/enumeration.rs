//! Small batches, every point of them: the product's own functions from the seed to the leaf.

use fastrand::Rng;
use spillway_pay::{SumTree, verify};
use spillway_types::{
    Atto, BatchProof, BatchTerms, ChunkAddress, EvmAddress, Leaf, Seed, Share, UnixTime, Win,
};

use super::network::{payee, random_bytes};
use super::sweep::{float, signed_float};
use super::upload::domain;

/// A batch by what its leaves cost.
struct Case {
    name: &'static str,
    leaves: Vec<u128>,
    draws: u8,
}

/// What came out of one batch.
#[derive(Clone, Debug)]
pub(super) struct Enumerated {
    pub(super) name: &'static str,
    pub(super) leaves: usize,
    pub(super) total: u128,
    pub(super) draws: u8,
    /// Whether every draw hit every leaf at exactly as many points as the leaf has units.
    pub(super) exact: bool,
    /// The most that any share's mean pay is off, in units of the token: rounding.
    pub(super) most_off: f64,
}

/// Seeds that are tried at most for one point: the chance that a point is not met in 40 times as
/// many seeds as there are points is e^-40.
const SEEDS_PER_POINT: u128 = 40;

/// Every case.
pub(super) fn enumerate(rng: &mut Rng) -> Vec<Enumerated> {
    cases().into_iter().map(|case| run(&case, rng)).collect()
}

fn cases() -> Vec<Case> {
    let case = |name, leaves: &[u128], draws| Case { name, leaves: leaves.to_vec(), draws };
    vec![
        case("one leaf, one unit", &[1], 1),
        case("one leaf", &[60], 3),
        case("two equal leaves", &[50, 50], 1),
        case("unequal leaves, odd number", &[3, 1, 4, 1, 5, 9, 2], 1),
        case("unequal leaves, draws that do not divide", &[3, 1, 4, 1, 5, 9, 2], 7),
        case("one leaf is nearly all", &[1, 1, 300, 1, 1], 4),
        case("leaves wider than a step", &[90, 10, 80, 20], 5),
        case("the same leaf twice", &[25, 25, 40, 7], 3),
        case("33 leaves", &[11; 33], 2),
        case("as many draws as units", &[6, 5, 4, 3, 2], 20),
        case("200 draws", &[70, 60, 50, 40, 30], 200),
    ]
}

fn run(case: &Case, rng: &mut Rng) -> Enumerated {
    let leaves: Vec<Leaf> = case.leaves.iter().map(|&sum| leaf(sum)).collect();
    let tree = SumTree::new(&leaves).expect("invariant: the leaves are sound");
    let root = tree.root();
    let terms = BatchTerms {
        payer: EvmAddress([2; 20]),
        root: root.hash,
        total: root.sum,
        tip: Atto::ZERO,
        upload_by: UnixTime(1_800_000_000),
        draws: case.draws,
    };
    let spans: Vec<_> = leaves
        .iter()
        .enumerate()
        .map(|(index, leaf)| {
            let proof = BatchProof { terms, siblings: tree.siblings(index) };
            verify::batch_leaf(&proof, leaf).expect("invariant: the leaf is in the batch")
        })
        .collect();
    let mut hits = vec![0_u128; leaves.len() * usize::from(case.draws)];
    let mut paid = vec![[0_u128; 5]; leaves.len()];
    let seeds = one_seed_a_point(&terms, rng);
    for &seed in seeds.iter().flatten() {
        for draw in 0..case.draws {
            let point = terms.draw_point(seed, terms.id(&domain()), draw);
            let mut winners = (0..leaves.len()).filter(|&leaf| spans[leaf].contains(point));
            let (Some(winner), None) = (winners.next(), winners.next()) else { continue };
            hits[usize::from(draw) * leaves.len() + winner] += 1;
            let win = Win { terms, draw, leaf: leaves[winner].clone(), siblings: Vec::new() };
            for (paid, share) in paid[winner].iter_mut().zip(win.payouts()) {
                *paid += share.amount.0;
            }
        }
    }
    let wanted = case.leaves.iter().cycle();
    let exact = seeds.iter().all(Option::is_some) && hits.iter().zip(wanted).all(|(a, b)| a == b);
    Enumerated {
        name: case.name,
        leaves: leaves.len(),
        total: root.sum.0,
        draws: case.draws,
        exact,
        most_off: most_off(&leaves, &paid, root.sum.0),
    }
}

/// For every point, a seed whose first draw falls on it.
fn one_seed_a_point(terms: &BatchTerms, rng: &mut Rng) -> Vec<Option<Seed>> {
    let total = terms.total.0;
    let id = terms.id(&domain());
    let mut seeds = vec![None; usize::try_from(total).expect("invariant: a small case")];
    let mut missing = seeds.len();
    for _ in 0..SEEDS_PER_POINT * total {
        let seed = Seed(random_bytes(rng));
        let point = usize::try_from(terms.draw_point(seed, id, 0).0).unwrap_or(usize::MAX);
        if let Some(free @ None) = seeds.get_mut(point) {
            *free = Some(seed);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    seeds
}

fn most_off(leaves: &[Leaf], paid: &[[u128; 5]], total: u128) -> f64 {
    let mut most: f64 = 0.0;
    for (leaf, paid) in leaves.iter().zip(paid) {
        for (share, &paid) in leaf.shares.iter().zip(paid) {
            let off = paid.cast_signed() - (share.amount.0 * total).cast_signed();
            most = most.max((signed_float(off) / float(total)).abs());
        }
    }
    most
}

/// A leaf of this much in five unequal shares.
fn leaf(sum: u128) -> Leaf {
    let mut rest = sum;
    let shares = std::array::from_fn(|place| {
        let amount = if place == 4 { rest } else { rest / 3 };
        rest -= amount;
        Share { payee: payee(1, place), amount: Atto(amount) }
    });
    Leaf { address: ChunkAddress([7; 32]), shares }
}
