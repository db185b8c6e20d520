use spillway_client::{AccountError, ChainError, PayError, PayFailure, RefundReport};

use super::{Code, Failure, chain_of, upload::texts};
use crate::advice;

/// What helps an account without money.
fn fund_it() -> String {
    format!("send it to the address of `{}`", advice::wallet_address())
}

impl From<&ChainError> for Failure {
    fn from(error: &ChainError) -> Self {
        let failure = |code| Self::new(code, chain_of(error));
        match error {
            ChainError::BadUrl { .. } => failure(Code::Usage).hint("check --rpc-url"),
            ChainError::Unreachable { .. } | ChainError::Timeout { .. } => failure(Code::TryAgain)
                .hint("check --rpc-url and the connection, or try again later"),
            ChainError::RateLimited | ChainError::Behind => {
                failure(Code::TryAgain).hint("try again later")
            }
            ChainError::NotEnoughCoins => failure(Code::NoFunds).hint(fund_it()),
            ChainError::Unexpected { .. } => {
                failure(Code::Failure).hint("check that --rpc-url is the RPC of an EVM chain")
            }
            _ => failure(Code::Failure),
        }
    }
}

impl From<PayError> for Failure {
    fn from(error: PayError) -> Self {
        Self::from(&error)
    }
}

impl From<&PayError> for Failure {
    fn from(error: &PayError) -> Self {
        let failure = |code| Self::new(code, chain_of(error));
        match error.failure.as_ref() {
            PayFailure::Chain(error) => Self::from(error),
            PayFailure::Lock(error) => Self::from(error),
            PayFailure::WrongChain { expected, found } => failure(Code::Failure)
                .hint("nothing was spent; check --rpc-url and --chain-id")
                .detail("expected_chain_id", *expected)
                .detail("found_chain_id", *found),
            PayFailure::NoVault { .. } | PayFailure::WrongToken { .. } => {
                failure(Code::Failure).hint("nothing was spent; check --vault and --rpc-url")
            }
            PayFailure::NotEnoughTokens { needed, found } => failure(Code::NoFunds)
                .hint(fund_it())
                .detail("needed_atto", needed.to_string())
                .detail("found_atto", found.to_string()),
            PayFailure::NotEnoughCoins { needed, found } => failure(Code::NoFunds)
                .hint(fund_it())
                .detail("needed_wei", needed.to_string())
                .detail("found_wei", found.to_string()),
            PayFailure::OverCost { cost, cap } => failure(Code::OverCap)
                .hint("raise --max-cost to go on; what is paid stays paid")
                .detail("storage_cost_atto", cost.to_string())
                .detail("max_cost_atto", cap.to_string()),
            PayFailure::OverGasCost { cost, cap } => failure(Code::OverCap)
                .hint("raise --max-gas-cost or wait for lower fees; what is paid stays paid")
                .detail("gas_cost_wei", cost.to_string())
                .detail("max_gas_cost_wei", cap.to_string()),
            PayFailure::Locked { .. } => failure(Code::Locked).hint("wait until it has ended"),
            PayFailure::NotMined { .. } => failure(Code::TryAgain)
                .hint("run the same command again: it goes on with the same payment"),
            PayFailure::WrongWallet { payer, .. } => failure(Code::Failure)
                .hint(format!("go on with the key of {payer}: this upload began with it")),
            _ => failure(Code::Failure),
        }
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Disk(error) => Self::from(&error),
            AccountError::Chain(error) => Self::from(&error),
            AccountError::Payment(error) => Self::from(error.as_ref()).gas(&error),
            AccountError::Session(error) => Self::from(*error),
            other => Self::new(Code::Failure, chain_of(&other)),
        }
    }
}

impl Failure {
    /// What the transactions have cost before one failed.
    fn gas(self, error: &PayError) -> Self {
        let spend = &error.spend;
        if spend.tx_hashes.is_empty() {
            return self;
        }
        self.detail("gas_used", spend.gas_used)
            .detail("gas_cost_wei", spend.gas_cost.to_string())
            .detail("tx_hashes", texts(&spend.tx_hashes))
    }

    /// What came back before a refund failed.
    pub(crate) fn after_refunds(self, report: &RefundReport) -> Self {
        if report.refunded.is_empty() {
            return self;
        }
        let payments: Vec<_> = report.refunded.iter().map(|batch| batch.payment).collect();
        self.detail("refunded", texts(&payments))
            .detail("refunded_atto", report.amount().to_string())
    }
}
