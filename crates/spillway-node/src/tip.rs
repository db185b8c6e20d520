use spillway_pay::Fees;
use spillway_types::{Atto, TokenRate};

use crate::limits::TIP_GAS;

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

#[cfg(test)]
mod tests {
    use spillway_types::Wei;

    use super::*;

    #[test]
    fn it_pays_for_a_draw_and_a_part_of_the_seed() {
        assert_eq!(TIP_GAS, 92_985);
        let fees = |base, priority| Some(Fees { base: Wei(base), priority: Wei(priority) });
        // A token is worth half a coin.
        let rate = Some(TokenRate(Wei(500_000_000_000_000_000)));
        assert_eq!(min_tip(rate, fees(7, 3)), Atto(2 * 10 * 92_985));
        assert_eq!(min_tip(rate, fees(0, 0)), Atto::ZERO);
        assert_eq!(min_tip(None, fees(7, 3)), Atto::ZERO);
        assert_eq!(min_tip(None, None), Atto::ZERO);
        assert_eq!(min_tip(rate, None), Atto(u128::MAX));
        assert_eq!(min_tip(Some(TokenRate(Wei(0))), fees(7, 3)), Atto(u128::MAX));
    }
}
