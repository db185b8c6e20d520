mod estimate;
mod goal;
mod refund;
mod run;
mod seed;
mod settle;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_disk::{Clock, Disk, DiskError, FileLock};
use spillway_types::{Atto, Domain, EvmAddress, PaymentId, RewardAddress, UnixTime, Wei};
use tokio::sync::OwnedMutexGuard;

use self::run::{Run, groups};
use crate::{
    At, Chain, ChainError, GasEstimate, Paid, PayError, PayFailure, Plan, PlanStatus, SignedTx,
    Spend, Stopped, TxJournal, Wallet, Windows, verify,
};

pub use self::{
    refund::{BatchState, ClaimState, OpenClaim, RefundRefused, Refunded},
    seed::{SeedNeeded, SeedPosted, SeedWanted},
    settle::{SettlePreview, SettleTerms, Settled, SkipReason, Skipped},
};

/// Questions to the RPC at a time.
const CONCURRENCY: usize = 8;

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
    /// After how long without being mined the same bytes are sent again.
    pub resend_after: Duration,
    /// After how long without being mined the same call is signed again with a higher fee.
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
            resend_after: Duration::from_secs(20),
            bump_after: Duration::from_secs(90),
            patience: Duration::from_mins(15),
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

/// How several batches are paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitChoice {
    /// As many with one transaction as it can hold,
    /// [`MAX_COMMITS`](spillway_types::limits::MAX_COMMITS): those that have the same payer and the
    /// same `valid_until`. All of them are recorded or none.
    #[default]
    Together,
    /// Each with a transaction of its own, in their order. A client prices, pays and stores one
    /// after the other then.
    OneByOne,
}

/// What is to be paid.
#[derive(Clone, Copy, Debug)]
pub struct PayRequest<'a> {
    /// The plans, all of one session: they are signed as they are, never planned anew. With one of
    /// several that a transaction of `earlier` pays for together, all of them belong here: else
    /// those that are here are signed once more, and one of the two transactions fails, for its gas.
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
    /// How several batches are paid. What is signed already is sent as it was signed.
    pub commit: CommitChoice,
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
    /// What the payee was owed, and got.
    pub amount: Atto,
    /// What it cost.
    pub spend: Spend,
}

/// Pays plans into one vault. Has no state of its own: the plans, the journal and the chain are all
/// that there is to know, so a crash anywhere is mended by calling [`Payments::pay`] again with the
/// same plans and what the journal holds.
#[derive(Clone, Debug)]
pub struct Payments {
    options: PaymentsOptions,
    turns: Turns,
}

/// Who may send of a wallet, among all that share these payments. As many as wallets were used.
type Turns = Arc<Mutex<BTreeMap<EvmAddress, Arc<tokio::sync::Mutex<()>>>>>;

/// The right to send of a wallet: the first of this process to ask, and the only process.
#[derive(Debug)]
struct WalletLock {
    // Before the turn: whoever is next finds the file free.
    _file: Box<dyn FileLock>,
    _turn: OwnedMutexGuard<()>,
}

impl Payments {
    /// Payments with these parts.
    pub fn new(options: PaymentsOptions) -> Self {
        Self { options, turns: Turns::default() }
    }

    /// Where is paid.
    pub fn domain(&self) -> &Domain {
        &self.options.domain
    }

    /// The chain.
    pub fn chain(&self) -> &Arc<dyn Chain> {
        &self.options.chain
    }

