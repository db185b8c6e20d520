//! What comes back of batches: the draws that nobody has settled when their claim window is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use spillway_disk::{Disk, run};
use spillway_pay::{At, ClaimState, Payments, RefundRefused, Stopped, Wallet};
use spillway_types::{Atto, BatchTerms, PaymentId, Retry, UnixTime};

use crate::{
    AccountError, UploadError,
    account::Forgets,
    limits::MAX_LOOKED_AT_AGAIN,
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
    /// Sessions whose files cannot be read: what their batches hold is not known.
    pub unreadable: Vec<UnreadableSession>,
    /// Batches that the chain refused to refund, though they are due.
    pub refused: Vec<RefusedRefund>,
    /// What the transactions have cost.
    pub spend: spillway_pay::Spend,
}

/// A batch that the chain refused to refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRefund {
    /// The session that has paid it.
    pub session: String,
    /// The vault's id of it.
    pub payment: PaymentId,
    /// What would have come back.
    pub amount: Atto,
    /// What vault or token said.
    pub reason: Option<String>,
}

/// A session whose files cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableSession {
    /// Its name.
    pub session: String,
    /// Which file, and what is wrong with it.
    pub why: String,
}

/// Why [`refund`] did not come to its end, and what it has done.
#[derive(Debug, thiserror::Error)]
#[error("the refund did not come to its end")]
pub struct RefundStopped {
    /// What came back before, and what that has cost.
    pub done: Box<RefundReport>,
    /// Why it stopped.
    #[source]
    pub error: AccountError,
}

impl RefundStopped {
    /// Whether the same call may go on later.
    pub fn retry(&self) -> Retry {
        self.error.retry()
    }
}

impl RefundReport {
    /// All that came back.
    pub fn amount(&self) -> Atto {
        self.refunded.iter().map(|batch| batch.amount).sum()
    }
}

/// Asks the chain what may come back of the batches that sessions have paid; each payment once.
/// Batches of which nothing more comes back are left out, and so are sessions that cannot be read. What
/// was written down as refunded is asked for like everything else, since a reorganisation may have undone
/// it: of those the 1,024 newest.
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
    let mut seen = BTreeSet::new();
    let mut batches = batches(payments, data, None).await?.0;
    batches.retain(|batch| seen.insert(batch.payment));
    let states = look(payments, &batches).await?.into_iter().flatten();
    Ok(states.filter(|state| state.amount > Atto::ZERO).collect())
}

/// Takes back what nobody has claimed of batches whose claim window is over, of all sessions or of
/// one, and writes down what came back. It goes to whoever has paid; the wallet pays the gas.
///
/// What was refunded by somebody else after it was seen here counts as come back; before that it
/// cannot be told from draws that were settled.
///
/// # Errors
/// When our disk or the chain fails; with what came back before, which is written down. A batch that
/// the chain refuses to refund is no error, nor is a session that cannot be read: the report names
/// them. What was refunded before is looked at again, as [`refundable`] does; of a session that is
/// named all of it.
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
) -> Result<RefundReport, RefundStopped> {
    let mut done = Box::<RefundReport>::default();
    match refund_into(&mut done, payments, wallet, data, session).await {
        Ok(()) => Ok(*done),
        Err(error) => Err(RefundStopped { done, error }),
    }
}

