use spillway_pay::{BeaconState, Fees, PRIZE_PER_TIP};
use spillway_types::{Atto, TokenRate, UnixTime};

use crate::limits::{QUOTED_BEACON_LAG_HALVES, TIP_GAS};

/// The least tip a draw that a node asks for: the tokens that are worth [`TIP_GAS`] at the price of
/// gas now. Nothing without a rate; more than a batch can offer while the price of gas is not known.
pub(crate) fn min_tip(rate: Option<TokenRate>, fees: Option<Fees>) -> Atto {
    let Some(rate) = rate else {
        return Atto::ZERO;
    };
    let Some(fees) = fees else {
        return Atto(u128::MAX);
    };
    let gas_price = fees.base.saturating_add(fees.priority);
    rate.tokens(gas_price.saturating_mul(TIP_GAS.into()))
}

/// The least prize a draw that goes with the tip that was quoted: below it nobody may care to settle,
/// and the payer would get back what the node was promised. [`PRIZE_PER_TIP`] tips.
pub(crate) fn least_prize(min_tip: Atto) -> Atto {
    min_tip.saturating_mul(PRIZE_PER_TIP)
}

/// The largest prize that is quoted: nothing while the beacon's state is not known, or when its newest
/// seed is older than [`QUOTED_BEACON_LAG_HALVES`] allow.
pub(crate) fn max_prize(largest: Atto, beacon: Option<BeaconState>, now: UnixTime) -> Atto {
    let most = |beacon: BeaconState| beacon.epoch.saturating_mul(QUOTED_BEACON_LAG_HALVES) / 2;
    match beacon {
        Some(beacon) if now.since(beacon.latest) <= most(beacon) => largest,
        _ => Atto::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spillway_types::{EvmAddress, Wei};

    use super::*;

    #[test]
    fn it_pays_for_a_draw_and_a_part_of_the_seed() {
        assert_eq!(TIP_GAS, 153_032);
        let fees = |base, priority| Some(Fees { base: Wei(base), priority: Wei(priority) });
        // A token is worth half a coin.
        let rate = Some(TokenRate(Wei(500_000_000_000_000_000)));
        assert_eq!(min_tip(rate, fees(7, 3)), Atto(2 * 10 * 153_032));
        assert_eq!(min_tip(rate, fees(0, 0)), Atto::ZERO);
        assert_eq!(min_tip(None, fees(7, 3)), Atto::ZERO);
        assert_eq!(min_tip(None, None), Atto::ZERO);
        assert_eq!(min_tip(rate, None), Atto(u128::MAX));
        assert_eq!(min_tip(Some(TokenRate(Wei(0))), fees(7, 3)), Atto(u128::MAX));
    }
    #[test]
    fn a_prize_is_worth_four_tips() {
        assert_eq!(least_prize(Atto(7)), Atto(28));
        assert_eq!(least_prize(Atto::ZERO), Atto::ZERO);
        assert_eq!(least_prize(Atto(u128::MAX)), Atto(u128::MAX));
    }

    #[test]
    fn no_batches_are_quoted_half_an_epoch_before_they_are_refused() {
        let latest = UnixTime(1_000);
        let (beacon, epoch) = (EvmAddress([1; 20]), Duration::from_secs(100));
        let state = BeaconState { beacon, epoch, latest };
        let quoted = |now| max_prize(Atto(5), Some(state), UnixTime(now));
        for (now, expected) in [(0, 5), (1_150, 5), (1_151, 0), (1_200, 0), (9_999, 0)] {
            assert_eq!(quoted(now), Atto(expected), "{now}");
        }
        assert!(!state.is_behind(UnixTime(1_200)) && state.is_behind(UnixTime(1_201)));
        assert_eq!(max_prize(Atto(5), None, latest), Atto::ZERO);
    }
}