    /// The clock that is waited by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.options.clock
    }

    /// Checks that the chain is the one that we sign for, that the vault is there, and its token.
    ///
    /// # Errors
    /// What of it is not so. Nothing was spent.
    pub async fn check_domain(&self) -> Result<VaultTerms, PayError> {
        let PaymentsOptions { chain, domain, token, .. } = &self.options;
        let found = chain.chain_id().await?;
        if found != domain.chain_id {
            return Err(PayFailure::WrongChain { expected: domain.chain_id, found }.into());
        }
        let no_vault = PayFailure::NoVault { vault: domain.vault };
        if !chain.has_code(domain.vault).await? {
            return Err(no_vault.into());
        }
        let answers =
            futures::future::try_join(chain.token(domain.vault), chain.windows(domain.vault));
        let terms = match answers.await {
            Ok((token, windows)) => VaultTerms { token, windows },
            // A contract, but not one that has these functions.
            Err(ChainError::Reverted { .. } | ChainError::Unexpected { .. }) => {
                return Err(no_vault.into());
            }
            Err(error) => return Err(error.into()),
        };
        match *token {
            Some(expected) if expected != terms.token => {
                Err(PayFailure::WrongToken { expected, found: terms.token }.into())
            }
            _ => Ok(terms),
        }
    }

    /// What became of a plan.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn status(&self, plan: &Plan) -> Result<PlanStatus, PayError> {
        let chain = &self.options.chain;
        let (vault, payment) = (plan.domain.vault, plan.id());
        self.check_plan(plan)?;
        let newest = chain.record(vault, payment, At::Depth(0)).await?;
        if let Some(recorded) = newest.recorded {
            return Ok(PlanStatus::Paid { recorded });
        }
        let finalized = match chain.record(vault, payment, At::Finalized).await {
            // It knows of no final block yet, so nothing is over.
            Err(ChainError::Behind) => return Ok(PlanStatus::Open),
            other => other?,
        };
        Ok(match finalized.recorded {
            // The server that said no before was behind.
            Some(recorded) => PlanStatus::Paid { recorded },
            None if finalized.block.time > plan.valid_until => PlanStatus::Dropped,
            None => PlanStatus::Open,
        })
    }

    /// What paying these plans will cost in gas, those that are paid left out. An upper estimate.
    /// Nothing is signed: plans that may never be paid can be asked for, to compare them.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn estimate(
        &self,
        plans: &[Plan],
        payer: EvmAddress,
        commit: CommitChoice,
    ) -> Result<GasEstimate, PayError> {
        let token = self.options.chain.token(self.options.domain.vault).await?;
        let open = self.unrecorded(plans).await?;
        Ok(estimate::estimate(&*self.options.chain, token, &open, payer, commit).await?)
    }

    /// Pays the plans that are not paid yet, one transaction after the other: each direct plan with
    /// its own, batches as [`PayRequest::commit`] says.
    ///
    /// A plan that is recorded is paid. Otherwise the bytes that were signed for it before are sent
    /// again; when their nonce was used by something else, the same plan is signed again: it has
    /// the same id, and the vault takes an id once. Before anything is signed, all of it is
    /// checked: chain, vault, plans, caps, tokens and coins.
    ///
    /// A transaction that pays several batches fails as a whole when something else has paid one of
    /// them; the others are paid with another one then.
    ///
    /// Plans that are recorded are only looked up: without the wallet's lock, and whoever paid
    /// them. Plans whose deadline has passed are an error only after all others are paid.
    ///
    /// # Errors
    /// Each carries what was spent so far, and comes after [`TxJournal::paid`] was told of every
    /// plan that is recorded and deep enough, unless it is the journal that failed. Going on with
    /// the same plans and journal is always safe.
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
        for plan in request.plans {
            self.check_plan(plan)?;
        }
        let terms = self.check_domain().await?;
        let mut run = Run::new(self, &request, terms.token, journal);
        match Box::pin(run.pay()).await {
            Ok(plans) => Ok(Paid { plans, spend: run.spend() }),
            Err(failure) => Err(PayError { failure: Box::new(failure), spend: run.spend() }),
        }
    }

    /// Sends a payee what the vault owes it, all but the last unit. Anybody may; the caller pays
    /// the gas.
    ///
    /// # Errors
    /// As [`Payments::pay`].
    ///
    /// # Cost
    /// Gas; nothing when nothing is owed.
    pub async fn withdraw(
        &self,
        wallet: &Wallet,
        payee: RewardAddress,
        journal: &mut dyn TxJournal,
    ) -> Result<Withdrawn, PayError> {
        let _lock = lock(self, wallet.address()).await?;
        let terms = self.check_domain().await?;
        let owed = self.options.chain.credit(self.options.domain.vault, payee).await?;
        let amount = owed.saturating_sub(Atto(1));
        if amount == Atto::ZERO {
            return Ok(Withdrawn { amount, spend: Spend::default() });
        }
        let mut run = self.run(wallet, terms.token, journal);
        match Box::pin(run.withdraw(payee)).await {
            Ok(()) => Ok(Withdrawn { amount, spend: run.spend() }),
            Err(failure) => Err(PayError { failure: Box::new(failure), spend: run.spend() }),
        }
    }

    /// A run that pays no plans and goes on with nothing.
    fn run<'a>(
        &'a self,
        wallet: &'a Wallet,
        token: EvmAddress,
        journal: &'a mut dyn TxJournal,
    ) -> Run<'a> {
        let request = PayRequest {
            plans: &[],
            wallet,
            earlier: &[],
            caps: Caps::default(),
            confirmations: 0,
            commit: CommitChoice::default(),
        };
        Run::new(self, &request, token, journal)
    }

    fn check_plan(&self, plan: &Plan) -> Result<(), PayFailure> {
        let payment = plan.id();
        if plan.domain != self.options.domain {
            let (expected, found) = (Box::new(self.options.domain), Box::new(plan.domain));
            return Err(PayFailure::ForeignPlan { payment, expected, found });
        }
        verify::plan_is_sound(plan).map_err(|source| PayFailure::BadPlan { payment, source })
    }

    async fn unrecorded<'p>(&self, plans: &'p [Plan]) -> Result<Vec<&'p Plan>, ChainError> {
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        let ids: Vec<PaymentId> = plans.iter().map(Plan::id).collect();
        let recorded: Vec<bool> = stream::iter(ids)
            .map(|id| async move { Ok(chain.record(vault, id, At::Depth(0)).await?.recorded) })
            .buffered(CONCURRENCY)
            .map_ok(|recorded| recorded.is_some())
            .try_collect::<Vec<_>>()
            .await?;
        Ok(plans.iter().zip(recorded).filter(|(_, paid)| !paid).map(|(plan, _)| plan).collect())
    }

    /// The later of chain time and own clock.
    async fn now(&self) -> Result<UnixTime, ChainError> {
        let newest = self.options.chain.block(At::Depth(0)).await?;
        Ok(newest.time.max(self.options.clock.now()))
    }
}

/// The wallet's lock: one transaction of it is on its way at a time. Those of this process that share
/// payments wait for each other; another process is not waited for.
async fn lock(payments: &Payments, wallet: EvmAddress) -> Result<WalletLock, PayFailure> {
    let options = &payments.options;
    let turn = {
        let mut turns = payments.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(wallet).or_default())
    };
    let turn = turn.lock_owned().await;
    let path = PathBuf::from(format!("{}-{wallet}.lock", options.domain.chain_id));
    let locked = spillway_disk::run(&options.wallet_locks, move |disk| disk.lock(&path));
    match locked.await {
        Ok(file) => Ok(WalletLock { _file: file, _turn: turn }),
        Err(DiskError::Locked { .. }) => Err(PayFailure::Locked { wallet }),
        Err(error) => Err(PayFailure::Lock(error)),
    }
}
