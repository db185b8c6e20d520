//! What proofs and wins are worth to the node: what is kept when not all can be.

use spillway_types::{Atto, Leaf, RewardAddress, Win};

/// Millionths.
const ONE: u128 = 1_000_000;

/// What a leaf pays the node, in expectation. The other shares do not count: whoever pays them may
/// be paid by them.
pub(super) fn of_leaf(leaf: &Leaf, own: RewardAddress) -> Atto {
    leaf.shares.iter().filter(|share| share.payee == own).map(|share| share.amount).sum()
}

/// What a win pays the node, to a millionth of its prize.
pub(super) fn of_win(win: &Win, own: RewardAddress) -> Atto {
    // Amounts of 96 bits: no product reaches 128.
    let part = of_leaf(&win.leaf, own).0 * ONE / win.leaf.total().0.max(1);
    Atto(win.terms.prize(win.draw).0.saturating_mul(part) / ONE)
}

#[cfg(test)]
mod tests {
    use spillway_types::{BatchTerms, ChunkAddress, EvmAddress, NodeHash, Share, UnixTime};

    use super::*;

    fn win(amounts: [u128; 5], total: u128, draws: u8) -> Win {
        let mut number = 0;
        let shares = amounts.map(|amount| {
            number += 1;
            Share { payee: RewardAddress([number; 20]), amount: Atto(amount) }
        });
        let terms = BatchTerms {
            payer: EvmAddress([1; 20]),
            root: NodeHash([2; 32]),
            total: Atto(total),
            tip: Atto(3),
            upload_by: UnixTime(4),
            draws,
        };
        let leaf = Leaf { address: ChunkAddress([3; 32]), shares };
        Win { terms, draw: 0, leaf, siblings: Vec::new() }
    }

    #[test]
    fn only_the_own_part_counts() {
        let own = RewardAddress([2; 20]);
        // A quarter of a prize of 1,000, and of one of 500.
        assert_eq!(of_win(&win([10, 10, 10, 10, 0], 1_000, 1), own), Atto(250));
        assert_eq!(of_win(&win([10, 10, 10, 10, 0], 1_000, 2), own), Atto(125));
        assert_eq!(of_leaf(&win([1, 7, 1, 1, 1], 11, 1).leaf, own), Atto(7));
        // A large share of somebody else's makes it worth less.
        assert_eq!(of_win(&win([0, 10, 9_990, 0, 0], 10_000, 1), own), Atto(10));
        let most = Atto::MAX_SHARE.0;
        assert_eq!(of_win(&win([0, most, 0, 0, 0], most, 1), own), Atto::MAX_SHARE);
        assert_eq!(of_win(&win([0; 5], 1, 1), own), Atto::ZERO);
    }
}
