use spillway_client::{ChainError, PayError, PayFailure};

use super::{Code, Failure, chain_of};

/// What helps an account without money.
const FUND_IT: &str = "send it to the address of `spillway wallet address`";

impl From<&ChainError> for Failure {
    fn from(error: &ChainError) -> Self {
        let failure = |code| Self::new(code, chain_of(error));
        match error {
            ChainError::BadUrl { .. } => failure(Code::Usage).hint("check --rpc-url"),
            ChainError::Unreachable { .. } | ChainError::Timeout { .. } => failure(Code::TryAgain)
                .hint("check --rpc-url and the connection, or try again later"),
            ChainError::RateLimited => failure(Code::TryAgain).hint("try again later"),
            ChainError::NotEnoughCoins => failure(Code::NoFunds).hint(FUND_IT),
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
                .hint(FUND_IT)
                .detail("needed_atto", needed.to_string())
                .detail("found_atto", found.to_string()),
            PayFailure::NotEnoughCoins { needed, found } => failure(Code::NoFunds)
                .hint(FUND_IT)
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
