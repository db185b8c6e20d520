mod next;
mod processes;

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use spillway_client::{
    BatchStatus, Clock, Disk, Refundable, SessionStatus, SystemClock, refundable,
};
use spillway_types::{Atto, Domain, PaymentId, UnixTime, limits::QUOTE_LIFETIME};

use self::processes::Process;
use super::{Context, summary::only_report};
use crate::{
    advice,
    args::Status,
    config::{Layer, Settings},
    exit::Failure,
    render::{Report, amount, bytes, count, one_line, utc},
};

/// The summary of `status`.
#[derive(Debug, Serialize)]
struct Summary {
    sessions: Vec<Session>,
    /// Commands that run now on this data directory.
    processes: Vec<Process>,
}

/// One upload. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Session {
    upload_id: String,
    source: String,
    state: &'static str,
    /// How far it is: sealed, planned, paying, storing, expired, verifying, finished or handed_over.
    stage: &'static str,
    /// What goes on with it, or ends it; empty while it runs, and when nothing is to be done.
    next: Vec<String>,
    bytes: u64,
    chunks_total: u64,
    chunks_paid: u64,
    /// Paid for, and not stored before the window was over: going on pays for them anew.
    chunks_lapsed: u64,
    chunks_stored: u64,
    storage_cost_atto: String,
    tip_atto: String,
    gas_used: u64,
    gas_cost_wei: String,
    tx_hashes: Vec<String>,
    /// Unix time in seconds until which what is paid can be stored, and from when on what is not
    /// stored by then is paid for anew.
    upload_by: Option<u64>,
    paid_anew_from: Option<u64>,
    /// What came back of batches.
    refunded_atto: String,
    /// What may come back yet: at most so much, and with `--chain`, or once it was asked for after the
    /// claim window, exactly so much if no further draw is settled.
    refundable_atto: String,
    batches: Vec<Batch>,
    /// Payments that a reorganisation may take back, as far as is known here: `resume --all` looks.
    payments_not_final: u64,
    /// Why its files cannot be read; everything else is empty then.
    damage: Option<String>,
}

/// One batch payment.
#[derive(Debug, Serialize)]
struct Batch {
    payment: String,
    /// Where it was paid. Only the chain and the vault of the settings are asked with `--chain`.
    chain_id: u64,
    vault: String,
    /// Unix time in seconds. Null: it was signed, and nothing here says whether it came about.
    recorded: Option<u64>,
    draws: u8,
    /// Of the draws; known with `--chain`.
    settled: Option<u8>,
    escrow_atto: String,
    refunded_atto: Option<String>,
    refundable_atto: String,
    /// Unix times in seconds: until when chunks are taken, after which the winners are drawn, and
    /// from when on what nobody has claimed comes back.
    upload_by: u64,
    draw_time: Option<u64>,
    refundable_from: Option<u64>,
    /// The last of them for people.
    refundable_from_utc: Option<String>,
}

/// What a chain says.
struct OnChain {
    /// It knows of nothing else.
    domain: Domain,
    /// What may come back, by payment.
    found: BTreeMap<PaymentId, Refundable>,
}

impl OnChain {
    fn of(&self, batch: &BatchStatus) -> Option<&Refundable> {
        self.found.get(&batch.payment)
    }
}

/// `status`: of this machine only, without network, and without chain unless it is asked for.
pub(super) async fn run(context: &Context, args: &Status) -> Result<(), Failure> {
    let settings = context.settings(Layer::from(args))?;
    let (mut sessions, chain) = match Context::data(&settings)? {
        Some(data) => {
            let chain =
                if args.chain { Some(on_chain(context, &settings, &data).await?) } else { None };
            (spillway_client::sessions(&data, SystemClock.now()).await?, chain)
        }
        None => (Vec::new(), None),
    };
    // Newest first, and those that wait for somebody before those that do not.
    sessions.sort_by_key(|session| (session.finished, session.is_over()));
    let now = SystemClock.now();
    let processes = processes::running(&settings.data_dir()?).await;
    let text = report(&sessions, chain.as_ref(), now) + &processes::report(&processes);
    let sessions = sessions.iter().map(|status| session(status, chain.as_ref())).collect();
    context.console.summary(&Summary { sessions, processes }, &only_report(text))
}

