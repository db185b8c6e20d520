use spillway_types::{Seed, limits::CLOSE_GROUP};

use super::accounts::{Accounts, Place};
use super::upload::{Upload, quick_payouts};

/// What one account gets of one batch, over every point that the first draw can fall on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    /// What its shares in the leaves that are claimed add up to: what it is to get on average.
    pub(super) expected: u128,
    /// The difference between the exact mean and that, in units of the token.
    pub(super) off: f64,
    /// The exact variance, in squares of units.
    pub(super) variance: f64,
}

/// The sums of one account over the points that were passed.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    now: u128,
    since: u128,
    first: u128,
    second: f64,
}

impl Running {
    fn pass(&mut self, point: u128) {
        let width = point - self.since;
        self.first += self.now * width;
        self.second += float(self.now) * float(self.now) * float(width);
        self.since = point;
    }
}

/// Goes over every point of `0..total` at which the first draw can fall and adds up what each account
/// gets: not a sample but all seeds at once, because a seed decides nothing but that point. How the
/// other draws follow the first is asked of the product, with two seeds that must agree.
pub(super) fn sweep(upload: &Upload, places: &[Place], accounts: &Accounts) -> Vec<Moments> {
    let total = upload.terms.total.0;
    let steps = steps(upload);
    let mut running = vec![Running::default(); accounts.count()];
    // Where the first draw must fall for a draw to enter a leaf.
    let mut events: Vec<(u128, usize, usize)> = Vec::new();
    let mut at: Vec<usize> = Vec::with_capacity(steps.len());
    for (draw, &step) in steps.iter().enumerate() {
        for (index, listed) in upload.leaves.iter().enumerate() {
            let start = (listed.span.from.0 + total - step) % total;
            if start != 0 {
                events.push((start, draw, index));
            }
        }
        let first = upload.leaves.partition_point(|listed| listed.span.from.0 <= step) - 1;
        at.push(first);
        let parts = payouts(upload, first, draw);
        accounts.credit(upload, places[first], &parts, |account, amount| {
            running[account].now += amount;
        });
    }
    events.sort_unstable();
    for (point, draw, index) in events {
        let left = payouts(upload, at[draw], draw);
        accounts.credit(upload, places[at[draw]], &left, |account, amount| {
            running[account].pass(point);
            running[account].now -= amount;
        });
        let entered = payouts(upload, index, draw);
        accounts.credit(upload, places[index], &entered, |account, amount| {
            running[account].pass(point);
            running[account].now += amount;
        });
        at[draw] = index;
    }
    for account in &mut running {
        account.pass(total);
    }
    moments(upload, places, accounts, &running)
}

fn moments(
    upload: &Upload,
    places: &[Place],
    accounts: &Accounts,
    running: &[Running],
) -> Vec<Moments> {
    let total = upload.terms.total.0;
    let mut moments = vec![Moments::default(); running.len()];
    for &place in places {
        accounts.expect(upload, place, |account, amount| moments[account].expected += amount);
    }
    for (moments, running) in moments.iter_mut().zip(running) {
        let exact = running.first.cast_signed();
        let expected = (moments.expected * total).cast_signed();
        moments.off = signed_float(exact - expected) / float(total);
        let mean = float(running.first) / float(total);
        moments.variance = (running.second / float(total) - mean * mean).max(0.0);
        // Where it gets the same at every point, what is left is the rounding of this line.
        if moments.variance < 1e-9 * mean * mean {
            moments.variance = 0.0;
        }
    }
    moments
}

/// How far each draw is from the first, on the circle of points.
fn steps(upload: &Upload) -> Vec<u128> {
    let total = upload.terms.total.0;
    let of = |seed: Seed| -> Vec<u128> {
        let point = |draw| upload.terms.draw_point(seed, upload.id, draw).0;
        (0..upload.terms.draws).map(|draw| (point(draw) + total - point(0)) % total).collect()
    };
    let steps = of(Seed([1; 32]));
    assert_eq!(steps, of(Seed([2; 32])), "a seed decides nothing but the first draw's point");
    steps
}

fn payouts(upload: &Upload, leaf: usize, draw: usize) -> [u128; CLOSE_GROUP] {
    let draw = u8::try_from(draw).expect("invariant: at most 200 draws");
    quick_payouts(&upload.leaves[leaf].leaf, upload.terms.prize(draw))
}

/// For sums and ratios of amounts; the last digits do not matter there.
#[expect(clippy::cast_precision_loss, reason = "statistics need 15 digits, not 38")]
pub(super) fn float(amount: u128) -> f64 {
    amount as f64
}

#[expect(clippy::cast_precision_loss, reason = "statistics need 15 digits, not 38")]
pub(super) fn signed_float(amount: i128) -> f64 {
    amount as f64
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::{network::Network, tally::places, upload::Client};
    use super::*;

    /// The sweep against many draws of the product.
    #[test]
    fn all_points_at_once_are_what_many_seeds_come_to() {
        let mut rng = Rng::with_seed(11);
        let network = Network::new(12, &mut rng);
        let accounts = Accounts::new(&network);
        let upload = Upload::new(1, Client::Lopsided, &network, &mut rng);
        let places = places(&upload);
        let moments = sweep(&upload, &places, &accounts);
        let mut seeds = Rng::with_seed(12);
        let rounds = 20_000;
        let (mut sums, mut squares) = (vec![0.0; accounts.count()], vec![0.0; accounts.count()]);
        for _ in 0..rounds {
            let seed = Seed(super::super::network::random_bytes(&mut seeds));
            let mut paid = vec![0; accounts.count()];
            for draw in 0..upload.terms.draws {
                let (winner, parts) = upload.drawn(seed, draw);
                accounts.credit(&upload, places[winner], &parts, |account, amount| {
                    paid[account] += amount;
                });
            }
            for (account, paid) in paid.into_iter().enumerate() {
                let off = float(paid) - float(moments[account].expected);
                sums[account] += off;
                squares[account] += off * off;
            }
        }
        let rounds = f64::from(rounds);
        for (account, moments) in moments.iter().enumerate() {
            let mean = sums[account] / rounds;
            let deviation = (moments.variance / rounds).sqrt();
            assert!(mean.abs() <= 4.06 * deviation + 1.0, "mean of account {account}");
            let variance = squares[account] / rounds;
            let ratio = if moments.variance == 0.0 { 1.0 } else { variance / moments.variance };
            assert!((ratio - 1.0).abs() < 0.15, "variance of account {account}: {ratio}");
        }
    }
}
