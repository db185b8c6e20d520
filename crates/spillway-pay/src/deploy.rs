//! Contracts and money of test networks. Nothing here writes a journal: it is not for money that is
//! worth something.

use std::{sync::Arc, time::Duration};

use spillway_disk::Clock;
use spillway_types::{Atto, EvmAddress, TxHash, Wei};

use crate::{Chain, PayError, Wallet};

/// What is deployed.
#[derive(Clone, Copy, Debug)]
pub struct DeployOptions {
    /// The shortest upload window that the vault takes.
    pub min_window: Duration,
    /// The longest.
    pub max_window: Duration,
    /// All tokens that there will ever be; the deployer gets them.
    pub supply: Atto,
}

/// Where things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The token.
    pub token: EvmAddress,
    /// The vault.
    pub vault: EvmAddress,
}

/// Deploys and hands out.
#[derive(Debug)]
pub struct Deployer<'a> {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who pays, and gets the tokens.
    pub wallet: &'a Wallet,
}

impl Deployer<'_> {
    /// Deploys the token and a vault for it.
    ///
    /// # Errors
    /// When the chain refuses or cannot be asked.
    pub async fn deploy(&self, options: DeployOptions) -> Result<Deployed, PayError> {
        unimplemented!("{options:?}")
    }

    /// Sends tokens.
    ///
    /// # Errors
    /// When the chain refuses or cannot be asked.
    pub async fn send_tokens(
        &self,
        token: EvmAddress,
        to: EvmAddress,
        amount: Atto,
    ) -> Result<TxHash, PayError> {
        unimplemented!("{token}{to}{amount}")
    }

    /// Sends coins.
    ///
    /// # Errors
    /// When the chain refuses or cannot be asked.
    pub async fn send_coins(&self, to: EvmAddress, amount: Wei) -> Result<TxHash, PayError> {
        unimplemented!("{to}{amount}")
    }
}
