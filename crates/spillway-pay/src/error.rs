use std::time::Duration;

use spillway_types::Retry;

/// Why the chain could not be asked, or what it answered instead. Texts of RPC servers are read in
/// this crate only, once, and become these variants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The URL is not one of an RPC server.
    #[error("not the URL of an RPC server: {reason}")]
    BadUrl {
        /// What is wrong with it; never the URL itself, which may hold credentials.
        reason: &'static str,
    },
    /// The RPC cannot be reached, or the connection broke: a sent transaction may be accepted.
    #[error("the RPC at {endpoint} cannot be reached")]
    Unreachable {
        /// Which, without credentials.
        endpoint: String,
    },
    /// It did not answer in time: a sent transaction may be accepted.
    #[error("the RPC at {endpoint} did not answer within {} s", after.as_secs())]
    Timeout {
        /// Which, without credentials.
        endpoint: String,
        /// The deadline.
        after: Duration,
    },
    /// It does not know a block that it, or another server behind the same URL, has named.
    #[error("the RPC is behind")]
    Behind,
    /// Too many requests.
    #[error("the RPC asks to slow down")]
    RateLimited,
    /// Its nonce is used up: look at the record, never assume unsent.
    #[error("the nonce is used already")]
    NonceTooLow,
    /// The fee is less than blocks or the server ask for now.
    #[error("the fee is too low")]
    FeeTooLow,
    /// A waiting transaction has this nonce and the fee is not enough to replace it.
    #[error("the fee is too low to replace the waiting transaction")]
    Underpriced,
    /// The account cannot pay for gas.
    #[error("not enough coins for gas")]
    NotEnoughCoins,
    /// The contract refused.
    #[error("the contract refused: {}", reason.as_deref().unwrap_or("no reason given"))]
    Reverted {
        /// The name of the contract's error with its data, when it gave one.
        reason: Option<String>,
    },
    /// The RPC answered something that is not of this protocol.
    #[error("the RPC answered unexpectedly to {method}: {detail}")]
    Unexpected {
        /// What was asked.
        method: &'static str,
        /// What it said, cut to 200 characters.
        detail: String,
    },
}

impl ChainError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::RateLimited | Self::Behind => {
                Retry::Backoff
            }
            _ => Retry::Never,
        }
    }

    /// True when the RPC surely did not take the transaction. Everything else is doubt, and doubt
    /// means: ask for the record.
    pub fn not_sent(&self) -> bool {
        matches!(self, Self::FeeTooLow | Self::Underpriced | Self::NotEnoughCoins)
    }
}
