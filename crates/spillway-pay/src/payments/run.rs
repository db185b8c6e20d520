//! One call of `pay` or `withdraw`: everything that it knows, and the order of what it does.

mod drive;
mod sign;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{Atto, EvmAddress, PaymentId, RewardAddress, TxHash, UnixTime, Wei};

use super::{Caps, PayRequest, PaymentsOptions, estimate, goal::Goal};
use crate::{
    At, ChainError, PaidPlan, PayFailure, Plan, SignedTx, Spend, TxJournal, TxPurpose, TxReceipt,
    Wallet,
};

/// Questions to the RPC at a time.
const CONCURRENCY: usize = 8;

pub(super) struct Run<'a> {
    options: &'a PaymentsOptions,
    wallet: &'a Wallet,
    caps: Caps,
    confirmations: u16,
    token: EvmAddress,
    journal: &'a mut dyn TxJournal,
    /// All that the journal holds, oldest first.
    txs: Vec<SignedTx>,
    /// Of those, what is mined.
    receipts: BTreeMap<TxHash, TxReceipt>,
    /// What is recorded.
    paid: BTreeMap<PaymentId, PaidPlan>,
    /// The least nonce that is not known to be used.
    free_nonce: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        options: &'a PaymentsOptions,
        request: &PayRequest<'a>,
        token: EvmAddress,
        journal: &'a mut dyn TxJournal,
    ) -> Self {
        let wallet = request.wallet.address();
        Self {
            options,
            wallet: request.wallet,
            caps: request.caps,
            confirmations: request.confirmations,
            token,
            journal,
            txs: request.earlier.iter().filter(|tx| tx.from == wallet).cloned().collect(),
            receipts: BTreeMap::new(),
            paid: BTreeMap::new(),
            free_nonce: 0,
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
            gas_used: mined.iter().map(|(_, receipt)| receipt.gas_used).sum(),
            gas_cost: mined.iter().map(|(_, receipt)| receipt.gas_cost).sum(),
            tx_hashes: mined.iter().map(|(tx, _)| tx.hash).collect(),
        }
    }

    pub(super) async fn pay(&mut self, plans: &[Plan]) -> Result<Vec<PaidPlan>, PayFailure> {
        let mut known = BTreeSet::new();
        // A plan that is named twice is one.
        let plans: Vec<&Plan> = plans.iter().filter(|plan| known.insert(plan.id())).collect();
        self.look_back().await?;
        let mut open = Vec::new();
        for (plan, recorded) in self.records(&plans).await? {
            match recorded {
                Some(recorded) => self.note_paid(plan, recorded),
                None => open.push(plan),
            }
        }
        if !open.is_empty() {
            self.check(&plans, &open).await?;
        }
        if self.confirmations == 0 {
            // Their chunks can be stored while the others are paid.
            for plan in &plans {
                self.tell_paid(plan).await?;
            }
        }
        self.pay_open(open).await?;
        if self.confirmations > 0 {
            for plan in &plans {
                self.deepen(plan).await?;
                self.tell_paid(plan).await?;
            }
        }
        Ok(plans.iter().filter_map(|plan| self.paid.get(&plan.id()).copied()).collect())
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
                None => drop(self.receipts.remove(&hash)),
            }
        }
        Ok(())
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
    async fn check(&self, plans: &[&Plan], open: &[&Plan]) -> Result<(), PayFailure> {
        let chain = &self.options.chain;
        let now = chain.block(At::Depth(0)).await?.time.max(self.options.clock.now());
        if let Some(plan) = open.iter().find(|plan| plan.valid_until < now) {
            return Err(expired(plan, now));
        }
        let cost: Atto = plans.iter().map(|plan| plan.total()).sum();
        if let Some(cap) = self.caps.storage_cost.filter(|&cap| cost > cap) {
            return Err(PayFailure::OverCost { cost, cap });
        }
        let needed: Atto = open.iter().map(|plan| plan.total()).sum();
        let account = self.wallet.address();
        let found = chain.tokens(self.token, account).await?;
        if found < needed {
            return Err(PayFailure::NotEnoughTokens { needed, found });
        }
        let gas = estimate::estimate(&**chain, self.token, open, account).await?;
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

    /// Pays what is not recorded: first what is signed already and may be on its way, in the order
    /// in which it was signed, so that the allowance is then exact for the rest.
    async fn pay_open(&mut self, mut open: Vec<&Plan>) -> Result<(), PayFailure> {
        open.sort_by_key(|plan| {
            let purpose = TxPurpose::Pay { payment: plan.id() };
            self.unmined(purpose).map_or(u64::MAX, |tx| tx.nonce)
        });
        let mut rest = Vec::new();
        for plan in open {
            let purpose = TxPurpose::Pay { payment: plan.id() };
            if self.unmined(purpose).is_some() && self.allowance().await? >= plan.total() {
                self.pay_plan(plan).await?;
            } else {
                rest.push(plan);
            }
        }
        let amount: Atto = rest.iter().map(|plan| plan.total()).sum();
        // Never lowered: another session may count on what is there.
        if self.allowance().await? < amount {
            self.drive(Goal::Allowance {
                token: self.token,
                owner: self.wallet.address(),
                vault: self.options.domain.vault,
                amount,
            })
            .await?;
        }
        for plan in rest {
            self.pay_plan(plan).await?;
        }
        Ok(())
    }

    async fn pay_plan(&mut self, plan: &Plan) -> Result<(), PayFailure> {
        // What the drive returns for a plan is always the time of its record.
        if let Some(recorded) = self.drive(Goal::Recorded(plan)).await? {
            self.note_paid(plan, recorded);
        }
        if self.confirmations == 0 { self.tell_paid(plan).await } else { Ok(()) }
    }

    async fn tell_paid(&mut self, plan: &Plan) -> Result<(), PayFailure> {
        if let Some(paid) = self.paid.get(&plan.id()) {
            self.journal.paid(paid).await?;
        }
        Ok(())
    }

    fn note_paid(&mut self, plan: &Plan, recorded: UnixTime) {
        let payment = plan.id();
        let tx = self
            .txs
            .iter()
            .filter(|tx| tx.purpose == TxPurpose::Pay { payment })
            .map(|tx| tx.hash)
            .find(|hash| self.receipts.get(hash).is_some_and(|receipt| receipt.success));
        self.paid.insert(payment, PaidPlan { payment, recorded, total: plan.total(), tx });
    }

    fn note_mined(&mut self, receipt: TxReceipt) {
        if let Some(tx) = self.txs.iter().find(|tx| tx.hash == receipt.hash) {
            self.free_nonce = self.free_nonce.max(tx.nonce + 1);
        }
        self.receipts.insert(receipt.hash, receipt);
    }

    /// The newest transaction for this purpose that is not known to be mined; at one nonce the one
    /// with the highest fee.
    fn unmined(&self, purpose: TxPurpose) -> Option<&SignedTx> {
        self.txs
            .iter()
            .filter(|tx| tx.purpose == purpose && !self.receipts.contains_key(&tx.hash))
            .max_by_key(|tx| (tx.nonce, tx.max_fee))
    }

    async fn allowance(&self) -> Result<Atto, ChainError> {
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        chain.allowance(self.token, self.wallet.address(), vault).await
    }

    fn gas_spent(&self) -> Wei {
        self.receipts.values().map(|receipt| receipt.gas_cost).sum()
    }
}

/// The plan's deadline has passed.
fn expired(plan: &Plan, now: UnixTime) -> PayFailure {
    PayFailure::Expired { payment: plan.id(), valid_until: plan.valid_until, now }
}
