use std::{sync::Arc, time::Duration};

use spillway_disk::{Clock, Disk};
use spillway_types::{Atto, Domain, EvmAddress, RewardAddress, Wei};

use crate::{
    Chain, GasEstimate, Paid, PayError, Plan, PlanStatus, SignedTx, Spend, TxJournal, Wallet,
    Windows,
};

/// What [`Payments`] works with.
#[derive(Clone, Debug)]
pub struct PaymentsOptions {
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// Which network, chain and vault is paid for.
    pub domain: Domain,
    /// The token that the vault must take; `None`: whichever it takes.
    pub token: Option<EvmAddress>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The directory of the wallets' lock files, the same for every process of this user.
    pub wallet_locks: Arc<dyn Disk>,
    /// Waiting times.
    pub timing: PayTiming,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayTiming {
    /// Pause before the second look at a transaction; doubled from look to look.
    pub first_poll: Duration,
    /// The longest pause.
    pub longest_poll: Duration,
    /// After how long without being mined the same plan is signed again with a higher fee.
    pub bump_after: Duration,
    /// How long one transaction is waited for in all.
    pub patience: Duration,
    /// How long the RPC may fail in a row while a transaction is waited for.
    pub outage: Duration,
}

impl Default for PayTiming {
    fn default() -> Self {
        Self {
            first_poll: Duration::from_millis(10),
            longest_poll: Duration::from_secs(1),
            bump_after: Duration::from_secs(90),
            patience: Duration::from_secs(15 * 60),
            outage: Duration::from_secs(30),
        }
    }
}

/// The most that may be spent, for all plans of a request, what was spent before included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Storage.
    pub storage_cost: Option<Atto>,
    /// Gas.
    pub gas_cost: Option<Wei>,
}

/// What is to be paid.
#[derive(Clone, Copy, Debug)]
pub struct PayRequest<'a> {
    /// The plans, all of one session: they are signed as they are, never planned anew.
    pub plans: &'a [Plan],
    /// Who pays.
    pub wallet: &'a Wallet,
    /// Everything that the session's journal holds, oldest first.
    pub earlier: &'a [SignedTx],
    /// The most that may be spent.
    pub caps: Caps,
    /// How deep a payment must be before it counts; 0: in the newest block. The largest that the
    /// quotes ask for.
    pub confirmations: u16,
}

/// What the vault is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultTerms {
    /// The token that it takes.
    pub token: EvmAddress,
    /// The upload windows that it takes.
    pub windows: Windows,
}

/// What a withdrawal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// What the payee got.
    pub amount: Atto,
    /// What it cost.
    pub spend: Spend,
}

/// Pays plans into one vault.
#[derive(Clone, Debug)]
pub struct Payments {
    options: PaymentsOptions,
}

impl Payments {
    /// Payments with these parts.
    pub fn new(options: PaymentsOptions) -> Self {
        Self { options }
    }

    /// Where is paid.
    pub fn domain(&self) -> &Domain {
        &self.options.domain
    }

    /// The chain.
    pub fn chain(&self) -> &Arc<dyn Chain> {
        &self.options.chain
    }

    /// Checks that the chain is the one that we sign for, that the vault is there, and its token.
    ///
    /// # Errors
    /// What of it is not so. Nothing was spent.
    pub async fn check_domain(&self) -> Result<VaultTerms, PayError> {
        unimplemented!()
    }

    /// What became of a plan.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn status(&self, plan: &Plan) -> Result<PlanStatus, PayError> {
        unimplemented!("{plan:?}")
    }

    /// What paying these plans will cost in gas, those that are paid left out. An upper estimate.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn estimate(
        &self,
        plans: &[Plan],
        payer: EvmAddress,
    ) -> Result<GasEstimate, PayError> {
        unimplemented!("{plans:?}{payer}")
    }

    /// Pays the plans that are not paid yet.
    ///
    /// # Errors
    /// Each carries what was spent so far. Going on with the same plans and journal is always safe.
    ///
    /// # Cancel safety
    /// Dropping it is like a crash: whatever was signed is in the journal.
    ///
    /// # Cost
    /// The totals of the plans, each once whatever happens, and gas within the caps.
    pub async fn pay(
        &self,
        request: PayRequest<'_>,
        journal: &mut dyn TxJournal,
    ) -> Result<Paid, PayError> {
        let _ = journal;
        unimplemented!("{request:?}")
    }

    /// Sends a payee what the vault owes it. Anybody may; the caller pays the gas.
    ///
    /// # Errors
    /// As [`Payments::pay`].
    ///
    /// # Cost
    /// Gas.
    pub async fn withdraw(
        &self,
        wallet: &Wallet,
        payee: RewardAddress,
        journal: &mut dyn TxJournal,
    ) -> Result<Withdrawn, PayError> {
        let _ = journal;
        unimplemented!("{wallet:?}{payee}")
    }
}
