//! One call of `pay`, `withdraw`, `settle` and so on: everything that it knows, and the order of
//! what it does.

mod deepen;
mod drive;
mod gap;
mod groups;
mod sign;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{Atto, EvmAddress, PaymentId, RewardAddress, TxHash, UnixTime, Wei};

pub(super) use self::groups::groups;
use super::{
    CONCURRENCY, Caps, CommitChoice, PayRequest, Payments, PaymentsOptions, WalletLock, estimate,
    goal::Goal, lock,
};
use crate::{
    At, ChainError, PaidPlan, PayFailure, Plan, SignedTx, Spend, TxJournal, TxPurpose, TxReceipt,
    Wallet,
};

pub(super) struct Run<'a> {
    payments: &'a Payments,
    pub(super) options: &'a PaymentsOptions,
    pub(super) wallet: &'a Wallet,
    /// All plans that are asked for.
    plans: &'a [Plan],
    /// The most that may be spent; set anew for each part of a settlement.
    pub(super) caps: Caps,
    commit: CommitChoice,
    confirmations: u16,
    pub(super) token: EvmAddress,
    journal: &'a mut dyn TxJournal,
    /// All that the journal holds, oldest first.
    txs: Vec<SignedTx>,
    /// Of those, what is mined.
    receipts: BTreeMap<TxHash, TxReceipt>,
    /// What is recorded.
    paid: BTreeMap<PaymentId, PaidPlan>,
    /// What is recorded and not told of yet, in the order in which it was recorded.
    untold: VecDeque<&'a Plan>,
    /// All nonces below are used, some by something else.
    used_nonce: u64,
    /// Whether something that was mined was not any more.
    vanished: bool,
    /// The wallet's, once something may have to be sent.
    lock: Option<WalletLock>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        payments: &'a Payments,
        request: &PayRequest<'a>,
        token: EvmAddress,
        journal: &'a mut dyn TxJournal,
    ) -> Self {
        let wallet = request.wallet.address();
        Self {
            payments,
            options: &payments.options,
            wallet: request.wallet,
            plans: request.plans,
            caps: request.caps,
            commit: request.commit,
            confirmations: request.confirmations,
            token,
            journal,
            txs: request.earlier.iter().filter(|tx| tx.from == wallet).cloned().collect(),
            receipts: BTreeMap::new(),
            paid: BTreeMap::new(),
            untold: VecDeque::new(),
            used_nonce: 0,
            vanished: false,
            lock: None,
        }
    }

    /// What all known transactions and recorded plans have cost.
    pub(super) fn spend(&self) -> Spend {
        let mut mined: Vec<(&SignedTx, &TxReceipt)> = self
            .txs
            .iter()
            .filter_map(|tx| self.receipts.get(&tx.hash).map(|receipt| (tx, receipt)))
            .collect();
        mined.sort_by_key(|(tx, _)| tx.nonce);
        Spend {
            paid: self.paid.values().map(|plan| plan.total).sum(),
            payments: self.paid.keys().copied().collect(),
            gas_used: mined.iter().map(|(_, receipt)| receipt.gas_used).sum(),
            gas_cost: mined.iter().map(|(_, receipt)| receipt.gas_cost).sum(),
            tx_hashes: mined.iter().map(|(tx, _)| tx.hash).collect(),
        }
    }

    pub(super) async fn pay(&mut self) -> Result<Vec<PaidPlan>, PayFailure> {
        let mut known = BTreeSet::new();
        // A plan that is named twice is one.
        let plans: Vec<&'a Plan> =
            self.plans.iter().filter(|plan| known.insert(plan.id())).collect();
        self.look_back().await?;
        let open = self.note_recorded(&plans).await?;
        // Their chunks can be stored while the others are paid.
        self.tell_deep().await?;
        let failure = if open.is_empty() { None } else { self.pay_rest(open).await.err() };
        let finished = self.finish(failure).await;
        if self.vanished {
            // Mined again, perhaps elsewhere; what it cost is not worth an error.
            let _ = self.look_back().await;
        }
        finished?;
        Ok(plans.iter().filter_map(|plan| self.paid.get(&plan.id()).copied()).collect())
    }

    /// Pays what can be paid of these, and only then complains of those that are too late.
    async fn pay_rest(&mut self, open: Vec<&'a Plan>) -> Result<(), PayFailure> {
        for plan in &open {
            self.check_payer(plan)?;
        }
        self.hold_lock().await?;
        // Whoever held the lock until now may have paid some.
        let open = self.note_recorded(&open).await?;
        let now = self.options.chain.block(At::Depth(0)).await?.time;
        let now = now.max(self.options.clock.now());
        let (late, live): (Vec<&Plan>, Vec<&Plan>) =
            open.into_iter().partition(|plan| plan.valid_until < now);
        let missed = if live.is_empty() {
            None
        } else {
            self.check(&live).await?;
            self.pay_open(live).await?
        };
        let late = self.note_recorded(&late).await?;
        let late = late.first().map(|plan| expired(plan, now));
        missed.or(late).map_or(Ok(()), Err)
    }

    pub(super) async fn withdraw(&mut self, payee: RewardAddress) -> Result<(), PayFailure> {
        let (vault, sender) = (self.options.domain.vault, self.wallet.address());
        self.drive(Goal::Withdrawn { vault, sender, payee }).await.map(drop)
    }

    /// What became of all transactions that we know.
    async fn look_back(&mut self) -> Result<(), ChainError> {
        let chain = &self.options.chain;
        let hashes: Vec<TxHash> = self.txs.iter().map(|tx| tx.hash).collect();
        let found: Vec<(TxHash, Option<TxReceipt>)> = stream::iter(hashes)
            .map(|hash| async move { Ok::<_, ChainError>((hash, chain.receipt(hash).await?)) })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        for (hash, receipt) in found {
            match receipt {
                Some(receipt) => self.note_mined(receipt),
                None => self.forget(hash),
            }
        }
        Ok(())
    }

    /// Notes which of the plans are recorded; returns the others.
    async fn note_recorded(&mut self, plans: &[&'a Plan]) -> Result<Vec<&'a Plan>, ChainError> {
        let mut open = Vec::new();
        for (plan, recorded) in self.records(plans).await? {
            match recorded {
                Some(recorded) => self.note_untold(plan, recorded),
                None => open.push(plan),
            }
        }
        Ok(open)
    }

    /// The plans with their records in the newest block.
    async fn records<'p>(
        &self,
        plans: &[&'p Plan],
    ) -> Result<Vec<(&'p Plan, Option<UnixTime>)>, ChainError> {
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        // Ids and not references: a closure over references makes a future that cannot move to
        // another thread.
        let ids: Vec<PaymentId> = plans.iter().map(|plan| plan.id()).collect();
        let recorded: Vec<Option<UnixTime>> = stream::iter(ids)
            .map(|id| async move { Ok(chain.record(vault, id, At::Depth(0)).await?.recorded) })
            .buffered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(plans.iter().copied().zip(recorded).collect())
    }

    /// Everything that can be wrong is found before anything is signed.
    async fn check(&self, open: &[&Plan]) -> Result<(), PayFailure> {
        let chain = &self.options.chain;
        let paid = self.paid.values().map(|plan| plan.total);
        let cost: Atto = paid.chain(open.iter().map(|plan| plan.total())).sum();
        if let Some(cap) = self.caps.storage_cost.filter(|&cap| cost > cap) {
            return Err(PayFailure::OverCost { cost, cap });
        }
        let needed: Atto = open.iter().map(|plan| plan.total()).sum();
        let account = self.wallet.address();
        let found = chain.tokens(self.token, account).await?;
        if found < needed {
            return Err(PayFailure::NotEnoughTokens { needed, found });
        }
        let gas = estimate::estimate(&**chain, self.token, open, account, self.commit).await?;
        let cost = self.gas_spent().saturating_add(gas.cost);
        if let Some(cap) = self.caps.gas_cost.filter(|&cap| cost > cap) {
            return Err(PayFailure::OverGasCost { cost, cap });
        }
        let found = chain.coins(account).await?;
        if found < gas.cost {
            return Err(PayFailure::NotEnoughCoins { needed: gas.cost, found });
        }
        Ok(())
    }

    fn check_payer(&self, plan: &Plan) -> Result<(), PayFailure> {
        let (payment, payer, wallet) = (plan.id(), plan.payer, self.wallet.address());
        if payer == wallet {
            return Ok(());
        }
        Err(PayFailure::WrongWallet { payment, payer, wallet })
    }

    /// From here on until the run ends, nobody else sends anything of this wallet.
    async fn hold_lock(&mut self) -> Result<(), PayFailure> {
        if self.lock.is_none() {
            self.lock = Some(lock(self.payments, self.wallet.address()).await?);
        }
        Ok(())
    }

    /// A plan is recorded, and nobody knows it yet.
    fn note_untold(&mut self, plan: &'a Plan, recorded: UnixTime) {
        self.note_paid(plan, recorded);
        self.untold.push_back(plan);
    }

    fn note_paid(&mut self, plan: &Plan, recorded: UnixTime) {
        let payment = plan.id();
        let tx = self
            .txs
            .iter()
            .filter(|tx| tx.purpose.pays(payment))
            .map(|tx| tx.hash)
            .find(|hash| self.receipts.get(hash).is_some_and(|receipt| receipt.success));
        self.paid.insert(payment, PaidPlan { payment, recorded, total: plan.total(), tx });
    }

    fn note_mined(&mut self, receipt: TxReceipt) {
        self.receipts.insert(receipt.hash, receipt);
    }

    /// The least nonce that is not known to be used.
    fn free_nonce(&self) -> u64 {
        let mined = self.txs.iter().filter(|tx| self.receipts.contains_key(&tx.hash));
        mined.map(|tx| tx.nonce + 1).fold(self.used_nonce, u64::max)
    }

    /// The receipts of the transactions that were signed from this one on and are mined.
    pub(super) fn mined_since(&self, first: usize) -> impl Iterator<Item = &TxReceipt> {
        self.txs.iter().skip(first).filter_map(|tx| self.receipts.get(&tx.hash))
    }

    /// The newest block that a known transaction is in; 0 without one.
    pub(super) fn newest_receipt(&self) -> u64 {
        self.receipts.values().map(|receipt| receipt.block).max().unwrap_or(0)
    }

    /// How many transactions are known.
    pub(super) fn known(&self) -> usize {
        self.txs.len()
    }

    /// The newest transaction for this purpose that is not known to be mined; at one nonce the one
    /// with the highest fee.
    fn unmined(&self, purpose: &TxPurpose) -> Option<&SignedTx> {
        self.txs
            .iter()
            .filter(|tx| tx.purpose == *purpose && !self.receipts.contains_key(&tx.hash))
            .max_by_key(|tx| (tx.nonce, tx.max_fee))
    }

    async fn allowance(&self) -> Result<Atto, ChainError> {
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        chain.allowance(self.token, self.wallet.address(), vault).await
    }

    /// What all mined transactions that are known have cost in gas.
    pub(super) fn gas_spent(&self) -> Wei {
        self.receipts.values().map(|receipt| receipt.gas_cost).sum()
    }
}

/// The plan's deadline has passed.
fn expired(plan: &Plan, now: UnixTime) -> PayFailure {
    PayFailure::Expired { payment: plan.id(), valid_until: plan.valid_until, now }
}
