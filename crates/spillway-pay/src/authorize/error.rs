use spillway_types::{EvmAddress, PaymentId, Retry, limits::MAX_COMMITS};

use crate::{ChainError, ProofError};

/// Why something cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizeError {
    /// The token could not be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The token's signatures are for another chain or contract.
    #[error(
        "the token {token} takes signatures for {found} on chain {found_chain}, expected is chain \
         {chain_id}"
    )]
    ForeignDomain {
        /// The token that was asked.
        token: EvmAddress,
        /// The chain that was asked.
        chain_id: u64,
        /// The contract that it names.
        found: EvmAddress,
        /// The chain that it names; the largest number for anything larger.
        found_chain: u64,
    },
    /// The token's domain has parts that this version cannot sign for.
    #[error("the token's EIP-712 domain has unknown parts")]
    UnknownDomain,
    /// The token's `DOMAIN_SEPARATOR` is that of another domain than its name and version make.
    #[error("the token {token} takes signatures of another domain than it names")]
    OtherSeparator {
        /// The token that was asked.
        token: EvmAddress,
    },
    /// No plan, or more than one transaction commits.
    #[error("{found} plans, one signature pays for 1 to {MAX_COMMITS}")]
    PlanCount {
        /// How many there are.
        found: usize,
    },
    /// A direct payment: only batches are paid like this.
    #[error("the plan {payment} is no batch")]
    NotABatch {
        /// Which.
        payment: PaymentId,
    },
    /// The plans have different payers, deadlines, chains or vaults.
    #[error("the plan {payment} cannot be paid together with the first")]
    Mixed {
        /// The first that differs.
        payment: PaymentId,
    },
    /// The plan pays on another chain than the token is on.
    #[error("the plan {payment} pays on chain {found}, the token is on chain {expected}")]
    ForeignPlan {
        /// Which.
        payment: PaymentId,
        /// The token's chain.
        expected: u64,
        /// The plan's.
        found: u64,
    },
    /// The vault would not take such a plan.
    #[error("the plan {payment} is not sound")]
    BadPlan {
        /// Which.
        payment: PaymentId,
        /// What is wrong with it.
        #[source]
        source: ProofError,
    },
    /// The payer is another wallet.
    #[error("{payer} must sign, this wallet is {wallet}")]
    WrongWallet {
        /// Who must sign.
        payer: EvmAddress,
        /// Whose wallet it is.
        wallet: EvmAddress,
    },
}

impl AuthorizeError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Chain(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}
