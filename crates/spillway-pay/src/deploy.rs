//! Contracts and money of test networks. Nothing here writes a journal: it is not for money that is
//! worth something.

use std::{sync::Arc, time::Duration};

use alloy::{
    consensus::TxEip1559,
    primitives::{TxKind, U256},
};
use spillway_disk::Clock;
use spillway_types::{Atto, EvmAddress, TxHash, UnixTime, Wei};

use crate::{
    Call, Chain, PayError, PayFailure, TxReceipt, Wallet, Windows, artifacts, calls,
    contracts::address,
};

/// Gas of the deployments and of sending coins: well above what they use, and below the limit of
/// a transaction (EIP-7825).
const DEPLOY_GAS: u64 = 6_000_000;
const COINS_GAS: u64 = 21_000;

/// Pause between looks at a transaction, and how long is looked.
const POLL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(1);

/// What is deployed.
#[derive(Clone, Copy, Debug)]
pub struct DeployOptions {
    /// The upload windows that the vault takes, in whole seconds.
    pub windows: Windows,
    /// How long there is between two seeds of the beacon, in whole seconds.
    pub epoch: Duration,
    /// All tokens that there will ever be; the deployer gets them.
    pub supply: Atto,
}

/// A drand network, as its beacon contract knows it. The epoch is that of [`DeployOptions`].
#[derive(Clone, Debug)]
pub struct DrandOptions {
    /// When round 1 was made.
    pub genesis: UnixTime,
    /// How long there is between two rounds, in whole seconds, not 0.
    pub period: Duration,
    /// The negative of the group's key: a point of G2, 256 bytes in the encoding of EIP-2537.
    pub negated_key: Vec<u8>,
}

/// Where things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The token.
    pub token: EvmAddress,
    /// The beacon: one of block hashes wants a keeper.
    pub beacon: EvmAddress,
    /// The vault.
    pub vault: EvmAddress,
}

/// Deploys and hands out.
#[derive(Clone, Debug)]
pub struct Deployer<'a> {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who pays, and gets the tokens.
    pub wallet: &'a Wallet,
}

impl Deployer<'_> {
    /// Deploys the token, a beacon of block hashes, and a vault for both.
    ///
    /// # Errors
    /// When the chain refuses or cannot be asked.
    ///
    /// # Cost
    /// Gas of three transactions.
    pub async fn deploy(&self, options: DeployOptions) -> Result<Deployed, PayError> {
        self.deploy_all(options, artifacts::beacon_creation(options.epoch)).await
    }

    /// As [`Deployer::deploy`], with a beacon that takes drand's signatures. It needs a chain with
    /// the precompiles of EIP-2537 and no keeper: whoever wants a seed posts its signature.
    ///
    /// # Errors
    /// When the chain refuses, because of the key's length or the period too, or cannot be asked.
    ///
    /// # Cost
    /// Gas of three transactions.
    pub async fn deploy_with_drand(
        &self,
        options: DeployOptions,
        drand: &DrandOptions,
    ) -> Result<Deployed, PayError> {
        self.deploy_all(options, artifacts::drand_creation(drand, options.epoch)).await
    }

    async fn deploy_all(
        &self,
        options: DeployOptions,
        beacon: Vec<u8>,
    ) -> Result<Deployed, PayError> {
        let token = self.create(artifacts::token_creation(options.supply)).await?;
        let beacon = self.create(beacon).await?;
        let vault = artifacts::vault_creation(token, beacon, options.windows);
        let vault = self.create(vault).await?;
        Ok(Deployed { token, beacon, vault })
    }

    /// Sends a call, for example one that pays with somebody else's signature, and waits until it is
    /// mined.
    ///
    /// # Errors
    /// When the chain refuses or cannot be asked; `call.from` must be the wallet.
    ///
    /// # Cost
    /// What the call says, and gas.
    pub async fn send_call(&self, call: Call) -> Result<TxReceipt, PayError> {
        let gas = self.chain.estimate_gas(&call).await?;
        self.send(to_call(call.to), call.data, Wei::ZERO, gas + gas / 5).await
    }

    /// Sends tokens.
    ///
    /// # Errors
    /// When the chain refuses or cannot be asked.
    ///
    /// # Cost
    /// The tokens, and gas.
    pub async fn send_tokens(
        &self,
        token: EvmAddress,
        to: EvmAddress,
        amount: Atto,
    ) -> Result<TxHash, PayError> {
        let call: Call = calls::transfer(token, self.wallet.address(), to, amount);
        Ok(self.send_call(call).await?.hash)
    }

    /// Sends coins.
    ///
    /// # Errors
    /// When the chain refuses or cannot be asked.
    ///
    /// # Cost
    /// The coins, and gas.
    pub async fn send_coins(&self, to: EvmAddress, amount: Wei) -> Result<TxHash, PayError> {
        Ok(self.send(to_call(to), Vec::new(), amount, COINS_GAS).await?.hash)
    }

    async fn create(&self, code: Vec<u8>) -> Result<EvmAddress, PayError> {
        let nonce = self.chain.pending_nonce(self.wallet.address()).await?;
        self.send(TxKind::Create, code, Wei::ZERO, DEPLOY_GAS).await?;
        Ok(EvmAddress(address(self.wallet.address()).create(nonce).into_array()))
    }

    async fn send(
        &self,
        to: TxKind,
        data: Vec<u8>,
        value: Wei,
        gas_limit: u64,
    ) -> Result<TxReceipt, PayError> {
        let fees = self.chain.fees().await?;
        let (hash, raw) = self.wallet.sign(TxEip1559 {
            chain_id: self.chain.chain_id().await?,
            nonce: self.chain.pending_nonce(self.wallet.address()).await?,
            gas_limit,
            max_fee_per_gas: fees.base.saturating_mul(2).saturating_add(fees.priority).0,
            max_priority_fee_per_gas: fees.priority.0,
            to,
            value: U256::from(value.0),
            access_list: alloy::eips::eip2930::AccessList::default(),
            input: data.into(),
        });
        self.chain.send_raw(&raw).await?;
        let started = self.clock.monotonic();
        loop {
            match self.chain.receipt(hash).await? {
                Some(receipt) if receipt.success => return Ok(receipt),
                Some(_) => return Err(PayFailure::Failed { tx: hash, reason: None }.into()),
                None => {}
            }
            let waited = self.clock.monotonic().saturating_sub(started);
            if waited > PATIENCE {
                return Err(PayFailure::NotMined { tx: hash, waited }.into());
            }
            self.clock.sleep(POLL).await;
        }
    }
}

fn to_call(to: EvmAddress) -> TxKind {
    TxKind::Call(address(to))
}
