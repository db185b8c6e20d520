use std::{fmt, str::FromStr};

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u128);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// The bare number.
            pub const fn get(self) -> u128 {
                self.0
            }

            /// The sum, or `None` when it does not fit.
            #[must_use]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The sum, or the largest amount when it does not fit.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, or zero when `other` is larger.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// The product, or the largest amount when it does not fit.
            #[must_use]
            pub const fn saturating_mul(self, factor: u128) -> Self {
                Self(self.0.saturating_mul(factor))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
                amounts.fold(Self::ZERO, Self::saturating_add)
            }
        }
    };
}

amount! {
    /// An amount of the storage token, in its smallest unit (10^-18 of a token). The vault holds
    /// amounts of 96 bits: see [`Atto::MAX_SHARE`].
    Atto
}
amount! {
    /// An amount of the chain's coin, in its smallest unit (10^-18 of a coin). Pays for gas.
    Wei
}

impl Atto {
    /// The largest share or total that the vault can hold: 2^96 − 1.
    pub const MAX_SHARE: Self = Self((1 << 96) - 1);
}

/// What one whole token (10^18 of its smallest unit) is worth, in the coin's smallest unit. Compares
/// tips and prices with gas; whoever compares says what a token is worth to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenRate(pub Wei);

impl TokenRate {
    const TOKEN: u128 = 1_000_000_000_000_000_000;

    /// What this many tokens are worth, rounded down; the largest amount when it does not fit.
    pub fn coins(self, tokens: Atto) -> Wei {
        let exact = U256::from(tokens.0) * U256::from(self.0.0) / U256::from(Self::TOKEN);
        Wei(exact.saturating_to())
    }

    /// The tokens that are worth at least this much, rounded up; the largest amount when it does not
    /// fit or a token is worth nothing.
    pub fn tokens(self, coins: Wei) -> Atto {
        let rate = U256::from(self.0.0);
        if rate.is_zero() {
            return Atto(u128::MAX);
        }
        let exact = (U256::from(coins.0) * U256::from(Self::TOKEN)).div_ceil(rate);
        Atto(exact.saturating_to())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_rounds_for_whoever_is_paid() {
        // A token is worth a third of a coin.
        let rate = TokenRate(Wei(333_333_333_333_333_333));
        assert_eq!(rate.coins(Atto(3_000_000_000_000_000_000)), Wei(999_999_999_999_999_999));
        assert_eq!(rate.tokens(Wei(1)), Atto(4));
        assert!(rate.coins(rate.tokens(Wei(1_000_000_007))) >= Wei(1_000_000_007));
        assert_eq!(TokenRate(Wei(0)).tokens(Wei(1)), Atto(u128::MAX));
        assert_eq!(TokenRate(Wei(u128::MAX)).coins(Atto(u128::MAX)), Wei(u128::MAX));
    }
}
