use serde::Serialize;

use super::sweep::float;
use super::{ClientResult, Conduct, NodeResult, Statistics};

/// The level of all tests together is 1 %: at most 200 tests, two-sided, 0.00005 each. A normal
/// distribution is further out than this many standard deviations with that probability.
pub(super) const MOST_Z: f64 = 4.056;
const MOST_TESTS: usize = 200;

/// The chi-square of 64 bins (63 degrees of freedom) is larger with probability 0.00005.
const MOST_CHI_SQUARE: f64 = 117.0;

/// The least correlation of pay and what is owed.
const LEAST_OWED: f64 = 0.99;
/// And of pay and what a node itself has kept: lower, because half of the nodes refuse or lose every
/// second chunk and are paid for it as long as one of its five nodes claims it. How much lower hangs
/// on which nodes these are: 0.86 to 0.96 with four seeds.
const LEAST_KEPT: f64 = 0.8;
/// And of the nodes that keep everything. Leaves that stand twice are paid twice and kept once.
const LEAST_RELIABLE: f64 = 0.97;

/// What rounding can move between the shares of one leaf, in units a draw: each of the first four is
/// rounded down by less than one, and the last gets that.
const ROUNDING: u128 = 4;

/// One statement that the program checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold.
    pub name: &'static str,
    /// Whether it does.
    pub passed: bool,
    /// The figure.
    pub found: String,
}

pub(super) fn checks(statistics: &Statistics) -> Vec<Check> {
    vec![
        points(statistics),
        means(statistics),
        starts(statistics),
        intervals(statistics),
        gains(statistics),
        follows_owed(statistics),
        follows_kept(statistics),
        reliable_follow_kept(statistics),
    ]
}

fn points(statistics: &Statistics) -> Check {
    let count = statistics.enumerated.len();
    let exact = statistics.enumerated.iter().filter(|case| case.exact).count();
    Check {
        name: "Small batches, point by point: a leaf wins every draw at exactly its sum of points",
        passed: exact == count,
        found: format!("{exact} of {count} batches"),
    }
}

fn means(statistics: &Statistics) -> Check {
    Check {
        name: "Every batch, over all seeds: mean pay is what the shares add up to, for every account",
        passed: statistics.most_off <= float(ROUNDING),
        found: format!("off by at most {:.3} smallest units a draw, rounding", statistics.most_off),
    }
}

fn starts(statistics: &Statistics) -> Check {
    let found = statistics.chi_square;
    Check {
        name: "Random seeds: the first draw falls everywhere alike",
        passed: found <= MOST_CHI_SQUARE,
        found: format!("chi-square of 64 bins {found:.1}, at most {MOST_CHI_SQUARE}"),
    }
}

fn intervals(statistics: &Statistics) -> Check {
    let nodes = statistics.nodes.iter().filter_map(|node| node.pay.z());
    let groups = statistics.groups.iter().filter_map(|group| group.pay.z());
    let clients = statistics.clients.iter().filter_map(|client| client.pay.z());
    let z: Vec<f64> = nodes.chain(groups).chain(clients).map(f64::abs).collect();
    let most = z.iter().copied().fold(0.0, f64::max);
    Check {
        name: "Random seeds: every node, group and kind of client is inside its interval",
        // The test of the starts is one, too.
        passed: most <= MOST_Z && z.len() < MOST_TESTS,
        found: format!("{} tests, largest deviation {most:.2}, at most {MOST_Z}", z.len()),
    }
}

fn gains(statistics: &Statistics) -> Check {
    let dust = float(ROUNDING * statistics.wins as u128);
    let gains = |client: &&ClientResult| client.gain() > client.pay.half_width() + dust;
    let found = statistics.clients.iter().filter(gains).count();
    Check {
        name: "No kind of client stores for less than the price, tips and gas not even counted",
        passed: found == 0,
        found: format!("{found} of {} do", statistics.clients.len()),
    }
}

fn follows_owed(statistics: &Statistics) -> Check {
    let found = correlated(&statistics.nodes, |node| node.pay.owed, |node| node.pay.paid);
    Check {
        name: "Over all rounds, pay follows what is owed",
        passed: found >= LEAST_OWED,
        found: format!("correlation {found:.4}, at least {LEAST_OWED}"),
    }
}

fn follows_kept(statistics: &Statistics) -> Check {
    let found = correlated(&statistics.nodes, |node| node.kept, |node| node.pay.paid);
    Check {
        name: "Over all rounds, pay follows what nodes have kept, those that keep half included",
        passed: found >= LEAST_KEPT,
        found: format!("correlation {found:.4}, at least {LEAST_KEPT}"),
    }
}

fn reliable_follow_kept(statistics: &Statistics) -> Check {
    let is_reliable = |node: &&NodeResult| node.conduct == Conduct::Reliable;
    let reliable: Vec<NodeResult> = statistics.nodes.iter().filter(is_reliable).copied().collect();
    let found = correlated(&reliable, |node| node.kept, |node| node.pay.paid);
    Check {
        name: "Over all rounds, pay of reliable nodes follows what they have kept",
        passed: found >= LEAST_RELIABLE,
        found: format!("correlation {found:.4}, at least {LEAST_RELIABLE}"),
    }
}

/// The correlation (Pearson's) of two figures over nodes.
pub(super) fn correlated(
    nodes: &[NodeResult],
    a: impl Fn(&NodeResult) -> u128,
    b: impl Fn(&NodeResult) -> u128,
) -> f64 {
    let count = float(nodes.len() as u128);
    let mean = |of: &dyn Fn(&NodeResult) -> u128| {
        nodes.iter().map(|node| float(of(node))).sum::<f64>() / count
    };
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let (mut both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for node in nodes {
        let (a, b) = (float(a(node)) - mean_a, float(b(node)) - mean_b);
        both += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    both / (of_a * of_b).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::Pay;
    use super::*;

    #[test]
    fn correlation_is_one_of_equals_and_minus_one_of_opposites() {
        let nodes: Vec<NodeResult> = [1, 2, 4]
            .map(|amount| NodeResult {
                conduct: Conduct::Reliable,
                pay: Pay { owed: amount, paid: 10 - 2 * amount, ..Pay::default() },
                kept: 0,
            })
            .to_vec();
        let equal = correlated(&nodes, |node| node.pay.owed, |node| node.pay.owed);
        let opposite = correlated(&nodes, |node| node.pay.owed, |node| node.pay.paid);
        assert!((equal - 1.0).abs() < 1e-12 && (opposite + 1.0).abs() < 1e-12);
    }
}
