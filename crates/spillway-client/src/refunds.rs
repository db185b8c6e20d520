//! What comes back of batches: the draws that nobody has settled when their claim window is over.

use std::{collections::BTreeSet, sync::Arc};

use spillway_disk::{Disk, run};
use spillway_pay::{At, PayError, Payments, Wallet};
use spillway_types::{Atto, BatchTerms, PaymentId, UnixTime};

use crate::{
    AccountError, UploadError,
    account::Forgets,
    session::{self, BatchPaid, Record},
};

/// What may come back of one batch payment, as the chain says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refundable {
    /// The session that has paid it.
    pub session: String,
    /// The vault's id of it.
    pub payment: PaymentId,
    /// How many leaves are drawn.
    pub draws: u8,
    /// How many of the draws are settled, or refunded.
    pub settled: u8,
    /// What comes back if no further draw is settled. Final once it is due.
    pub amount: Atto,
    /// From when on it can be had.
    pub from: UnixTime,
    /// Whether it can be had now, by the chain's time.
    pub due: bool,
}

/// One batch payment of which something came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundedBatch {
    /// The session that had paid it.
    pub session: String,
    /// The vault's id of it.
    pub payment: PaymentId,
    /// What came back, prizes and tips.
    pub amount: Atto,
}

/// What [`refund`] has done.
#[derive(Clone, Debug, Default)]
pub struct RefundReport {
    /// What came back to its payer, by payment.
    pub refunded: Vec<RefundedBatch>,
    /// What is not due yet.
    pub waiting: Vec<Refundable>,
    /// Sessions that another process works on: to be asked for again.
    pub busy: Vec<String>,
    /// What the transactions have cost.
    pub spend: spillway_pay::Spend,
}

impl RefundReport {
    /// All that came back.
    pub fn amount(&self) -> Atto {
        self.refunded.iter().map(|batch| batch.amount).sum()
    }
}

/// Asks the chain what may come back of the batches that sessions have paid; each payment once.
/// Batches of which nothing more comes back are left out.
///
/// # Errors
/// When our disk or the chain fails.
///
/// # Cancel safety
/// It only reads.
pub async fn refundable(
    payments: &Payments,
    data: &Arc<dyn Disk>,
) -> Result<Vec<Refundable>, AccountError> {
    let now = chain_time(payments).await?;
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for batch in batches(payments, data, None).await? {
        if batch.refunded.is_some() || !seen.insert(batch.payment) {
            continue;
        }
        let state = look(payments, &batch, now).await?;
        found.extend(state.filter(|state| state.amount > Atto::ZERO));
    }
    Ok(found)
}

/// Takes back what nobody has claimed of batches whose claim window is over, of all sessions or of
/// one, and writes down what came back. It goes to whoever has paid; the wallet pays the gas.
///
/// What was refunded by somebody else after it was seen here counts as come back; before that it
/// cannot be told from draws that were settled.
///
/// # Errors
/// When our disk or the chain fails, or the chain refuses. What came back before is written down.
///
/// # Cancel safety
/// Dropping it loses nothing: what came back meanwhile is found by the next call.
///
/// # Cost
/// Gas: one transaction a payment.
pub async fn refund(
    payments: &Payments,
    wallet: &Wallet,
    data: &Arc<dyn Disk>,
    session: Option<&str>,
) -> Result<RefundReport, AccountError> {
    let mut report = RefundReport::default();
    let mut due = Vec::new();
    let now = chain_time(payments).await?;
    for batch in batches(payments, data, session).await? {
        // A session that is named is looked at again, whatever its journal says: a reorganisation may
        // have undone a refund.
        if batch.refunded.is_some() && session.is_none() {
            continue;
        }
        let Some(state) = look(payments, &batch, now).await? else { continue };
        if !state.due {
            report.waiting.push(state);
        } else if let Some(batch) = prepare(data, batch, state, &mut report).await? {
            due.push(batch);
        }
    }
    let mut terms: Vec<BatchTerms> = due.iter().map(|batch| batch.terms).collect();
    terms.sort_unstable();
    terms.dedup();
    if terms.is_empty() {
        return Ok(report);
    }
    let sent = payments.refund(wallet, &terms, &mut Forgets).await;
    let noted = note_refunded(payments, data, due, &mut report).await;
    report.spend = sent.map_err(PayError::from)?.spend;
    noted?;
    Ok(report)
}

