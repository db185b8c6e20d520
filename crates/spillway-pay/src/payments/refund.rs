//! What nobody claimed goes back to the payer.

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{Atto, BatchTerms, DrawSet, PaymentId, Seed, UnixTime};

use super::{CONCURRENCY, Payments, Stopped, goal::Goal, lock};
use crate::{At, ChainError, PayError, PayFailure, RecordAt, Spend, TxJournal, Wallet};

/// How it stands with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchState {
    /// When the vault recorded it; `None`: it did not.
    pub recorded: Option<UnixTime>,
    /// The draws that are settled or refunded.
    pub settled: DrawSet,
    /// What draws its winners; `None` while it is not known.
    pub seed: Option<Seed>,
    /// What the open draws hold, tips included: it goes back to the payer if they are not settled
    /// until `claim_end`. Nothing when the batch is not recorded.
    pub refundable: Atto,
    /// Until then, inclusive, draws can be settled; after it they can be refunded.
    pub claim_end: UnixTime,
}

impl BatchState {
    /// Whether there is something to refund, at `now`.
    pub fn can_refund(&self, now: UnixTime) -> bool {
        self.refundable > Atto::ZERO && now > self.claim_end
    }
}

/// How it stands with a batch's money: its [`BatchState`] but for the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimState {
    /// When the vault recorded it; `None`: it did not.
    pub recorded: Option<UnixTime>,
    /// The draws that are settled or refunded.
    pub settled: DrawSet,
    /// What the open draws hold, tips included.
    pub refundable: Atto,
    /// Until then, inclusive, draws can be settled; after it they can be refunded.
    pub claim_end: UnixTime,
}

/// A batch whose draws can still be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenClaim {
    /// Which.
    pub payment: PaymentId,
    /// What its open draws hold, tips included.
    pub refundable: Atto,
    /// It can be refunded after this.
    pub claim_end: UnixTime,
}

/// What a refund did. Batches that are not recorded, or have no open draw, are in none of the
/// lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refunded {
    /// What was refunded, with what went back to its payer: by the event in the receipt of this
    /// call's transaction. What somebody else refunded in the same moment is here, too, with what it
    /// held before.
    pub batches: Vec<(PaymentId, Atto)>,
    /// All that.
    pub amount: Atto,
    /// What cannot be refunded yet.
    pub not_yet: Vec<OpenClaim>,
    /// What the chain refused to refund; the others were refunded nevertheless.
    pub refused: Vec<RefundRefused>,
    /// What it cost in gas.
    pub spend: Spend,
}

/// A batch that the chain refused to refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRefused {
    /// Which.
    pub payment: PaymentId,
    /// What its open draws hold, tips included.
    pub refundable: Atto,
    /// What vault or token said; a token may not let its payer have anything.
    pub reason: Option<String>,
}

