//! What a node gets that holds few chunks, each in a batch of its own: pay is exact on average and
//! a lottery in between.

use fastrand::Rng;
use spillway_types::{Seed, limits};

use super::network::{Network, random_bytes};
use super::sweep::float;
use super::upload::Upload;

/// What holders of equally many chunks got, in parts of what their shares add up to.
#[derive(Clone, Debug)]
pub(super) struct Unevenness {
    pub(super) chunks: usize,
    pub(super) holders: usize,
    /// Holders that got nothing.
    pub(super) nothing: f64,
    /// (1 − 1/256)^chunks.
    pub(super) nothing_expected: f64,
    pub(super) mean: f64,
    /// Standard deviation.
    pub(super) deviation: f64,
    /// sqrt(255 / chunks).
    pub(super) deviation_expected: f64,
    /// 5 %, half and 95 % of the holders got at most this.
    pub(super) percentiles: [f64; 3],
}

/// Batches that chunks are taken of: each of one draw's size, drawn with many seeds.
const BATCHES: usize = 32;

/// Chunks that a holder has.
const CHUNKS: [usize; 6] = [1, 16, 64, 256, 1_024, 4_096];

/// `samples` chunks at random, each drawn once; holders have the first few, the next few, and so on.
pub(super) fn unevenness(network: &Network, samples: usize, rng: &mut Rng) -> Vec<Unevenness> {
    let uploads: Vec<Upload> =
        (0..BATCHES).map(|number| Upload::of_one_draw(number, network, rng)).collect();
    let mut got = Vec::with_capacity(samples);
    for _ in 0..samples {
        let upload = &uploads[rng.usize(..BATCHES)];
        let mine = rng.usize(..upload.leaves.len());
        let share = rng.usize(..limits::CLOSE_GROUP);
        let point = upload.terms.draw_point(Seed(random_bytes(rng)), upload.id, 0);
        let listed = &upload.leaves[mine];
        let paid = if listed.span.contains(point) { upload.payouts(mine, 0)[share] } else { 0 };
        got.push((paid, listed.leaf.shares[share].amount.0));
    }
    CHUNKS.iter().filter(|&&chunks| chunks <= samples).map(|&chunks| of(chunks, &got)).collect()
}

fn of(chunks: usize, got: &[(u128, u128)]) -> Unevenness {
    let mut ratios: Vec<f64> = got
        .chunks_exact(chunks)
        .map(|held| {
            let (paid, owed) =
                held.iter().fold((0, 0), |(paid, owed), (one, share)| (paid + one, owed + share));
            float(paid) / float(owed)
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let count = float(ratios.len() as u128);
    let mean = ratios.iter().sum::<f64>() / count;
    let squares: f64 = ratios.iter().map(|ratio| (ratio - mean) * (ratio - mean)).sum();
    let nothing = ratios.iter().filter(|&&ratio| ratio == 0.0).count();
    let missed = 1.0 - 1.0 / float(limits::LEAVES_PER_DRAW as u128);
    Unevenness {
        chunks,
        holders: ratios.len(),
        nothing: float(nothing as u128) / count,
        nothing_expected: (0..chunks).fold(1.0, |chance, _| chance * missed),
        mean,
        deviation: (squares / count).sqrt(),
        deviation_expected: (float(limits::LEAVES_PER_DRAW as u128 - 1) / float(chunks as u128))
            .sqrt(),
        percentiles: [5, 50, 95].map(|percent| ratios[ratios.len() * percent / 100]),
    }
}