/// Writes down what is to come back before it is asked for. `None`: there is nothing to ask for.
async fn prepare(
    data: &Arc<dyn Disk>,
    batch: BatchPaid,
    state: Refundable,
    report: &mut RefundReport,
) -> Result<Option<BatchPaid>, AccountError> {
    let record = match (state.amount, batch.refundable) {
        (Atto::ZERO, _) if batch.refunded.is_some() => return Ok(None),
        // It came back between this call and an earlier one; or all was settled.
        (Atto::ZERO, known) => {
            let amount = known.unwrap_or(Atto::ZERO);
            Record::Refunded { plan: batch.plan, amount }
        }
        (amount, Some(known)) if amount == known && batch.refunded.is_none() => {
            return Ok(Some(batch));
        }
        (amount, _) => Record::ClaimOver { plan: batch.plan, refundable: amount },
    };
    let came_back = match record {
        Record::Refunded { amount, .. } => Some(amount),
        _ => None,
    };
    if !write(data, &batch, record, report).await? {
        return Ok(None);
    }
    match came_back {
        None => Ok(Some(BatchPaid { refundable: Some(state.amount), ..batch })),
        Some(amount) => {
            list(report, &batch, amount);
            Ok(None)
        }
    }
}

/// Writes down what is in the vault no more.
async fn note_refunded(
    payments: &Payments,
    data: &Arc<dyn Disk>,
    due: Vec<BatchPaid>,
    report: &mut RefundReport,
) -> Result<(), AccountError> {
    for batch in due {
        let state = payments.batch_state(&batch.terms).await?;
        if state.refundable > Atto::ZERO {
            continue;
        }
        let amount = batch.refundable.unwrap_or(Atto::ZERO);
        let record = Record::Refunded { plan: batch.plan, amount };
        // It came back, written down or not: a session that is busy now is noted next time.
        write(data, &batch, record, report).await?;
        list(report, &batch, amount);
    }
    Ok(())
}

fn list(report: &mut RefundReport, batch: &BatchPaid, amount: Atto) {
    let known = report.refunded.iter().any(|known| known.payment == batch.payment);
    if amount > Atto::ZERO && !known {
        let BatchPaid { session, payment, .. } = batch.clone();
        report.refunded.push(RefundedBatch { session, payment, amount });
    }
}

/// Writes into a session's journal; false when another process works on the session.
async fn write(
    data: &Arc<dyn Disk>,
    batch: &BatchPaid,
    record: Record,
    report: &mut RefundReport,
) -> Result<bool, AccountError> {
    let noted = batch.clone();
    match run(data, move |disk| Ok(session::note(disk, &noted, record))).await? {
        Err(UploadError::Busy { .. }) => {
            if !report.busy.contains(&batch.session) {
                report.busy.push(batch.session.clone());
            }
            Ok(false)
        }
        Err(UploadError::Disk(error)) => Err(error.into()),
        Err(error) => Err(AccountError::Session(Box::new(error))),
        Ok(()) => Ok(true),
    }
}

async fn batches(
    payments: &Payments,
    data: &Arc<dyn Disk>,
    only: Option<&str>,
) -> Result<Vec<BatchPaid>, AccountError> {
    let (domain, only) = (*payments.domain(), only.map(str::to_owned));
    Ok(run(data, move |disk| session::batches_paid(disk, &domain, only.as_deref())).await?)
}

async fn chain_time(payments: &Payments) -> Result<UnixTime, AccountError> {
    Ok(payments.chain().block(At::Depth(0)).await?.time)
}

/// `None`: it was never paid.
async fn look(
    payments: &Payments,
    batch: &BatchPaid,
    now: UnixTime,
) -> Result<Option<Refundable>, AccountError> {
    let state = payments.batch_state(&batch.terms).await?;
    if state.recorded.is_none() {
        return Ok(None);
    }
    let from = UnixTime(state.claim_end.0.saturating_add(1));
    Ok(Some(Refundable {
        session: batch.session.clone(),
        payment: batch.payment,
        draws: batch.terms.draws,
        settled: u8::try_from(state.settled.count()).unwrap_or(u8::MAX),
        amount: state.refundable,
        from,
        due: now >= from,
    }))
}
