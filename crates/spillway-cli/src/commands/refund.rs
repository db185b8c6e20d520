use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;
use spillway_client::{
    BatchStatus, Clock, Disk, Payments, RefundReport, RefundStopped, Refundable, RefundedBatch,
    RefusedRefund, SessionStatus, SystemClock, UnreadableSession, Wallet,
};
use spillway_types::{Atto, Domain};

use super::{Context, summary::only_report};
use crate::{
    advice,
    args::Refund,
    config::Layer,
    exit::{Code, Failure},
    render::{Report, amount, count, utc},
};

/// The summary of `refund`. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Summary {
    dry_run: bool,
    /// What came back.
    refunded: Vec<CameBack>,
    /// What may come back yet.
    refundable: Vec<Open>,
    /// Uploads that another process works on.
    busy: Vec<String>,
    /// Uploads whose files cannot be read: what their batches hold is not known.
    unreadable: Vec<Unreadable>,
    /// What the vault or its token does not let come back.
    refused: Vec<Refused>,
    /// Uploads that were paid to other vaults, which were not asked.
    elsewhere: Vec<Elsewhere>,
    refunded_atto: String,
    gas_used: u64,
    gas_cost_wei: String,
    tx_hashes: Vec<String>,
}

/// A batch of which something came back.
#[derive(Debug, Serialize)]
struct CameBack {
    upload_id: String,
    payment: String,
    amount_atto: String,
}

/// A batch of which something may come back.
#[derive(Debug, Serialize)]
struct Open {
    upload_id: String,
    payment: String,
    draws: u8,
    settled: u8,
    amount_atto: String,
    /// Unix time in seconds, and the same for people.
    from: u64,
    from_utc: String,
    due: bool,
}

/// A batch that the chain refused to refund.
#[derive(Debug, Serialize)]
struct Refused {
    upload_id: String,
    payment: String,
    amount_atto: String,
    reason: Option<String>,
}

/// An upload whose files cannot be read.
#[derive(Debug, Serialize)]
struct Unreadable {
    upload_id: String,
    reason: String,
}

/// An upload that was paid to another vault.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Elsewhere {
    upload_id: String,
    chain_id: u64,
    vault: String,
    network: String,
}

/// `refund`: of the vault that the settings name.
pub(super) async fn run(context: &Context, args: &Refund) -> Result<(), Failure> {
    let settings = context.settings(Layer::from(args))?;
    let (mut report, elsewhere, failure) = match Context::data(&settings)? {
        None => known(&[], args).map(|()| (RefundReport::default(), Vec::new(), None))?,
        Some(data) => {
            let sessions = spillway_client::sessions(&data, SystemClock.now()).await?;
            let ids: Vec<String> = sessions.iter().map(|session| session.id.clone()).collect();
            known(&ids, args)?;
            let wallet = if args.dry_run { None } else { Some(settings.wallet()?) };
            let payments = context.chain(&settings).await?;
            let elsewhere = elsewhere(&sessions, payments.domain(), args);
            let (report, failure) = match wallet {
                None => (look(context, &payments, &data, args).await?, None),
                Some(wallet) => take_back(&payments, &wallet, &data, args).await,
            };
            (report, elsewhere, failure)
        }
    };
    // All draws are settled: nothing is waited for.
    report.waiting.retain(|batch| batch.amount > Atto::ZERO);
    // Before the failure: what came back is known by this alone.
    let text = only_report(text(&report, &elsewhere, args));
    context.console.summary(&summary(&report, elsewhere, args), &text)?;
    match failure {
        Some(failure) => Err(failure),
        None => left_open(&report),
    }
}

/// What the report does not know.
fn left_open(report: &RefundReport) -> Result<(), Failure> {
    if !report.refused.is_empty() {
        let batches = report.refused.len() as u64;
        let what = if batches == 1 { "batch" } else { "batches" };
        let message = format!("the chain refused to refund {batches} {what}");
        return Err(Failure::new(Code::Failure, message).hint("the summary says which, and why"));
    }
    if !report.unreadable.is_empty() {
        let message = "some of the uploads cannot be read: what their batches hold is not known";
        return Err(Failure::new(Code::Failure, message)
            .hint("their files are left as they are, for a look"));
    }
    if !report.busy.is_empty() {
        let message = "another process works on some of the uploads";
        return Err(Failure::new(Code::Locked, message).hint("run it again when that has ended"));
    }
    Ok(())
}

