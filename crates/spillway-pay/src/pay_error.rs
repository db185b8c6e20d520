use std::{error::Error, fmt, time::Duration};

use spillway_disk::DiskError;
use spillway_types::{Atto, Domain, EvmAddress, PaymentId, Retry, TxHash, UnixTime, Wei};

use crate::{ChainError, JournalError, Spend};

/// Why a payment did not come about, and what was spent nevertheless.
#[derive(Debug)]
pub struct PayError {
    /// Why.
    pub failure: Box<PayFailure>,
    /// What the plans have cost so far.
    pub spend: Spend,
}

/// Why something that is done step by step did not come to its end, and what it has done.
#[derive(Debug)]
pub struct Stopped<T> {
    /// What was done before.
    pub done: T,
    /// Why it stopped.
    pub error: PayError,
}

/// Why a payment did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayFailure {
    /// The chain could not be asked, or refused.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The RPC serves another chain than the one that we sign for.
    #[error("the RPC serves chain {found}, expected is chain {expected}")]
    WrongChain {
        /// The chain of the domain.
        expected: u64,
        /// The chain that the RPC names.
        found: u64,
    },
    /// There is no vault at the address.
    #[error("there is no vault at {vault}")]
    NoVault {
        /// Where it should be.
        vault: EvmAddress,
    },
    /// The vault takes another token than the one that was expected.
    #[error("the vault takes the token {found}, expected is {expected}")]
    WrongToken {
        /// What was expected.
        expected: EvmAddress,
        /// What the vault takes.
        found: EvmAddress,
    },
    /// A plan of another network, chain or vault.
    #[error(
        "the plan {payment} is for the vault {} on chain {} of the network {}, expected is {} on \
         chain {} of the network {}",
        found.vault, found.chain_id, found.network,
        expected.vault, expected.chain_id, expected.network
    )]
    ForeignPlan {
        /// Which.
        payment: PaymentId,
        /// Where is paid here.
        expected: Box<Domain>,
        /// What the plan is for.
        found: Box<Domain>,
    },
    /// A plan of another wallet: nothing is charged from this one.
    #[error("the plan {payment} is to be paid by {payer}, this wallet is {wallet}")]
    WrongWallet {
        /// Which plan.
        payment: PaymentId,
        /// Who pays it.
        payer: EvmAddress,
        /// Whose wallet it is.
        wallet: EvmAddress,
    },
    /// The vault would not take such a plan.
    #[error("the plan {payment} is not sound")]
    BadPlan {
        /// Which.
        payment: PaymentId,
        /// What is wrong with it.
        #[source]
        source: crate::ProofError,
    },
    /// The plan's deadline has passed and it is not recorded. It may be planned again once
    /// [`crate::PlanStatus::Dropped`] says so.
    #[error("the plan {payment} could be paid until {valid_until}, it is {now}")]
    Expired {
        /// Which.
        payment: PaymentId,
        /// Its deadline.
        valid_until: UnixTime,
        /// The later of chain time and own clock.
        now: UnixTime,
    },
    /// The wallet has too few tokens.
    #[error("{needed} of the token are needed, the wallet has {found}")]
    NotEnoughTokens {
        /// What the plans cost.
        needed: Atto,
        /// What it has.
        found: Atto,
    },
    /// The wallet has too few coins for gas.
    #[error("{needed} wei are needed for gas, the wallet has {found}")]
    NotEnoughCoins {
        /// What gas costs.
        needed: Wei,
        /// What it has.
        found: Wei,
    },
    /// Storage costs more than the cap.
    #[error("storage costs {cost}, the cap is {cap}")]
    OverCost {
        /// What all plans of the request cost, paid ones included.
        cost: Atto,
        /// The cap.
        cap: Atto,
    },
    /// Gas costs more than the cap.
    #[error("gas costs {cost} wei, the cap is {cap}")]
    OverGasCost {
        /// What was spent already and what is needed yet.
        cost: Wei,
        /// The cap.
        cap: Wei,
    },
    /// Another process sends transactions of this wallet now.
    #[error("another process pays with the wallet {wallet}")]
    Locked {
        /// Which wallet.
        wallet: EvmAddress,
    },
    /// The wallet's lock file cannot be used.
    #[error("the wallet's lock cannot be taken")]
    Lock(#[source] DiskError),
    /// The journal did not take it: nothing was sent.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The transaction was mined and failed.
    #[error("the transaction {tx} failed: {}", reason.as_deref().unwrap_or("no reason given"))]
    Failed {
        /// Which.
        tx: TxHash,
        /// What the contract says to the same call now.
        reason: Option<String>,
    },
    /// It was sent and is not mined in time. It may be later: go on with the same journal.
    #[error("the transaction {tx} was not mined within {} s", waited.as_secs())]
    NotMined {
        /// Which.
        tx: TxHash,
        /// How long was waited.
        waited: Duration,
    },
}

impl PayFailure {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Chain(error) => error.retry(),
            Self::Locked { .. } | Self::NotMined { .. } => Retry::Backoff,
            Self::Lock(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

impl PayError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        self.failure.retry()
    }
}

impl fmt::Display for PayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl Error for PayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failure.source()
    }
}

impl<T> Stopped<T> {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        self.error.retry()
    }
}

impl<T> fmt::Display for Stopped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T: fmt::Debug> Error for Stopped<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl<T> From<Stopped<T>> for PayError {
    fn from(stopped: Stopped<T>) -> Self {
        stopped.error
    }
}

impl<F: Into<PayFailure>> From<F> for PayError {
    fn from(failure: F) -> Self {
        Self { failure: Box::new(failure.into()), spend: Spend::default() }
    }
}