async fn on_chain(
    context: &Context,
    settings: &Settings,
    data: &Arc<dyn Disk>,
) -> Result<OnChain, Failure> {
    let payments = context.chain(settings).await?;
    let found = context.until_stopped(refundable(&payments, data)).await?;
    let found = found.into_iter().map(|batch| (batch.payment, batch)).collect();
    Ok(OnChain { domain: *payments.domain(), found })
}

fn state(session: &SessionStatus) -> &'static str {
    match (session.finished, session.running) {
        _ if session.damage.is_some() => "damaged",
        _ if session.handed_over.is_some() => "handed_over",
        (true, _) => "finished",
        (false, true) => "running",
        (false, false) => "interrupted",
    }
}

/// How well it is known what may come back of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// The chain says so.
    Exactly,
    /// It was paid: no more than that.
    AtMost,
    /// It was signed: if it was paid.
    IfPaid,
    /// The chain that knows of it was not asked.
    Elsewhere(Domain),
}

fn known(batch: &BatchStatus, chain: Option<&OnChain>) -> Known {
    match chain {
        Some(chain) if chain.domain == batch.domain => Known::Exactly,
        // It said so when the claim window was over.
        _ if batch.refundable.is_some() => Known::Exactly,
        Some(_) => Known::Elsewhere(batch.domain),
        None if batch.recorded.is_none() => Known::IfPaid,
        None => Known::AtMost,
    }
}

/// What may come back of a batch.
fn open(batch: &BatchStatus, chain: Option<&OnChain>) -> Atto {
    match (batch.refunded, chain) {
        // Whatever is written down: a reorganisation may have undone a refund.
        (_, Some(chain)) if chain.domain == batch.domain => {
            chain.of(batch).map_or(Atto::ZERO, |found| found.amount)
        }
        (Some(_), _) => Atto::ZERO,
        (None, _) => batch.refundable.unwrap_or(batch.escrow),
    }
}

/// From when on, as this disk knows or else the chain.
fn from(batch: &BatchStatus, chain: Option<&OnChain>) -> Option<UnixTime> {
    let found = chain.and_then(|chain| chain.of(batch));
    found.map(|found| found.from).or(batch.refundable_from)
}

/// From when on what is not stored is paid for anew.
fn anew_from(status: &SessionStatus) -> Option<UnixTime> {
    status.upload_by.map(|upload_by| upload_by.saturating_add(QUOTE_LIFETIME))
}

fn session(status: &SessionStatus, chain: Option<&OnChain>) -> Session {
    let refundable: Atto = status.batches.iter().map(|batch| open(batch, chain)).sum();
    Session {
        upload_id: status.id.clone(),
        source: status.source.clone(),
        state: state(status),
        stage: next::stage_name(status.stage),
        next: next::commands(status),
        bytes: status.bytes,
        chunks_total: status.chunks_total,
        chunks_paid: status.chunks_paid,
        chunks_lapsed: status.chunks_lapsed,
        chunks_stored: status.chunks_stored,
        storage_cost_atto: status.spend.storage_cost.saturating_sub(status.spend.tips).to_string(),
        tip_atto: status.spend.tips.to_string(),
        gas_used: status.spend.gas_used,
        gas_cost_wei: status.spend.gas_cost.to_string(),
        tx_hashes: status.spend.tx_hashes.iter().map(ToString::to_string).collect(),
        upload_by: status.upload_by.map(UnixTime::as_secs),
        paid_anew_from: anew_from(status).map(UnixTime::as_secs),
        refunded_atto: status.spend.refunded.to_string(),
        refundable_atto: refundable.to_string(),
        batches: status.batches.iter().map(|it| batch(it, chain)).collect(),
        payments_not_final: status.payments_not_final,
        damage: status.damage.clone(),
    }
}