async fn refund_into(
    report: &mut RefundReport,
    payments: &Payments,
    wallet: &Wallet,
    data: &Arc<dyn Disk>,
    session: Option<&str>,
) -> Result<(), AccountError> {
    let mut due = Vec::new();
    let (batches, unreadable) = batches(payments, data, session).await?;
    report.unreadable = unreadable;
    let states = look(payments, &batches).await?;
    for (batch, state) in batches.into_iter().zip(states) {
        let Some(state) = state else { continue };
        if !state.due {
            report.waiting.push(state);
        } else if let Some(batch) = prepare(data, batch, state, report).await? {
            due.push(batch);
        }
    }
    let mut terms: Vec<BatchTerms> = due.iter().map(|batch| batch.terms).collect();
    terms.sort_unstable();
    terms.dedup();
    if terms.is_empty() {
        return Ok(());
    }
    let (sent, stopped) = match payments.refund(wallet, &terms, &mut Forgets).await {
        Ok(sent) => (sent, None),
        Err(Stopped { done, error }) => (done, Some(error)),
    };
    report.spend = sent.spend;
    for RefundRefused { payment, refundable, reason } in sent.refused {
        let Some(batch) = due.iter().find(|batch| batch.payment == payment) else { continue };
        let session = batch.session.clone();
        report.refused.push(RefusedRefund { session, payment, amount: refundable, reason });
    }
    let sent: BTreeMap<PaymentId, Atto> = sent.batches.into_iter().collect();
    let noted = note_refunded(payments, data, due, &sent, report).await;
    match stopped {
        Some(error) => Err(error.into()),
        None => noted,
    }
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

/// Writes down what is in the vault no more: what was sent, and of the rest what the chain says.
async fn note_refunded(
    payments: &Payments,
    data: &Arc<dyn Disk>,
    due: Vec<BatchPaid>,
    amounts: &BTreeMap<PaymentId, Atto>,
    report: &mut RefundReport,
) -> Result<(), AccountError> {
    // What was sent comes first: a chain that fails now may not be asked about the rest.
    let (sent, rest): (Vec<_>, Vec<_>) =
        due.into_iter().partition(|batch| amounts.contains_key(&batch.payment));
    for batch in sent {
        let amount = amounts.get(&batch.payment).copied();
        note(data, batch, amount, report).await?;
    }
    let terms: Vec<BatchTerms> = rest.iter().map(|batch| batch.terms).collect();
    let claims = if terms.is_empty() { Vec::new() } else { payments.claims(&terms).await? };
    for (batch, claim) in rest.into_iter().zip(claims) {
        if claim.refundable == Atto::ZERO {
            note(data, batch, None, report).await?;
        }
    }
    Ok(())
}

/// A batch of which all came back: what a transaction of ours has sent, or what was open before.
async fn note(
    data: &Arc<dyn Disk>,
    batch: BatchPaid,
    sent: Option<Atto>,
    report: &mut RefundReport,
) -> Result<(), AccountError> {
    let amount = sent.or(batch.refundable).unwrap_or(Atto::ZERO);
    list(report, &batch, amount);
    // It came back, written down or not: a session that is busy now is noted next time.
    write(data, &batch, Record::Refunded { plan: batch.plan, amount }, report).await?;
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

/// The batches of all sessions, or of one, that are to be looked at.
async fn batches(
    payments: &Payments,
    data: &Arc<dyn Disk>,
    only: Option<&str>,
) -> Result<(Vec<BatchPaid>, Vec<UnreadableSession>), AccountError> {
    let (domain, named) = (*payments.domain(), only.map(str::to_owned));
    let mut found =
        run(data, move |disk| session::batches_paid(disk, &domain, named.as_deref())).await?;
    if only.is_none() {
        leave_out_old(&mut found.batches, MAX_LOOKED_AT_AGAIN);
    }
    let unreadable = found.unreadable.into_iter().map(|(session, error)| {
        tracing::warn!(%session, %error, "left out");
        UnreadableSession { session, why: error.to_string() }
    });
    Ok((found.batches, unreadable.collect()))
}

/// Of the batches that the journals say are refunded, only so many are kept, the newest.
fn leave_out_old(batches: &mut Vec<BatchPaid>, most: usize) {
    let age = |batch: &BatchPaid| (batch.terms.upload_by, batch.payment);
    let mut ages: Vec<_> =
        batches.iter().filter(|batch| batch.refunded.is_some()).map(age).collect();
    ages.sort_unstable_by(|a, b| b.cmp(a));
    if let Some(&too_old) = ages.get(most) {
        batches.retain(|batch| batch.refunded.is_none() || age(batch) > too_old);
    }
}

/// How it stands with each; `None`: it was never paid.
async fn look(
    payments: &Payments,
    batches: &[BatchPaid],
) -> Result<Vec<Option<Refundable>>, AccountError> {
    let now = payments.chain().block(At::Depth(0)).await?.time;
    let terms: Vec<BatchTerms> = batches.iter().map(|batch| batch.terms).collect();
    let state = |(batch, claim): (&BatchPaid, ClaimState)| {
        claim.recorded?;
        let from = UnixTime(claim.claim_end.0.saturating_add(1));
        Some(Refundable {
            session: batch.session.clone(),
            payment: batch.payment,
            draws: batch.terms.draws,
            settled: u8::try_from(claim.settled.count()).unwrap_or(u8::MAX),
            amount: claim.refundable,
            from,
            due: now >= from,
        })
    };
    Ok(batches.iter().zip(payments.claims(&terms).await?).map(state).collect())
}

#[cfg(test)]
mod tests;