impl Payments {
    /// How it stands with a batch.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn batch_state(&self, terms: &BatchTerms) -> Result<BatchState, PayError> {
        let vault = self.options.domain.vault;
        let claim = self.claims(std::slice::from_ref(terms)).await?.remove(0);
        Ok(BatchState {
            recorded: claim.recorded,
            settled: claim.settled,
            seed: self.options.chain.seed(vault, terms.upload_by).await?,
            refundable: claim.refundable,
            claim_end: claim.claim_end,
        })
    }

    /// How it stands with the money of these batches, in their order: the vault is asked once for
    /// its times and once for each record, eight at a time.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn claims(&self, batches: &[BatchTerms]) -> Result<Vec<ClaimState>, PayError> {
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        let windows = chain.windows(vault).await?;
        let ids: Vec<PaymentId> =
            batches.iter().map(|terms| terms.id(&self.options.domain)).collect();
        let records: Vec<RecordAt> = stream::iter(ids)
            .map(|payment| chain.record(vault, payment, At::Depth(0)))
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let state = |(terms, record): (&BatchTerms, RecordAt)| ClaimState {
            recorded: record.recorded,
            settled: record.settled,
            refundable: record.recorded.map_or(Atto::ZERO, |_| held(terms, record.settled)),
            claim_end: windows.claim_end(terms.upload_by),
        };
        Ok(batches.iter().zip(records).map(state).collect())
    }

    /// Sends the open draws of batches, tips included, back to their payers. Anybody may; the
    /// caller pays the gas, one transaction a batch. What others refund at the same moment is no
    /// error. A batch that the chain refuses to refund is listed, and the others are gone on with; it
    /// is asked about for as long as [`PayTiming::outage`](crate::PayTiming::outage).
    ///
    /// # Errors
    /// When the chain cannot be asked, a transaction is not mined, another process uses the wallet, or
    /// there are too few coins; with what was refunded before. Calling again goes on.
    ///
    /// # Cancel safety
    /// A draw is refunded once, whatever is sent how often.
    ///
    /// # Cost
    /// Gas, near 57,000 for a batch of 16 draws; nothing when there is nothing to refund.
    pub async fn refund(
        &self,
        wallet: &Wallet,
        batches: &[BatchTerms],
        journal: &mut dyn TxJournal,
    ) -> Result<Refunded, Stopped<Refunded>> {
        let mut done = Refunded::default();
        match self.refund_into(&mut done, wallet, batches, journal).await {
            Ok(()) => Ok(done),
            Err(error) => Err(Stopped { done, error }),
        }
    }

    async fn refund_into(
        &self,
        refunded: &mut Refunded,
        wallet: &Wallet,
        batches: &[BatchTerms],
        journal: &mut dyn TxJournal,
    ) -> Result<(), PayError> {
        let token = self.check_domain().await?.token;
        let mut due = Vec::new();
        let now = self.now().await?;
        for (terms, state) in batches.iter().zip(self.claims(batches).await?) {
            let ClaimState { refundable, claim_end, .. } = state;
            let claim =
                OpenClaim { payment: terms.id(&self.options.domain), refundable, claim_end };
            if refundable > Atto::ZERO && now > claim_end {
                due.push((terms, claim));
            } else if refundable > Atto::ZERO {
                refunded.not_yet.push(claim);
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let _lock = lock(self, wallet.address()).await?;
        let mut run = self.run(wallet, token, journal);
        let (vault, sender) = (self.options.domain.vault, wallet.address());
        for (terms, claim) in due {
            let payment = claim.payment;
            let goal = Goal::Refunded { vault, sender, payment, terms };
            let first = run.known();
            let end = Box::pin(run.drive(goal)).await;
            refunded.spend = run.spend();
            let sent = run.mined_since(first).find_map(|receipt| receipt.refunded(vault, payment));
            match end {
                Ok(_) => {
                    let amount = sent.unwrap_or(claim.refundable);
                    refunded.batches.push((payment, amount));
                    refunded.amount = refunded.amount.saturating_add(amount);
                }
                // The chain's clock is behind ours.
                Err(PayFailure::Chain(ChainError::Reverted { reason: Some(reason) }))
                    if reason.starts_with("ClaimOpen(") =>
                {
                    refunded.not_yet.push(claim);
                }
                // The others are none of its concern.
                Err(
                    PayFailure::Chain(ChainError::Reverted { reason })
                    | PayFailure::Failed { reason, .. },
                ) => {
                    let refundable = claim.refundable;
                    refunded.refused.push(RefundRefused { payment, refundable, reason });
                }
                Err(failure) => {
                    return Err(PayError { failure: Box::new(failure), spend: run.spend() });
                }
            }
        }
        Ok(())
    }
}

/// What the draws hold that are not in the set.
fn held(terms: &BatchTerms, settled: DrawSet) -> Atto {
    (0..terms.draws)
        .filter(|&draw| !settled.contains(draw))
        .map(|draw| terms.prize(draw).saturating_add(terms.tip))
        .sum()
}