/// The uploads whose batches were paid somewhere else and may hold something yet, of those that are
/// asked for; each place once.
fn elsewhere(sessions: &[SessionStatus], here: &Domain, args: &Refund) -> Vec<Elsewhere> {
    let wanted = sessions
        .iter()
        .filter(|session| args.sessions.is_empty() || args.sessions.contains(&session.id));
    let places: BTreeSet<Elsewhere> = wanted
        .flat_map(|session| session.batches.iter().map(move |batch| (session, batch)))
        .filter(|(_, batch)| batch.refunded.is_none() && batch.domain != *here)
        .map(|(session, BatchStatus { domain, .. })| Elsewhere {
            upload_id: session.id.clone(),
            chain_id: domain.chain_id,
            vault: domain.vault.to_string(),
            network: domain.network.to_string(),
        })
        .collect();
    places.into_iter().collect()
}

/// Whether there are such uploads.
fn known(ids: &[String], args: &Refund) -> Result<(), Failure> {
    match args.sessions.iter().find(|session| !ids.contains(session)) {
        None => Ok(()),
        Some(session) => Err(Failure::new(Code::NotFound, format!("there is no upload {session}"))
            .hint(format!("`{}` lists them", advice::status()))),
    }
}

/// What would come back.
async fn look(
    context: &Context,
    payments: &Payments,
    data: &Arc<dyn Disk>,
    args: &Refund,
) -> Result<RefundReport, Failure> {
    let open = context.until_stopped(spillway_client::refundable(payments, data)).await?;
    let unreadable = unreadable(data).await?;
    let wanted = |session: &String| args.sessions.is_empty() || args.sessions.contains(session);
    let waiting = open.into_iter().filter(|batch| wanted(&batch.session)).collect();
    let unreadable = unreadable.into_iter().filter(|it| wanted(&it.session)).collect();
    Ok(RefundReport { waiting, unreadable, ..RefundReport::default() })
}

/// Takes back what can be; what was done, and what stopped it.
async fn take_back(
    payments: &Payments,
    wallet: &Wallet,
    data: &Arc<dyn Disk>,
    args: &Refund,
) -> (RefundReport, Option<Failure>) {
    let each: Vec<Option<&str>> = match &args.sessions[..] {
        [] => vec![None],
        sessions => sessions.iter().map(|session| Some(session.as_str())).collect(),
    };
    let mut all = RefundReport::default();
    for session in each {
        // Not until stopped: what is sent is waited for.
        match spillway_client::refund(payments, wallet, data, session).await {
            Ok(one) => add(&mut all, one),
            Err(RefundStopped { done, error }) => {
                add(&mut all, *done);
                let failure = Failure::from(error).after_refunds(&all);
                return (all, Some(failure));
            }
        }
    }
    (all, None)
}

async fn unreadable(data: &Arc<dyn Disk>) -> Result<Vec<UnreadableSession>, Failure> {
    let sessions = spillway_client::sessions(data, SystemClock.now()).await?;
    let unreadable = sessions
        .into_iter()
        .filter_map(|it| it.damage.map(|why| UnreadableSession { session: it.id, why }));
    Ok(unreadable.collect())
}

fn add(all: &mut RefundReport, one: RefundReport) {
    all.refunded.extend(one.refunded);
    all.waiting.extend(one.waiting);
    all.busy.extend(one.busy);
    all.unreadable.extend(one.unreadable);
    all.refused.extend(one.refused);
    all.spend.gas_used += one.spend.gas_used;
    all.spend.gas_cost = all.spend.gas_cost.saturating_add(one.spend.gas_cost);
    all.spend.tx_hashes.extend(one.spend.tx_hashes);
}

