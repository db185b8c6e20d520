use spillway_testnet::{AnvilError, TestnetError};

use super::{Code, Failure, chain_of};

impl From<AnvilError> for Failure {
    fn from(error: AnvilError) -> Self {
        Self::from(&error)
    }
}

impl From<&AnvilError> for Failure {
    fn from(error: &AnvilError) -> Self {
        let code = match error {
            AnvilError::NotFound { .. } => Code::NotFound,
            _ => Code::Failure,
        };
        Self::new(code, chain_of(error)).hint(
            "set SPILLWAY_ANVIL or --anvil to it, or put it in PATH, or install it in \
             tools/node_modules here or above with `cargo xtask setup` or \
             `npm install --prefix tools @foundry-rs/anvil`",
        )
    }
}

impl From<TestnetError> for Failure {
    fn from(error: TestnetError) -> Self {
        // A program that ends without a word leaves a colon with nothing behind it.
        let said = chain_of(&error);
        Self::new(Code::Failure, said.trim_end_matches([':', ' ']))
    }
}