fn batch(status: &BatchStatus, chain: Option<&OnChain>) -> Batch {
    let found = chain.and_then(|chain| chain.of(status));
    let from = from(status, chain);
    Batch {
        payment: status.payment.to_string(),
        chain_id: status.domain.chain_id,
        vault: status.domain.vault.to_string(),
        recorded: status.recorded.map(UnixTime::as_secs),
        draws: status.draws,
        settled: found.map(|found| found.settled),
        escrow_atto: status.escrow.to_string(),
        refunded_atto: status.refunded.map(|amount| amount.to_string()),
        refundable_atto: open(status, chain).to_string(),
        upload_by: status.upload_by.as_secs(),
        draw_time: status.draw_time.map(UnixTime::as_secs),
        refundable_from: from.map(UnixTime::as_secs),
        refundable_from_utc: from.map(utc),
    }
}

fn report(sessions: &[SessionStatus], chain: Option<&OnChain>, now: UnixTime) -> String {
    if sessions.is_empty() {
        return "No uploads.\n".to_owned();
    }
    let mut report: String = sessions.iter().map(|session| lines(session, chain, now)).collect();
    report.push_str(&next::closing(sessions, now));
    let is_due = |batch: &BatchStatus| {
        open(batch, chain) > Atto::ZERO && from(batch, chain).is_some_and(|from| from <= now)
    };
    if sessions.iter().flat_map(|session| &session.batches).any(is_due) {
        let refund = advice::refund(None);
        report.extend(["Run `", &refund, "` to take back what nobody has claimed.\n"]);
    }
    report
}

/// All about one upload.
fn lines(session: &SessionStatus, chain: Option<&OnChain>, now: UnixTime) -> String {
    if let Some(damage) = &session.damage {
        let damage = one_line(damage);
        return format!("{:<11} {}  {damage}\n", state(session), session.id);
    }
    let shown = state(session).replace('_', " ");
    let mut text = Report::default();
    text.line(format_args!(
        "{shown:<11} {}  {} in {}, {} paid, {} stored, {} tokens  {}",
        session.id,
        bytes(session.bytes),
        count(session.chunks_total, "chunk"),
        session.chunks_paid,
        session.chunks_stored,
        amount(session.spend.storage_cost.get()),
        one_line(&session.source),
    ));
    if session.chunks_lapsed > 0 {
        let chunks = count(session.chunks_lapsed, "chunk");
        text.line(format_args!("{:11} {chunks} paid for and not stored in time", ""));
    }
    if let (Some(until), Some(anew)) = (session.upload_by, anew_from(session))
        && until < now
    {
        text.line(format_args!(
            "{:11} the upload window is over; from {} ({anew}) on what is not stored is paid for anew",
            "",
            utc(anew),
        ));
    }
    text.lines(&refunds(session, chain));
    if let Some(next) = next::line(session, now) {
        text.line(format_args!("{:11} {next}", ""));
    }
    text.text()
}

/// What came back of a session's batches and what may, on lines of their own.
fn refunds(session: &SessionStatus, chain: Option<&OnChain>) -> String {
    let mut text = Report::default();
    let refunded = session.spend.refunded;
    if refunded > Atto::ZERO {
        text.line(format_args!("{:11} {} tokens came back", "", amount(refunded.get())));
    }
    // What may come back at the same time is said at once, if it is known as well.
    let mut sums: BTreeMap<(Option<UnixTime>, Known), Atto> = BTreeMap::new();
    for batch in &session.batches {
        let sum = sums.entry((from(batch, chain), known(batch, chain))).or_default();
        *sum = sum.saturating_add(open(batch, chain));
    }
    for ((from, known), sum) in sums.into_iter().filter(|(_, sum)| *sum > Atto::ZERO) {
        let when = match from {
            Some(from) => format!("from {} ({from}) on", utc(from)),
            None => "once their claim window is over".to_owned(),
        };
        let (at_most, note) = match known {
            Known::Exactly => ("", String::new()),
            Known::AtMost => ("at most ", String::new()),
            Known::IfPaid => ("at most ", ", if that payment was taken".to_owned()),
            Known::Elsewhere(Domain { chain_id, vault, .. }) => {
                ("at most ", format!(", of vault {vault} of chain {chain_id}, which was not asked"))
            }
        };
        let tokens = amount(sum.get());
        text.line(format_args!("{:11} {at_most}{tokens} tokens can be refunded {when}{note}", ""));
    }
    text.text()
}

#[cfg(test)]
mod tests;
