//! Between prices and plans: direct or batch, whatever costs the payer least or was asked for.

use std::time::Duration;

use spillway_pay::{
    BatchInput, BatchRefused, Candidate, ChooseInput, GasEstimate, ModeChoice, ModeReason,
    PaymentMode, Plan, PlanError, PlanInput, choose, plan_batches, plan_direct,
};
use spillway_types::{Atto, QuoteTerms};

use super::Job;
use crate::{UploadError, limits::ASSUMED_BYTES_PER_SECOND, session::Priced};

/// What is planned, not written yet, and why so.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    /// In the order of the chunks.
    pub plans: Vec<Plan>,
    /// `None` where nothing was to be chosen.
    pub reason: Option<ModeReason>,
    pub gas: GasEstimate,
}

impl Chosen {
    /// And what is chosen in the next round.
    pub(crate) fn add(&mut self, next: Self) {
        self.plans.extend(next.plans);
        self.reason = next.reason.or(self.reason);
        self.gas = GasEstimate {
            gas: self.gas.gas + next.gas.gas,
            approval_gas: self.gas.approval_gas + next.gas.approval_gas,
            cost: self.gas.cost.saturating_add(next.gas.cost),
            transactions: self.gas.transactions + next.gas.transactions,
        };
    }
}

/// Plans these chunks, which are in order and at least one, in the mode of the options.
///
/// Both candidates are made where both may be taken: leaves of 272 bytes, twice, beside the quotes
/// of 1.6 KiB a chunk that are in memory anyway.
pub(crate) async fn chosen(job: &Job, priced: &[&Priced]) -> Result<Chosen, UploadError> {
    let choice = job.options.mode;
    let input = input(job, priced);
    let direct = match choice {
        ModeChoice::Batch => Offered::default(),
        _ => Offered::of(job, plan_direct(input.clone())?).await?,
    };
    let batch = match choice {
        ModeChoice::Direct => Ok(Offered::default()),
        _ => batches(job, input, priced).await?,
    };
    let found = choose(ChooseInput {
        choice,
        direct: direct.candidate(),
        batch: batch.as_ref().map(Offered::candidate).map_err(|refused| *refused),
        rate: job.options.token_rate,
    })?;
    tracing::info!(reason = %found.reason, "how to pay");
    let Offered { plans, gas } = match (found.mode, batch) {
        (PaymentMode::Batch, Ok(batch)) => batch,
        _ => direct,
    };
    Ok(Chosen { plans, reason: Some(found.reason), gas })
}

/// Plans and the gas that they take.
#[derive(Default)]
struct Offered {
    plans: Vec<Plan>,
    gas: GasEstimate,
}

impl Offered {
    async fn of(job: &Job, plans: Vec<Plan>) -> Result<Self, UploadError> {
        let gas = job.estimate(&plans).await?;
        Ok(Self { plans, gas })
    }

    fn candidate(&self) -> Candidate {
        Candidate::of(&self.plans, self.gas)
    }
}

/// The plans of batches, or why there are none.
async fn batches(
    job: &Job,
    input: PlanInput,
    priced: &[&Priced],
) -> Result<Result<Offered, BatchRefused>, UploadError> {
    let batch = BatchInput {
        max_leaves: job.options.batch.max_leaves,
        min_tip: terms(priced).map(|terms| terms.min_tip).max().unwrap_or(Atto::ZERO),
        max_prize: terms(priced).map(|terms| terms.max_prize).min().unwrap_or(Atto::ZERO),
        beacon: job.parts.payments.chain().beacon(job.parts.domain.vault).await?,
    };
    match plan_batches(input, batch) {
        Ok(plans) => Ok(Ok(Offered::of(job, plans).await?)),
        Err(PlanError::NoBatch(refused)) => Ok(Err(refused)),
        Err(error) => Err(error.into()),
    }
}

fn terms<'p>(priced: &'p [&Priced]) -> impl Iterator<Item = &'p QuoteTerms> {
    priced.iter().flat_map(|priced| &priced.quotes).map(|quote| &quote.terms)
}

/// What both kinds of plans are made of. The window is that of all these chunks together: they are
/// stored one after the other, whichever plan pays for them.
fn input(job: &Job, priced: &[&Priced]) -> PlanInput {
    let now = job.parts.clock.now();
    let windows = job.vault.windows;
    let quoted_window = terms(priced).map(|terms| terms.max_window_secs).min().unwrap_or(0);
    PlanInput {
        domain: job.parts.domain,
        payer: job.wallet.address(),
        leaves: priced.iter().map(|priced| priced.leaf.clone()).collect(),
        now,
        first_expiry: terms(priced).map(|terms| terms.expires).min().unwrap_or(now),
        upload_bytes: terms(priced).map(|terms| u64::from(terms.size)).sum(),
        upload_rate: ASSUMED_BYTES_PER_SECOND,
        min_window: windows.min,
        max_window: windows.max.min(Duration::from_secs(quoted_window.into())),
    }
}