fn summary(report: &RefundReport, elsewhere: Vec<Elsewhere>, args: &Refund) -> Summary {
    let refunded = report.refunded.iter().map(|batch| CameBack {
        upload_id: batch.session.clone(),
        payment: batch.payment.to_string(),
        amount_atto: batch.amount.to_string(),
    });
    let refundable = report.waiting.iter().map(|batch| Open {
        upload_id: batch.session.clone(),
        payment: batch.payment.to_string(),
        draws: batch.draws,
        settled: batch.settled,
        amount_atto: batch.amount.to_string(),
        from: batch.from.as_secs(),
        from_utc: utc(batch.from),
        due: batch.due,
    });
    let unreadable = report
        .unreadable
        .iter()
        .map(|it| Unreadable { upload_id: it.session.clone(), reason: it.why.clone() });
    let refused = report.refused.iter().map(|it| Refused {
        upload_id: it.session.clone(),
        payment: it.payment.to_string(),
        amount_atto: it.amount.to_string(),
        reason: it.reason.clone(),
    });
    Summary {
        dry_run: args.dry_run,
        refunded: refunded.collect(),
        refundable: refundable.collect(),
        busy: report.busy.clone(),
        unreadable: unreadable.collect(),
        refused: refused.collect(),
        elsewhere,
        refunded_atto: report.amount().to_string(),
        gas_used: report.spend.gas_used,
        gas_cost_wei: report.spend.gas_cost.to_string(),
        tx_hashes: report.spend.tx_hashes.iter().map(ToString::to_string).collect(),
    }
}

fn text(report: &RefundReport, elsewhere: &[Elsewhere], args: &Refund) -> String {
    let mut text = Report::default();
    for batch in &report.refunded {
        let tokens = amount(batch.amount.get());
        text.line(format_args!("{tokens} tokens came back of {}", of(batch)));
    }
    for batch in &report.waiting {
        text.line(open(batch));
    }
    for session in &report.busy {
        text.line(format_args!("Another process works on upload {session}."));
    }
    for UnreadableSession { session, why } in &report.unreadable {
        text.line(format_args!("Upload {session} cannot be read: {why}."));
    }
    for RefusedRefund { session, payment, amount: sum, reason } in &report.refused {
        text.line(format_args!(
            "{} tokens of batch {payment} of upload {session} did not come back, the chain refused: {}.",
            amount(sum.get()),
            reason.as_deref().unwrap_or("no reason given"),
        ));
    }
    let is_silent = text.is_empty();
    for Elsewhere { upload_id, chain_id, vault, network } in elsewhere {
        text.line(format_args!(
            "Upload {upload_id} was paid elsewhere, which was not asked: chain {chain_id}, vault \
             {vault}, network {network}."
        ));
    }
    if is_silent && report.spend.tx_hashes.is_empty() {
        text.line(if elsewhere.is_empty() {
            "Nothing can be refunded."
        } else {
            "Nothing can be refunded here: name the chain and the vault of the upload."
        });
        return text.text();
    }
    if args.dry_run {
        let due = report.waiting.iter().filter(|batch| batch.due);
        let due: Atto = due.map(|batch| batch.amount).sum();
        text.line(format_args!("Now {} tokens would come back.", amount(due.get())));
    } else {
        text.line(format_args!(
            "Refunded {} tokens for {} coins of gas, in {}.",
            amount(report.amount().get()),
            amount(report.spend.gas_cost.get()),
            count(report.spend.tx_hashes.len() as u64, "transaction"),
        ));
    }
    text.text()
}

fn of(batch: &RefundedBatch) -> String {
    format!("batch {} of upload {}.", batch.payment, batch.session)
}

fn open(batch: &Refundable) -> String {
    let when = if batch.due {
        "now".to_owned()
    } else {
        format!("from {} ({}) on", utc(batch.from), batch.from)
    };
    format!(
        "{} tokens of batch {} of upload {} can be refunded {when}, if no further draw is settled; \
         {} of {} are.",
        amount(batch.amount.get()),
        batch.payment,
        batch.session,
        batch.settled,
        batch.draws,
    )
}

#[cfg(test)]
mod tests;
