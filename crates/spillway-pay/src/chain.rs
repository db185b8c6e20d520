use std::time::Duration;

use async_trait::async_trait;
use spillway_types::{
    Atto, DrawSet, EvmAddress, PaymentId, RewardAddress, Seed, TxHash, UnixTime, Wei,
    limits::MAX_BEACON_LAG_EPOCHS,
};

use crate::{ChainError, VaultEvent};

/// Which state of the chain is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest block less this many: 0 is the newest.
    Depth(u16),
    /// The newest block that cannot be reorganised away any more.
    Finalized,
}

/// One block's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub number: u64,
    /// Its time.
    pub time: UnixTime,
}

/// What the vault says of a payment, and at which block it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAt {
    /// When the payment was recorded; `None`: it is not.
    pub recorded: Option<UnixTime>,
    /// The draws of a batch that are settled or refunded.
    pub settled: DrawSet,
    /// The block whose state was asked.
    pub block: Block,
}

/// What a transaction's gas costs now, per unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// The newest block's base fee.
    pub base: Wei,
    /// The tip that gets a transaction in.
    pub priority: Wei,
}

/// The times of a vault. The upload window of a payment is counted from the block that records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The shortest upload window.
    pub min: Duration,
    /// The longest upload window.
    pub max: Duration,
    /// How long after the upload window the draw is at least.
    pub draw_delay: Duration,
    /// How long after that draws can be settled; then what is left goes back to the payer.
    pub claim: Duration,
}

impl Windows {
    /// After this the seed of a batch becomes public.
    pub fn draw_time(&self, upload_by: UnixTime) -> UnixTime {
        upload_by.saturating_add(self.draw_delay)
    }

    /// Until then, inclusive, draws can be settled; after it they can be refunded.
    pub fn claim_end(&self, upload_by: UnixTime) -> UnixTime {
        self.draw_time(upload_by).saturating_add(self.claim)
    }
}

/// How far the beacon is that draws the winners of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeaconState {
    /// Where it is.
    pub beacon: EvmAddress,
    /// How long there is between two seeds.
    pub epoch: Duration,
    /// The time of the newest seed; at first that of its deployment.
    pub latest: UnixTime,
}

impl BeaconState {
    /// Whether batches may not be settled in time, at `now`.
    pub fn is_behind(&self, now: UnixTime) -> bool {
        now.since(self.latest) > self.epoch.saturating_mul(MAX_BEACON_LAG_EPOCHS)
    }
}

/// A mined transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxReceipt {
    /// Which.
    pub hash: TxHash,
    /// Whether it succeeded.
    pub success: bool,
    /// The block that it is in.
    pub block: u64,
    /// Gas that it used.
    pub gas_used: u64,
    /// What it paid for gas.
    pub gas_cost: Wei,
    /// What vaults did with draws, each with the contract that says so.
    pub events: Vec<(EvmAddress, VaultEvent)>,
}

/// A call without a transaction: whom, what, from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who calls.
    pub from: EvmAddress,
    /// What is called.
    pub to: EvmAddress,
    /// The call's data.
    pub data: Vec<u8>,
}

/// The chain seam: one EVM chain with one vault and its token. All that client and node know of a
/// chain they know through this.
///
/// # Cancel safety
/// Reads may be dropped. A `send_raw` that was dropped may have been accepted.
#[async_trait]
pub trait Chain: Send + Sync + std::fmt::Debug {
    /// The id that the chain itself names.
    async fn chain_id(&self) -> Result<u64, ChainError>;

    /// Whether there is a contract at this address.
    async fn has_code(&self, address: EvmAddress) -> Result<bool, ChainError>;

    /// The block at `at`.
    async fn block(&self, at: At) -> Result<Block, ChainError>;

    /// What gas costs now.
    async fn fees(&self) -> Result<Fees, ChainError>;

    /// How much gas a call would use if it were sent now.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with the vault's or token's reason when it would fail.
    async fn estimate_gas(&self, call: &Call) -> Result<u64, ChainError>;

    /// The account's next nonce, transactions that wait included.
    async fn pending_nonce(&self, account: EvmAddress) -> Result<u64, ChainError>;

    /// Coins of an account.
    async fn coins(&self, account: EvmAddress) -> Result<Wei, ChainError>;

    /// The token that the vault takes.
    async fn token(&self, vault: EvmAddress) -> Result<EvmAddress, ChainError>;

    /// The upload windows that the vault takes.
    async fn windows(&self, vault: EvmAddress) -> Result<Windows, ChainError>;

    /// How far the vault's beacon is.
    async fn beacon(&self, vault: EvmAddress) -> Result<BeaconState, ChainError>;

    /// The seed that draws the batches of this `upload_by`; `None` while it is not known.
    async fn seed(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<Option<Seed>, ChainError>;

    /// The seed that this proof would make known if it were posted now; `None`: the beacon does not
    /// take it, or asks for a further post, or the chain cannot say.
    async fn seed_of_proof(
        &self,
        _vault: EvmAddress,
        _upload_by: UnixTime,
        _proof: &[u8],
    ) -> Result<Option<Seed>, ChainError> {
        Ok(None)
    }

    /// The round of drand whose signature is the seed that draws the batches of this `upload_by`;
    /// `None`: the vault's beacon is none of drand.
    async fn drand_round(
        &self,
        _vault: EvmAddress,
        _upload_by: UnixTime,
    ) -> Result<Option<u64>, ChainError> {
        Ok(None)
    }

    /// Tokens of an account.
    async fn tokens(&self, token: EvmAddress, account: EvmAddress) -> Result<Atto, ChainError>;

    /// Tokens that `spender` may take from `owner`. More than 2^128 − 1 is reported as that.
    async fn allowance(
        &self,
        token: EvmAddress,
        owner: EvmAddress,
        spender: EvmAddress,
    ) -> Result<Atto, ChainError>;

    /// What the vault owes a payee.
    async fn credit(&self, vault: EvmAddress, payee: RewardAddress) -> Result<Atto, ChainError>;

    /// Whether the vault has taken a payment, seen from the block at `at`. At a block before the
    /// vault was there it has taken none; without a vault in the newest block that is an error.
    async fn record(
        &self,
        vault: EvmAddress,
        payment: PaymentId,
        at: At,
    ) -> Result<RecordAt, ChainError>;

    /// Sends signed bytes. "Already known" is success: the same bytes are the same transaction.
    ///
    /// # Errors
    /// An error never means that the transaction was not accepted, unless
    /// [`ChainError::not_sent`] says so.
    ///
    /// # Cost
    /// What the transaction says, once, however often the same bytes are sent.
    async fn send_raw(&self, raw: &[u8]) -> Result<TxHash, ChainError>;

    /// A mined transaction, or `None` while it is not.
    async fn receipt(&self, hash: TxHash) -> Result<Option<TxReceipt>, ChainError>;
}
