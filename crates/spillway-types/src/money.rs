use std::{fmt, str::FromStr};

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
